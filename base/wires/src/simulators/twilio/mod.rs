//! Twilio's messages, and the reports that it posts to their callbacks.
//!
//! | route | |
//! |---|---|
//! | `POST /2010-04-01/Accounts/{account}/Messages.json` | a message |
//! | `GET /2010-04-01/Accounts/{account}/Messages.json` | what was sent, the newest first; `To`, `DateSent>`, `PageSize`, `Page` |
//! | `GET /2010-04-01/Accounts/{account}/Messages/{sid}.json` | one message |

mod answers;
mod reports;
mod sent;

use super::serve::{Answer, Listen, Routes, Served, header, json, serve};
use super::{Arrival, Behaviour, Board, Judge, Refusal};
use crate::http::{Clock, Http, HttpSettings, NoTrust, system_clock};
use crate::twilio::callback::Form;
use answers::{gateway, listed, refused, shown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode};
use reports::Report;
use sent::{Asked, Sent};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const MOST_CHARACTERS: usize = 1_600;

/// What there is to choose.
#[derive(Clone)]
pub struct TwilioSimulatorSettings {
    pub listen: Listen,
    pub account: String,
    pub token: String,
    /// A report that was not answered with success is posted again after this pause, so often at most.
    pub repeat: Duration,
    pub most_repeats: u32,
    /// How callbacks are called.
    pub http: HttpSettings,
    pub clock: Clock,
}

impl Default for TwilioSimulatorSettings {
    fn default() -> TwilioSimulatorSettings {
        TwilioSimulatorSettings {
            listen: Listen::loopback(0),
            account: "AC00000000000000000000000000000000".to_owned(),
            token: "artel-simulator".to_owned(),
            repeat: Duration::from_secs(1),
            most_repeats: 10,
            http: HttpSettings::default(),
            clock: system_clock(),
        }
    }
}

/// The simulator, until it is dropped.
pub struct TwilioSimulator {
    served: Served,
    twilio: Arc<Twilio>,
}

impl TwilioSimulator {
    pub async fn start(
        settings: TwilioSimulatorSettings,
        board: Board,
        judge: Judge,
    ) -> io::Result<TwilioSimulator> {
        let listen = settings.listen.clone();
        let http = Http::new(settings.http.clone(), Arc::clone(&settings.clock));
        let http = Arc::new(http.map_err(|error: NoTrust| io::Error::other(error))?);
        let sent = Mutex::new(Sent::new((settings.clock)()));
        let twilio = Arc::new(Twilio { settings, board, judge, sent, http, reports: Mutex::default() });
        let served = serve(listen, Arc::new(Arc::clone(&twilio))).await?;
        Ok(TwilioSimulator { served, twilio })
    }

    pub fn served(&self) -> &Served {
        &self.served
    }

    /// Reports that were posted, and those that were answered with success.
    pub fn reports(&self) -> (u64, u64) {
        self.twilio.sent().reports
    }
}

impl Drop for TwilioSimulator {
    fn drop(&mut self) {
        self.twilio.under_way().abort_all();
    }
}

struct Twilio {
    settings: TwilioSimulatorSettings,
    board: Board,
    judge: Judge,
    sent: Mutex<Sent>,
    http: Arc<Http>,
    reports: Mutex<JoinSet<()>>,
}

impl Routes for Arc<Twilio> {
    const MOST_BODY: usize = 64 << 10;

    async fn answer(&self, request: Request<Bytes>) -> Option<Answer> {
        let path = request.uri().path();
        let Some((account, rest)) =
            path.strip_prefix("/2010-04-01/Accounts/").and_then(|rest| rest.split_once("/Messages"))
        else {
            return Some(refused(StatusCode::NOT_FOUND, 20_404, "The requested resource was not found"));
        };
        if account != self.settings.account || !self.knows(request.headers()) {
            return Some(refused(StatusCode::UNAUTHORIZED, 20_003, "Authenticate"));
        }
        let one = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix(".json"));
        match (request.method(), rest, one) {
            (&Method::POST, ".json", _) => self.create(request.body()).await,
            (&Method::GET, ".json", _) => Some(self.list(request.uri().query().unwrap_or_default())),
            (&Method::GET, _, Some(sid)) => Some(self.one(sid)),
            _ => Some(refused(StatusCode::NOT_FOUND, 20_404, "The requested resource was not found")),
        }
    }
}

impl Twilio {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let expected = format!("{}:{}", self.settings.account, self.settings.token);
        let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        said.and_then(|said| STANDARD.decode(said).ok()).is_some_and(|said| said == expected.as_bytes())
    }

    fn list(&self, query: &str) -> Answer {
        let asked = Asked::read(query);
        let sent = self.sent();
        let (page, more) = sent.list(&asked);
        json(StatusCode::OK, &listed(&self.settings.account, &asked, page, more))
    }

    fn one(&self, sid: &str) -> Answer {
        match self.sent().get(sid) {
            Some(message) => json(StatusCode::OK, &shown(&self.settings.account, message)),
            None => refused(StatusCode::NOT_FOUND, 20_404, "The requested resource was not found"),
        }
    }
}

