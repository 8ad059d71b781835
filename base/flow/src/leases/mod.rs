//! Leases: which partitions of which groups this node takes in, and whether it is the one that relays. One loop per service
//! moves them, in the service's own database; what is moved is fenced by the row's epoch, so that an owner that does not
//! know yet that it lost something can do nothing with it.

mod share;

use crate::Failure;
use crate::changes::Changes;
use crate::ctx::Shared;
use crate::members::Members;
use crate::outage::{Outage, Whose};
use crate::projections::group_of as version_group;
use crate::storage::leases::{self, Lease, Subject};
use crate::storage::outbox;
use crate::storage::projections;
use crate::wakes::LEASES;
use artel_store::{Lane, Read};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The work of publishing a service's outbox.
pub(crate) const RELAY: &str = "relay";
/// The work of firing timers and schedules, and of purging.
pub(crate) const KEEPER: &str = "keeper";

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(2);
/// When what is not a locked row is the reason of a failure.
const OUTAGE: Duration = Duration::from_secs(2);

/// What this node has of a service, as far as it knows.
pub(crate) struct Held {
    /// The epoch under which it relays; `None` = another node does.
    pub relay: watch::Sender<Option<i64>>,
    pub keeper: watch::Sender<Option<i64>>,
    /// The same for schedules: a watch channel wakes several who wait in an order by chance, and a simulated run would not be the
    /// same twice.
    pub schedules: watch::Sender<Option<i64>>,
    /// Changes whenever partitions were gained or lost.
    pub partitions: Changes,
    /// Asks for a look: there are new partitions.
    pub look: Notify,
}

impl Held {
    pub fn new() -> Held {
        Held {
            relay: watch::Sender::new(None),
            keeper: watch::Sender::new(None),
            schedules: watch::Sender::new(None),
            partitions: Changes::default(),
            look: Notify::new(),
        }
    }

    /// Everything, for a node that is alone.
    pub fn all() -> Held {
        let held = Held::new();
        held.relay.send_replace(Some(0));
        held.keeper.send_replace(Some(0));
        held.schedules.send_replace(Some(0));
        held
    }
}

/// Leases that do not move.
type Stuck = BTreeMap<Subject, Outage>;

