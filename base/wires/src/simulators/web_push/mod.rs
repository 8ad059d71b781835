//! A push service with browsers behind it: it makes subscriptions, and shows what they are sent as their service worker would see it.
//!
//! | route | |
//! |---|---|
//! | `POST /subscriptions` | a new one, as `PushSubscription.toJSON()` writes it; `{"applicationServerKey": "…"}` ties it to a VAPID key |
//! | `DELETE /subscriptions/{id}` | the user takes it back: messages are answered with 410 from then on |
//! | `POST /push/{id}` | a message (RFC 8030) |

mod browser;
mod sender;

use super::derive::Derived;
use super::fcm::said;
use super::serve::{Answer, Listen, Routes, Served, header, json, serve, text};
use super::{Arrival, Board, Judge, Refusal};
use crate::http::{Clock, system_clock};
use browser::{Browser, Browsers};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use ring::rand::SystemRandom;
use serde::Deserialize;
use serde_json::{Value, json as value};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What there is to choose.
#[derive(Clone)]
pub struct WebPushSimulatorSettings {
    pub listen: Listen,
    /// Of the browsers' keys: with the same seed, subscriptions of an earlier run are good.
    pub seed: u64,
    /// Bytes of an encrypted message; RFC 8030 asks for 4,096 at least.
    pub most_body: usize,
    pub clock: Clock,
}

impl Default for WebPushSimulatorSettings {
    fn default() -> WebPushSimulatorSettings {
        WebPushSimulatorSettings {
            listen: Listen::loopback(0),
            seed: 1,
            most_body: 4_096,
            clock: system_clock(),
        }
    }
}

/// The simulator, until it is dropped.
pub struct WebPushSimulator {
    served: Served,
    service: Arc<Service>,
}

impl WebPushSimulator {
    pub async fn start(
        settings: WebPushSimulatorSettings,
        board: Board,
        judge: Judge,
    ) -> io::Result<WebPushSimulator> {
        let listen = settings.listen.clone();
        let browsers = Browsers::new(Derived::new(settings.seed));
        let messages = AtomicU64::new(0);
        let service = Arc::new(Service { settings, board, judge, browsers, messages });
        Ok(WebPushSimulator { served: serve(listen, Arc::clone(&service)).await?, service })
    }

    pub fn served(&self) -> &Served {
        &self.served
    }

    /// A new subscription as JSON, tied to a VAPID key where one is given (a point in base64url).
    pub fn subscribe(&self, key: Option<&str>) -> io::Result<String> {
        let host = self.served.address().to_string();
        self.service.subscribe(&host, key).map(|given| given.to_string())
    }
}

struct Service {
    settings: WebPushSimulatorSettings,
    board: Board,
    judge: Judge,
    browsers: Browsers,
    messages: AtomicU64,
}

impl Routes for Service {
    const MOST_BODY: usize = 256 << 10;

    async fn answer(&self, request: Request<Bytes>) -> Option<Answer> {
        let path = request.uri().path();
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if path == "/subscriptions" && request.method() == Method::POST {
            return Some(self.new_subscription(host, request.body()));
        }
        if let Some(id) = path.strip_prefix("/subscriptions/")
            && request.method() == Method::DELETE
        {
            let known = self.browsers.end(id);
            return Some(if known {
                text(StatusCode::NO_CONTENT, "")
            } else {
                text(StatusCode::NOT_FOUND, "no such subscription")
            });
        }
        match path.strip_prefix("/push/") {
            Some(id) if request.method() == Method::POST => {
                self.push(id, host, request.headers(), request.body()).await
            }
            _ => Some(text(StatusCode::NOT_FOUND, "no such route")),
        }
    }
}

impl Service {
    fn new_subscription(&self, host: &str, body: &[u8]) -> Answer {
        #[derive(Deserialize, Default)]
        struct Wanted {
            #[serde(rename = "applicationServerKey")]
            key: Option<String>,
        }
        let wanted = match body {
            [] => Wanted::default(),
            _ => match serde_json::from_slice(body) {
                Ok(wanted) => wanted,
                Err(_) => {
                    return text(StatusCode::BAD_REQUEST, "the body is not {\"applicationServerKey\": …}");
                }
            },
        };
        match self.subscribe(host, wanted.key.as_deref()) {
            Ok(given) => json(StatusCode::CREATED, &given),
            Err(_) => text(StatusCode::BAD_REQUEST, "applicationServerKey is not a P-256 point in base64url"),
        }
    }

    fn subscribe(&self, host: &str, key: Option<&str>) -> io::Result<Value> {
        let browser = self.browsers.new_one(key, &SystemRandom::new());
        let browser = browser.ok_or_else(|| io::Error::other("not a P-256 point in base64url"))?;
        Ok(value!({
            "endpoint": format!("http://{host}/push/{}", browser.id),
            "expirationTime": null,
            "keys": {
                "p256dh": crate::jwt::base64url(browser.public),
                "auth": crate::jwt::base64url(browser.auth),
            },
        }))
    }

