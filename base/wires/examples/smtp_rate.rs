//! How many mails of 3 KB a second the client carries over kept connections:
//!
//! ```text
//! cargo run --release -p artel-wires --example smtp_rate                           to the simulator, in the same process
//! cargo run --release -p artel-wires --example smtp_rate -- 127.0.0.1:2525         to what listens there, such as smtp-sink
//! cargo run --release -p artel-wires --example smtp_rate -- 127.0.0.1:2525 100000 10
//! cargo run --release -p artel-wires --example smtp_rate -- serve 127.0.0.1:2525   the simulator alone
//! ```

use artel_wires::Said;
use artel_wires::mail::{Bounds, Letter, Mailbox};
use artel_wires::simulators::smtp::{Settings as Listen, Simulator};
use artel_wires::simulators::{Board, all_good};
use artel_wires::smtp::{Address, Client, Envelope, Mail, Security, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (mails, connections) = (number(1, 100_000), number(2, 10)?);
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            let listen = arguments.get(1).ok_or("serve HOST:PORT")?.parse()?;
            let _server = simulator(listen).await?;
            println!("listening on {listen}");
            std::future::pending().await
        }
        Some(address) => run(address.parse()?, mails?, connections).await,
        None => {
            let server = simulator("127.0.0.1:0".parse()?).await?;
            run(server.address(), mails?, connections).await
        }
    }
}

async fn simulator(listen: SocketAddr) -> std::io::Result<Simulator> {
    let board = Board::new(16 << 20, Arc::new(|| 0));
    Simulator::start(Listen::on(listen), board, all_good()).await
}

async fn run(address: SocketAddr, mails: usize, connections: usize) -> Result<(), Failed> {
    let settings = Settings {
        port: address.port(),
        security: Security::None,
        connections,
        mails_per_connection: 0,
        ..Settings::to(address.ip().to_string())
    };
    let client = Client::new(settings)?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let senders = (0..connections).map(|_| tokio::spawn(send(client.clone(), next.clone(), mails)));
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    client.close().await;
    println!(
        "{mails} mails over {connections} connections in {seconds:.2} s: {:.0}/s",
        mails as f64 / seconds
    );
    Ok(())
}

/// Writes and sends mails until there were enough; each is composed anew, as it is for a delivery.
async fn send(client: Client, next: Arc<AtomicUsize>, mails: usize) -> Result<(), Failed> {
    let mut letter = Letter {
        from: Mailbox { name: "Shop".to_owned(), address: "shop@shop.example".to_owned() },
        to: Mailbox { name: String::new(), address: "anna@example.org".to_owned() },
        subject: "Your parcel is on its way".to_owned(),
        text: Some("Your parcel is on its way, and here is a line about it.\r\n".repeat(50)),
        date: 1_790_000_000,
        ..Letter::default()
    };
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= mails {
            return Ok(());
        }
        letter.message_id = format!("{n}@shop.example");
        let envelope = Envelope {
            from: Some(Address::parse(&letter.from.address)?),
            to: Address::parse(&letter.to.address)?,
        };
        let mail = Mail::new(envelope, &letter.write(&Bounds::default(), &[])?)?;
        match client.send(&mail).await.said {
            Said::Smtp { code: 250, .. } => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
}
