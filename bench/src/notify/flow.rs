//! The module's side: a node whose provider waits behind a gate until all are queued.

use super::Took;
use crate::cpu::Used;
use crate::node::Node;
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_contract::notify::{Content, ListDeliveries, NotifyMany, Recipient, State};
use artel_flow::{Limits, Runtime};
use artel_notify::channels::{Carrier, Carriers, Outgoing};
use artel_notify::domain::classes::Provider;
use artel_wires::{Handed, Said};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

const CHUNK: u32 = 1_000;
/// Nothing here lasts that long.
const LONG: Duration = Duration::from_secs(600);

struct Gate {
    open: watch::Receiver<bool>,
    called: Arc<AtomicU32>,
}

#[async_trait]
impl Carrier for Gate {
    fn provider(&self) -> Provider {
        Provider::Smpp
    }

    async fn hand(&self, _: &Outgoing) -> Handed {
        // Whoever holds the other end waits for what is called.
        let _ = self.open.clone().wait_for(|open| *open).await;
        self.called.fetch_add(1, Ordering::Relaxed);
        Handed { said: Said::Smpp { status: 0 }, reference: None, parts: Vec::new(), by: "none".to_owned() }
    }
}

pub(super) async fn measure(messages: u32, bulk: bool, postgres: Option<&str>) -> Result<Took> {
    let dir = TempDir::new()?;
    let place = Place::new(postgres, &dir).await?;
    let (gate, called) = (watch::Sender::new(false), Arc::new(AtomicU32::new(0)));
    let runtime = start(&dir, &place.url, gate.subscribe(), &called).await?;
    let ctx = runtime.ctx("notify").context("the service runs")?;
    let begun = Instant::now();
    for first in (0..messages).step_by(CHUNK as usize) {
        ctx.ask(chunk(first, CHUNK.min(messages - first), bulk)?).await?;
    }
    // What is queued has left the timers.
    while ctx.read().await?.one::<(i64,)>("SELECT count(*) FROM flow_timer", ()).await? != (0,) {
        ensure!(begun.elapsed() < LONG, "it is not queued");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let accepting = begun.elapsed();
    let (begun, before) = (Instant::now(), Used::now());
    gate.send_replace(true);
    let waiting =
        || ListDeliveries { state: Some(State::Accepted), limit: Some(1), ..ListDeliveries::default() };
    loop {
        if called.load(Ordering::Relaxed) >= messages && ctx.query(waiting()).await?.items.is_empty() {
            break;
        }
        ensure!(begun.elapsed() < LONG, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = Took { accepting, sending: begun.elapsed(), used: Used::now().since(before) };
    ensure!(called.load(Ordering::Relaxed) == messages, "some were sent twice");
    runtime.stop(Duration::from_secs(10)).await;
    place.close().await?;
    Ok(took)
}

fn chunk(first: u32, count: u32, bulk: bool) -> Result<NotifyMany> {
    let recipient = |n: u32| Recipient { phone: Some(format!("+7916{n:07}")), ..Recipient::default() };
    let content: Content = serde_json::from_value(json!({
        "template": "shipment", "topic": "shipments", "channels": ["sms"],
        "lane": if bulk { "bulk" } else { "transactional" },
        "data": { "shipment": "7", "state": "in_transit", "tracking_number": "RA123456789RU" },
    }))?;
    Ok(NotifyMany { recipients: (first..first + count).map(recipient).collect(), content })
}

async fn start(
    dir: &TempDir,
    url: &str,
    open: watch::Receiver<bool>,
    called: &Arc<AtomicU32>,
) -> Result<Runtime> {
    let called = called.clone();
    let carriers = Carriers::with(Arc::new(move |_, _| {
        Some(Arc::new(Gate { open: open.clone(), called: called.clone() }))
    }));
    let node = Node {
        services: vec![artel_notify::service_over(carriers)],
        roles: vec!["notify"],
        catalogue: artel_contract::of(&["notify"]),
        bus: Segments::open(dir.path().join("log"), SegmentsConfig::default())?,
        store: url.to_owned(),
        limits: Limits { effect_time: LONG, handler_time: LONG, ..Limits::default() },
    };
    let settings = json!({ "call_seconds": 50, "sms": { "accounts": [{ "name": "none", "at_once": 4096, "none": {} }] } });
    node.with_settings("notify", settings).await
}