/// Moves leases until stopped. A node that is alone has them all from the start.
pub(crate) async fn run(shared: Arc<Shared>, members: Members, stop: CancellationToken) {
    if !members.shared() {
        return;
    }
    let mut changes = members.changes();
    let mut mine = BTreeSet::new();
    let of = Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of, "leases wait for the infrastructure", "leases move again");
    let mut stuck = Stuck::new();
    while !stop.is_cancelled() {
        let moved = async {
            round(&shared, &members, &mut mine, &mut stuck).await?;
            count_outbox(&shared).await
        };
        match moved.await {
            Ok(()) => outage.over(),
            // The poll is about as long as the longest pause.
            Err(failure) => outage.failed(failure),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = changes.changed() => {}
            () = shared.held.look.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Every node's commits fill the outbox and one relay empties it, so the count is looked up now and then.
async fn count_outbox(shared: &Shared) -> Result<(), Failure> {
    let most = i64::try_from(shared.limits.outbox_rows).unwrap_or(i64::MAX);
    let rows = outbox::count(&mut shared.db.read().await?, most).await?;
    shared.outbox_rows.store(rows, Ordering::Relaxed);
    shared.metrics.outbox(shared.name(), rows);
    Ok(())
}

async fn round(
    shared: &Arc<Shared>,
    members: &Members,
    mine: &mut BTreeSet<(Subject, i64)>,
    stuck: &mut Stuck,
) -> Result<(), Failure> {
    let (living, holding) = (members.living(shared.name()), members.holding(shared.name()));
    let mut read = shared.db.read().await?;
    let mut seen = leases::all(&mut read).await?;
    let projections = projection_groups(&mut read, shared).await?;
    drop(read);
    // A projection's partitions are for those that have its handlers: during an update not all have.
    let (apart, all): (Vec<Lease>, Vec<Lease>) =
        seen.drain(..).partition(|lease| group_of(lease).is_some_and(|grp| projections.contains(grp)));
    let share::Moves { mut take, mut give } = share::moves(shared.node, &living, &holding, &all);
    for grp in &projections {
        let of: Vec<Lease> =
            apart.iter().filter(|lease| group_of(lease) == Some(grp.as_str())).cloned().collect();
        let moves = share::moves(shared.node, &members.living_with(shared.name(), grp), &holding, &of);
        take.extend(moves.take);
        give.extend(moves.give);
    }
    let listed: BTreeSet<&Subject> = take.iter().chain(&give).map(|lease| &lease.subject).collect();
    for (_, mut done) in stuck.extract_if(.., |subject, _| !listed.contains(subject)) {
        done.over();
    }
    let taken = move_each(shared, &take, Some(shared.node), stuck).await;
    if !take.is_empty() {
        // What was taken is worked with while others are still waited for.
        learn(shared, mine).await?;
    }
    let given = move_each(shared, &give, None, stuck).await;
    if taken + given > 0 {
        tracing::info!(service = shared.name(), taken, given, nodes = living.len(), "leases moved");
        shared.metrics.leases_moved(shared.name(), taken, given);
    }
    learn(shared, mine).await?;
    if given > 0 {
        shared.wake_others(LEASES);
    }
    Ok(())
}

fn group_of(lease: &Lease) -> Option<&str> {
    match &lease.subject {
        Subject::Partition { grp, .. } => Some(grp),
        Subject::Work(_) => None,
    }
}

/// The groups of all versions of projections, also of those that this program does not have.
async fn projection_groups(read: &mut Read, shared: &Shared) -> Result<BTreeSet<String>, Failure> {
    let stored = projections::list(read).await?;
    let group = |s: projections::Stored| shared.service.group_name(&version_group(&s.name, s.version));
    Ok(stored.into_iter().map(group).collect())
}

/// Moves what can be moved, and says how many that were. One that fails, such as a partition in the middle of whose batch its
/// owner has frozen, holds up no other; the next round tries it again.
async fn move_each(shared: &Shared, leases: &[Lease], owner: Option<Uuid>, stuck: &mut Stuck) -> usize {
    let mut moved = 0;
    for lease in leases {
        let begun = Instant::now();
        match change(shared, lease, owner).await {
            Ok(done) => {
                moved += usize::from(done);
                if let Some(mut outage) = stuck.remove(&lease.subject) {
                    outage.over();
                }
            }
            Err(failure) => {
                let outage = stuck.entry(lease.subject.clone()).or_insert_with(|| {
                    let of = Whose::Service(shared.name().to_owned());
                    Outage::new(
                        of,
                        "a lease does not move yet; it is tried again",
                        "a lease that did not move has moved",
                    )
                });
                outage.failed(format_args!("{:?}: {failure}", lease.subject));
                // No lock takes so long: it is the database, which the others would wait for as well.
                if begun.elapsed() > OUTAGE {
                    break;
                }
            }
        }
    }
    moved
}

/// Waits a moment only where somebody holds the row.
async fn change(shared: &Shared, lease: &Lease, owner: Option<Uuid>) -> Result<bool, Failure> {
    let mut write = shared.begin_own(Lane::Interactive).await?;
    leases::wait_shortly(&mut write, shared.db.engine()).await?;
    let changed = leases::change(&mut write, lease, owner).await?;
    write.commit().await?;
    Ok(changed)
}

/// Reads what this node has now, and tells those who work with it.
async fn learn(shared: &Shared, mine: &mut BTreeSet<(Subject, i64)>) -> Result<(), Failure> {
    let seen = leases::all(&mut shared.db.read().await?).await?;
    let now: BTreeSet<(Subject, i64)> =
        seen.into_iter().filter(|l| l.owner == Some(shared.node)).map(|l| (l.subject, l.epoch)).collect();
    let epoch_of = |name: &str| {
        now.iter().find(|(s, _)| matches!(s, Subject::Work(work) if work == name)).map(|(_, epoch)| *epoch)
    };
    let held = &shared.held;
    for (work, name) in [(&held.relay, RELAY), (&held.keeper, KEEPER), (&held.schedules, KEEPER)] {
        let epoch = epoch_of(name);
        work.send_if_modified(|known| std::mem::replace(known, epoch) != epoch);
    }
    let partitions = |all: &BTreeSet<(Subject, i64)>| -> BTreeSet<(Subject, i64)> {
        all.iter().filter(|(s, _)| matches!(s, Subject::Partition { .. })).cloned().collect()
    };
    if partitions(&now) != partitions(mine) {
        shared.held.partitions.tell();
    }
    *mine = now;
    Ok(())
}

/// Gives back the partitions and the keeper's work; the relay goes on until its outbox is empty.
pub(crate) async fn give_back(shared: &Shared, relay: bool) -> Result<(), Failure> {
    let seen = leases::all(&mut shared.db.read().await?).await?;
    let is_relay = |l: &Lease| matches!(&l.subject, Subject::Work(name) if name == RELAY);
    let mine = seen.into_iter().filter(|l| l.owner == Some(shared.node) && is_relay(l) == relay);
    move_each(shared, &mine.collect::<Vec<_>>(), None, &mut Stuck::new()).await;
    shared.wake_others(LEASES);
    Ok(())
}

/// A lease as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leased {
    pub service: String,
    /// A group's full name, `relay` or `keeper`.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The node that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Uuid>,
    /// Its name, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether the owner lives.
    pub alive: bool,
    pub epoch: i64,
}

/// Every lease of these services.
pub(crate) async fn list(
    services: impl Iterator<Item = &Shared>,
    members: &Members,
) -> Result<Vec<Leased>, Failure> {
    let nodes = members.list();
    let mut all = Vec::new();
    for shared in services {
        let mut read = shared.db.read().await?;
        let projections = projection_groups(&mut read, shared).await?;
        for lease in leases::all(&mut read).await? {
            // What no living node has the handlers of is nobody's work: an old version of a projection.
            let has = |grp: &str| !members.living_with(shared.name(), grp).is_empty();
            if group_of(&lease).is_some_and(|grp| projections.contains(grp) && !has(grp)) {
                continue;
            }
            let node = nodes.iter().find(|node| Some(node.id) == lease.owner);
            let (what, topic, partition) = match lease.subject {
                Subject::Partition { grp, topic, partition } => (grp, Some(topic), Some(partition)),
                Subject::Work(name) => (name, None, None),
            };
            all.push(Leased {
                service: shared.name().to_owned(),
                what,
                topic,
                partition,
                owner: lease.owner,
                node: node.map(|node| node.name.clone()),
                alive: node.is_some_and(|node| node.alive),
                epoch: lease.epoch,
            });
        }
    }
    Ok(all)
}
