//! A service as a value: its name, tables, settings, handlers and routes. Nothing runs here.

use crate::Ctx;
use crate::erase::{self, Ended, Erased, ErasedEffect, ErasedEffects, ErasedQuery};
use crate::handler::{
    Answer, Called, CtxHandler, EffectDone, GivenUp, Msg, Options, Published, Raw, ReadFn, TxHandler,
};
use crate::http::Routes;
use crate::moving::Position;
use crate::projections::{Declared, Rewound};
use crate::schedules::{OfRun, Recurrence, Run, Schedule};
use artel_message::{Cause, Command, Effect, Event, Fault, Query, commands_topic, replies_topic};
use artel_store::Migrations;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A service's own settings: one table of the configuration, named after the service.
pub trait Settings: DeserializeOwned + Send + Sync + 'static {
    /// Rules beyond the types; each problem names its field.
    fn check(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The settings of a service that has none.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
impl Settings for NoSettings {}

pub(crate) type AnySettings = Arc<dyn Any + Send + Sync>;
type ParseSettings = fn(serde_json::Value) -> Result<AnySettings, BadSettings>;

/// Why a service does not take its table of the configuration.
#[derive(Debug)]
pub enum BadSettings {
    /// A value that is missing, unknown or of the wrong type, with its place in the table.
    Type(serde_path_to_error::Error<serde_json::Error>),
    /// What [`Settings::check`] found.
    Rules(Vec<String>),
}

impl BadSettings {
    /// One sentence for each problem, naming its field.
    pub fn sentences(&self) -> Vec<String> {
        match self {
            BadSettings::Type(refusal) => vec![refusal.to_string()],
            BadSettings::Rules(problems) => problems.clone(),
        }
    }
}

pub(crate) struct CommandEntry {
    pub handler: Erased<Bytes, Bytes>,
    /// Takes what has arrived over the topic at once, where nobody waits for an answer.
    pub batch: Option<Erased<Vec<(Cause, Bytes)>, ()>>,
    pub options: Options,
}

pub(crate) enum EventKind {
    Single(Erased<Bytes, ()>),
    Batch(Erased<Vec<(Cause, Bytes)>, ()>),
}

pub(crate) struct EventEntry {
    pub topic: &'static str,
    pub kind: EventKind,
    pub options: Options,
}

pub(crate) enum EffectKind {
    Single(ErasedEffect),
    Batch(ErasedEffects),
}

pub(crate) enum DoneKind {
    Single(Erased<Ended, ()>),
    Batch(Erased<Vec<Ended>, ()>),
}

pub(crate) struct EffectEntry {
    pub kind: EffectKind,
    pub options: Options,
}

pub(crate) struct ScheduleEntry {
    pub name: &'static str,
    pub recurrence: Recurrence,
    /// What it was read from.
    pub schedule: Schedule,
    pub handler: Erased<Run, ()>,
}

pub(crate) type StartHook = Box<dyn Fn(&Ctx) -> Result<(), Fault> + Send + Sync>;
type MakeRoutes = Box<dyn Fn(&Ctx) -> Routes + Send + Sync>;

/// Events of one group: message name → handler.
pub(crate) type GroupEvents = BTreeMap<&'static str, EventEntry>;

/// A service. Build it with the methods below; `frame` runs it.
pub struct Service {
    pub(crate) name: &'static str,
    pub(crate) migrations: Option<Migrations>,
    pub(crate) parse_settings: ParseSettings,
    pub(crate) commands: BTreeMap<&'static str, CommandEntry>,
    pub(crate) queries: BTreeMap<&'static str, ErasedQuery>,
    /// Group name ("" = the service's own) → its events.
    pub(crate) events: BTreeMap<Arc<str>, GroupEvents>,
    /// (Name, version) → the projection.
    pub(crate) projections: BTreeMap<(&'static str, u32), Declared>,
    pub(crate) clears: BTreeMap<(&'static str, u32), Erased<Rewound, ()>>,
    pub(crate) replies: BTreeMap<&'static str, Erased<(Uuid, Bytes), ()>>,
    pub(crate) reply_options: BTreeMap<&'static str, Options>,
    pub(crate) effects: BTreeMap<&'static str, EffectEntry>,
    pub(crate) done: BTreeMap<&'static str, DoneKind>,
    pub(crate) raw: Option<Erased<Raw, ()>>,
    pub(crate) raw_options: Options,
    pub(crate) published: Option<Erased<Vec<Published>, ()>>,
    pub(crate) given_up: Option<Erased<GivenUp, ()>>,
    pub(crate) schedules: Vec<ScheduleEntry>,
    pub(crate) positions: &'static [Position],
    pub(crate) routes: Option<MakeRoutes>,
    pub(crate) starts: Vec<StartHook>,
    /// What was registered twice or cannot be; refused at start-up, by name.
    pub(crate) mistakes: Vec<String>,
}

fn parse<T: Settings>(value: serde_json::Value) -> Result<AnySettings, BadSettings> {
    let settings: T = serde_path_to_error::deserialize(value).map_err(BadSettings::Type)?;
    let problems = settings.check();
    if problems.is_empty() { Ok(Arc::new(settings)) } else { Err(BadSettings::Rules(problems)) }
}

impl Service {
    /// `name`: lowercase letters and digits, the first part of its messages' names and topics.
    pub fn new(name: &'static str) -> Service {
        let mut service = Service {
            name,
            migrations: None,
            parse_settings: parse::<NoSettings>,
            commands: BTreeMap::new(),
            queries: BTreeMap::new(),
            events: BTreeMap::new(),
            projections: BTreeMap::new(),
            clears: BTreeMap::new(),
            replies: BTreeMap::new(),
            reply_options: BTreeMap::new(),
            effects: BTreeMap::new(),
            done: BTreeMap::new(),
            raw: None,
            raw_options: Options::default(),
            published: None,
            given_up: None,
            schedules: Vec::new(),
            positions: &[],
            routes: None,
            starts: Vec::new(),
            mistakes: Vec::new(),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            service.mistakes.push(format!("service '{name}': a name has lowercase letters and digits only"));
        }
        service
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn migrations(mut self, migrations: Migrations) -> Service {
        self.migrations = Some(migrations);
        self
    }

    pub fn settings<T: Settings>(mut self) -> Service {
        self.parse_settings = parse::<T>;
        self
    }

    pub fn routes(mut self, routes: impl Fn(&Ctx) -> Routes + Send + Sync + 'static) -> Service {
        self.routes = Some(Box::new(routes));
        self
    }

    /// What is done once on each node that runs the service, as soon as the node's services can be asked; several are called in their
    /// order. A hook makes what the node keeps in memory, and spawns what takes its time. A fault ends the start of the node.
    pub fn on_start(mut self, hook: impl Fn(&Ctx) -> Result<(), Fault> + Send + Sync + 'static) -> Service {
        self.starts.push(Box::new(hook));
        self
    }

    /// A handler of one of this service's own commands.
    pub fn command<C: Command, X, H: TxHandler<C, C::Reply, X>>(mut self, handler: H) -> Service {
        let (function, options) = handler.parts();
        let entry = CommandEntry { handler: erase::command::<C, _>(function), batch: None, options };
        self.add_command::<C>(entry);
        self
    }

    /// A handler of one of this service's own commands that takes what is there at once. One that is asked, or whose
    /// sender listens for the answer, comes alone.
    pub fn command_batch<C, X, H>(mut self, handler: H) -> Service
    where
        C: Command<Reply = ()>,
        H: TxHandler<Vec<Msg<C>>, (), X>,
    {
        let (function, options) = handler.parts();
        let function = Arc::new(function);
        let entry = CommandEntry {
            handler: erase::batch_of_one::<C, _>(function.clone()),
            batch: Some(erase::batch::<C, _>(function)),
            options,
        };
        self.add_command::<C>(entry);
        self
    }

    fn add_command<C: Command>(&mut self, entry: CommandEntry) {
        self.own("command", C::NAME);
        if self.commands.insert(C::NAME, entry).is_some() {
            self.twice("command", C::NAME);
        }
    }

    /// A handler of one of this service's own queries.
    pub fn query<Q: Query, H: for<'a> ReadFn<'a, Q, Q::Reply> + 'static>(mut self, handler: H) -> Service {
        self.own("query", Q::NAME);
        if self.queries.insert(Q::NAME, erase::query::<Q, _>(handler)).is_some() {
            self.twice("query", Q::NAME);
        }
        self
    }

    /// A handler of an event, one message at a time.
    pub fn on<E: Event, X, H: TxHandler<E, (), X>>(self, handler: H) -> Service {
        let (function, options) = handler.parts();
        self.listen::<E>(EventKind::Single(erase::event::<E, _>(function)), options)
    }

    /// A handler of an event that takes what is there at once.
    pub fn on_batch<E: Event, X, H: TxHandler<Vec<Msg<E>>, (), X>>(self, handler: H) -> Service {
        let (function, options) = handler.parts();
        self.listen::<E>(EventKind::Batch(erase::batch::<E, _>(Arc::new(function))), options)
    }

    fn listen<E: Event>(mut self, kind: EventKind, options: Options) -> Service {
        let group = match options.projection {
            Some((name, version)) => self.project(name, version, E::NAME, &options),
            None => Arc::from(options.group.unwrap_or("")),
        };
        let entry = EventEntry { topic: E::TOPIC, kind, options };
        if self.events.entry(group).or_default().insert(E::NAME, entry).is_some() {
            self.twice("event", E::NAME);
        }
        self
    }

    /// Any topic's bytes: what groups made at run time are handled with.
    pub fn on_raw<X, H: TxHandler<Raw, (), X>>(mut self, handler: H) -> Service {
        let (function, options) = handler.parts();
        self.raw_options = options;
        if self.raw.replace(erase::plain(function)).is_some() {
            self.twice("handler for", "raw messages");
        }
        self
    }

    /// Answers to commands of type `C` that this service sends.
    pub fn reply<C: Command, X, H: TxHandler<Answer<C>, (), X>>(mut self, handler: H) -> Service {
        let (function, options) = handler.parts();
        self.reply_options.insert(C::NAME, options);
        if self.replies.insert(C::NAME, erase::reply::<C, _>(function)).is_some() {
            self.twice("reply handler for", C::NAME);
        }
        self
    }

    /// An outside call.
    pub fn effect<E: Effect, X, H: CtxHandler<E, E::Done, X>>(mut self, handler: H) -> Service {
        let (function, options) = handler.parts();
        self.add_effect::<E>(EffectKind::Single(erase::effect::<E, _>(function)), options);
        self
    }

    /// An outside call that is made for many effects at once; it gives one result for each, in their order. A fault of the
    /// whole call is each one's.
    pub fn effect_batch<E, X, H>(mut self, handler: H) -> Service
    where
        E: Effect,
        H: CtxHandler<Vec<Called<E>>, Vec<Result<E::Done, Fault>>, X>,
    {
        let (function, options) = handler.parts();
        self.add_effect::<E>(EffectKind::Batch(erase::effects::<E, _>(function)), options);
        self
    }

    fn add_effect<E: Effect>(&mut self, kind: EffectKind, options: Options) {
        self.own("effect", E::NAME);
        if self.effects.insert(E::NAME, EffectEntry { kind, options }).is_some() {
            self.twice("effect", E::NAME);
        }
    }

    /// What came of an effect.
    pub fn done<E: Effect, X, H: TxHandler<EffectDone<E>, (), X>>(mut self, handler: H) -> Service {
        self.add_done::<E>(DoneKind::Single(erase::done::<E, _>(handler.parts().0)));
        self
    }

    /// What came of effects, taking what is there at once: those that were queued earlier come first. Where it fails, its work is undone
    /// and it is told of fewer, in the end of each by itself.
    pub fn done_batch<E: Effect, X, H: TxHandler<Vec<EffectDone<E>>, (), X>>(
        mut self,
        handler: H,
    ) -> Service {
        self.add_done::<E>(DoneKind::Batch(erase::done_batch::<E, _>(handler.parts().0)));
        self
    }

    fn add_done<E: Effect>(&mut self, kind: DoneKind) {
        if self.done.insert(E::NAME, kind).is_some() {
            self.twice("done handler for", E::NAME);
        }
    }

    /// Where this service's messages went.
    pub fn published<X, H: TxHandler<Vec<Published>, (), X>>(mut self, handler: H) -> Service {
        if self.published.replace(erase::plain(handler.parts().0)).is_some() {
            self.twice("handler for", "published messages");
        }
        self
    }

    /// What was given up on, told in the transaction that writes the dead letter. A message that the log refuses for ever is
    /// told as well, possibly again after a restart; it waits in the outbox and may still get away once the log takes it.
    /// Where this handler fails for a message, the dead letter is written without it.
    pub fn given_up<X, H: TxHandler<GivenUp, (), X>>(mut self, handler: H) -> Service {
        if self.given_up.replace(erase::plain(handler.parts().0)).is_some() {
            self.twice("handler for", "messages given up on");
        }
        self
    }

    /// A durable schedule, once across all nodes: a pattern of cron, a distance, or a [`Schedule`] with a time zone. The handler
    /// takes `()` or a [`Run`].
    pub fn every<M: OfRun, X, H: TxHandler<M, (), X>>(
        mut self,
        name: &'static str,
        schedule: impl Into<Schedule>,
        handler: H,
    ) -> Service {
        let schedule = schedule.into();
        if self.schedules.iter().any(|s| s.name == name) {
            self.twice("schedule", name);
        }
        match schedule.parse() {
            Ok(recurrence) => {
                let handler = erase::scheduled::<M, _>(handler.parts().0);
                self.schedules.push(ScheduleEntry { name, recurrence, schedule, handler });
            }
            Err(reason) => {
                self.mistakes.push(format!("service '{}': schedule '{name}': {reason}", self.name));
            }
        }
        self
    }

    fn own(&mut self, kind: &str, name: &str) {
        if artel_message::service_of(name) != self.name {
            self.mistakes.push(format!(
                "service '{}' handles {kind} '{name}', which by its name belongs to service '{}'",
                self.name,
                artel_message::service_of(name)
            ));
        }
    }

    pub(crate) fn twice(&mut self, kind: &str, name: &str) {
        self.mistakes.push(format!("service '{}': {kind} '{name}' has two handlers; keep one", self.name));
    }

    /// Parses this service's table of the configuration.
    pub fn parse_settings(&self, table: serde_json::Value) -> Result<AnySettings, BadSettings> {
        (self.parse_settings)(table)
    }

    /// Names the columns of its own tables that hold offsets of the log, so that they follow when everything is moved to another.
    pub fn positions(mut self, positions: &'static [Position]) -> Service {
        self.positions = positions;
        self
    }

    /// Those columns.
    pub fn log_positions(&self) -> &'static [Position] {
        self.positions
    }

    /// What its database is migrated by: the flow's own tables, then the service's.
    pub fn migration_sets(&self) -> Vec<Migrations> {
        std::iter::once(crate::tables()).chain(self.migrations).collect()
    }

    /// The groups this service reads with: (group, its topics). A group is named after the service; further ones are
    /// `<service>.<name>`.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, events) in &self.events {
            let topics = groups.entry(self.group_name(group)).or_default();
            topics.extend(events.values().map(|entry| entry.topic.to_owned()));
        }
        let own = groups.entry(self.name.to_owned()).or_default();
        if !self.commands.is_empty() {
            own.push(commands_topic(self.name));
        }
        if !self.replies.is_empty() {
            own.push(replies_topic(self.name));
        }
        groups.retain(|_, topics| {
            topics.sort();
            topics.dedup();
            !topics.is_empty()
        });
        groups
    }

    pub(crate) fn group_name(&self, group: &str) -> String {
        if group.is_empty() { self.name.to_owned() } else { format!("{}.{group}", self.name) }
    }
}
