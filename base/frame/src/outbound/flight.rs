//! Equal reads at the same time are one request.

use super::failure::OutboundError;
use super::transport::Checked;
use artel_flow::Reply;
use axum::http::Method;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

type Work = BoxFuture<'static, Result<Reply, OutboundError>>;

/// What makes two reads equal: also who asks, since the headers say it.
type Key = (String, bool, Vec<(String, Vec<u8>)>);

/// They belong to their passengers: when the last of them goes away the request ends.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, WeakShared<Work>>>);

/// A flight and whether this caller began it.
pub(super) struct Boarded {
    pub(super) flight: Shared<Work>,
    pub(super) began: bool,
}

/// None for what changes something, or is told apart by a key.
pub(super) fn key(call: &Checked) -> Option<Key> {
    let plain = call.call.method == Method::GET && call.call.body.is_empty() && call.call.key.is_none();
    let headers = || {
        let mut list: Vec<_> = call
            .call
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        list.sort();
        list
    };
    plain.then(|| (call.call.url.clone(), call.public_only, headers()))
}

impl Flights {
    pub(super) fn board(&self, key: Key, begin: impl FnOnce() -> Work) -> Boarded {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = |flight: &WeakShared<Work>| flight.upgrade().filter(|flight| flight.peek().is_none());
        flights.retain(|_, flight| under_way(flight).is_some());
        if let Some(flight) = flights.get(&key).and_then(under_way) {
            return Boarded { flight, began: false };
        }
        let flight = begin().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        Boarded { flight, began: true }
    }
}
