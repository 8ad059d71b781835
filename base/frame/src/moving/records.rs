//! Messages that the target would refuse: found before anything is copied, and not hours into it.

use super::{MoveError, Plan};
use crate::backup::Progress;
use crate::node::Standing;
use artel_bus::{Bounds, BusError, Fetch, Log, Received, Record, alone, unstorable};

const AT_A_TIME: Fetch = Fetch { max_records: 1_000, max_bytes: 512 << 10 };
/// How many are named.
const NAMED: usize = 20;

/// Reads every message and refuses those that the target never takes: what no log stores any more, and what is larger than its
/// `bus.max_message_bytes`.
pub(super) async fn refuse_unfit(
    source: &Standing,
    plan: &Plan,
    largest: usize,
    progress: &Progress,
) -> Result<(), MoveError> {
    progress.count("looking at messages", "messages", plan.records());
    let (mut unfit, mut more) = (Vec::new(), 0);
    for topic in &plan.topics {
        for partition in 0..topic.partitions {
            let Bounds { begin, end } = source.log.bounds(&topic.name, partition).await?;
            let mut at = begin;
            while at < end {
                let fetched = source.log.read(&topic.name, partition, at, AT_A_TIME).await?;
                if fetched.next <= at {
                    let reason = format!("{}/{partition} gives nothing at offset {at}", topic.name);
                    return Err(BusError::Unavailable(reason).into());
                }
                at = fetched.next;
                for record in &fetched.records {
                    let Some(reason) = refused(record, largest) else { continue };
                    if unfit.len() < NAMED {
                        unfit.push(format!(
                            "{}/{partition} at offset {}: {reason}",
                            topic.name, record.offset
                        ));
                    } else {
                        more += 1;
                    }
                }
                progress.add(fetched.records.len() as u64);
            }
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(MoveError::Unfit { messages: unfit, more }) }
}

fn refused(record: &Received, largest: usize) -> Option<String> {
    let headers: Vec<_> = record.headers.iter().collect();
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let record = Record { key, value, headers: &headers, time: record.time };
    if let Some(reason) = unstorable(&record) {
        return Some(reason.to_owned());
    }
    let size = alone(&record);
    (size > largest).then(|| format!("it is {size} bytes; bus.max_message_bytes of --to is {largest}"))
}