impl Twilio {
    async fn create(self: &Arc<Self>, body: &Bytes) -> Option<Answer> {
        let form = Form::read(body).unwrap_or_default();
        let get = |name| form.get(name).unwrap_or_default();
        let arrival = Arrival {
            provider: "twilio",
            account: self.settings.account.clone(),
            to: get("To").to_owned(),
            key: reference(get("StatusCallback")),
            title: [get("From"), get("MessagingServiceSid")].concat(),
            text: get("Body").to_owned(),
            raw: String::from_utf8_lossy(body).into_owned(),
            ..Arrival::default()
        };
        if let Some((code, why)) = fault(&arrival) {
            self.put(arrival, format!("400 {code}"));
            return Some(refused(StatusCode::BAD_REQUEST, code, why));
        }
        let behaviour = (self.judge)(&arrival);
        sleep(behaviour.delay).await;
        match &behaviour.refusal {
            None => self.take(arrival, get("StatusCallback"), behaviour),
            Some(refusal) => {
                let (status, code, wait) = terms(refusal);
                let said = if behaviour.lose_reply { "no answer".into() } else { said(status, code) };
                self.put(arrival, said);
                let mut answer = match code {
                    Some(code) => refused(status, code, "refused as it was asked for"),
                    None => gateway(status),
                };
                if let Some(wait) = wait {
                    header(&mut answer, "retry-after", &wait.as_secs().to_string());
                }
                (!behaviour.lose_reply).then_some(answer)
            }
        }
    }

    fn put(&self, arrival: Arrival, answer: String) {
        self.board.put(Arrival { answer, ..arrival });
    }

    fn take(self: &Arc<Self>, arrival: Arrival, callback: &str, behaviour: Behaviour) -> Option<Answer> {
        let now = (self.settings.clock)() / 1_000;
        let message = self.sent().put(&arrival, now);
        let (lost, receipts) = (behaviour.lose_reply, behaviour.receipts);
        let answer = json(StatusCode::CREATED, &shown(&self.settings.account, &message));
        let said = if lost { "no answer" } else { "201" };
        let sid = message.sid;
        self.put(Arrival { reference: sid.clone(), taken: true, ..arrival }, said.to_owned());
        if !receipts.is_empty() {
            let (twilio, callback, began) = (Arc::clone(self), callback.to_owned(), Instant::now());
            let mut reports = self.under_way();
            while reports.try_join_next().is_some() {}
            reports.spawn(async move {
                for (delay, receipt) in receipts {
                    tokio::time::sleep_until(began + delay).await;
                    twilio.report(Report { sid: &sid, callback: &callback, receipt }).await;
                }
            });
        }
        (!lost).then_some(answer)
    }
}

/// What the sender identifies the message by: the parameter `reference` of its callback.
fn reference(callback: &str) -> String {
    let query = callback.split_once('?').map_or("", |(_, query)| query);
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "reference");
    named.map_or_else(String::new, |(_, value)| value.into_owned())
}

/// What the provider finds wrong in a message before it takes it.
fn fault(arrival: &Arrival) -> Option<(u32, &'static str)> {
    let digits = arrival.to.strip_prefix('+').unwrap_or_default();
    match arrival {
        _ if arrival.to.is_empty() => Some((21_604, "A 'To' phone number is required")),
        _ if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|c| c.is_ascii_digit()) => {
            Some((21_211, "Invalid 'To' phone number"))
        }
        _ if arrival.title.is_empty() => Some((21_603, "A 'From' phone number is required")),
        _ if arrival.text.is_empty() => Some((21_602, "Message body is required")),
        _ if arrival.text.chars().count() > MOST_CHARACTERS => {
            Some((21_617, "The concatenated message body exceeds the 1600 character limit"))
        }
        _ => None,
    }
}

/// Without a code of the provider's where it is a gateway in front of it that answers.
fn terms(refusal: &Refusal) -> (StatusCode, Option<u32>, Option<Duration>) {
    match refusal {
        Refusal::Http { status, code, retry_after } => {
            let own = code.parse().ok();
            let by_gateway = code.is_empty() && (502..=504).contains(status);
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, own.or((!by_gateway).then_some(20_500)), *retry_after)
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Some(20_500), None),
    }
}

fn said(status: StatusCode, code: Option<u32>) -> String {
    code.map_or_else(|| status.to_string(), |code| format!("{status} {code}"))
}
