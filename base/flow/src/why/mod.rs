//! What became of one message, and why: found in the log by the time that its id tells, told from the tables of the services
//! whose groups read it, with what caused it and what it caused. A look for operators: bounded, and it says where it ended.

mod accounts;
mod family;
mod readings;
mod scan;
mod sides;
mod story;

pub use story::{Account, At, ByHand, Failed, Fate, InOutbox, Kept, Looked, Reading, Story, Timer};

use crate::Runtime;
use accounts::{Hit, of_letter, of_outgoing, of_waiting, read_at};
use artel_bus::Bus;
use artel_message::{Fault, Time};
use bytes::Bytes;
use scan::{Budget, Ended, Place, Scan, Wanted, time_of};
use sides::{Side, Traces};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Clocks of nodes may differ so much.
const SKEW: Duration = Duration::from_secs(10);
/// More partitions are not looked through at once.
const PARTITIONS: usize = 2_000;
/// A value is told up to this size.
const VALUE: usize = 256 << 10;

/// What is asked about a message.
#[derive(Debug, Clone)]
pub struct Inquiry {
    pub id: Uuid,
    /// Only this topic is looked through; of all unless said.
    pub topic: Option<String>,
    /// Only the partitions that this key goes to.
    pub key: Option<Bytes>,
    /// Where looking begins, in place of the time that the id tells.
    pub since: Option<Time>,
    /// How far up and down its relations are followed, and how many of them are told.
    pub depth: usize,
    pub most: usize,
    /// How many records are looked at, and for how long.
    pub records: usize,
    pub patience: Duration,
    /// Whether values are told.
    pub payload: bool,
}

impl Inquiry {
    pub fn about(id: Uuid) -> Inquiry {
        Inquiry {
            id,
            topic: None,
            key: None,
            since: None,
            depth: 5,
            most: 100,
            records: 200_000,
            patience: Duration::from_secs(10),
            payload: false,
        }
    }
}

/// One inquiry while it runs.
struct Search<'a> {
    inquiry: &'a Inquiry,
    bus: Arc<dyn Bus>,
    /// Where the message itself may be, and where its relations may.
    places: Vec<Place>,
    everywhere: Vec<Place>,
    sides: Vec<Side>,
    budget: Budget,
    looked: Looked,
}

impl Runtime {
    /// Tells what is known of a message. Faults only where the log itself does not answer, or a topic is named that is not there.
    pub async fn why(&self, inquiry: &Inquiry) -> Result<Story, Fault> {
        let mut looked = Looked::default();
        let sides = sides::all(self, &mut looked).await;
        let bus = self.bus.clone();
        let places = places(bus.as_ref(), inquiry, &mut looked).await?;
        // Its relations may be elsewhere; that says nothing of where the message itself was looked for.
        let mut elsewhere = Looked::default();
        let everywhere = match (&inquiry.topic, &inquiry.key) {
            (None, None) => places.clone(),
            _ => self::places(bus.as_ref(), &Inquiry::about(inquiry.id), &mut elsewhere).await?,
        };
        let until = Instant::now() + inquiry.patience;
        let budget = Budget { records: inquiry.records, until };
        let mut search = Search { inquiry, bus, places, everywhere, sides, budget, looked };
        let mut story = search.tell().await;
        story.looked.tidy();
        Ok(story)
    }
}

/// The partitions to look through.
async fn places(bus: &dyn Bus, inquiry: &Inquiry, looked: &mut Looked) -> Result<Vec<Place>, Fault> {
    let topics = match &inquiry.topic {
        Some(topic) => vec![bus.describe(topic).await?],
        None => bus.list().await?,
    };
    let mut places = Vec::new();
    looked.topics = topics.len();
    for topic in &topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        let only = inquiry.key.as_deref().map(|key| artel_bus::partition::of_key(key, topic.partitions));
        // Copies of dead letters lie in one partition, whatever the key.
        let numbers = (0..topic.partitions).filter(|number| only.is_none_or(|only| only == *number));
        places.extend(numbers.map(|partition| Place { topic: name.clone(), log: topic.id, partition }));
    }
    if places.len() > PARTITIONS {
        looked.open.push(format!(
            "of {} partitions the first {PARTITIONS} were looked through; name a topic (--topic) or a key (--key)",
            places.len()
        ));
        places.truncate(PARTITIONS);
    }
    looked.partitions = places.len();
    Ok(places)
}

