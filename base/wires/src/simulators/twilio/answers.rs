//! Answers as the provider writes them.

use super::sent::{Asked, Message};
use crate::simulators::serve::{Answer, json};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json as value};

pub(super) fn refused(status: StatusCode, code: u32, message: &str) -> Answer {
    let body = value!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    });
    json(status, &body)
}

/// What stands in front of the provider answers without it.
pub(super) fn gateway(status: StatusCode) -> Answer {
    let page = format!("<html><body><h1>{status}</h1></body></html>");
    let mut answer = Answer::new(Full::new(Bytes::from(page)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer
}

pub(super) fn shown(account: &str, message: &Message) -> Value {
    let Message { sid, to, from, body, status, error_code, created } = message;
    let created =
        i64::try_from(*created).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    let created = created.map(|moment| moment.to_rfc2822());
    value!({
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": body,
        "date_created": created,
        "date_sent": created,
        "date_updated": created,
        "direction": "outbound-api",
        "error_code": error_code,
        "error_message": null,
        "from": from,
        "messaging_service_sid": null,
        "num_media": "0",
        "num_segments": "1",
        "price": null,
        "price_unit": "USD",
        "sid": sid,
        "status": status,
        "subresource_uris": {},
        "to": to,
        "uri": format!("/2010-04-01/Accounts/{account}/Messages/{sid}.json"),
    })
}

pub(super) fn listed(account: &str, asked: &Asked, page: Vec<&Message>, more: bool) -> Value {
    let uri = |page: usize| {
        let mut query = Serializer::new(String::new());
        query.append_pair("To", &asked.to).append_pair("PageSize", &asked.size.to_string());
        query.append_pair("DateSent>", &asked.day).append_pair("Page", &page.to_string());
        format!("/2010-04-01/Accounts/{account}/Messages.json?{}", query.finish())
    };
    value!({
        "first_page_uri": uri(0),
        "messages": page.into_iter().map(|message| shown(account, message)).collect::<Vec<_>>(),
        "next_page_uri": more.then(|| uri(asked.page + 1)),
        "page": asked.page,
        "page_size": asked.size,
        "uri": uri(asked.page),
    })
}
