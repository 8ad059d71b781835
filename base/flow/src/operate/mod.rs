//! What operators do with messages that fail: parked keys, dead letters, places of groups, each step with a row of who did it.

mod again;
mod keys;
mod letters;
mod marks;
mod own;
mod places;
mod retire;
mod rewind;

pub use keys::ParkedKeys;
pub(crate) use keys::dropped;
pub use letters::{DeadLetters, Replayed};
pub(crate) use places::moved;
pub use places::{Places, Skip, Skipped};
pub use rewind::{Back, Rewind, Rewinding};

use crate::ctx::Shared;
use crate::storage::audit::{self, Audit};
use crate::wakes::PARKED;
use crate::{Ctx, Failure, Tx};
use artel_message::{Cause, Fault, Time};
use artel_store::Lane;
use std::sync::Arc;
use uuid::Uuid;

/// Who does it, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    pub who: String,
    pub reason: Option<String>,
}

impl By {
    pub fn who(who: impl Into<String>) -> By {
        By { who: who.into(), reason: None }
    }
    pub fn because(self, reason: impl Into<String>) -> By {
        By { reason: Some(reason.into()), ..self }
    }
}

/// One step, as it is kept.
struct Step<'a> {
    action: &'static str,
    target: String,
    detail: String,
    by: &'a By,
}

impl Ctx {
    /// Messages of this service that were given up on.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters { shared: self.shared.clone() }
    }

    /// Keys of this service's groups whose messages wait.
    pub fn parked_keys(&self) -> ParkedKeys {
        ParkedKeys { shared: self.shared.clone() }
    }

    /// Where this service's groups stand.
    pub fn places(&self) -> Places {
        Places { shared: self.shared.clone() }
    }

    /// What was done by hand, the newest first; behind the step at this time with this id, when given.
    pub async fn audit(&self, behind: Option<(Time, Uuid)>, limit: u32) -> Result<Vec<Audit>, Fault> {
        let mut read = self.shared.db.read().await?;
        let behind = behind.unwrap_or((Time::MAX, Uuid::max()));
        Ok(audit::list(&mut read, behind, i64::from(limit)).await?)
    }
}

/// A transaction for a step by hand, with an identity of its own. It locks the rows that it depends on, and waits for who has them.
async fn begin(shared: &Arc<Shared>) -> Result<Tx, Failure> {
    let mut tx = Tx::begin_plain(shared, Lane::Interactive).await?;
    let now = shared.now();
    tx.enter("operate", Cause::message(shared.ids.fresh(now), now), false, None);
    Ok(tx)
}

async fn note(tx: &mut Tx, step: Step<'_>) -> Result<(), Failure> {
    let Step { action, target, detail, by } = step;
    tracing::info!(
        service = tx.shared.name(),
        action,
        target,
        detail,
        user.name = by.who,
        reason = by.reason,
        "done by hand"
    );
    let (id, at) = (tx.new_id(), tx.now());
    let tame = |text: &str| crate::fingerprint::tame(text, 2_000);
    let row = Audit {
        id,
        at,
        who: tame(&by.who),
        action: action.to_owned(),
        target,
        detail: tame(&detail),
        reason: by.reason.as_deref().map(tame),
    };
    Ok(audit::note(tx.write(), row).await?)
}

/// How a message is named to people.
pub(crate) fn place(topic: &str, partition: u32, offset: i64) -> String {
    format!("{topic}/{partition}@{offset}")
}

fn conflict(reason: String) -> Failure {
    Failure::Refused(Fault::conflict(reason))
}

/// What is thrown away is gone: somebody has to have said why.
fn reason_given(by: &By) -> Result<(), Fault> {
    match &by.reason {
        Some(reason) if !reason.trim().is_empty() => Ok(()),
        _ => Err(Fault::field("reason", "say why: what is dropped is gone for good")),
    }
}

impl Shared {
    /// There may be something for those that try parked keys again.
    fn wake_parked(&self) {
        self.wake.parked.notify_one();
        self.wake_others(PARKED);
    }
}
