//! The durable messaging runtime: handlers over one transaction, the outbox and its relay, groups that take each message in
//! once and in key order, the mediator, effects, timers and schedules.
//!
//! A service is a value ([`Service`]); [`Runtime`] runs a table of them on a log and a store. What a handler may do stands in
//! [`Tx`], what effects and HTTP handlers may do in [`Ctx`].

/// Whether a bug was planted; never in a build without the feature of that name.
macro_rules! planted {
    ($bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = crate::planted::is(crate::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = false;
        planted
    }};
}

mod apart;
mod around;
mod changes;
mod clock;
mod consumer;
mod ctx;
mod effects;
mod erase;
mod error;
mod failure;
mod fingerprint;
mod gone;
mod groups;
mod handed;
mod handler;
pub mod http;
mod leases;
mod letters;
mod limits;
mod measure;
mod mediator;
mod members;
mod metrics;
pub mod moving;
mod operate;
mod outage;
mod outbound;
mod peers;
#[cfg(any(test, feature = "planted"))]
pub mod planted;
mod projections;
mod read;
mod registry;
mod relay;
mod retry;
mod runtime;
mod schedules;
mod service;
mod slots;
pub mod spans;
mod stages;
mod storage;
mod timers;
mod topics;
pub mod trace;
mod tx;
mod unreadable;
mod wakes;
pub mod why;
mod wire;

pub use clock::{Clock, Ids};
pub use ctx::{Ctx, EffectCall};
pub use error::StartError;
pub use failure::{Class, Failure};
pub use fingerprint::{Chain, Trouble};
pub use groups::{GroupInfo, GroupState, Groups};
pub use handler::{Answer, Called, EffectDone, GivenUp, GivenUpAt, HandlerExt, Msg, Published, Raw, With};
pub use leases::Leased;
pub use limits::Limits;
pub use measure::GroupLag;
pub use mediator::{Asked, Mediator};
pub use members::{Me, Member, Members, Pulse};
pub use metrics::FlowMetrics;
pub use operate::{Back, By, DeadLetters, ParkedKeys, Places, Replayed, Rewind, Rewinding, Skip, Skipped};
pub use outbound::{Call, NoOutbound, Outbound, Reply};
pub use peers::{PeerCall, Peers};
pub use projections::{Phase, ProjectionInfo, Projections, Rewound, RewoundPlace};
pub use read::Read;
pub use registry::{Handles, check, topology};
pub use runtime::{Parts, Runtime};
pub use schedules::{Missed, OfRun, Run, Schedule, Scheduled};
pub use service::{BadSettings, NoSettings, Service, Settings};
pub use storage::audit::Audit;
pub use storage::dead::{DeadLetter, Trail};
pub use storage::held::{First, ParkedKey};
pub use storage::letters::{DeadCause, Letters, Onward};
pub use storage::tables;
pub use topics::Topics;
pub use tx::{Produce, Tx};
