//! The counter that seqs come from, and what is known of the ends of the partitions they went to.

use super::outbox::Numbering;
use artel_store::{Read, StoreError, Write};

/// The partitions this service ever wrote to with a seq.
pub(crate) async fn partitions(read: &mut Read) -> Result<Vec<(String, u32, i64)>, StoreError> {
    read.all("SELECT topic, partition, seq FROM flow_sent ORDER BY topic, partition", ()).await
}

/// Raises the counter to at least `floor`, so that no number is ever given twice; returns the next one.
pub(crate) async fn jump(write: &mut Write, floor: i64) -> Result<i64, StoreError> {
    let (next,): (i64,) = write
        .one(
            "INSERT INTO flow_seq (id, next) VALUES (1, $1)
             ON CONFLICT (id) DO UPDATE SET next = CASE WHEN flow_seq.next > excluded.next
                 THEN flow_seq.next ELSE excluded.next END
             RETURNING next",
            (floor,),
        )
        .await?;
    Ok(next)
}

/// Marks partitions whose end is not known: numbers from `from` on may be in the log already.
pub(crate) async fn doubt(write: &mut Write, places: &[(String, u32)], from: i64) -> Result<(), StoreError> {
    for (topic, partition) in places {
        write
            .exec(
                "UPDATE flow_sent SET unsure_from = $1 WHERE topic = $2 AND partition = $3 AND unsure_from IS NULL",
                (from, topic.as_str(), *partition),
            )
            .await?;
    }
    Ok(())
}

/// The partitions marked so.
pub(crate) async fn unsure(read: &mut Read) -> Result<Vec<(String, u32)>, StoreError> {
    read.all(
        "SELECT topic, partition FROM flow_sent WHERE unsure_from IS NOT NULL ORDER BY topic, partition",
        (),
    )
    .await
}

/// What became of a partition's mark.
pub(crate) struct Settled {
    pub was_marked: bool,
    pub moved: Option<Moved>,
}

/// Rows of a partition that were given higher numbers.
pub(crate) struct Moved {
    /// Those with a number at or above this one.
    pub from: i64,
    /// The next number to be given.
    pub next: i64,
}

/// Takes the mark off a partition, now that its highest number is known. Where that is not below the numbers given since the mark,
/// those rows that have one, none of which was published, move behind every number given so far; their order stays.
pub(crate) async fn settle(
    write: &mut Write,
    numbering: Numbering,
    (topic, partition): &(String, u32),
    highest: i64,
) -> Result<Settled, StoreError> {
    let text = numbering.pick(
        "UPDATE flow_outbox SET id = id + $1, seq = seq + $1, prev = CASE WHEN prev >= $2 THEN prev + $1 ELSE prev END
         WHERE topic = $3 AND partition = $4 AND id >= $2",
        "UPDATE flow_outbox SET seq = seq + $1, prev = CASE WHEN prev >= $2 THEN prev + $1 ELSE prev END
         WHERE topic = $3 AND partition = $4 AND seq >= $2",
    );
    let place = (topic.as_str(), *partition);
    // Written first, since it locks the row.
    let marked: Option<(Option<i64>,)> = write
        .opt(
            "UPDATE flow_sent SET seq = seq WHERE topic = $1 AND partition = $2 RETURNING unsure_from",
            place,
        )
        .await?;
    let Some((Some(from),)) = marked else { return Ok(Settled { was_marked: false, moved: None }) };
    let mut moved = None;
    let mut by = 0;
    if highest >= from {
        // All that was given since the mark lies between it and this one.
        let given = jump(write, 0).await?;
        let next = jump(write, highest.saturating_add(1)).await?;
        by = next - from;
        write.exec(text, (by, from, place.0, place.1)).await?;
        moved = Some(Moved { from, next: jump(write, next.saturating_add(given - from)).await? });
    }
    write
        .exec(
            "UPDATE flow_sent SET seq = CASE WHEN seq >= $1 THEN seq + $2 ELSE seq END, unsure_from = NULL
             WHERE topic = $3 AND partition = $4",
            (from, by, place.0, place.1),
        )
        .await?;
    Ok(Settled { was_marked: true, moved })
}
