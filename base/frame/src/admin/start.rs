//! Where reading begins: a word, an offset, or a time.

use super::Admin;
use artel_bus::BusError;
use artel_message::{Fault, Time};

/// The place that `from=` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Offset(i64),
    Time(Time),
}

impl Start {
    pub const WORDS: &str =
        "write earliest, latest, an offset such as 1200, or a time such as 2026-01-31T09:30:00Z";

    pub fn parse(text: &str) -> Result<Start, Fault> {
        match text {
            "earliest" | "beginning" => return Ok(Start::Earliest),
            "latest" | "end" => return Ok(Start::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>() {
            return Ok(Start::Offset(offset.max(0)));
        }
        text.parse().map(Start::Time).map_err(|_| Fault::field("from", Start::WORDS))
    }
}

impl From<Start> for artel_bus::From {
    fn from(start: Start) -> artel_bus::From {
        match start {
            Start::Earliest => artel_bus::From::Earliest,
            Start::Latest => artel_bus::From::Latest,
            Start::Offset(offset) => artel_bus::From::Offset(offset),
            Start::Time(time) => artel_bus::From::Time(time),
        }
    }
}

impl Admin {
    /// The first offset to read in a partition; `newest` is how many messages before its end `latest` begins.
    pub(super) async fn place(
        &self,
        topic: &str,
        partition: u32,
        start: Start,
        newest: i64,
    ) -> Result<i64, BusError> {
        let bus = &self.0.bus;
        let bounds = bus.bounds(topic, partition).await?;
        let offset = match start {
            Start::Earliest => bounds.begin,
            Start::Latest => bounds.end - newest,
            Start::Offset(offset) => offset,
            Start::Time(time) => bus.offset_at(topic, partition, time).await?.unwrap_or(bounds.end),
        };
        Ok(offset.clamp(bounds.begin, bounds.end))
    }

    /// The partitions asked for: one, or all.
    pub(super) async fn chosen(&self, topic: &str, partition: Option<u32>) -> Result<Vec<u32>, Fault> {
        let count = self.0.bus.describe(topic).await?.partitions;
        match partition {
            None => Ok((0..count).collect()),
            Some(number) if number < count => Ok(vec![number]),
            Some(number) => Err(Fault::field(
                "partition",
                format!("{number} does not exist; '{topic}' has {count}, counted from 0"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        assert_eq!(Start::parse("earliest"), Ok(Start::Earliest));
        assert_eq!(Start::parse("latest"), Ok(Start::Latest));
        assert_eq!(Start::parse("12"), Ok(Start::Offset(12)));
        assert_eq!(Start::parse("1970-01-01T00:00:01Z"), Ok(Start::Time(Time::from_millis(1000))));
        let fault = Start::parse("yesterday").unwrap_err();
        assert!(fault.reason.starts_with("from: "), "{fault}");
    }
}
