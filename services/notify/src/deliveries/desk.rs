//! What this node keeps in memory for sending: accounts, compiled templates, who begins together, deliveries that are under way.

use super::attachments::Loading;
use super::begin::{Beginning, Going};
use super::effects::Attempted;
use super::feedback::Guards;
use super::gather::Gather;
use super::places::Places;
use super::receipts::Told;
use crate::NotifySettings;
use crate::channels::{Carriers, Line, Posted};
use crate::domain::templates::Compiled;
use crate::store::deliveries::Stored;
use crate::templates::Shelf;
use artel_contract::notify::{Channel, DeliveryId};
use artel_flow::Ctx;
use artel_message::Fault;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use uuid::Uuid;

/// Deliveries whose state is kept from the beginning of an attempt to its end; beyond that they are read again.
const KEPT: usize = 20_000;

/// An attempt that ends with another one following, to be stored before it does.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub delivery: DeliveryId,
    pub leg: u32,
    pub attempt: Attempted,
    pub begun: Uuid,
    /// It was tried before to store it.
    pub again: bool,
    /// Its provider tells of messages by our names for them.
    pub by_key: bool,
}

/// One for each node: a service that starts again has a new one.
#[derive(Default)]
pub struct Desk {
    carriers: Carriers,
    lines: OnceLock<BTreeMap<Channel, Arc<Line>>>,
    /// Accounts whose providers tell of messages by our names for them.
    by_key: OnceLock<BTreeSet<Arc<str>>>,
    /// Accounts that somebody else posted receipts for; an empty name for all that there are not.
    strangers: Mutex<BTreeSet<Arc<str>>>,
    /// Held while they are made: a second link to a provider would be one too many.
    making: Mutex<()>,
    /// By the effect's name: bulk waits for nobody else, nor anybody for it.
    begins: Mutex<HashMap<&'static str, Arc<Gather<Beginning, Going>>>>,
    pub(super) records: Gather<Recorded, ()>,
    pub(super) places: Places,
    kept: Mutex<HashMap<DeliveryId, Stored>>,
    templates: Shelf,
    pub(super) attachments: Loading,
    pub(super) guards: Guards,
}

impl Desk {
    pub fn new(carriers: Carriers) -> Desk {
        Desk { carriers, ..Desk::default() }
    }

    /// Makes the accounts: what providers tell of messages is taken in from then on, and each account's pace is shared with the other
    /// nodes.
    pub fn open(&self, ctx: &Ctx) -> Result<(), Fault> {
        let lines: Vec<Arc<Line>> = self.make(ctx)?.values().cloned().collect();
        let clock = ctx.clock().clone();
        ctx.on_nodes(move |nodes| {
            let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
            lines.iter().for_each(|line| line.divide(nodes, clock.now()));
        });
        Ok(())
    }

    /// The accounts of a channel. What is sent while the node still starts may come before they are opened.
    pub(super) fn line(&self, ctx: &Ctx, channel: Channel) -> Result<Arc<Line>, Fault> {
        let lines = match self.lines.get() {
            Some(lines) => lines,
            None => self.make(ctx)?,
        };
        lines.get(&channel).cloned().ok_or_else(|| Fault::internal("a channel without accounts"))
    }

    fn make(&self, ctx: &Ctx) -> Result<&BTreeMap<Channel, Arc<Line>>, Fault> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = self.lines.get() {
            return Ok(lines);
        }
        let settings = ctx.settings::<NotifySettings>();
        let line = |channel: Channel| {
            let line = Line::new(ctx, channel, settings.channel(channel), &self.carriers)?;
            Ok((channel, Arc::new(line)))
        };
        let made: BTreeMap<Channel, Arc<Line>> =
            Channel::ALL.into_iter().map(line).collect::<Result<_, Fault>>()?;
        let by_key = made.values().flat_map(|line| line.telling_by_key()).collect();
        let _ = self.by_key.set(by_key);
        Ok(self.lines.get_or_init(|| made))
    }

    /// Whether the account's provider tells of messages by our own names for them.
    pub(super) fn tells_by_key(&self, account: &str) -> bool {
        self.by_key.get().is_some_and(|accounts| accounts.contains(account))
    }

    /// What was posted to an account's callback; `None` where nothing shows that it was its provider, which is told in the log once.
    pub fn posted(&self, channel: Channel, account: &str, posted: &Posted<'_>) -> Option<Vec<Told>> {
        let line = self.lines.get().and_then(|lines| lines.get(&channel));
        let taken = line.and_then(|line| line.named(account));
        let told = taken.as_ref().and_then(|taken| taken.carrier.posted(posted));
        if told.is_none() {
            let known = taken.map_or_else(|| Arc::from(""), |taken| taken.name);
            if self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(known.clone()) {
                tracing::warn!(
                    channel = channel.as_str(),
                    account = &*known,
                    "somebody posts receipts who is not the account's provider; look at its token and its callback's URL (told once)"
                );
            }
        }
        told
    }

    pub(super) fn begins(&self, name: &'static str) -> Arc<Gather<Beginning, Going>> {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone()
    }

    /// Keeps a delivery as it was read, for the end of its attempt. Where several channels are under way each of them changes it.
    pub(super) fn keep(&self, stored: Stored) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What another attempt has left is older.
        kept.remove(&stored.id);
        let alone = stored.plan.legs.iter().filter(|leg| leg.started).count() <= 1;
        if alone && kept.len() < KEPT {
            kept.insert(stored.id, stored);
        }
    }

    /// Takes out what was kept of these.
    pub(super) fn kept(&self, ids: impl Iterator<Item = DeliveryId>) -> Vec<Stored> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        ids.filter_map(|id| kept.remove(&id)).collect()
    }

    /// A version of a template, compiled once.
    pub(super) async fn template(&self, ctx: &Ctx, id: &str, version: u32) -> Result<Arc<Compiled>, Fault> {
        let most = ctx.settings::<NotifySettings>().templates;
        self.templates.get(ctx, id, version, most).await
    }
}