    async fn push(&self, id: &str, host: &str, headers: &HeaderMap, body: &[u8]) -> Option<Answer> {
        let browser = match self.browsers.find(id) {
            Some(browser) if !self.browsers.ended(id) => browser,
            Some(_) => return Some(problem(410, "unsubscribed")),
            None => return Some(problem(404, "no such subscription")),
        };
        let now = (self.settings.clock)() / 1_000;
        let sender = match sender::check(headers, &format!("http://{host}"), now) {
            Ok(sender) => sender,
            Err(why) => return Some(problem(401, why)),
        };
        if !browser.belongs_to(&sender.key) {
            return Some(problem(403, "the key is not the one that the browser subscribed with"));
        }
        if let Err((status, why)) = check(headers, body, self.settings.most_body) {
            return Some(problem(status, why));
        }
        let n = self.messages.fetch_add(1, Ordering::Relaxed);
        let mut arrival = arrival(&browser, headers, browser.open(body));
        arrival.account = sender.contact;
        arrival.reference =
            format!("http://{host}/message/{}", crate::jwt::base64url(self.browsers.derived(n)));
        let behaviour = (self.judge)(&arrival);
        let answer = match &behaviour.refusal {
            None => {
                let mut created = text(StatusCode::CREATED, "");
                header(&mut created, "location", &arrival.reference);
                header(&mut created, "ttl", header_text(headers, "ttl"));
                created
            }
            Some(refusal) => refused(refusal),
        };
        arrival.taken &= behaviour.refusal.is_none();
        arrival.answer = said(&behaviour).replace("200", "201");
        self.board.put(arrival);
        tokio::time::sleep(behaviour.delay).await;
        (!behaviour.lose_reply).then_some(answer)
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// RFC 8030, sections 5.2 to 5.4 and 7.2; RFC 8291, section 4.
fn check(headers: &HeaderMap, body: &[u8], most_body: usize) -> Result<(), (u16, &'static str)> {
    if header_text(headers, "ttl").parse::<u32>().is_err() {
        return Err((400, "TTL is missing or no number of seconds"));
    }
    let urgency = headers.get("urgency").map(|value| value.to_str().unwrap_or_default());
    if urgency.is_some_and(|urgency| !["very-low", "low", "normal", "high"].contains(&urgency)) {
        return Err((400, "Urgency is none of its four words"));
    }
    if let Some(topic) = headers.get("topic") {
        let good = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        if !(1..=32).contains(&topic.len()) || !topic.as_bytes().iter().all(good) {
            return Err((400, "Topic is not 1 to 32 characters of base64url"));
        }
    }
    if !body.is_empty() && header_text(headers, CONTENT_ENCODING.as_str()) != "aes128gcm" {
        return Err((400, "Content-Encoding is not aes128gcm"));
    }
    if body.len() > most_body {
        return Err((413, "the message is too large"));
    }
    Ok(())
}

/// A browser that can't read a message drops it, and nobody is told: the list is.
fn arrival(browser: &Browser, headers: &HeaderMap, opened: Result<Vec<u8>, &'static str>) -> Arrival {
    let mut arrival =
        Arrival { provider: "web_push", to: browser.id.clone(), taken: true, ..Arrival::default() };
    let shown = match opened {
        Ok(plain) => match String::from_utf8(plain) {
            Ok(text) => text,
            Err(error) => format!("({} bytes)", error.as_bytes().len()),
        },
        Err(why) => {
            arrival.taken = false;
            format!("(the browser can't read it: {why})")
        }
    };
    // Pages commonly send the options of `showNotification`.
    let json: Value = serde_json::from_str(&shown).unwrap_or_default();
    let part =
        |name: &str| json[name].as_str().or_else(|| json["notification"][name].as_str()).map(str::to_owned);
    arrival.title = part("title").unwrap_or_default();
    arrival.text = part("body").unwrap_or_else(|| shown.clone());
    let lines = ["ttl", "urgency", "topic"].map(|name| (name, header_text(headers, name)));
    let lines = lines.iter().filter(|(_, value)| !value.is_empty());
    arrival.raw = lines.map(|(name, value)| format!("{name}: {value}\n")).collect();
    arrival.raw.push('\n');
    arrival.raw.push_str(&shown);
    arrival
}

fn refused(refusal: &Refusal) -> Answer {
    let Refusal::Http { status, code, retry_after } = refusal else { return problem(500, "failed") };
    let mut answer = problem(*status, code);
    if let Some(after) = retry_after {
        header(&mut answer, "retry-after", &after.as_secs().to_string());
    }
    answer
}

fn problem(status: u16, why: &str) -> Answer {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = code.canonical_reason().unwrap_or_default();
    json(code, &value!({"code": status, "error": reason, "message": why}))
}
