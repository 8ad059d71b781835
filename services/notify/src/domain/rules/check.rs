//! Whether a rule can ever do what it says, before it is saved.

use super::{KeyTemplate, Recipients, Rule};
use crate::domain::path::Path;
use crate::domain::schema::Schema;
use artel_contract::notify::{Channel, Mode, bounds, is_language};
use serde_json::Value;
use std::fmt;

/// What is known of what the rule is about. What is `None` is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The JSON Schema of the message.
    pub schema: Option<&'a Value>,
    /// The channels that the template has texts for; an empty list = there is no such template.
    pub template_channels: Option<&'a [Channel]>,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule's field, such as `when` or `to.event.email`.
    pub field: String,
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// A year: whatever is longer is a mistake of the unit.
const LONGEST: u64 = 366 * 86_400;

impl Rule {
    /// Everything that is wrong with it; empty = it can be saved.
    pub fn check(&self, known: Known<'_>) -> Vec<Problem> {
        let mut found = Problems(Vec::new());
        self.names(&mut found);
        self.delivery(known, &mut found);
        self.recipients(known, &mut found);
        if let (Some(schema), Some(condition)) = (known.schema, &self.when) {
            for mistake in condition.check(Schema::new(schema)) {
                found.add("when", format!("{mistake}; such a rule can't mean what it says"));
            }
        }
        for (field, key) in [("supersede", &self.supersede), ("once_per", &self.once_per)] {
            if let Some(key) = key {
                key_paths(field, key, known, &mut found);
            }
        }
        found.0
    }

    fn names(&self, found: &mut Problems) {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if self.id.is_empty() || self.id.len() > 100 || !self.id.chars().all(good) {
            found.add("id", "use 1 to 100 lowercase letters, digits, '-' and '.'");
        }
        for (field, text) in
            [("on.topic", &self.on.topic), ("template", &self.template), ("topic", &self.topic)]
        {
            if text.trim().is_empty() || text.chars().count() > bounds::NAME {
                found.add(field, format!("use 1 to {} characters", bounds::NAME));
            }
        }
        if self.on.message.as_ref().is_some_and(|name| name.trim().is_empty()) {
            found.add("on.message", "is empty; leave it out for every message of the topic");
        }
        if let Some(language) = &self.language
            && !is_language(language)
        {
            found.add(
                "language",
                format!("'{}' is no language tag; use one such as ru or en-GB", short(language)),
            );
        }
    }

    fn delivery(&self, known: Known<'_>, found: &mut Problems) {
        if self.channels.is_empty() {
            found.add("channels", "name at least one of email, sms, push");
        }
        for (at, channel) in self.channels.iter().enumerate() {
            if self.channels[..at].contains(channel) {
                found.add("channels", format!("{} stands there twice", channel.as_str()));
            }
        }
        if let Some(has) = known.template_channels {
            if has.is_empty() {
                found.add("template", format!("there is no template '{}'", short(&self.template)));
            }
            for channel in self.channels.iter().filter(|channel| !has.is_empty() && !has.contains(channel)) {
                let reason =
                    format!("the template '{}' has no text for {}", short(&self.template), channel.as_str());
                found.add("channels", reason);
            }
        }
        for (field, seconds) in [("valid_for_s", self.valid_for_s), ("patience_s", self.patience_s)] {
            if seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
                found.add(field, format!("use 1 to {LONGEST} seconds"));
            }
        }
        if self.patience_s.is_some() && (self.mode == Mode::All || self.channels.len() < 2) {
            found.add(
                "patience_s",
                "means nothing without a next channel; use it with mode 'first' and two channels",
            );
        }
        if let (Some(patience), Some(valid)) = (self.patience_s, self.valid_for_s)
            && patience >= valid
        {
            found.add(
                "patience_s",
                "is not shorter than valid_for_s, so the next channel would never be tried",
            );
        }
    }

    fn recipients(&self, known: Known<'_>, found: &mut Problems) {
        match &self.to {
            Recipients::Subscribed { key } => key_paths("to.subscribed.key", key, known, found),
            Recipients::Event { subscriber, email, phone, name, language } => {
                let paths = [
                    ("subscriber", subscriber),
                    ("email", email),
                    ("phone", phone),
                    ("name", name),
                    ("language", language),
                ];
                for (field, path) in paths {
                    if let Some(path) = path {
                        text_path(&format!("to.event.{field}"), path, known, found);
                    }
                }
                if subscriber.is_some() {
                    return;
                }
                if email.is_none() && phone.is_none() {
                    found.add("to.event", "names nobody; give a path to a subscriber, an email or a phone");
                    return;
                }
                let reached = |channel: &Channel| match channel {
                    Channel::Email => email.is_some(),
                    Channel::Sms => phone.is_some(),
                    Channel::Push => false,
                };
                for channel in self.channels.iter().filter(|channel| !reached(channel)) {
                    let reason = match channel {
                        Channel::Push => "push needs a subscriber: devices are known of subscribers only",
                        Channel::Email => "email needs to.event.email or to.event.subscriber",
                        Channel::Sms => "sms needs to.event.phone or to.event.subscriber",
                    };
                    found.add("channels", reason);
                }
            }
        }
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, reason: impl Into<String>) {
        self.0.push(Problem { field: field.to_owned(), reason: reason.into() });
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn text_path(field: &str, path: &Path, known: Known<'_>, found: &mut Problems) {
    let Some(schema) = known.schema else { return };
    match Schema::new(schema).place(path) {
        Err(error) => found.add(field, error.to_string()),
        Ok(place) if !place.takes("string") => found.add(field, format!("'{path}' is never a text")),
        Ok(_) => {}
    }
}

fn key_paths(field: &str, key: &KeyTemplate, known: Known<'_>, found: &mut Problems) {
    let Some(schema) = known.schema else { return };
    for path in key.paths() {
        match Schema::new(schema).place(path) {
            Err(error) => found.add(field, error.to_string()),
            Ok(place) if !["string", "number", "boolean"].iter().any(|kind| place.takes(kind)) => {
                found.add(field, format!("'{path}' is neither a text nor a number"));
            }
            Ok(_) => {}
        }
    }
}
