//! Offsets, fences and high water: what makes each message taken in once.

use artel_bus::From as StartAt;
use artel_store::{Args, FromRow, Read, Row, StoreError, Values, Write};
use uuid::Uuid;

/// How far a group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offset {
    pub topic: String,
    pub partition: u32,
    pub next: i64,
    pub epoch: i64,
    /// Which node has the partition.
    pub owner: Option<Uuid>,
    pub log: Uuid,
    pub last_offset: Option<i64>,
    pub last_id: Option<Uuid>,
}

impl FromRow for Offset {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Offset {
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            next: row.get("next")?,
            epoch: row.get("epoch")?,
            owner: row.get("owner")?,
            log: row.get("log")?,
            last_offset: row.get("last_offset")?,
            last_id: row.get("last_id")?,
        })
    }
}

pub(crate) async fn of_group(read: &mut Read, grp: &str) -> Result<Vec<Offset>, StoreError> {
    read.all(
        "SELECT topic, partition, next, epoch, owner, log, last_offset, last_id FROM flow_offset
             WHERE grp = $1 ORDER BY topic, partition",
        (grp,),
    )
    .await
}

pub(crate) async fn of_partition(
    read: &mut Read,
    grp: &str,
    topic: &str,
    partition: u32,
) -> Result<Option<Offset>, StoreError> {
    read.opt(
        "SELECT topic, partition, next, epoch, owner, log, last_offset, last_id FROM flow_offset
             WHERE grp = $1 AND topic = $2 AND partition = $3",
        (grp, topic, partition),
    )
    .await
}

/// Which log the places in each topic were stored for.
pub(crate) async fn logs(read: &mut Read) -> Result<Vec<(String, Uuid)>, StoreError> {
    read.all("SELECT DISTINCT topic, log FROM flow_offset ORDER BY topic, log", ()).await
}

/// Makes the row of a partition that the group has not read before.
pub(crate) async fn begin(write: &mut Write, grp: &str, offset: &Offset) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_offset (grp, topic, partition, next, epoch, owner, log, last_offset, last_id, begun)
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, NULL, $4) ON CONFLICT DO NOTHING",
            (
                grp,
                offset.topic.as_str(),
                offset.partition,
                offset.next,
                offset.epoch,
                offset.owner,
                offset.log,
            ),
        )
        .await?;
    Ok(())
}

/// The fence: advances the offset if this owner still has it. False = somebody else has, or an operator moved it.
pub(crate) async fn fence(
    write: &mut Write,
    grp: &str,
    old: &Offset,
    new: &Offset,
) -> Result<bool, StoreError> {
    if planted!(NoFence) {
        let place = (new.next, grp, old.topic.as_str(), old.partition);
        write
            .exec("UPDATE flow_offset SET next = $1 WHERE grp = $2 AND topic = $3 AND partition = $4", place)
            .await?;
        return Ok(true);
    }
    let rows = write
        .exec(
            "UPDATE flow_offset SET next = $1, last_offset = $2, last_id = $3
             WHERE grp = $4 AND topic = $5 AND partition = $6 AND next = $7 AND epoch = $8",
            (
                new.next,
                new.last_offset,
                new.last_id,
                grp,
                old.topic.as_str(),
                old.partition,
                old.next,
                old.epoch,
            ),
        )
        .await?;
    Ok(rows == 1)
}

/// What is known of a source of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub source: String,
    /// The highest that was taken in.
    pub seq: i64,
    /// An operator moved the place since.
    pub loose: bool,
}

impl FromRow for Known {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let loose: Option<bool> = row.get("loose")?;
        Ok(Known { source: row.get("source")?, seq: row.get("seq")?, loose: loose.unwrap_or_default() })
    }
}

/// The highest seq of each source, for one partition.
pub(crate) async fn high_water(
    read: &mut Read,
    grp: &str,
    topic: &str,
    partition: u32,
) -> Result<Vec<Known>, StoreError> {
    read.all(
        "SELECT source, seq, loose FROM flow_high WHERE grp = $1 AND topic = $2 AND partition = $3",
        (grp, topic, partition),
    )
    .await
}

/// One raised mark: (topic, partition, source, seq).
pub(crate) type Mark = (String, u32, String, i64);

pub(crate) async fn raise(write: &mut Write, grp: &str, marks: Vec<Mark>) -> Result<(), StoreError> {
    let rows: Vec<Values> = marks
        .into_iter()
        .map(|(topic, partition, source, seq)| (grp, topic, partition, source, seq).values())
        .collect();
    write
        .exec_rows(
            "INSERT INTO flow_high (grp, topic, partition, source, seq) VALUES {rows}
             ON CONFLICT (grp, topic, partition, source) DO UPDATE SET seq = excluded.seq, loose = FALSE",
            (),
            rows,
        )
        .await?;
    Ok(())
}

/// Locks the row of a place for an operator's move, and returns where it stands; `None` = it has another owner by now.
pub(crate) async fn lock(write: &mut Write, grp: &str, place: &Offset) -> Result<Option<i64>, StoreError> {
    let row: Option<(i64,)> = write
        .opt(
            "UPDATE flow_offset SET epoch = epoch + 1 WHERE grp = $1 AND topic = $2 AND partition = $3 AND epoch = $4
             RETURNING next",
            (grp, place.topic.as_str(), place.partition, place.epoch),
        )
        .await?;
    Ok(row.map(|(next,)| next))
}

/// Moves a place that this transaction has locked. High water stays, so that repeats are known; the next message of each source
/// is taken whatever is missing before it.
pub(crate) async fn move_to(
    write: &mut Write,
    grp: &str,
    place: &Offset,
    to: (Uuid, i64),
) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_offset SET log = $1, next = $2, last_offset = NULL, last_id = NULL
             WHERE grp = $3 AND topic = $4 AND partition = $5",
            (to.0, to.1, grp, place.topic.as_str(), place.partition),
        )
        .await?;
    write
        .exec(
            "UPDATE flow_high SET loose = TRUE WHERE grp = $1 AND topic = $2 AND partition = $3",
            (grp, place.topic.as_str(), place.partition),
        )
        .await?;
    Ok(())
}

/// How a start point is kept in a row.
pub(crate) fn start_text(from: StartAt) -> String {
    match from {
        StartAt::Earliest => "earliest".to_owned(),
        StartAt::Latest => "latest".to_owned(),
        StartAt::Offset(offset) => format!("offset:{offset}"),
        StartAt::Time(time) => format!("time:{}", time.micros()),
    }
}

pub(crate) fn start_of(text: &str) -> StartAt {
    match text.split_once(':') {
        Some(("offset", n)) => n.parse().map_or(StartAt::Earliest, StartAt::Offset),
        Some(("time", n)) => n
            .parse()
            .map_or(StartAt::Earliest, |micros| StartAt::Time(artel_message::Time::from_micros(micros))),
        _ if text == "latest" => StartAt::Latest,
        _ => StartAt::Earliest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Time;

    #[test]
    fn a_start_point_survives_its_row() {
        for from in
            [StartAt::Earliest, StartAt::Latest, StartAt::Offset(7), StartAt::Time(Time::from_micros(-5))]
        {
            assert_eq!(start_of(&start_text(from)), from);
        }
    }
}
