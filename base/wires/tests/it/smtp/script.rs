//! A server that does as it is told, also what no server should.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What to do at a line; lines of a mail come as one: `.`.
pub enum Do {
    Say(&'static str),
    /// Say this, then close without reading what there still is.
    Close(&'static str),
    /// Nothing, for as long as the client waits.
    Silence,
}

pub struct Script {
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    closed: UnboundedReceiver<()>,
}

impl Script {
    /// `act` is given the number of the connection from 0 and the line; first of all an empty one, for the greeting.
    pub async fn start(act: impl Fn(usize, &str) -> Do + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (act, heard) = (Arc::new(act), lines.clone());
        let (closing, closed) = unbounded_channel();
        tokio::spawn(async move {
            for n in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (act, heard, closing) = (act.clone(), heard.clone(), closing.clone());
                tokio::spawn(async move { talk(stream, |line| act(n, line), &heard, closing).await });
            }
        });
        Script { address, lines, closed }
    }

    /// What clients said, without the content of mails.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How often a line that begins so was heard.
    pub fn count(&self, start: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(start)).count()
    }

    /// Returns when a connection was closed by this side, or ended.
    pub async fn closed(&mut self) {
        self.closed.recv().await.unwrap();
    }
}

async fn talk(
    stream: TcpStream,
    act: impl Fn(&str) -> Do,
    heard: &Mutex<Vec<String>>,
    closing: UnboundedSender<()>,
) {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let (mut line, mut in_content) = (String::new(), false);
    loop {
        let done = act(line.trim_end());
        let (text, close) = match done {
            Do::Say(text) => (text, false),
            Do::Close(text) => (text, true),
            Do::Silence => {
                let _ = reading.read_to_end(&mut Vec::new()).await;
                ("", true)
            }
        };
        let _ = writing.write_all(text.as_bytes()).await;
        if close {
            drop((reading, writing));
            let _ = closing.send(());
            return;
        }
        in_content = text.starts_with("354") || (in_content && text.is_empty());
        loop {
            line.clear();
            if reading.read_line(&mut line).await.unwrap_or(0) == 0 {
                let _ = closing.send(());
                return;
            }
            if !in_content || line == ".\r\n" {
                break;
            }
        }
        heard.lock().unwrap().push(line.trim_end().to_owned());
    }
}

/// What a good server says.
pub fn good(line: &str) -> Do {
    let verb = line.split([' ', ':']).next().unwrap_or_default();
    Do::Say(match verb {
        "" => "220 here\r\n",
        "EHLO" => "250-script\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        "DATA" => "354 go on\r\n",
        "." => "250 2.0.0 Ok: queued as 4XyZ\r\n",
        "QUIT" => "221 bye\r\n",
        _ => "250 ok\r\n",
    })
}
