//! Projections as a service declares them.

use crate::Service;
use crate::erase::{self, Erased};
use crate::handler::{Options, TxHandler};
use std::sync::Arc;

/// How many messages a version may be behind when it is switched to, unless said.
const BEHIND: u64 = 100;

/// A projection goes back: what it has written from there on is to be taken away, in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewound {
    pub version: u32,
    /// The partitions in which it goes back.
    pub places: Vec<RewoundPlace>,
    /// They are all that it has.
    pub(crate) everywhere: bool,
}

impl Rewound {
    /// Whether all is taken in again that the log still holds, in every partition of every topic that the version reads: everything
    /// that was written can go. Where it is not, what came of other partitions and of what is before the places does not come again.
    pub fn is_whole(&self) -> bool {
        self.everywhere && self.places.iter().all(|place| place.whole)
    }
}

/// A partition in which a projection goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewoundPlace {
    pub topic: String,
    pub partition: u32,
    /// The next offset that it would have taken in.
    pub from: i64,
    /// The next offset that it takes in.
    pub to: i64,
    /// The log begins there.
    pub whole: bool,
}

/// A version that a service declares.
pub(crate) struct Declared {
    pub name: &'static str,
    pub version: u32,
    /// The group, as handlers are registered under.
    pub group: Arc<str>,
    /// How many messages it may be behind when it is switched to, where a handler says so: the least of what they say.
    pub behind: Option<u64>,
    /// It may serve without what retention had taken when it began.
    pub from_retained: bool,
    /// Takes away what it has written, before it is written anew.
    pub clear: Option<Erased<Rewound, ()>>,
}

impl Declared {
    pub fn behind(&self) -> u64 {
        self.behind.unwrap_or(BEHIND)
    }
}

/// The group that a version is.
pub(crate) fn group_of(name: &str, version: u32) -> String {
    format!("{name}-v{version}")
}

impl Service {
    /// Takes away what a version of a projection has written, in the transaction that moves it back; without one it goes back by
    /// force only.
    pub fn clear<X, H: TxHandler<Rewound, (), X>>(
        mut self,
        name: &'static str,
        version: u32,
        handler: H,
    ) -> Service {
        if self.clears.insert((name, version), erase::plain(handler.parts().0)).is_some() {
            self.twice("clear handler for", name);
        }
        self
    }

    pub(crate) fn project(
        &mut self,
        name: &'static str,
        version: u32,
        event: &str,
        options: &Options,
    ) -> Arc<str> {
        let group: Arc<str> = Arc::from(group_of(name, version));
        let mut wrong = |what: &str| {
            self.mistakes
                .push(format!("service '{}': projection '{name}', event '{event}': {what}", self.name));
        };
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || !name.bytes().all(word) {
            wrong("a name has lowercase letters, digits and hyphens only");
        }
        if version == 0 {
            wrong("versions begin with 1");
        }
        if options.group.is_some() {
            wrong("a projection is a group of its own; leave .group() out");
        }
        if options.max_age.is_some() {
            wrong(
                "what is built anew is old: leave .max_age() out, and let the handler look at the message's time",
            );
        }
        let declared = self.projections.entry((name, version)).or_insert_with(|| Declared {
            name,
            version,
            group: group.clone(),
            behind: None,
            from_retained: false,
            clear: None,
        });
        declared.behind = declared.behind.into_iter().chain(options.behind).min();
        declared.from_retained |= options.from_retained;
        group
    }

    /// What can be said of projections only when all is registered: mistakes, and who clears what.
    pub(crate) fn join_projections(&mut self) {
        for (key, clear) in std::mem::take(&mut self.clears) {
            if let Some(declared) = self.projections.get_mut(&key) {
                declared.clear = Some(clear);
            }
        }
    }

    pub(crate) fn projection_mistakes(&self) -> Vec<String> {
        let unknown = self.clears.keys().filter(|key| !self.projections.contains_key(*key));
        let unknown = unknown.map(|(name, version)| {
            format!(
                "service '{}' clears version {version} of a projection '{name}' that it does not have",
                self.name
            )
        });
        let mixed = self.events.iter().filter(|(group, events)| {
            let is = self.projection_of(group).is_some();
            events.values().any(|entry| entry.options.projection.is_some() != is)
        });
        let mixed = mixed.map(|(group, _)| {
            format!(
                "service '{}': group '{group}' is a projection; other handlers need a group of another name",
                self.name
            )
        });
        unknown.chain(mixed).collect()
    }

    /// The projection that a group is, as handlers are registered under.
    pub(crate) fn projection_of(&self, group: &str) -> Option<&Declared> {
        self.projections.values().find(|declared| *declared.group == *group)
    }

    /// The versions of a projection.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &Declared> {
        self.projections.values().filter(move |declared| declared.name == name)
    }
}
