//! What providers post to us by themselves. They have no token: each proves in its own way that it is the provider.

use crate::channels::Posted;
use crate::deliveries::{Desk, TakeReceipts};
use artel_contract::notify::Channel;
use artel_flow::Ctx;
use artel_frame::edge::{Path, Problem, Routes};
use artel_message::{Code, Fault};
use artel_wires::twilio::callback::SIGNATURE;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;

/// Bytes of a post that are read.
const MOST: usize = 64 << 10;

#[derive(Clone)]
struct Callbacks {
    ctx: Ctx,
    desk: Arc<Desk>,
}

pub fn routes(ctx: &Ctx, desk: &Arc<Desk>) -> Routes {
    let callbacks = Callbacks { ctx: ctx.clone(), desk: desk.clone() };
    Routes::new()
        .post("/api/notify/callbacks/twilio/{account}", twilio, |op| {
            op.summary("Take a report of Twilio's")
                .description("A form of Twilio's (`StatusCallback`), signed in `x-twilio-signature`. No token is needed.")
                .open()
                .raw_body::<String>("application/x-www-form-urlencoded", "the report")
                .answers_empty(204, "stored")
                .refuses(&[Code::Forbidden])
        })
        .with_state(callbacks)
}

async fn twilio(
    State(Callbacks { ctx, desk }): State<Callbacks>,
    Path(account): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<StatusCode, Problem> {
    let Ok(body) = axum::body::to_bytes(body, MOST).await else {
        let fault = Fault::invalid(format!("the body broke off, or has more than {MOST} bytes"));
        return Err(Problem::with_status(StatusCode::PAYLOAD_TOO_LARGE, fault));
    };
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let posted = Posted { query: uri.query().unwrap_or_default(), signature, body: &body };
    let Some(receipts) = desk.posted(Channel::Sms, &account, &posted) else {
        return Err(Fault::forbidden("the signature is not that of the account's provider").into());
    };
    if !receipts.is_empty() {
        ctx.ask(TakeReceipts { account, receipts }).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
