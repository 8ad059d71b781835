//! What operators see and do, under `/api/admin`: how the nodes are, topics and their messages, groups, parked keys, dead letters,
//! the cache, schedules, topology, migrations. Every route needs the scope `operate`. Lists are pages, scans are bounded and say how far they came.

mod backup;
mod cache;
mod dead;
mod groups;
mod here;
mod live;
mod messages;
mod parked;
mod projections;
mod record;
mod schedules;
mod start;
mod state;
mod status;
mod topics;
mod topology;
mod why;

pub(crate) use backup::Backups;
pub(crate) use state::Facts;

use crate::edge::{Readiness, Routes};
use crate::peers::{PeerClient, View};
use artel_bus::Bus;
use artel_flow::Runtime;
use artel_message::Fault;
use artel_store::{Cache, Store};
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Streams of messages at the same time.
const LIVE_STREAMS: usize = 64;

/// How many of a list were asked for. What is out of range is refused and not moved: a client that asks for 5,000 and gets 500
/// would take them for all there are.
fn limit_of<N: Copy + PartialOrd + From<u8> + std::fmt::Display>(
    asked: Option<N>,
    unless_said: N,
    most: N,
) -> Result<N, Fault> {
    match asked {
        None => Ok(unless_said),
        Some(limit) if limit >= N::from(1) && limit <= most => Ok(limit),
        Some(limit) => Err(Fault::field("limit", format!("{limit} is not 1 to {most}"))),
    }
}

/// What the handlers look at.
#[derive(Clone)]
pub(crate) struct Admin(Arc<Inner>);

/// What the administration is made of.
pub(crate) struct AdminParts {
    pub runtime: Arc<Runtime>,
    pub bus: Arc<dyn Bus>,
    pub store: Store,
    pub cache: Arc<dyn Cache>,
    pub facts: Facts,
    pub readiness: Readiness,
    pub backups: Backups,
    /// The way to the other nodes, if there is one.
    pub peers: Option<Arc<PeerClient>>,
    /// Ends the streams when the node stops.
    pub closing: CancellationToken,
}

struct Inner {
    parts: AdminParts,
    live: Arc<Semaphore>,
}

impl Deref for Inner {
    type Target = AdminParts;
    fn deref(&self) -> &AdminParts {
        &self.parts
    }
}

impl Admin {
    pub(crate) fn new(parts: AdminParts) -> Admin {
        Admin(Arc::new(Inner { parts, live: Arc::new(Semaphore::new(LIVE_STREAMS)) }))
    }

    /// What this node says of itself to the others.
    pub(crate) fn view(&self) -> View {
        let admin = self.clone();
        Arc::new(move || {
            let admin = admin.clone();
            Box::pin(async move { status::view_of(&admin).await })
        })
    }

    pub(crate) fn routes(self) -> Routes {
        let all = [
            topics::routes(),
            messages::routes(),
            live::routes(),
            groups::routes(),
            projections::routes(),
            dead::routes(),
            parked::routes(),
            cache::routes(),
            schedules::routes(),
            topology::routes(),
            why::routes(),
            state::routes(),
            status::routes(),
            backup::routes(),
        ];
        all.into_iter().fold(Routes::new(), Routes::merge).with_state(self)
    }

    /// The service that a topic belongs to.
    fn owner(&self, topic: &str) -> Option<String> {
        let (runtime, facts) = (&self.0.runtime, &self.0.facts);
        let ctx = facts.running(runtime).into_iter().find_map(|name| runtime.ctx(&name))?;
        ctx.topics().owner(topic).map(str::to_owned)
    }
}
