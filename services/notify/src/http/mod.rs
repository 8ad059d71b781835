//! Routes: each parses, asks the mediator, answers.

mod callbacks;
mod deliveries;
mod etag;
mod replays;
mod rules;
mod subscribers;
mod suppression;
mod templates;
mod topics;
mod unsubscribe;

use crate::deliveries::Desk;
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{RequestInfo, Routes};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// One of the versions of something.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The current one when absent.
    #[serde(default)]
    version: Option<u32>,
}

/// A part of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    cursor: Option<String>,
}

pub fn routes(ctx: &Ctx, desk: &Arc<Desk>) -> Routes {
    deliveries::routes(Routes::new())
        .merge(subscribers::routes())
        .merge(suppression::routes())
        .merge(topics::routes())
        .merge(templates::routes())
        .merge(rules::routes())
        .merge(replays::routes())
        .merge(unsubscribe::routes())
        .with_state(ctx.clone())
        .merge(callbacks::routes(ctx, desk))
}

/// Who asks, for the mediator.
pub(crate) fn asked(caller: &str, info: &RequestInfo) -> Asked {
    Asked::by(caller).trace(Some(info.trace.to_string()))
}
