//! Dead letters as operators look for them.

use super::dead::{DeadLetter, fields};
use artel_message::{Fault, Time};
use artel_store::{FromRow, Read, Row, StoreError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! letters {
    ($rest:literal) => {
        concat!("SELECT ", fields!(), " FROM flow_dead ", $rest)
    };
}

/// Which letters are meant; all that are named have to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letters {
    /// Their fingerprint.
    pub cause: Option<String>,
    pub group: Option<String>,
    pub topic: Option<String>,
    pub name: Option<String>,
    pub key: Option<Bytes>,
    /// Given up at this time or later, and before that one.
    pub from: Option<Time>,
    pub to: Option<Time>,
}

impl Letters {
    /// What is named and empty fits nothing; whoever says so most likely means something else than all letters.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let named =
            [("cause", &self.cause), ("group", &self.group), ("topic", &self.topic), ("name", &self.name)];
        match named.iter().find(|(_, word)| word.as_deref() == Some("")) {
            Some((field, _)) => {
                Err(Fault::field(field, "is empty; leave it out where it is not to be looked at"))
            }
            None => Ok(()),
        }
    }
}

/// A place among the letters in the order of their logs, for those who go through them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) id: Uuid,
    /// What was given up later was not there when they began.
    pub(crate) until: Time,
}

impl Onward {
    /// Before the first of those that there are at this time.
    pub(crate) fn start(until: Time) -> Onward {
        Onward {
            group: String::new(),
            topic: String::new(),
            partition: 0,
            offset: i64::MIN,
            id: Uuid::nil(),
            until,
        }
    }

    pub(crate) fn behind(letter: &DeadLetter, until: Time) -> Onward {
        Onward {
            group: letter.group.clone(),
            topic: letter.topic.clone(),
            partition: letter.partition,
            offset: letter.offset,
            id: letter.id,
            until,
        }
    }
}

/// The newest first, behind the letter at this time with this id.
pub(crate) async fn list(
    read: &mut Read,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let text = letters!("WHERE at <= $1 AND (at < $1 OR id < $2) ORDER BY at DESC, id DESC LIMIT $3");
    read.all(text, (behind.0, behind.1, limit)).await
}

/// Those that fit, the newest first, behind the letter at this time with this id.
pub(crate) async fn find(
    read: &mut Read,
    which: &Letters,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let text = letters!(
        "WHERE at <= $1 AND (at < $1 OR id < $2) AND at >= $3 AND at < $4 AND ($5 = '' OR fingerprint = $5)
             AND ($6 = '' OR grp = $6) AND ($7 = '' OR topic = $7) AND ($8 = '' OR name = $8)
             AND ($9 = FALSE OR key = $10) ORDER BY at DESC, id DESC LIMIT $11"
    );
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let times = (which.from.unwrap_or(Time::MIN), which.to.unwrap_or(Time::MAX));
    let key = (which.key.is_some(), which.key.clone().unwrap_or_default());
    let words = (word(&which.cause), word(&which.group), word(&which.topic), word(&which.name));
    let args =
        (behind.0, behind.1, times.0, times.1, words.0, words.1, words.2, words.3, key.0, key.1, limit);
    read.all(text, args).await
}

/// Those that fit in the order of their logs, so that of a key the first comes first.
pub(crate) async fn in_order(
    read: &mut Read,
    which: &Letters,
    behind: &Onward,
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let text = letters!(
        "WHERE (grp, topic, partition, position, id) > ($1, $2, $3, $4, $5) AND at <= $6 AND at >= $7 AND at < $8
             AND ($9 = '' OR fingerprint = $9) AND ($10 = '' OR grp = $10) AND ($11 = '' OR topic = $11)
             AND ($12 = '' OR name = $12) AND ($13 = FALSE OR key = $14)
         ORDER BY grp, topic, partition, position, id LIMIT $15"
    );
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let times = (which.from.unwrap_or(Time::MIN), which.to.unwrap_or(Time::MAX));
    let key = (which.key.is_some(), which.key.clone().unwrap_or_default());
    let at = behind.clone();
    let args = (
        at.group,
        at.topic,
        at.partition,
        at.offset,
        at.id,
        at.until,
        times.0,
        times.1,
        word(&which.cause),
        word(&which.group),
        word(&which.topic),
        word(&which.name),
        key.0,
        key.1,
        limit,
    );
    read.all(text, args).await
}

/// How many letters there are of each cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadCause {
    pub fingerprint: String,
    pub count: i64,
    /// Of the first of them.
    pub code: String,
    pub reason: String,
    pub first: Time,
    pub last: Time,
}

impl FromRow for DeadCause {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(DeadCause {
            fingerprint: row.get("print")?,
            count: row.get("n")?,
            code: row.get("code")?,
            reason: row.get("reason")?,
            first: row.get("first_at")?,
            last: row.get("last_at")?,
        })
    }
}

/// The causes with the most letters. They are counted in their index; of each only the first letter is looked at.
pub(crate) async fn causes(read: &mut Read, limit: i64) -> Result<Vec<DeadCause>, StoreError> {
    read.all(
        "SELECT c.print AS print, c.n AS n, c.first_at AS first_at, c.last_at AS last_at, d.code AS code, d.reason AS reason
         FROM (SELECT fingerprint AS print, count(*) AS n, min(at) AS first_at, max(at) AS last_at FROM flow_dead
                   WHERE fingerprint IS NOT NULL GROUP BY fingerprint ORDER BY n DESC, print LIMIT $1) AS c
             JOIN flow_dead AS d
                 ON d.id = (SELECT id FROM flow_dead WHERE fingerprint = c.print AND at = c.first_at LIMIT 1)
         ORDER BY c.n DESC, c.print",
        (limit,),
    )
    .await
}
