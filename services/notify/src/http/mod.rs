//! Routes: each parses, asks the mediator, answers.

mod deliveries;
mod etag;
mod rules;
mod subscribers;
mod suppression;
mod templates;
mod topics;

use artel_flow::{Asked, Ctx};
use artel_frame::edge::{RequestInfo, Routes};

pub fn routes(ctx: &Ctx) -> Routes {
    // The one place that is called once on each node that runs the service.
    crate::rules::start(ctx);
    deliveries::routes(Routes::new())
        .merge(subscribers::routes())
        .merge(suppression::routes())
        .merge(topics::routes())
        .merge(templates::routes())
        .merge(rules::routes())
        .with_state(ctx.clone())
}

/// Who asks, for the mediator.
pub(crate) fn asked(caller: &str, info: &RequestInfo) -> Asked {
    Asked::by(caller).trace(Some(info.trace.to_string()))
}
