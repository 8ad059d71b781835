//! What caused a message, upwards, and what it caused, downwards.

use super::accounts::{Hit, cause_of, of_outgoing, read_at};
use super::scan::{Ended, Place, Scan, Slim, Wanted, time_of};
use super::story::{Account, At, Looked};
use super::{SKEW, Search};
use crate::storage::why;
use artel_message::Time;
use std::collections::VecDeque;
use std::time::Duration;
use uuid::Uuid;

/// Records whose cause is not known yet: it may come later where clocks differ.
const PASSED: usize = 20_000;
/// Rows of an outbox that are looked at.
const OUTBOX: i64 = 20_000;

/// A message below the one that is asked about.
struct Node {
    hit: Hit,
    parent: Option<usize>,
    depth: usize,
}

impl Search<'_> {
    /// The messages that caused it, the nearest first, and why there are no more.
    pub(super) async fn up(&mut self, hit: &Hit) -> (Vec<Account>, Option<String>) {
        let mut chain: Vec<Account> = Vec::new();
        let mut below = hit.clone();
        loop {
            let Some(cause) = below.account.cause else {
                return (chain, Some(origin(&below.account)));
            };
            if chain.len() >= self.inquiry.depth {
                return (chain, Some(format!("message {cause} caused it, and so on: --depth goes further")));
            }
            let Some(mut above) = self.cause(cause, &below).await else {
                let says = format!(
                    "message {cause} caused it, which is not found any more, neither in the log nor in the tables"
                );
                return (chain, Some(says));
            };
            self.fill(&mut above).await;
            chain.push(above.account.clone());
            below = above;
        }
    }

    /// A message by its id, and by what the id of one that it caused says of its time.
    async fn cause(&mut self, id: Uuid, below: &Hit) -> Option<Hit> {
        let traces = self.traces(id).await;
        if let Some((topic, partition, offset)) = &traces.place {
            let found = read_at(self.bus.as_ref(), topic, *partition, *offset, self.inquiry.payload).await;
            if let Some(hit) = found.filter(|hit| hit.is(id)) {
                return Some(hit);
            }
        }
        if let Some((service, stuck, row)) = &traces.outgoing {
            return Some(of_outgoing(service, stuck.clone(), row, self.inquiry.payload));
        }
        let mut wanted = Wanted::default();
        wanted.add(id, 0);
        // Ids carry the time of what caused them; only an id that was given from outside does not.
        let born = time_of(below.account.id);
        let last = below.account.made_at.or(below.account.places.first().map(|at| at.time));
        let near = born.map(|at| (at, at + Duration::from_millis(1)));
        let far = time_of(id).map(|at| at - SKEW).zip(last.map(|at| at + SKEW));
        for (from, until) in near.into_iter().chain(far) {
            self.looked.from = self.looked.from.into_iter().chain([from]).min();
            let found = self.first_of(false, &wanted, Some(from), Some(until)).await;
            if found.is_some() {
                return found;
            }
        }
        traces.letter.as_ref().map(|letter| super::of_letter(letter, self.inquiry.payload))
    }

    /// The message with all that it caused below it.
    pub(super) async fn down(&mut self, hit: Hit) -> Account {
        let account = &hit.account;
        let made = account.made_at.or(account.places.first().map(|at| at.time));
        let from = made.or_else(|| time_of(account.id)).map(|at| at - SKEW);
        self.looked.from = self.looked.from.into_iter().chain(from).min();
        let mut family = Family::of(hit, self.inquiry.depth, self.inquiry.most);
        self.look_down(&mut family, from).await;
        self.look_into_outboxes(&mut family, from).await;
        if family.full {
            let most = self.inquiry.most;
            self.looked.open.push(format!("the first {most} messages are told; --limit tells more"));
        }
        if family.deeper {
            let depth = self.inquiry.depth;
            self.looked.open.push(format!("relations are followed {depth} deep; --depth goes further"));
        }
        for node in &mut family.nodes {
            self.fill(&mut node.hit).await;
        }
        family.tree()
    }

    async fn look_down(&mut self, family: &mut Family, from: Option<Time>) {
        let mut scan = Scan::open(self.bus.as_ref(), &self.everywhere, from, &mut self.looked).await;
        while let Some(record) = scan.next(&mut self.budget, &mut self.looked).await {
            let place = &self.everywhere[record.lane];
            if let Some(known) = family.wanted.of(&record, place) {
                family.again(known, place, &record);
                continue;
            }
            let Some(cause) = record.cause else { continue };
            let mut due = VecDeque::from([(cause, record)]);
            while let Some((cause, record)) = due.pop_front() {
                let Some(parent) = family.parent(cause) else {
                    family.pass(cause, record);
                    continue;
                };
                let place = &self.everywhere[record.lane];
                let bus = self.bus.as_ref();
                let read = read_at(bus, &place.topic, place.partition, record.offset, self.inquiry.payload);
                let Some(mut hit) = read.await else { continue };
                if place.topic.ends_with(".dlq") {
                    hit.account.copies = std::mem::take(&mut hit.account.places);
                }
                let added = family.add(hit, parent);
                // What it caused may have come before it, by a clock that is behind.
                due.extend(family.missed(added));
            }
            if family.full {
                break;
            }
        }
        if scan.ended == Ended::Budget {
            self.looked.until = scan.reached;
            let says = self.bound_reached("what it caused later is not told");
            self.looked.open.push(says);
        } else if !family.full {
            self.looked.until = None;
        }
    }

    /// What it caused and has not left yet.
    async fn look_into_outboxes(&mut self, family: &mut Family, from: Option<Time>) {
        for side in &self.sides {
            let look = async {
                let mut read = side.db.read().await?;
                let rows = why::outbox_since(&mut read, from.unwrap_or(Time::MIN), OUTBOX).await?;
                let cut = rows.len() >= usize::try_from(OUTBOX).unwrap_or(usize::MAX);
                for (id, headers) in rows {
                    let Some(parent) = cause_of(&headers).and_then(|cause| family.parent(cause)) else {
                        continue;
                    };
                    if family.wanted.by(id).is_some() {
                        continue;
                    }
                    if let Some(row) = why::outgoing(&mut read, id).await? {
                        family.add(
                            of_outgoing(&side.name, side.stuck(&row), &row, self.inquiry.payload),
                            parent,
                        );
                    }
                }
                Ok::<bool, artel_store::StoreError>(cut)
            };
            match look.await {
                Ok(false) => {}
                Ok(true) => self.looked.open.push(format!(
                    "of the outbox of service '{}' the oldest {OUTBOX} messages were looked at",
                    side.name
                )),
                Err(error) => self
                    .looked
                    .open
                    .push(format!("the outbox of service '{}' could not be read: {error}", side.name)),
            }
        }
    }

    /// Tells what the tables know of a message.
    pub(super) async fn fill(&mut self, hit: &mut Hit) {
        for side in &self.sides {
            let told = async {
                let readings = side.readings(hit).await?;
                let kept = side.kept(hit).await?;
                Ok::<_, artel_store::StoreError>((readings, kept, side.timers(hit).await?))
            };
            match told.await {
                Ok((readings, kept, timers)) => {
                    hit.account.groups.extend(readings);
                    hit.account.answered = hit.account.answered.take().or(kept);
                    hit.account.timers.extend(timers);
                }
                Err(error) => self
                    .looked
                    .open
                    .push(format!("the tables of service '{}' could not be read: {error}", side.name)),
            }
        }
    }
}

