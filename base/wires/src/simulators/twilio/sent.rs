//! The messages that were taken.

use crate::simulators::Arrival;
use std::collections::VecDeque;

/// So many are remembered.
const MOST: usize = 100_000;

pub(super) struct Sent {
    /// The first of all, by its number, is `start`.
    start: u64,
    run: u64,
    messages: VecDeque<Message>,
    /// Posted, and answered with success.
    pub(super) reports: (u64, u64),
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) sid: String,
    pub(super) to: String,
    pub(super) from: String,
    pub(super) body: String,
    pub(super) status: &'static str,
    pub(super) error_code: Option<u32>,
    /// Seconds since 1970.
    pub(super) created: u64,
}

/// A question for a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Asked {
    pub(super) to: String,
    /// Seconds since 1970.
    pub(super) since: u64,
    pub(super) size: usize,
    pub(super) page: usize,
    /// `DateSent>` as it was written.
    pub(super) day: String,
}

impl Asked {
    pub(super) fn read(query: &str) -> Asked {
        let mut asked = Asked { size: 50, ..Asked::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "To" => asked.to = value.into_owned(),
                "DateSent>" => {
                    asked.since = midnight(&value);
                    asked.day = value.into_owned();
                }
                "PageSize" => asked.size = value.parse().unwrap_or(50).clamp(1, 1_000),
                "Page" => asked.page = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        asked
    }
}

/// The moment that a day begins with, or that a time is.
fn midnight(text: &str) -> u64 {
    let day = text.parse::<chrono::NaiveDate>().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    let moment = day.or_else(|_| chrono::DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc()));
    moment.map_or(0, |moment| u64::try_from(moment.timestamp()).unwrap_or(0))
}

impl Sent {
    /// `run` tells the ids from those of other runs.
    pub(super) fn new(run: u64) -> Sent {
        Sent { start: 0, run, messages: VecDeque::new(), reports: (0, 0) }
    }

    pub(super) fn put(&mut self, arrival: &Arrival, now: u64) -> Message {
        let number = self.start + self.messages.len() as u64;
        let message = Message {
            sid: format!("SM{:016x}{number:016x}", self.run),
            to: arrival.to.clone(),
            from: arrival.title.clone(),
            body: arrival.text.clone(),
            status: "queued",
            error_code: None,
            created: now,
        };
        self.messages.push_back(message.clone());
        if self.messages.len() > MOST {
            self.messages.pop_front();
            self.start += 1;
        }
        message
    }

    fn index(&self, sid: &str) -> Option<usize> {
        let number = u64::from_str_radix(sid.get(18..)?, 16).ok()?;
        usize::try_from(number.checked_sub(self.start)?).ok()
    }

    pub(super) fn get(&self, sid: &str) -> Option<&Message> {
        self.messages.get(self.index(sid)?).filter(|message| message.sid == sid)
    }

    pub(super) fn set(
        &mut self,
        sid: &str,
        status: &'static str,
        error_code: Option<u32>,
    ) -> Option<Message> {
        let index = self.index(sid)?;
        let message = self.messages.get_mut(index)?;
        (message.status, message.error_code) = (status, error_code);
        Some(message.clone())
    }

    /// A page, and whether there is another one.
    pub(super) fn list(&self, asked: &Asked) -> (Vec<&Message>, bool) {
        let fits = |message: &&Message| {
            (asked.to.is_empty() || message.to == asked.to) && message.created >= asked.since
        };
        let mut all = self.messages.iter().rev().filter(fits).skip(asked.page.saturating_mul(asked.size));
        let page = all.by_ref().take(asked.size).collect();
        (page, all.next().is_some())
    }
}
