//! The outside, as effects call it: it may refuse, or do the work and not answer. It keeps a list of what it was asked, and looks at
//! what may not be asked at the same time.

use crate::life::Life;
use crate::stage::{Stage, pass};
use artel_flow::{Call, Outbound, Reply};
use artel_message::Fault;
use async_trait::async_trait;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// What the outside is asked to do for a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

/// A call that is under way.
struct Open {
    number: u64,
    life: Arc<Life>,
    what: String,
    deeds: Vec<Deed>,
}

#[derive(Default)]
struct Book {
    calls: u64,
    open: Vec<Open>,
    /// (what, deed) in the order in which they were begun, but for calls of nodes that had been frozen: nobody keeps such a one from
    /// calling what it had claimed before.
    begun: Vec<(String, Deed)>,
}

#[derive(Default)]
pub struct Outside(Mutex<Book>);

/// What is done for one thing of a key at a time.
const ONE_OF_A_KEY: &str = "dial";

/// How long after it froze a node may not know yet that it has lost a claim.
const STALE: Duration = Duration::from_secs(2);

impl Outside {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was asked to do, in order.
    pub fn begun(&self, what: &str) -> Vec<Deed> {
        let book = self.book();
        book.begun.iter().filter(|(of, _)| of == what).map(|(_, deed)| deed.clone()).collect()
    }

    fn begin(&self, life: &Arc<Life>, what: &str, deeds: &[Deed], width: usize) -> u64 {
        let mut book = self.book();
        book.calls += 1;
        let number = book.calls;
        if !life.was_frozen(STALE) {
            let beside =
                |open: &&Open| open.what == what && !open.life.is_dead() && !open.life.was_frozen(STALE);
            let beside: Vec<&Open> = book.open.iter().filter(beside).collect();
            // What came twice since a database went back is asked for twice, each under an identity of its own.
            let once = life.stage.counts().restores == 0;
            let again = |deed: &&Deed| once && beside.iter().any(|open| open.deeds.contains(deed));
            for deed in deeds.iter().filter(again) {
                life.stage.broke(format!("{what}: {} of key {} is called twice at once", deed.n, deed.key));
            }
            let of_a_key = |deed: &&Deed| {
                what == ONE_OF_A_KEY
                    && beside.iter().flat_map(|open| &open.deeds).any(|of| of.key == deed.key)
            };
            for deed in deeds.iter().filter(of_a_key) {
                life.stage
                    .broke(format!("{what}: {} of key {} is called beside another one", deed.n, deed.key));
            }
            let own = beside.iter().filter(|open| Arc::ptr_eq(&open.life, life)).count();
            if own >= width {
                life.stage.broke(format!("{what}: a node makes {} calls at once, not {width}", own + 1));
            }
            book.begun.extend(deeds.iter().map(|deed| (what.to_owned(), deed.clone())));
        }
        book.open.push(Open { number, life: life.clone(), what: what.to_owned(), deeds: deeds.to_vec() });
        number
    }

    fn end(&self, number: u64) {
        self.book().open.retain(|open| open.number != number);
    }
}

/// The outside as one life of a node has it.
pub struct NodeOutside {
    pub outside: Arc<Outside>,
    pub life: Arc<Life>,
}

#[async_trait]
impl Outbound for NodeOutside {
    async fn call(&self, call: Call) -> Result<Reply, Fault> {
        let stage: &Stage = &self.life.stage;
        let away = || Fault::unavailable("the outside does not answer");
        self.life.pass("calls", &call.url).await;
        if stage.strikes(300) {
            return Err(away());
        }
        let what = call.url.trim_start_matches("http://outside/").to_owned();
        let width = call.headers.get("width").and_then(|width| width.to_str().ok()?.parse().ok());
        let deeds: Vec<Deed> = serde_json::from_slice(&call.body).expect("deeds");
        let number = self.outside.begin(&self.life, &what, &deeds, width.unwrap_or(usize::MAX));
        let took = stage.chance(|chance| {
            let most = if chance.once_in(500) { 3_000 } else { 200 };
            chance.millis(1..most)
        });
        pass(took).await;
        self.life.pass("called", &call.url).await;
        self.outside.end(number);
        if stage.strikes(300) {
            return Err(away());
        }
        Ok(Reply { status: 200, headers: HeaderMap::new(), body: call.body })
    }
}
