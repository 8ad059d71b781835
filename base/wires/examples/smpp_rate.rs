//! Short messages a second over one link to the simulated centre, by the size of the window:
//! `cargo run --release -p artel-wires --example smpp_rate -- 100000`

use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Board, Receipt};
use artel_wires::smpp::{Client, Reference, Settings, Sms};
use artel_wires::{Said, smpp};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    println!("{count} messages of one part, over one link, client and centre in this process");
    for receipts in [false, true] {
        for window in [1, 16, 64] {
            let took = run(count, window, receipts).await?;
            let rate = count as f64 / took.as_secs_f64();
            let with = if receipts { "a receipt each" } else { "no receipts" };
            println!("window {window:>2}, {with:<14}  {rate:>9.0} a second  ({took:.2?})");
        }
    }
    Ok(())
}

async fn run(count: usize, window: usize, receipts: bool) -> Result<Duration, Box<dyn Error>> {
    let board = Board::new(8 << 20, Arc::new(|| 0));
    let told: Vec<_> = receipts.then_some((Duration::ZERO, Receipt::Delivered)).into_iter().collect();
    let judge = Arc::new(move |_: &Arrival| Behaviour { receipts: told.clone(), ..Behaviour::default() });
    let settings = SmppSimulatorSettings::new(|octets| String::from_utf8_lossy(octets).into_owned());
    let centre = SmppSimulator::start(settings, board, judge).await?;
    let (client, mut incoming) = Client::start(Settings {
        host: "127.0.0.1".into(),
        port: centre.address().port(),
        system_id: "rate".into(),
        source: smpp::sender("Parcels")?,
        window,
        most_unread: 100_000,
        ..Settings::default()
    });
    let client = Arc::new(client);
    let stored = tokio::spawn(async move {
        let mut stored = 0;
        while stored < count
            && let Some(delivery) = incoming.recv().await
        {
            delivery.stored().await;
            stored += 1;
        }
    });
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> =
        (0..window).map(|_| tokio::spawn(send(Arc::clone(&client), Arc::clone(&next), count))).collect();
    for sender in senders {
        sender.await??;
    }
    if receipts {
        stored.await?;
    }
    let took = began.elapsed();
    client.close().await;
    centre.stop().await;
    Ok(took)
}

/// One of as many as the window has places.
async fn send(client: Arc<Client>, next: Arc<AtomicUsize>, count: usize) -> Result<(), String> {
    while next.fetch_add(1, Ordering::Relaxed) < count {
        let text = vec!["your parcel has arrived and waits for you until Friday".into()];
        let sms =
            Sms::new("+79161234567", 0, text, Reference::Eight(0)).map_err(|error| error.to_string())?;
        let said = client.send(&sms).await.handed.said;
        if said != (Said::Smpp { status: 0 }) {
            return Err(format!("not taken: {said:?}"));
        }
    }
    Ok(())
}
