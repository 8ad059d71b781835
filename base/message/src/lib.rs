//! What a message is, without any runtime: the traits of commands, queries, events and effects, the envelope on the
//! wire, the closed set of fault codes, typed ids, time, money and pages. No async, no I/O.

mod catalogue;
mod envelope;
mod fault;
mod headers;
mod id;
mod json;
mod money;
mod page;
mod time;
mod traits;

pub use artel_message_derive::{Command, Effect, Event, Query};
pub use catalogue::{Described, Kind};
pub use envelope::{
    CONTENT_TYPE_JSON, Envelope, NotAnEnvelope, RESERVED_HEADERS, RESERVED_PREFIXES, is_reserved_header,
};
pub use fault::{Code, Fault};
pub use headers::{DamagedHeaders, Headers, HeadersIter};
pub use id::{Cause, Id, Tag};
pub use json::check_json;
pub use money::{Currency, Money};
pub use page::{Cursor, Page};
pub use time::{InvalidTime, Time};
pub use traits::{
    Command, Effect, Event, Later, Message, Query, commands_topic, dead_letter_topic, replies_topic,
    service_of,
};
