//! What a template would send.

use super::{check, current, no_such, version};
use crate::NotifySettings;
use crate::domain::opt_out::Links;
use crate::domain::quiet;
use crate::domain::templates::{Body, Context, RenderError, Rendered, sample};
use artel_contract::notify::Channel;
use artel_contract::notify::templates::{Preview, PreviewMessage, PreviewTemplate, TemplateBody};
use artel_flow::Read;
use artel_message::{Fault, Time};
use chrono_tz::Tz;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub async fn preview(read: &Read, mut query: PreviewTemplate) -> Result<Preview, Fault> {
    let body = match query.body.take() {
        Some(body) => body,
        None => saved(read, &query.template, query.version).await?,
    };
    let url = read.settings::<NotifySettings>().links().map(Links::sample);
    let now = read.now();
    check::blocking(move || seen(query, &body, url.as_deref(), now)).await
}

fn seen(
    query: PreviewTemplate,
    body: &TemplateBody,
    unsubscribe_url: Option<&str>,
    now: Time,
) -> Result<Preview, Fault> {
    let zone = match &query.zone {
        Some(name) => quiet::zone(name)
            .map_err(|_| Fault::field("zone", "is no time zone; use a name such as Europe/Moscow"))?,
        None => Tz::UTC,
    };
    let (compiled, problems) = check::compiled(&query.template, 0, body)?;
    let data = match query.data {
        Some(data) => data,
        None => check::schema(body)?.map_or(json!({}), |schema| sample(&schema, true)),
    };
    let context = Context {
        recipient_name: query.name.as_deref(),
        recipient_language: query.language.as_deref(),
        zone,
        now,
        unsubscribe_url,
    };
    let seen = compiled.preview(query.language.as_deref(), &data, &context);
    let segments = seen.sms.as_ref().map(|count| count.parts);
    let messages = seen.messages.into_iter().map(|(channel, rendered)| message(channel, rendered, segments));
    Ok(Preview { messages: messages.collect(), data, problems: problems.iter().map(check::shown).collect() })
}

async fn saved(mut read: &Read, id: &str, wanted: Option<u32>) -> Result<TemplateBody, Fault> {
    let wanted = match wanted {
        Some(wanted) => Some(wanted),
        None => current(&mut read, &BTreeSet::from([id])).await?.remove(id),
    };
    let found = version(&mut read, id, wanted.ok_or_else(|| no_such(id))?).await?;
    Ok(found.ok_or_else(|| no_such(id))?.body)
}

fn message(
    channel: Channel,
    rendered: Result<Rendered, RenderError>,
    segments: Option<usize>,
) -> PreviewMessage {
    let mut shown = PreviewMessage {
        channel,
        language: None,
        subject: None,
        title: None,
        text: None,
        html: None,
        data: BTreeMap::new(),
        segments: None,
        error: None,
    };
    match rendered {
        Err(error) => shown.error = Some(error.to_string()),
        Ok(Rendered { language, body }) => {
            shown.language = Some(language);
            match body {
                Body::Email { subject, text, html } => {
                    (shown.subject, shown.text, shown.html) = (Some(subject), Some(text), html);
                }
                Body::Sms { text } => {
                    shown.text = Some(text);
                    shown.segments = segments.and_then(|count| u32::try_from(count).ok());
                }
                Body::Push { title, body, data } => {
                    (shown.title, shown.text, shown.data) = (Some(title), Some(body), data);
                }
            }
        }
    }
    shown
}

/// An example of what fills a template, where nobody gave any.
pub fn example(body: &TemplateBody) -> Option<Value> {
    check::schema(body).ok().flatten().map(|schema| sample(&schema, true))
}
