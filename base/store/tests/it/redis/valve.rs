//! A network between cache and server that can swallow what is on its way, without either side noticing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Valve {
    port: u16,
    cuts: watch::Sender<u32>,
    task: tokio::task::JoinHandle<()>,
}

impl Valve {
    /// In front of a server on this machine.
    pub async fn before(server: u16) -> Valve {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = watch::Sender::new(0);
        let seen = cuts.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, server, seen.clone()));
            }
        });
        Valve { port, cuts, task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Nothing gets through the connections there are any more; new ones work.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: u16, cuts: watch::Sender<u32>) {
    let born = *cuts.borrow();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut there, mut back) = ([0; 4096], [0; 4096]);
    loop {
        let whole = || *cuts.borrow() == born;
        let passed = tokio::select! {
            read = client.read(&mut there) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if !whole() => Ok(()),
                Ok(count) => server.write_all(&there[..count]).await,
            },
            read = server.read(&mut back) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if !whole() => Ok(()),
                Ok(count) => client.write_all(&back[..count]).await,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
