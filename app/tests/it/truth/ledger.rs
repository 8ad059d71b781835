//! What was accepted, held against what arrived and what is said of it.

use super::load::{Place, number};
use crate::providers::{Arrived, Providers};
use crate::system::System;
use crate::until::until;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// What was accepted.
#[derive(Default)]
pub struct Ledger(Mutex<Accepted>);

#[derive(Default)]
struct Accepted {
    /// By the delivery's id: to whom, and the number.
    asked: HashMap<Uuid, (Place, u64)>,
    first: Option<Uuid>,
    /// Events, whose deliveries are known when they are there.
    events: BTreeSet<(Place, u64)>,
}

/// A delivery as it ended.
struct Ended {
    state: String,
    /// How often nobody knew whether an attempt was sent.
    doubts: usize,
}

#[derive(Default)]
pub struct Report {
    states: BTreeMap<String, usize>,
    arrived: usize,
    /// Unknown, and arrived.
    unknown_arrived: usize,
    /// Ids that arrived more than once, each of which says that nobody knew.
    twice: usize,
    /// Mails that were refused at first.
    refused: usize,
    /// Recipients with more than one message.
    ordered: usize,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Accepted> {
        self.0.lock().unwrap()
    }

    pub fn asked_for(&self, n: u64, all: impl Iterator<Item = (Place, Uuid)>) {
        let mut own = self.lock();
        for (place, id) in all {
            own.first.get_or_insert(id);
            assert!(own.asked.insert(id, (place, n)).is_none(), "{id} was given twice");
        }
    }

    pub fn events(&self, all: impl Iterator<Item = (Place, u64)>) {
        self.lock().events.extend(all);
    }

    pub fn accepted(&self) -> u64 {
        let own = self.lock();
        (own.asked.len() + own.events.len()) as u64
    }

    /// The first one that was accepted.
    pub fn first(&self) -> Uuid {
        self.lock().first.expect("some were accepted")
    }

    /// Waits until all have ended, and fails where anything does not add up.
    pub async fn account(&self, system: &impl System, providers: &Providers) -> Report {
        let count = usize::try_from(self.accepted()).unwrap();
        let ended = until("all of them to end", async || ended(system, count).await).await;
        let arrived = providers.arrived().await;
        let own = self.lock();
        let mut report =
            Report { refused: arrived.iter().filter(|one| !one.taken).count(), ..Report::default() };
        let by_place: HashMap<(&str, &str, u64), Uuid> =
            own.asked.iter().map(|(id, ((provider, to), n))| ((*provider, to.as_str(), *n), *id)).collect();
        assert!(own.asked.keys().all(|id| ended.contains_key(id)), "an accepted delivery is not there");
        assert_eq!(ended.len(), count, "there are deliveries that nobody asked for");
        let mut times: HashMap<Uuid, usize> = HashMap::new();
        let mut events: BTreeMap<(Place, u64), Uuid> = BTreeMap::new();
        for one in arrived.iter().filter(|one| one.taken) {
            let n = number(&one.text).unwrap_or_else(|| panic!("{one:?}"));
            let asked = by_place.get(&(one.provider.as_str(), one.to.as_str(), n)).copied();
            let id = asked.or_else(|| mail_of(one)).unwrap_or_else(|| panic!("nobody asked for {one:?}"));
            if asked.is_none() {
                let event = (("smtp", one.to.clone()), n);
                assert!(own.events.contains(&event) && ended.contains_key(&id), "nobody asked for {one:?}");
                assert_eq!(*events.entry(event).or_insert(id), id, "an event made two deliveries: {one:?}");
            } else if one.provider == "smtp" {
                assert_eq!(mail_of(one), asked, "the mail of another delivery: {one:?}");
            }
            *times.entry(id).or_default() += 1;
        }
        for (id, Ended { state, doubts }) in &ended {
            let times = times.get(id).copied().unwrap_or(0);
            let what = || {
                format!("{id} is {state} and arrived {times} times, {doubts} doubts: {:?}", own.asked.get(id))
            };
            match state.as_str() {
                "sent" | "delivered" => assert!(times > 0, "lost: {}", what()),
                "unknown" => assert!(*doubts > 0, "{}", what()),
                _ => panic!("{}", what()),
            }
            assert!(times <= 1 + doubts, "sent again without a word: {}", what());
            *report.states.entry(state.clone()).or_default() += 1;
            report.arrived += times;
            report.twice += usize::from(times > 1);
            report.unknown_arrived += usize::from(state == "unknown" && times > 0);
        }
        report.ordered = in_order(&arrived);
        report
    }
}

impl Report {
    /// Deliveries that nobody knows the end of.
    pub fn unknown(&self) -> usize {
        self.states.get("unknown").copied().unwrap_or(0)
    }
}

/// The delivery that a mail is of, by its id.
fn mail_of(one: &Arrived) -> Option<Uuid> {
    Uuid::parse_str(one.key.split('-').next()?).ok()
}

/// All deliveries, once there are so many and nothing of ours moves any of them on.
async fn ended(system: &impl System, count: usize) -> Option<HashMap<Uuid, Ended>> {
    let (mut all, mut cursor) = (HashMap::new(), String::new());
    loop {
        let answer = system.client().get(&format!("/api/notify/deliveries?limit=500{cursor}")).await.ok()?;
        let page: Value = answer.json().ok().filter(|_| answer.status == 200)?;
        for one in page["items"].as_array()? {
            let (state, channel) = (one["state"].as_str()?, one["legs"][0]["channel"].as_str()?);
            // A centre tells of each short message that it took.
            if matches!(state, "accepted" | "scheduled" | "sending") || (state == "sent" && channel == "sms")
            {
                return None;
            }
            let doubt = |line: &&Value| {
                let what = line["what"].as_str().unwrap_or_default();
                what.starts_with("answered") && line["state"] == "unknown"
            };
            let doubts = one["timeline"].as_array()?.iter().filter(doubt).count();
            all.insert(one["id"].as_str()?.parse().ok()?, Ended { state: state.to_owned(), doubts });
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all.len() >= count).then_some(all),
        }
    }
}

/// Each recipient got messages in the order of their numbers, apart from repeats; how many got more than one.
fn in_order(arrived: &[Arrived]) -> usize {
    let mut of: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for one in arrived.iter().filter(|one| one.taken) {
        let n = number(&one.text).unwrap();
        let seen = of.entry((&one.provider, &one.to)).or_default();
        if !seen.contains(&n) {
            assert!(
                seen.last().is_none_or(|last| *last < n),
                "out of turn behind {:?}: {one:?}",
                seen.last()
            );
            seen.push(n);
        }
    }
    of.values().filter(|seen| seen.len() > 1).count()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { states, arrived, unknown_arrived, twice, refused, ordered } = self;
        let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        write!(
            f,
            "ended as {}; arrived {arrived} ({unknown_arrived} of them unknown to us, {refused} refused at first and tried again); \
             lost 0, twice {twice}, out of turn 0 for {ordered} recipients of several",
            states.join(", ")
        )
    }
}
