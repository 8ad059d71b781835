//! Deliveries on their way: accepted, sent, told of, asked about.
//!
//! A delivery's state is one row that each step replaces ([`steps`]). An attempt is an effect (`effects.rs`): its handler
//! (`send.rs`) writes down that it begins, with many others at once (`begin.rs`), hands the message over, and what came of it
//! is stored with the effect's end (`done.rs`).

pub mod accept;
mod ask;
mod attachments;
mod begin;
mod bury;
mod cached;
pub mod content;
mod decide;
mod desk;
mod done;
mod effects;
mod feedback;
mod forgotten;
mod gather;
mod key;
mod lapse;
mod list;
mod notify;
mod places;
mod purge;
mod receipts;
mod record;
mod replay;
mod reported;
mod rivals;
mod send;
mod steps;
pub mod view;
mod wanted;
mod words;

pub(crate) use ask::ask_handler;
pub use ask::asked;
pub use begin::begin;
pub use cached::seen;
pub use decide::decide;
pub use desk::Desk;
pub(crate) use done::told;
pub use effects::{DeliverEmail, DeliverEmailBulk, DeliverPush, DeliverPushBulk, DeliverSms, DeliverSmsBulk};
pub(crate) use forgotten::{ForgetCached, uncache};
pub use lapse::{lapse, lapse_on_time};
pub use list::{get, list, why};
pub use notify::{notify, notify_many};
pub use purge::{purge, purge_on_time};
pub use receipts::{TakeReceipts, Told, no_receipt, take_receipts};
pub use record::record;
pub use replay::{get_replay, list_replays, replay, step, stop_replay, try_replay};
pub use send::handler;
