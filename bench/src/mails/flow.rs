//! Our side: a node whose mails wait behind a gate until all are queued.

use super::{Load, TEXT, Took};
use crate::cpu::{Used, resident};
use crate::node::Node;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_contract::notify::templates::PutTemplate;
use artel_contract::notify::{Content, ListDeliveries, NotifyMany, Recipient, State};
use artel_flow::{Ctx, Limits, Runtime};
use artel_message::Fault;
use artel_notify::channels::{Carrier, Carriers, Outgoing, Question, SmtpSettings, Word};
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
/// Between their being written down as begun and as sent.
pub(super) const AT_ONCE: u32 = 4_096;
const TEMPLATE: &str = "letter";
/// Nothing here lasts that long.
const LONG: Duration = Duration::from_secs(600);

/// The real account, behind a gate.
struct Gate {
    open: watch::Receiver<bool>,
    account: Arc<dyn Carrier>,
    taken: Arc<AtomicU32>,
}

#[async_trait]
impl Carrier for Gate {
    fn provider(&self) -> Provider {
        self.account.provider()
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        // Whoever holds the other end waits for what is taken.
        let _ = self.open.clone().wait_for(|open| *open).await;
        let handed = self.account.hand(message).await;
        self.taken
            .fetch_add(u32::from(matches!(handed.said, Said::Smtp { code: 250, .. })), Ordering::Relaxed);
        handed
    }

    async fn ask(&self, question: &Question) -> Result<Word, Fault> {
        self.account.ask(question).await
    }
}

pub(super) async fn measure(load: &Load, port: u16) -> Result<Took> {
    let dir = TempDir::new()?;
    let place = Place::new(load.postgres.as_deref(), &dir).await?;
    let (gate, taken) = (watch::Sender::new(false), Arc::new(AtomicU32::new(0)));
    let smtp: SmtpSettings = serde_json::from_value(json!({
        "host": "127.0.0.1", "port": port, "security": "none", "connections": load.connections,
        "from": "parcels@example.com", "from_name": "Parcels",
    }))?;
    let account = smtp.carrier(Duration::from_secs(30)).map_err(|reason| anyhow!(reason))?;
    let runtime = start(&dir, &place.url, (gate.subscribe(), account, &taken)).await?;
    let ctx = runtime.ctx("notify").context("the service runs")?;
    let begun = Instant::now();
    accept(ctx, load).await?;
    let accepting = begun.elapsed();
    let (begun, before) = (Instant::now(), Used::now());
    gate.send_replace(true);
    let waiting =
        || ListDeliveries { state: Some(State::Accepted), limit: Some(1), ..ListDeliveries::default() };
    loop {
        if taken.load(Ordering::Relaxed) >= load.mails && ctx.query(waiting()).await?.items.is_empty() {
            break;
        }
        ensure!(begun.elapsed() < LONG, "it does not end: {} were taken", taken.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (sending, used) = (begun.elapsed(), Used::now().since(before));
    let resident = resident("self").context("the system does not tell how much memory there is")?;
    ensure!(taken.load(Ordering::Relaxed) == load.mails, "some were sent twice");
    runtime.stop(Duration::from_secs(10)).await;
    place.close().await?;
    Ok(Took { accepting, sending, used, resident })
}

/// Until all have left the timers and wait to be sent.
async fn accept(ctx: &Ctx, load: &Load) -> Result<()> {
    let text = "Your parcel is on its way, and here is a line about it.\n";
    let text = text.repeat(TEXT.div_ceil(text.len()));
    let texts =
        json!({ "email": { "subject": "Parcel {{ number }}", "text": format!("{text}{{{{ number }}}}") } });
    let template = json!({
        "template": TEMPLATE, "by": "bench",
        "body": { "default_language": "en", "languages": { "en": texts } },
    });
    ctx.ask(serde_json::from_value::<PutTemplate>(template)?).await?;
    for first in (0..load.mails).step_by(CHUNK as usize) {
        ctx.ask(chunk(first, CHUNK.min(load.mails - first), load.bulk)?).await?;
    }
    let begun = Instant::now();
    while ctx.read().await?.one::<(i64,)>("SELECT count(*) FROM flow_timer", ()).await? != (0,) {
        ensure!(begun.elapsed() < LONG, "it is not queued");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn chunk(first: u32, count: u32, bulk: bool) -> Result<NotifyMany> {
    let recipient =
        |n: u32| Recipient { email: Some(format!("anna-{n}@example.org")), ..Recipient::default() };
    let content: Content = serde_json::from_value(json!({
        "template": TEMPLATE, "topic": "parcels", "channels": ["email"],
        "lane": if bulk { "bulk" } else { "transactional" }, "data": { "number": first },
    }))?;
    Ok(NotifyMany { recipients: (first..first + count).map(recipient).collect(), content })
}

async fn start(
    dir: &TempDir,
    url: &str,
    (open, account, taken): (watch::Receiver<bool>, Arc<dyn Carrier>, &Arc<AtomicU32>),
) -> Result<Runtime> {
    let taken = taken.clone();
    let carriers = Carriers::with(Arc::new(move |_, _| {
        Some(Arc::new(Gate { open: open.clone(), account: account.clone(), taken: taken.clone() }))
    }));
    let node = Node {
        services: vec![artel_notify::service_over(carriers)],
        roles: vec!["notify"],
        catalogue: artel_contract::of(&["notify"]),
        bus: Segments::open(dir.path().join("log"), SegmentsConfig::default())?,
        store: url.to_owned(),
        limits: Limits { effect_time: LONG, handler_time: LONG, ..Limits::default() },
    };
    let settings = json!({ "call_seconds": 50, "email": { "accounts": [{ "name": "mail", "at_once": AT_ONCE, "none": {} }] } });
    node.with_settings("notify", settings).await
}
