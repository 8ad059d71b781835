//! How fast push messages are handed over, on kept connections to the simulators in this process, beside a raw twin: the same
//! requests, made before, written and answered over as many plain sockets. `pushes [MESSAGES [AT_ONCE]]`; what else runs on the
//! machine is for the reader to say.

use artel_wires::fcm::{Fcm, FcmPush, FcmSettings, ServiceAccount};
use artel_wires::simulators::fcm::{FcmSimulator, FcmSimulatorSettings};
use artel_wires::simulators::web_push::{WebPushSimulator, WebPushSimulatorSettings};
use artel_wires::simulators::{Board, Judge, all_good};
use artel_wires::web_push::{Subscription, VapidKey, WebPush, WebPushMessage, WebPushSettings};
use artel_wires::{Handed, Said};
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let messages = arguments.next().unwrap_or(Ok(20_000))?;
    let at_once = arguments.next().unwrap_or(Ok(32))?;
    println!("{messages} messages, {at_once} at once, simulators in the same process");
    for run in 1..=3 {
        let (client, twin) = fcm(messages, at_once).await?;
        println!("{run}: fcm       {client:>7.0}/s   raw twin {twin:>7.0}/s");
        // The simulator decrypts each message, which costs it more than encrypting costs the client.
        let (client, twin) = web_push(messages / 4, at_once, false).await?;
        println!("{run}: web push  {client:>7.0}/s   raw twin {twin:>7.0}/s");
        let (client, twin) = web_push(messages, at_once, true).await?;
        println!("{run}: web push  {client:>7.0}/s   raw twin {twin:>7.0}/s   to a server that only answers");
    }
    Ok(())
}

fn board() -> (Board, Judge) {
    (Board::new(16 << 20, artel_wires::http::system_clock()), all_good())
}

async fn fcm(messages: usize, at_once: usize) -> Result<(f64, f64), Failure> {
    let (board, judge) = board();
    let simulator = FcmSimulator::start(FcmSimulatorSettings::default(), board, judge).await?;
    let file = simulator.service_account().await?;
    let push = Arc::new(FcmPush {
        token: "t".repeat(150),
        title: "Your parcel is on its way".to_owned(),
        body: "It arrives tomorrow between 10:00 and 14:00.".to_owned(),
        ..FcmPush::default()
    });
    let client = |base: String| -> Result<Arc<Fcm>, Failure> {
        let settings = FcmSettings { base, ..FcmSettings::default() };
        Ok(Arc::new(Fcm::new(ServiceAccount::parse(&file)?, settings)?))
    };
    let proxy = Proxy::start(simulator.served().address()).await?;
    taken(&client(format!("http://{}", proxy.address))?.send(&push).await?)?;
    let own = client(simulator.served().url())?;
    let rate = rate(messages, at_once, || {
        let (own, push) = (Arc::clone(&own), Arc::clone(&push));
        async move { taken(&own.send(&push).await?) }
    });
    Ok((rate.await?, twin(messages, at_once, simulator.served().address(), proxy.request()).await?))
}

async fn web_push(messages: usize, at_once: usize, only_answers: bool) -> Result<(f64, f64), Failure> {
    let (board, judge) = board();
    let simulator = WebPushSimulator::start(WebPushSimulatorSettings::default(), board, judge).await?;
    let json = simulator.subscribe(None)?;
    let settings = WebPushSettings {
        contact: "mailto:ops@artel.example".to_owned(),
        allow_loopback: true,
        ..WebPushSettings::default()
    };
    let own = Arc::new(WebPush::new(VapidKey::generate()?, settings)?);
    let payload =
        r#"{"title":"Your parcel is on its way","body":"It arrives tomorrow between 10:00 and 14:00."}"#;
    let message = Arc::new(WebPushMessage { payload: payload.into(), ..WebPushMessage::default() });
    let simulated = simulator.served().address();
    let sink = Sink::start().await?;
    let address = if only_answers { sink.address } else { simulated };
    let json = json.replace(&simulated.to_string(), &address.to_string());
    let proxy = Proxy::start(address).await?;
    let through = Subscription::parse(&json.replace(&address.to_string(), &proxy.address.to_string()))?;
    taken(&own.send(&through, &message).await?)?;
    let to = Arc::new(Subscription::parse(&json)?);
    let rate = rate(messages, at_once, || {
        let (own, to, message) = (Arc::clone(&own), Arc::clone(&to), Arc::clone(&message));
        async move { taken(&own.send(&to, &message).await?) }
    });
    Ok((rate.await?, twin(messages, at_once, address, proxy.request()).await?))
}

fn taken(handed: &Handed) -> Result<(), Failure> {
    match &handed.said {
        Said::Http { status: 200..=299, .. } => Ok(()),
        other => Err(format!("not taken: {other:?}").into()),
    }
}

/// Messages a second, of `at_once` tasks that send one after the other.
async fn rate<F, S>(messages: usize, at_once: usize, send: F) -> Result<f64, Failure>
where
    F: Fn() -> S,
    S: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut begun = Instant::now();
    // The first tenth only warms up.
    for part in [messages / 10, messages] {
        begun = Instant::now();
        let mut under_way = JoinSet::new();
        for _ in 0..part {
            if under_way.len() >= at_once
                && let Some(done) = under_way.join_next().await
            {
                done??;
            }
            under_way.spawn(send());
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
    }
    Ok(messages as f64 / begun.elapsed().as_secs_f64())
}

async fn twin(messages: usize, at_once: usize, to: SocketAddr, request: Vec<u8>) -> Result<f64, Failure> {
    let request = Arc::new(request);
    let begun = Instant::now();
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    for task in 0..at_once {
        let request = Arc::clone(&request);
        let share = messages / at_once + usize::from(task < messages % at_once);
        tasks.spawn(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let mut stream = BufReader::new(stream);
            for _ in 0..share {
                stream.get_mut().write_all(&request).await?;
                message(&mut stream, "HTTP/1.1 20").await?;
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(messages as f64 / begun.elapsed().as_secs_f64())
}

/// Reads one request or answer, which has to begin so.
async fn message(stream: &mut BufReader<TcpStream>, begins: &str) -> Result<(), Failure> {
    let (mut length, mut line, mut first) = (0, String::new(), true);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if first && !line.starts_with(begins) {
            return Err(format!("not taken: {line}").into());
        }
        first = false;
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(())
}

/// Answers every request with 201.
struct Sink {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Sink {
    async fn start() -> Result<Sink, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while message(&mut stream, "POST ").await.is_ok() {
                        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
                        if stream.get_mut().write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Sink { address, _task: task })
    }
}

/// Hands bytes on to a simulator, and keeps what the client wrote.
struct Proxy {
    address: SocketAddr,
    written: Arc<Mutex<Vec<u8>>>,
    _task: JoinSet<()>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Result<Proxy, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = Arc::clone(&written);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let Ok((client, _)) = listener.accept().await else { return };
            let Ok(server) = TcpStream::connect(to).await else { return };
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let forth = async {
                let mut part = [0; 8_192];
                while let Ok(n @ 1..) = from_client.read(&mut part).await {
                    if let Ok(mut kept) = kept.lock() {
                        kept.extend_from_slice(&part[..n]);
                    }
                    if to_server.write_all(&part[..n]).await.is_err() {
                        return;
                    }
                }
            };
            let back = tokio::io::copy(&mut from_server, &mut to_client);
            let _ = tokio::join!(forth, back);
        });
        Ok(Proxy { address, written, _task: task })
    }

    fn request(&self) -> Vec<u8> {
        self.written.lock().map(|written| written.clone()).unwrap_or_default()
    }
}
