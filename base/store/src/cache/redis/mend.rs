//! Whether Redis can be used, and the task that brings it back. Calls never connect, and never try whether it works
//! again: while it is away they fail at once.

use super::doubt::Doubt;
use super::link::{Failure, Link};
use super::names::{Names, RedisSettings};
use crate::CacheError;
use redis::{Client, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{error::Elapsed, sleep, timeout};
use uuid::Uuid;

/// So many calls in a row without an answer, and nobody waits any more.
const LATE_CALLS: u32 = 3;
/// How long Redis gets to answer on a connection that it was silent on, before that is given up.
const SILENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone)]
enum State {
    /// The first connection is not there yet.
    Starting,
    Up(Arc<Link>),
    Down(Arc<str>),
}

pub(super) struct Shared {
    client: Client,
    pub(super) settings: RedisSettings,
    pub(super) names: Names,
    pub(super) doubt: Doubt,
    state: watch::Sender<State>,
    late: AtomicU32,
}

impl Shared {
    pub(super) fn new(client: Client, settings: RedisSettings) -> Shared {
        let names = Names::new(&settings.prefix);
        let state = watch::Sender::new(State::Starting);
        Shared { client, settings, names, doubt: Doubt::default(), state, late: AtomicU32::new(0) }
    }

    /// The connection, or at once why there is none; only the very first one is waited for.
    pub(super) async fn link(&self) -> Result<Arc<Link>, CacheError> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Starting));
        match timeout(self.settings.timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(link) => Ok(Arc::clone(link)),
                State::Down(reason) => Err(CacheError::Unavailable { reason: format!("redis: {reason}") }),
                State::Starting => Err(Failure::Late.into()),
            },
            _ => Err(Failure::Late.into()),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(_) => None,
            State::Starting => Some("redis: there is no connection yet".to_owned()),
            State::Down(reason) => Some(format!("redis: {reason}")),
        }
    }

    /// Learns from how a call on `link` ended.
    pub(super) fn heard(
        &self,
        link: &Arc<Link>,
        result: Result<Result<Value, Failure>, Elapsed>,
    ) -> Result<Value, Failure> {
        match result {
            Ok(Err(Failure::Gone(reason))) => {
                self.down(Some(link), &reason);
                Err(Failure::Gone(reason))
            }
            Ok(answer) => {
                self.late.store(0, Ordering::Relaxed);
                answer
            }
            Err(_) => {
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_CALLS {
                    self.down(Some(link), "it does not answer in time");
                }
                Err(Failure::Late)
            }
        }
    }

    /// A write was lost: what it would have replaced may still be read, so nothing is until the generation is renewed.
    pub(super) fn suspect(&self, reason: &str) {
        self.doubt.lose();
        self.down(None, &format!("{reason}; older copies are put aside first"));
    }

    /// True when the write is worth waiting for; else it counts as lost.
    pub(super) fn begin_doubt(&self, key: &str, link: &Link) -> bool {
        let begun = self.doubt.begin(key, link.era);
        if !begun {
            self.suspect("a write got no answer");
        }
        begun
    }

    pub(super) fn end_doubt(&self, key: &str, link: &Link, answered: bool) {
        // While the key is still in doubt. What was abandoned is counted already.
        if !answered && self.doubt.is_present(link.era) {
            self.suspect("a write got no answer");
        }
        self.doubt.end(key, link.era);
    }

    /// Out of use, unless `link` was replaced already.
    fn down(&self, link: Option<&Arc<Link>>, reason: &str) {
        let changed = self.state.send_if_modified(|state| {
            let State::Up(current) = state else { return false };
            if link.is_some_and(|link| !Arc::ptr_eq(link, current)) {
                return false;
            }
            *state = State::Down(reason.into());
            true
        });
        if changed {
            tracing::warn!(reason, "the cache in redis is out of use; work goes on without it");
        }
    }

    /// Keeps waiting calls informed about the latest reason.
    fn still_down(&self, reason: &str) {
        self.state.send_if_modified(|state| {
            let known = matches!(state, State::Down(known) if **known == *reason);
            if !known {
                tracing::warn!(reason, "the cache in redis can't be used");
                *state = State::Down(reason.into());
            }
            !known
        });
    }

    /// Makes `link` the one in use, unless a write was lost since the generation was looked after.
    fn up(&self, link: &Arc<Link>) -> bool {
        self.late.store(0, Ordering::Relaxed);
        let mut healed = false;
        self.state.send_modify(|state| {
            // Under the lock that `suspect` takes after it has counted its write.
            healed = self.doubt.to_renew().is_none();
            if healed {
                *state = State::Up(Arc::clone(link));
            }
        });
        healed
    }
}

/// Connects, and connects again, for as long as the cache is there.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let mut link: Option<Arc<Link>> = None;
    loop {
        let mut pause = FIRST_PAUSE;
        let mended = loop {
            match mend(&shared, link.take()).await {
                Ok(mended) if shared.up(&mended) => break mended,
                Ok(again) => link = Some(again),
                Err(failure) => {
                    let reason = match failure {
                        Failure::Late => "it does not answer in time".to_owned(),
                        Failure::Gone(reason) | Failure::Refused(reason) | Failure::Stale(reason) => reason,
                    };
                    shared.still_down(&reason);
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        tracing::info!("the cache in redis is in use");
        link = Some(mended);
        if state.wait_for(|state| matches!(state, State::Down(_))).await.is_err() {
            return;
        }
    }
}

/// The old connection if it answers, else a new one; and the generation as it has to be.
async fn mend(shared: &Shared, old: Option<Arc<Link>>) -> Result<Arc<Link>, Failure> {
    let mut kept = None;
    if let Some(link) = old {
        kept = matches!(timeout(SILENCE, link.ping()).await, Ok(Ok(()))).then_some(link);
    }
    let limit = shared.settings.connect_timeout;
    let (link, fresh) = match kept {
        Some(link) => (link, false),
        None => {
            let era = shared.doubt.abandon();
            (Arc::new(Link::connect(&shared.client, &shared.names, era, limit).await?), true)
        }
    };
    let lost = shared.doubt.to_renew();
    if fresh || lost.is_some() {
        let entered = timeout(limit, link.enter(lost.is_some())).await.map_err(|_| Failure::Late)?;
        match entered {
            // No memory for the new one, but the old one is gone: nothing old can be read.
            Ok(()) | Err(Failure::Refused(_)) => {}
            Err(failure) => return Err(failure),
        }
        if let Some(lost) = lost {
            shared.doubt.renewed(lost);
        }
    }
    Ok(link)
}

/// Nodes that lost Redis at the same moment do not all come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let random = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
    pause.mul_f64(0.5 + random)
}
