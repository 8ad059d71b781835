//! Parts of messages, until all of a message are there.

use crate::simulators::Arrival;
use crate::smpp::{Part, Reference};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Messages that wait for parts. With more, the first to come is put up as it is.
const MOST_WAITING: usize = 10_000;

/// A part that was taken.
pub(super) struct Taken {
    pub(super) part: Part,
    pub(super) data_coding: u8,
    pub(super) octets: Bytes,
}

#[derive(Default)]
pub(super) struct Parts(HashMap<Key, Waiting>);

/// What tells messages apart (TS 23.040, section 9.2.3.24.1): who sends them to whom, their reference, and how many parts they have.
#[derive(PartialEq, Eq, Hash)]
struct Key(String, String, String, Reference, u8);

struct Waiting {
    since: Instant,
    /// The last part's, with the others' ids.
    arrival: Arrival,
    data_coding: u8,
    total: u8,
    parts: BTreeMap<u8, (Bytes, String)>,
}

/// Reads a text.
pub(super) fn text(data_coding: u8, octets: &[u8], gsm: fn(&[u8]) -> String) -> String {
    match data_coding {
        0 => gsm(octets),
        1 | 3 => octets.iter().map(|octet| char::from(*octet)).collect(),
        8 => {
            let units: Vec<u16> =
                octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        _ => hex(octets),
    }
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

impl Parts {
    /// The message, if this is its last part, and whether the part was there already.
    pub(super) fn take(
        &mut self,
        arrival: Arrival,
        taken: Taken,
        gsm: fn(&[u8]) -> String,
    ) -> (Option<Arrival>, bool) {
        let Taken { part: Part { reference, total, number }, data_coding, octets } = taken;
        let Arrival { account, title, to, .. } = &arrival;
        let key = || Key(account.clone(), title.clone(), to.clone(), reference, total);
        if self.0.len() >= MOST_WAITING && !self.0.contains_key(&key()) {
            // So many are a fault of the sender's; which of them goes is no matter.
            return (Some(arrival), false);
        }
        let waiting = self.0.entry(key()).or_insert_with(|| Waiting {
            since: Instant::now(),
            arrival: arrival.clone(),
            data_coding,
            total,
            parts: BTreeMap::new(),
        });
        let again = waiting.parts.insert(number, (octets, arrival.reference.clone())).is_some();
        if waiting.parts.len() < usize::from(total) {
            return (None, again);
        }
        (self.0.remove(&key()).map(|waiting| waiting.joined(gsm)), again)
    }

    /// What has waited so long.
    pub(super) fn sweep(&mut self, waited: Duration, gsm: fn(&[u8]) -> String) -> Vec<Arrival> {
        let gone = self.0.extract_if(|_, waiting| waiting.since.elapsed() >= waited);
        gone.map(|(_, waiting)| waiting.joined(gsm)).collect()
    }
}

impl Waiting {
    fn joined(self, gsm: fn(&[u8]) -> String) -> Arrival {
        let Waiting { mut arrival, data_coding, total, parts, .. } = self;
        // Gaps are shown, so that nobody takes a beginning for the whole.
        arrival.text = String::new();
        let (mut run, mut ids) = (Vec::new(), Vec::new());
        for number in 1..=total {
            match parts.get(&number) {
                Some((octets, id)) => {
                    run.extend_from_slice(octets);
                    ids.push(id.as_str());
                }
                None => {
                    arrival.text.push_str(&text(data_coding, &std::mem::take(&mut run), gsm));
                    arrival.text.push_str(&format!("[part {number} of {total} is missing]"));
                }
            }
        }
        arrival.text.push_str(&text(data_coding, &run, gsm));
        arrival.reference = ids.join(" ");
        arrival
    }
}
