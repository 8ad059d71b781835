//! What this node keeps in memory for sending: accounts, compiled templates, who begins together, deliveries that are under way.

use super::attachments::Loading;
use super::begin::{Beginning, Going};
use super::effects::Attempted;
use super::feedback::Guards;
use super::gather::Gather;
use crate::NotifySettings;
use crate::channels::{Carriers, Line};
use crate::domain::templates::Compiled;
use crate::store::deliveries::Stored;
use crate::templates::Shelf;
use artel_contract::notify::{Channel, DeliveryId};
use artel_flow::Ctx;
use artel_message::Fault;
use std::collections::{BTreeMap, HashMap};
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
}

/// One for each node: a service that starts again has a new one.
#[derive(Default)]
pub struct Desk {
    carriers: Carriers,
    lines: OnceLock<BTreeMap<Channel, Arc<Line>>>,
    /// Held while they are made: a second link to a provider would be one too many.
    making: Mutex<()>,
    /// By the effect's name: bulk waits for nobody else, nor anybody for it.
    begins: Mutex<HashMap<&'static str, Arc<Gather<Beginning, Going>>>>,
    pub(super) records: Gather<Recorded, ()>,
    kept: Mutex<HashMap<DeliveryId, Stored>>,
    templates: Shelf,
    pub(super) attachments: Loading,
    pub(super) guards: Guards,
}

impl Desk {
    pub fn new(carriers: Carriers) -> Desk {
        Desk { carriers, ..Desk::default() }
    }

    /// The accounts of a channel, made with the first message.
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
        let made = Channel::ALL.into_iter().map(line).collect::<Result<_, Fault>>()?;
        Ok(self.lines.get_or_init(|| made))
    }

    pub(super) fn begins(&self, name: &'static str) -> Arc<Gather<Beginning, Going>> {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone()
    }

    /// Keeps a delivery as it was read, for the end of its attempt.
    pub(super) fn keep(&self, stored: Stored) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
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
