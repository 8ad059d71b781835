//! What goes round every handler: a span, a log line, metrics, a time limit, and a net under panics.

use crate::Failure;
use crate::ctx::Shared;
use crate::spans::{self, Origin, Place};
use artel_message::Fault;
use futures::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tracing::{Instrument, Span};

/// What is run, for spans, logs and metrics.
pub(crate) struct Call<'a> {
    shared: &'a Shared,
    /// `command`, `query`, `event`, `effect`, `timer`, …
    kind: &'static str,
    name: &'a str,
    /// The trace that it is part of.
    parent: Option<&'a str>,
    /// Its own place, where somebody wants to know.
    place: Option<Place>,
    origin: Option<Origin<'a>>,
}

impl<'a> Call<'a> {
    /// One run; a run again is another call.
    pub fn new(shared: &'a Shared, kind: &'static str, name: &'a str, parent: Option<&'a str>) -> Call<'a> {
        Call { shared, kind, name, parent, place: Place::below(shared, parent), origin: None }
    }

    /// Says which message it runs for.
    pub fn of(mut self, origin: Origin<'a>) -> Call<'a> {
        self.origin = Some(origin);
        self
    }

    /// Names further causes of a batch.
    pub fn link<'b>(mut self, causes: impl Iterator<Item = &'b str>) -> Call<'a> {
        if let Some(place) = &mut self.place {
            place.link(causes);
        }
        self
    }

    /// What bounds its time.
    fn setting(&self) -> &'static str {
        if self.kind == "effect" { "flow.effect_time" } else { "flow.handler_time" }
    }

    /// What is caused by it is part of this.
    pub fn trace(&self) -> Option<String> {
        self.place.as_ref().map(|place| place.own.to_string()).or_else(|| self.parent.map(str::to_owned))
    }

    /// The span for log lines: those of a sampled trace can be found by its id at any level.
    fn log_span(&self) -> Span {
        let (service, kind, name) = (self.shared.name(), self.kind, self.name);
        match &self.place {
            Some(place) => {
                let (trace, span) = (place.own.trace_id(), place.own.span_id());
                tracing::info_span!("handle", service, kind, name, trace.id = trace, span.id = span)
            }
            None => {
                let trace = self.parent.and_then(|text| text.get(3..35));
                tracing::debug_span!("handle", service, kind, name, trace.id = trace)
            }
        }
    }

    fn told(&self) -> Span {
        let place = self.place.as_ref();
        place.map_or_else(Span::none, |place| place.handler(self.shared, (self.kind, self.name), self.origin))
    }
}

/// Runs `work` with all of it.
pub(crate) async fn around<T>(
    call: Call<'_>,
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let told = call.told();
    let span = told.in_scope(|| call.log_span());
    let started = Instant::now();
    let guarded = AssertUnwindSafe(work).catch_unwind();
    let result =
        match tokio::time::timeout(limit, guarded.instrument(span.clone()).instrument(told.clone())).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Failure::Refused(Fault::internal(format!(
                "{} '{}' panicked: {}",
                call.kind,
                call.name,
                panic_text(panic.as_ref())
            )))),
            Err(_) => Err(Failure::Refused(Fault::timeout(format!(
                "{} '{}' took longer than {limit:?} (setting {})",
                call.kind,
                call.name,
                call.setting()
            )))),
        };
    let took = started.elapsed();
    call.shared.metrics.handled(
        call.shared.name(),
        call.kind,
        call.name,
        result.as_ref().err().map(Failure::code),
        took,
    );
    if let Err(failure) = &result {
        spans::failed(&told, failure);
    }
    let _entered = span.enter();
    match &result {
        Ok(_) => tracing::trace!(took_us = took.as_micros() as u64, "handled"),
        Err(failure) => tracing::debug!(took_us = took.as_micros() as u64, error = %failure, "not handled"),
    }
    result
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
