//! The provider's own code in the body of an answer.

use super::Provider;
use serde_json::Value;

const FCM_ERROR: &str = "google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "google.rpc.BadRequest";

/// The code that the provider's table is looked through by; `None` where the body has none. Of FCM, `INVALID_ARGUMENT` gets the
/// word `token` or `message` behind it, for what it is about.
pub fn code_of(provider: Provider, body: &Value) -> Option<String> {
    match provider {
        Provider::Fcm => fcm(body),
        Provider::Apns => text(&body["reason"]),
        Provider::Twilio => text(&body["code"]).or_else(|| text(&body["ErrorCode"])),
        Provider::Smsc => text(&body["error_code"]),
        Provider::SmsRu => sms_ru(body),
        // `x-amzn-ErrorType` in a header, `__type` in the body, sometimes with a prefix and a suffix.
        Provider::Ses => {
            let whole = text(&body["__type"]).or_else(|| text(&body["code"]))?;
            let name = whole.rsplit('#').next().unwrap_or(&whole);
            Some(name.split(':').next().unwrap_or(name).to_owned())
        }
        Provider::Smtp | Provider::Smpp | Provider::WebPush => None,
    }
}

/// A code as text, whether it was written as a number or as a text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// SMS.ru answers for each number below `sms`, and for the whole request beside it: a number's own code says more.
fn sms_ru(body: &Value) -> Option<String> {
    let of_a_number = body["sms"].as_object().and_then(|all| all.values().next());
    of_a_number.and_then(|one| text(&one["status_code"])).or_else(|| text(&body["status_code"]))
}

fn fcm(body: &Value) -> Option<String> {
    let error = &body["error"];
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    let of_type = |name: &str| {
        details.iter().find(|detail| detail["@type"].as_str().is_some_and(|kind| kind.ends_with(name)))
    };
    let own = of_type(FCM_ERROR).and_then(|detail| text(&detail["errorCode"]));
    // The server that gives tokens answers with the code alone (RFC 6749, section 5.2).
    let code = own.clone().or_else(|| text(&error["status"])).or_else(|| text(error))?;
    if code != "INVALID_ARGUMENT" {
        return Some(code);
    }
    let violations = of_type(BAD_REQUEST).and_then(|detail| detail["fieldViolations"].as_array());
    let about_token = match violations {
        // A token is removed only where the answer is about the token and nothing else.
        Some(fields) => !fields.is_empty() && fields.iter().all(|f| f["field"] == "message.token"),
        None => own.is_some(),
    };
    Some(format!("INVALID_ARGUMENT {}", if about_token { "token" } else { "message" }))
}
