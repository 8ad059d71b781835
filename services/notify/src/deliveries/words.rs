//! What a message says: its template, filled. The same at each time that it is filled for one attempt.

use super::desk::Desk;
use crate::NotifySettings;
use crate::domain::opt_out::Link;
use crate::domain::templates::{Context, Rendered};
use crate::store::deliveries::{Filled, Stored};
use artel_flow::Ctx;
use artel_message::{Fault, Time};
use chrono_tz::Tz;

pub(super) struct Words {
    pub rendered: Rendered,
    pub unsubscribe_url: Option<String>,
}

/// Of a leg whose attempt began at this moment, which is its `now`.
pub(super) async fn of(
    ctx: &Ctx,
    desk: &Desk,
    filled: &Filled,
    leg: usize,
    begun_at: Time,
) -> Result<Words, Fault> {
    let Filled { stored, data } = filled;
    let content = &stored.content;
    let channel = stored.plan.legs.get(leg).map(|leg| leg.channel);
    let channel = channel.ok_or_else(|| Fault::invalid("there is no such channel"))?;
    let unsubscribe_url = unsubscribe_url(ctx, stored, leg);
    let template = desk.template(ctx, &content.template, content.template_version).await?;
    let data = serde_json::from_str(data).map_err(|error| Fault::invalid(format!("data: {error}")))?;
    let zone = content.zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
    let context = Context {
        recipient_name: content.name.as_deref(),
        recipient_language: content.language.as_deref(),
        zone,
        now: begun_at,
        unsubscribe_url: unsubscribe_url.as_deref(),
    };
    let rendered = template
        .render(channel, content.language.as_deref(), &data, &context)
        .map_err(|error| Fault::invalid(format!("template '{}': {error}", content.template)))?;
    Ok(Words { rendered, unsubscribe_url })
}

/// Where what it is about can be turned off, and links are set up.
fn unsubscribe_url(ctx: &Ctx, stored: &Stored, leg: usize) -> Option<String> {
    let settings = ctx.settings::<NotifySettings>();
    let links = settings.links().filter(|_| stored.content.can_opt_out)?;
    Some(links.url(Link { delivery: stored.id, leg: super::effects::index(leg) }))
}
