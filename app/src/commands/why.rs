//! `artel why`: the story of one message, as a tree in the order of time, or as JSON.

use crate::cli::Why;
use crate::connect::{self, check, read};
use crate::line::{compact, printable};
use anyhow::Result;
use artel_flow::why::{Account, At, Fate, Reading, Story};
use artel_frame::client::{query, segment};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Beside the time that the node looks for.
const SLACK: Duration = Duration::from_secs(30);

/// The code says whether anything is known of it.
pub async fn run(args: Why) -> Result<ExitCode> {
    let client =
        connect::client(&args.target)?.with_timeout(Duration::from_secs(args.seconds.into()) + SLACK);
    let number = |n: u32| Some(n.to_string());
    let (depth, limit) = (number(args.depth), number(args.limit));
    let (records, seconds) = (number(args.records), number(args.seconds));
    let asked = query(&[
        ("topic", args.topic.as_deref()),
        ("key", args.key.as_deref()),
        ("since", args.since.as_deref()),
        ("depth", depth.as_deref()),
        ("limit", limit.as_deref()),
        ("records", records.as_deref()),
        ("seconds", seconds.as_deref()),
        ("payload", args.payload.then_some("true")),
    ]);
    let answer = client.get(&format!("/api/admin/why/{}{asked}", segment(&args.id))).await?;
    check(&answer)?;
    let story: Story = read(&answer)?;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", compact(&answer.text()))?;
    } else {
        write!(out, "{}", printable(&text(&story)))?;
    }
    let known = story.message.is_some() || story.is.is_some();
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::from(crate::REFUSED) })
}

fn text(story: &Story) -> String {
    let mut page = Page::default();
    if let Some(is) = &story.is {
        page.line(0, &format!("{} is {is}", story.id));
    }
    if let Some(message) = &story.message {
        page.account(message, 0, true);
    }
    if story.message.is_some() {
        page.line(0, "");
        page.line(0, "because of");
        for (above, account) in story.because_of.iter().enumerate() {
            page.account(account, above + 1, false);
        }
        if let Some(origin) = &story.origin {
            page.line(story.because_of.len() + 1, origin);
        }
    }
    page.line(0, "");
    let looked = &story.looked;
    page.line(
        0,
        &format!(
            "looked at {} messages of {} partitions, and at the tables of {}",
            looked.records,
            looked.partitions,
            if looked.services.is_empty() { "no service".to_owned() } else { looked.services.join(", ") }
        ),
    );
    for open in &looked.open {
        page.line(0, &format!("note: {open}"));
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        self.0.push_str(&"  ".repeat(depth));
        // What others wrote begins no line of its own.
        self.0.push_str(&text.replace('\n', " "));
        self.0.push('\n');
    }

    fn account(&mut self, account: &Account, depth: usize, whole: bool) {
        self.line(depth, &head(account));
        let depth = depth + 1;
        if let Some(outbox) = &account.outbox {
            let stuck = outbox.stuck.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            self.line(
                depth,
                &format!(
                    "in the outbox of {} since {}, for {}{stuck}",
                    outbox.service, outbox.since, outbox.topic
                ),
            );
        }
        for at in &account.places {
            self.line(depth, &format!("{}  in the log at {}", at.time, place(at)));
        }
        for at in &account.copies {
            self.line(depth, &format!("{}  copy of its dead letter at {}", at.time, place(at)));
        }
        if account.wants_answer {
            self.line(depth, "its sender listens for the answer");
        }
        if let Some(kept) = &account.answered {
            let what = if kept.ok { "answer" } else { "fault" };
            self.line(depth, &format!("its {what} is kept until {}", kept.until));
        }
        if let Some(value) = &account.value {
            self.line(depth, &format!("value {}", compact(value.get())));
        }
        for reading in &account.groups {
            self.reading(reading, depth);
        }
        for timer in &account.timers {
            let what =
                format!("timer '{}' of {} runs {} at {}", timer.key, timer.service, timer.name, timer.due);
            self.line(depth, &what);
        }
        if whole && !account.caused.is_empty() {
            self.line(depth, "caused");
            for caused in &account.caused {
                self.account(caused, depth + 1, true);
            }
        }
    }

    fn reading(&mut self, reading: &Reading, depth: usize) {
        match reading.fate {
            Fate::TakenIn => self.line(depth, &format!("group {}: {}", reading.group, reading.says)),
            other => self.line(depth, &format!("group {}: {}: {}", reading.group, fate(other), reading.says)),
        }
        if let Some(print) = &reading.fingerprint {
            self.line(depth + 1, &format!("cause {print}"));
        }
        for error in &reading.errors {
            let times = if error.times > 1 {
                format!(" ({} times, last {})", error.times, error.last)
            } else {
                String::new()
            };
            self.line(depth + 1, &format!("{}  {}: {}{times}", error.first, error.code, error.reason));
        }
        for step in &reading.steps {
            let why = step.reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            self.line(depth + 1, &format!("{}  {} by {}{why}", step.at, step.action, step.who));
        }
    }
}

fn head(account: &Account) -> String {
    let mut head = String::new();
    if let Some(at) = account.made_at.or(account.places.first().map(|at| at.time)) {
        head.push_str(&format!("{at}  "));
    }
    head.push_str(account.name.as_deref().unwrap_or("a message without headers of ours"));
    head.push_str(&format!(" {}", account.id));
    if let Some(source) = &account.source {
        head.push_str(&format!(" from {source}"));
    }
    if let Some(key) = &account.key {
        head.push_str(&format!(", key {key}"));
    }
    if let Some(trace) = &account.trace {
        head.push_str(&format!(", trace {trace}"));
    }
    head
}

fn place(at: &At) -> String {
    format!("{}/{}@{}", at.topic, at.partition, at.offset)
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::TakenIn => "taken in",
        Fate::Repeat => "repeat",
        Fate::Unhandled => "unhandled",
        Fate::NotYet => "not yet",
        Fate::Parked => "parked",
        Fate::Dead => "dead letter",
        Fate::Dropped => "dropped",
        Fate::Skipped => "skipped",
        Fate::Before => "before its time",
        Fate::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_others_wrote_begins_no_line_and_moves_no_cursor() {
        let message = Account { name: Some("a\nb\u{1b}[2J".to_owned()), ..Account::default() };
        let id = Uuid::nil();
        let story = Story {
            id,
            is: None,
            message: Some(message),
            because_of: Vec::new(),
            origin: None,
            looked: Default::default(),
        };
        let text = printable(&text(&story));
        assert!(text.starts_with("a b\u{fffd}[2J 00000000"), "{text}");
    }
}
