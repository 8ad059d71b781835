//! Reports to callbacks, signed.

use super::Twilio;
use super::sent::Message;
use crate::simulators::Receipt;
use crate::twilio::callback::{Form, SIGNATURE};
use form_urlencoded::Serializer;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::time::sleep;

pub(super) struct Report<'a> {
    pub(super) sid: &'a str,
    pub(super) callback: &'a str,
    pub(super) receipt: Receipt,
}

/// The status and the code.
fn words(receipt: Receipt) -> (&'static str, Option<u32>) {
    match receipt {
        Receipt::OnItsWay => ("sent", None),
        Receipt::Delivered => ("delivered", None),
        Receipt::Undelivered(code) => ("undelivered", Some(code)),
        Receipt::Expired => ("failed", Some(30_036)),
        Receipt::Unknown => ("failed", Some(30_008)),
    }
}

impl Twilio {
    /// Posts it until it is taken.
    pub(super) async fn report(&self, report: Report<'_>) {
        let (status, code) = words(report.receipt);
        let Some(message) = self.sent().set(report.sid, status, code) else { return };
        let Ok(uri) = report.callback.parse::<Uri>() else { return };
        let body = self.form(&message);
        let signature =
            Form::read(body.as_bytes()).unwrap_or_default().sign(&self.settings.token, report.callback);
        let Ok(signature) = HeaderValue::try_from(signature) else { return };
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (HeaderName::from_static(SIGNATURE), signature),
        ]);
        for repeat in 0..=self.settings.most_repeats {
            if repeat > 0 {
                sleep(self.settings.repeat).await;
            }
            self.sent().reports.0 += 1;
            let answer = self.http.post(&uri, headers.clone(), body.clone().into()).await;
            if answer.is_ok_and(|answer| answer.is_success()) {
                self.sent().reports.1 += 1;
                return;
            }
        }
    }
    fn form(&self, message: &Message) -> String {
        let mut form = Serializer::new(String::new());
        for (name, value) in [
            ("AccountSid", self.settings.account.as_str()),
            ("ApiVersion", "2010-04-01"),
            ("From", &message.from),
            ("MessageSid", &message.sid),
            ("MessageStatus", message.status),
            ("SmsSid", &message.sid),
            ("SmsStatus", message.status),
            ("To", &message.to),
        ] {
            form.append_pair(name, value);
        }
        if let Some(code) = message.error_code {
            form.append_pair("ErrorCode", &code.to_string());
        }
        form.finish()
    }
}
