//! Routes: each parses, asks the mediator, answers.

mod deliveries;

use artel_flow::{Asked, Ctx};
use artel_frame::edge::{RequestInfo, Routes};

pub fn routes(ctx: &Ctx) -> Routes {
    deliveries::routes(Routes::new()).with_state(ctx.clone())
}

/// Who asks, for the mediator.
pub(crate) fn asked(caller: &str, info: &RequestInfo) -> Asked {
    Asked::by(caller).trace(Some(info.trace.to_string()))
}
