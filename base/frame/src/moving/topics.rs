//! Topics: made with as many partitions as before, filled, and compared record by record.

use super::target::Target;
use super::{MoveError, Plan, SameTopic, now};
use crate::backup::Progress;
use crate::node::Standing;
use artel_bus::{
    Compared, Fetch, GroupOffset, Groups, Log, Shift, Topic, TopicSpec, Topics, carry,
    compare as compare_both,
};
use artel_flow::moving::{NewPlaces, NewTopic};
use futures::{StreamExt, TryStreamExt};

/// Partitions at the same time: each waits for the brokers most of its time.
const AT_ONCE: usize = 8;
const ONE: Fetch = Fetch { max_records: 1, max_bytes: 1 };

/// Makes every topic, and gives them with those of them that keep their messages for ever.
pub(super) async fn make(
    source: &Standing,
    target: &Target,
    plan: &Plan,
) -> Result<(Vec<Topic>, Vec<String>), MoveError> {
    let groups = source.log.offsets().await?;
    let (mut made, mut kept_for_ever) = (Vec::new(), Vec::new());
    for topic in &plan.topics {
        let of_topic = groups.iter().filter(|group| group.topic == topic.name);
        let keeps = needs_old(source, of_topic, topic.retention_ms, topic.retention_bytes).await?;
        if keeps {
            kept_for_ever.push(topic.name.clone());
        }
        let spec = TopicSpec {
            name: topic.name.clone(),
            partitions: topic.partitions,
            retention_ms: topic.retention_ms.filter(|_| !keeps),
            retention_bytes: topic.retention_bytes.filter(|_| !keeps),
        };
        made.push(target.log.make(spec).await?);
    }
    Ok((made, kept_for_ever))
}

/// Fills every topic; where everything went.
pub(super) async fn copy(
    source: &Standing,
    target: &Target,
    plan: &Plan,
    made: Vec<Topic>,
    progress: &Progress,
) -> Result<NewPlaces, MoveError> {
    let mut places = NewPlaces::default();
    progress.count("copying topics", "messages", plan.records());
    for (topic, made) in plan.topics.iter().zip(made) {
        let old = source.log.describe(&topic.name).await?;
        let shifts = futures::stream::iter(0..topic.partitions)
            .map(|partition| {
                let watched = move |records| progress.add(records);
                async move {
                    let (from, to) = (source.log.as_ref(), target.log.as_ref());
                    if to.bounds(&topic.name, partition).await?.end > 0 {
                        let there = format!("{}/{partition} has messages of somebody else", topic.name);
                        return Err(MoveError::NotEmpty(vec![there]));
                    }
                    Ok(carry(from, to, &topic.name, partition, &watched).await?)
                }
            })
            .buffered(AT_ONCE)
            .try_collect::<Vec<Shift>>()
            .await?;
        places.add(topic.name.clone(), NewTopic { source: old.id, target: made.id, shifts });
    }
    Ok(places)
}

/// Whether a group still needs messages that brokers, which know nothing of groups, might remove before it gets there.
async fn needs_old(
    source: &Standing,
    groups: impl Iterator<Item = &GroupOffset>,
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
) -> Result<bool, MoveError> {
    for GroupOffset { topic, partition, next, .. } in groups {
        let bounds = source.log.bounds(topic, *partition).await?;
        let next = (*next).max(bounds.begin);
        if next >= bounds.end {
            continue;
        }
        if retention_bytes.is_some() {
            return Ok(true);
        }
        let first = source.log.read(topic, *partition, next, ONE).await?.records.into_iter().next();
        let age = first.map_or(0, |record| now().millis() - record.time.millis());
        // Half of the time is left for the move and for the group.
        if retention_ms.is_some_and(|ms| age > ms / 2) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads both logs record by record; what the brokers have removed since has to be what no group needs. Gives what is the same, by
/// topic.
pub(super) async fn compare(
    source: &Standing,
    target: &Target,
    places: &NewPlaces,
    plan: &Plan,
    progress: &Progress,
) -> Result<Vec<SameTopic>, MoveError> {
    let groups = source.log.offsets().await?;
    progress.count("comparing topics", "messages", plan.records());
    let all = plan.topics.iter().flat_map(|topic| {
        let new = places.of(&topic.name);
        let shifts = new.into_iter().flat_map(|new| &new.shifts);
        (0u32..).zip(shifts).map(|(partition, shift)| (topic.name.as_str(), partition, shift))
    });
    let groups = &groups;
    let compared: Vec<(&str, Compared)> = futures::stream::iter(all)
        .map(|(topic, partition, shift)| async move {
            let watched = move |records| progress.add(records);
            let (from, to) = (source.log.as_ref(), target.log.as_ref());
            let found = compare_both(from, to, topic, partition, shift, &watched).await?;
            if found.gone == 0 {
                return Ok((topic, found));
            }
            let begin = target.log.bounds(topic, partition).await?.begin;
            let late = groups.iter().find(|group| {
                (group.topic.as_str(), group.partition) == (topic, partition)
                    && shift.offset(group.next) < begin
            });
            match late {
                None => Ok((topic, found)),
                Some(group) => Err(MoveError::Gone {
                    topic: topic.to_owned(),
                    partition,
                    group: group.group.clone(),
                    next: group.next,
                }),
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(plan.topics.iter().map(|topic| sum(&topic.name, &compared)).collect())
}

fn sum(name: &str, compared: &[(&str, Compared)]) -> SameTopic {
    let of_topic = || compared.iter().filter(|(topic, _)| *topic == name);
    SameTopic {
        name: name.to_owned(),
        same: of_topic().map(|(_, found)| found.same).sum(),
        gone: of_topic().map(|(_, found)| found.gone).sum(),
    }
}
