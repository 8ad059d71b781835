//! A way to a node that can lose answers, or keep them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to an address that is known later.
pub struct Way {
    pub address: SocketAddr,
    to: OnceLock<SocketAddr>,
    losses: AtomicUsize,
    /// Answers go on into nowhere, and the connection stays.
    silent: AtomicBool,
}

impl Way {
    pub async fn open() -> Arc<Way> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way {
            address,
            to: OnceLock::new(),
            losses: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
        });
        let forwarding = way.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(forwarding.clone().forward(from));
            }
        });
        way
    }

    pub fn leads_to(&self, address: SocketAddr) {
        self.to.set(address).unwrap();
    }

    /// The next answers get lost when they have begun, so what they answer was done.
    pub fn lose(&self, answers: usize) {
        self.losses.store(answers, Ordering::SeqCst);
    }

    /// From now on whoever asks gets no answer, and keeps the connection.
    pub fn falls_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    pub fn left_to_lose(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    async fn forward(self: Arc<Way>, from: TcpStream) {
        let to = TcpStream::connect(*self.to.get().unwrap()).await.unwrap();
        let ((mut asks, mut answered), (mut answers, mut asked)) = (from.into_split(), to.into_split());
        let there = async { copy(&mut asks, &mut asked).await.map(drop) };
        let back = async {
            let mut bytes = vec![0; 1 << 16];
            loop {
                let read = answers.read(&mut bytes).await?;
                let lose = self.losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                if read == 0 || lose.is_ok() {
                    return Ok::<_, std::io::Error>(());
                }
                if self.silent.load(Ordering::SeqCst) {
                    continue;
                }
                answered.write_all(&bytes[..read]).await?;
            }
        };
        // Whichever end is first ends both.
        tokio::select! { _ = there => {}, _ = back => {} }
    }
}
