//! For each row of a provider's table an answer that the table finds by this very row, and how the simulator is asked for it.

use artel_notify::domain::classes::{Answer, Key, Provider, Row, find};
use artel_wires::simulators::Answered;

/// What is asked of the simulator.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// It takes the message.
    Good,
    Refuses(Answered),
    /// The server that gives access tokens refuses.
    NoToken(Answered),
    /// The server refuses who sends.
    NoSender(Answered),
}

/// Statuses that are tried first: others have meanings of their own to some client.
const STATUSES: [u16; 6] = [400, 403, 404, 429, 500, 503];

/// `None`: nothing that the simulator can answer leads to this row.
pub fn of(provider: Provider, row: &'static Row) -> Option<Sample> {
    match row.key {
        Key::Smtp { from, to, enhanced, text, sender } => {
            (from.max(200)..=to.min(599)).find_map(|code| smtp((provider, row), code, enhanced, text, sender))
        }
        Key::Smpp { from, to } => {
            let status =
                (from..=to).take(0x600).find(|status| is(provider, row, Answer::Smpp { status: *status }));
            status.map(|status| match status {
                0 => Sample::Good,
                status => Sample::Refuses(Answered::Smpp { status }),
            })
        }
        Key::Http { from, to, code, host } => {
            let statuses = STATUSES.into_iter().chain([from, to]);
            let within =
                statuses.filter(|status| (from..=to).contains(status) && (200..600).contains(status));
            within.flat_map(|status| [(status, code), (status, "FAILED_PRECONDITION")]).find_map(
                |(status, own)| {
                    let own = if code.is_empty() { own } else { code };
                    let said = said(provider, status, own);
                    let code = said.as_deref();
                    let answer = Answer::Http { status, code, retry_after: None, host };
                    is(provider, row, answer).then(|| http(status, own))
                },
            )
        }
    }
}

fn is(provider: Provider, row: &'static Row, answer: Answer<'_>) -> bool {
    find(provider, answer).is_some_and(|found| std::ptr::eq(found, row))
}

fn smtp(
    (provider, row): (Provider, &'static Row),
    code: u16,
    enhanced: &str,
    text: &str,
    sender: bool,
) -> Option<Sample> {
    let enhanced = match enhanced {
        own if own.starts_with('.') => format!("{}{own}", code / 100),
        own if own.ends_with('.') => format!("{own}26"),
        own => own.to_owned(),
    };
    let said = Some(enhanced.as_str()).filter(|own| !own.is_empty());
    if !is(provider, row, Answer::Smtp { code, enhanced: said, text, sender }) {
        return None;
    }
    Some(match code {
        400.. => {
            let answered = Answered::Smtp { code, enhanced, text: text.to_owned() };
            if sender { Sample::NoSender(answered) } else { Sample::Refuses(answered) }
        }
        _ => Sample::Good,
    })
}

fn http(status: u16, code: &str) -> Sample {
    let answered = Answered::Http { status, code: code.to_owned(), retry_after_s: None };
    match status {
        200..300 => Sample::Good,
        // Codes of OAuth are written small.
        _ if code.starts_with(|first: char| first.is_ascii_lowercase()) => Sample::NoToken(answered),
        _ => Sample::Refuses(answered),
    }
}

/// The code in the simulator's answer, which has one also where none was asked for.
fn said(provider: Provider, status: u16, code: &str) -> Option<String> {
    let own = match (provider, status, code) {
        (_, 200..300, _) => return None,
        (Provider::WebPush, _, _) => return None,
        (Provider::Fcm, 400, "") => "INVALID_ARGUMENT message",
        (Provider::Fcm, 401, "") => "UNAUTHENTICATED",
        (Provider::Fcm, 403, "") => "PERMISSION_DENIED",
        (Provider::Fcm, 404, "") => "NOT_FOUND",
        (Provider::Fcm, 429, "") => "RESOURCE_EXHAUSTED",
        (Provider::Fcm, 503, "") => "UNAVAILABLE",
        (Provider::Fcm, _, "") => "INTERNAL",
        // Somebody's on the way to it.
        (Provider::Twilio, 502..=504, "" | "FAILED_PRECONDITION") => return None,
        (Provider::Twilio, _, "" | "FAILED_PRECONDITION") => "20500",
        (_, _, own) => own,
    };
    Some(own.to_owned())
}