impl Search<'_> {
    async fn tell(&mut self) -> Story {
        let id = self.inquiry.id;
        let traces = self.traces(id).await;
        let is = traces.is.clone();
        let mut found = self.find(id, &traces).await;
        let mut story =
            Story { id, is, message: None, because_of: Vec::new(), origin: None, looked: Looked::default() };
        let Some(hit) = &mut found else {
            if story.is.is_none() {
                self.say_where_not(id);
            }
            story.looked = std::mem::take(&mut self.looked);
            return story;
        };
        (story.because_of, story.origin) = self.up(hit).await;
        let hit = found.take().unwrap_or_default();
        story.message = Some(self.down(hit).await);
        story.looked = std::mem::take(&mut self.looked);
        story
    }

    /// What the tables of all services have of an id.
    async fn traces(&mut self, id: Uuid) -> Traces {
        let mut all = Traces::default();
        for side in &self.sides {
            match side.traces(id).await {
                Ok(traces) => all.add(traces),
                Err(reason) => self.looked.open.push(reason),
            }
        }
        all
    }

    /// The message itself: where the tables say, or by a look through the log from the time that its id tells.
    async fn find(&mut self, id: Uuid, traces: &Traces) -> Option<Hit> {
        // A letter's or a key's id stands for the message that it is about.
        let id = traces.letter.as_ref().map_or(id, |letter| letter.message);
        let mut hit = None;
        if let Some((topic, partition, offset)) = traces.place.clone() {
            hit = read_at(self.bus.as_ref(), &topic, partition, offset, self.inquiry.payload)
                .await
                .filter(|hit| traces.by_place || hit.is(id));
        }
        if hit.is_none() && traces.place.is_none() && traces.is.is_none() {
            hit = self.locate(id).await;
        }
        if hit.is_none() && traces.letter.is_none() && traces.outgoing.is_none() {
            hit = self.waits(id).await;
        }
        let hit = hit.or_else(|| traces.letter.as_ref().map(|l| of_letter(l, self.inquiry.payload)));
        match (&traces.outgoing, hit) {
            (Some((service, stuck, row)), Some(mut hit)) => {
                hit.account.outbox = of_outgoing(service, stuck.clone(), row, false).account.outbox;
                Some(hit)
            }
            (Some((service, stuck, row)), None) => {
                Some(of_outgoing(service, stuck.clone(), row, self.inquiry.payload))
            }
            (None, hit) => hit,
        }
    }

    /// Where it waits behind a parked key, for one that the log has deleted.
    async fn waits(&mut self, id: Uuid) -> Option<Hit> {
        for side in &self.sides {
            match side.waiting(id).await {
                Ok(Some(row)) => return Some(of_waiting(&row, self.inquiry.payload)),
                Ok(None) => {}
                Err(error) => self
                    .looked
                    .open
                    .push(format!("the tables of service '{}' could not be read: {error}", side.name)),
            }
        }
        None
    }

    async fn locate(&mut self, id: Uuid) -> Option<Hit> {
        let from = self.inquiry.since.or_else(|| Some(time_of(id)? - SKEW));
        self.looked.from = from;
        if from.is_none() {
            self.looked.open.push(
                "the id does not say when it was made (it is no UUIDv7): looking began with the oldest message; --since narrows it"
                    .to_owned(),
            );
        }
        let mut wanted = Wanted::default();
        wanted.add(id, 0);
        self.first_of(true, &wanted, from, None).await
    }

    /// The first record from a time on, and not behind another, that is wanted.
    async fn first_of(
        &mut self,
        narrow: bool,
        wanted: &Wanted,
        from: Option<Time>,
        until: Option<Time>,
    ) -> Option<Hit> {
        let places = if narrow { &self.places } else { &self.everywhere };
        let mut scan = Scan::open(self.bus.as_ref(), places, from, &mut self.looked).await;
        while let Some(record) = scan.next(&mut self.budget, &mut self.looked).await {
            if until.is_some_and(|until| record.time > until) {
                return None;
            }
            let place = &places[record.lane];
            // A copy of a dead letter is not the message.
            if wanted.of(&record, place).is_some() && !place.topic.ends_with(".dlq") {
                let place = place.clone();
                let bus = self.bus.as_ref();
                return read_at(bus, &place.topic, place.partition, record.offset, self.inquiry.payload)
                    .await;
            }
        }
        if scan.ended == Ended::Budget {
            self.looked.until = scan.reached;
        }
        None
    }

    fn say_where_not(&mut self, id: Uuid) {
        let Looked { records, partitions, topics, services, from, until, .. } = &self.looked;
        let from = from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
        let until = until.map_or_else(|| "the end".to_owned(), |until| until.to_string());
        self.looked.open.push(format!(
            "nothing is known of {id}: it was looked for in {records} messages of {partitions} partitions of {topics} topics, from \
             {from} to {until}, and in the tables of {}; it may be older than the log keeps, made earlier than its id says \
             (--since), or have taken no way over the log, as queries and asked commands do",
            if services.is_empty() { "no service".to_owned() } else { services.join(", ") }
        ));
        if self.looked.until.is_some() {
            self.looked.open.push(self.bound_reached("the message may come later"));
        }
    }

    fn bound_reached(&self, what: &str) -> String {
        let until = self.looked.until.map_or_else(String::new, |until| format!(" at {until}"));
        format!(
            "looking ended{until}, after {} messages ({} asked for) or {} s; {what}: ask for more with --records, or for less with \
             --topic, --key, --since",
            self.looked.records,
            self.inquiry.records,
            self.inquiry.patience.as_secs()
        )
    }
}