/// Why a message has no cause among messages.
fn origin(account: &Account) -> String {
    let who = account.source.as_deref().unwrap_or("another program");
    match who.strip_prefix("artel/") {
        Some(service) => format!(
            "service '{service}' made it, and no message was the reason: it was asked (over HTTP, or by another service), or a \
             timer, a schedule or the end of an effect was the reason; the trace tells more"
        ),
        None => format!("{who} wrote it into the log"),
    }
}

struct Family {
    nodes: Vec<Node>,
    wanted: Wanted,
    passed: VecDeque<(Uuid, Slim)>,
    depth: usize,
    most: usize,
    full: bool,
    deeper: bool,
}

impl Family {
    fn of(hit: Hit, depth: usize, most: usize) -> Family {
        let mut wanted = Wanted::default();
        hit.names().for_each(|name| wanted.add(name, 0));
        let nodes = vec![Node { hit, parent: None, depth: 0 }];
        Family { nodes, wanted, passed: VecDeque::new(), depth, most, full: false, deeper: false }
    }

    /// Which of those that are known this is the cause of; none where it would be too deep, or too many.
    fn parent(&mut self, cause: Uuid) -> Option<usize> {
        let parent = self.wanted.by(cause)?;
        self.deeper |= self.nodes[parent].depth >= self.depth;
        self.full |= self.nodes.len() >= self.most;
        (self.nodes[parent].depth < self.depth && !self.full).then_some(parent)
    }

    fn add(&mut self, hit: Hit, parent: usize) -> usize {
        let index = self.nodes.len();
        hit.names().for_each(|name| self.wanted.add(name, index));
        self.nodes.push(Node { hit, parent: Some(parent), depth: self.nodes[parent].depth + 1 });
        index
    }

    /// It lies at another place too: a repeat, or the copy of a dead letter.
    fn again(&mut self, known: usize, place: &Place, record: &Slim) {
        let at = At {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset: record.offset,
            time: record.time,
        };
        let account = &mut self.nodes[known].hit.account;
        let list = if at.topic.ends_with(".dlq") { &mut account.copies } else { &mut account.places };
        if !list.contains(&at) {
            list.push(at);
        }
    }

    fn pass(&mut self, cause: Uuid, record: Slim) {
        if self.passed.len() == PASSED {
            self.passed.pop_front();
        }
        self.passed.push_back((cause, record));
    }

    /// The records that have passed and whose cause a message turned out to be.
    fn missed(&mut self, added: usize) -> Vec<(Uuid, Slim)> {
        let names: Vec<Uuid> = self.nodes[added].hit.names().collect();
        let (missed, others): (Vec<_>, VecDeque<_>) = std::mem::take(&mut self.passed).into_iter().fold(
            (Vec::new(), VecDeque::new()),
            |mut all, one| {
                if names.contains(&one.0) {
                    all.0.push(one)
                } else {
                    all.1.push_back(one)
                }
                all
            },
        );
        self.passed = others;
        missed
    }

    fn tree(self) -> Account {
        let mut accounts: Vec<(Option<usize>, Account)> =
            self.nodes.into_iter().map(|node| (node.parent, node.hit.account)).collect();
        // Children stand behind their parents.
        while accounts.len() > 1 {
            let Some((parent, account)) = accounts.pop() else { break };
            if let Some(parent) = parent {
                accounts[parent].1.caused.insert(0, account);
            }
        }
        accounts.pop().map(|(_, account)| account).unwrap_or_default()
    }
}

impl Looked {
    /// Each sentence once.
    pub(super) fn tidy(&mut self) {
        let mut told = std::collections::BTreeSet::new();
        self.open.retain(|sentence| told.insert(sentence.clone()));
    }
}
