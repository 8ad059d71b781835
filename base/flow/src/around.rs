//! What goes round every handler: a span, a log line, metrics, a time limit, and a net under panics.

use crate::Failure;
use crate::metrics::FlowMetrics;
use artel_message::Fault;
use futures::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// What is run, for spans, logs and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub service: &'static str,
    /// `command`, `query`, `event`, `effect`, `timer`, …
    pub kind: &'static str,
    pub name: &'a str,
    pub trace: Option<&'a str>,
}

/// Runs `work` with all of it.
pub(crate) async fn around<T>(
    call: Call<'_>,
    metrics: &FlowMetrics,
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let trace = call.trace.and_then(crate::trace::trace_id);
    let span = tracing::debug_span!(
        "handle",
        service = call.service,
        kind = call.kind,
        name = call.name,
        trace.id = trace
    );
    let started = Instant::now();
    let guarded = AssertUnwindSafe(work).catch_unwind();
    let result = match tokio::time::timeout(limit, guarded.instrument(span.clone())).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::Refused(Fault::internal(format!(
            "{} '{}' panicked: {}",
            call.kind,
            call.name,
            panic_text(panic.as_ref())
        )))),
        Err(_) => Err(Failure::Refused(Fault::timeout(format!(
            "{} '{}' took longer than {limit:?} (setting flow.handler_time)",
            call.kind, call.name
        )))),
    };
    let took = started.elapsed();
    metrics.handled(call.service, call.kind, call.name, result.as_ref().err().map(Failure::code), took);
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
