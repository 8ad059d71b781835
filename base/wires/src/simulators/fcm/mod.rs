//! FCM: Google's token endpoint, and `messages:send`.
//!
//! | route | |
//! |---|---|
//! | `GET /service-account.json` | a key file for this simulator |
//! | `POST /token` | an access token for an assertion that the account signed; judged as a message of the provider `fcm_token` to the account's e-mail |
//! | `POST /v1/projects/{project}/messages:send` | a message |

mod account;
mod answers;

use super::derive::Derived;
use super::jws::Token;
use super::serve::{Answer, Listen, Routes, Served, header, json, serve, text};
use super::{Arrival, Behaviour, Board, Judge, Refusal};
use crate::http::{Clock, system_clock};
use account::Account;
use answers::error;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json as value};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// What there is to choose.
#[derive(Clone)]
pub struct FcmSimulatorSettings {
    pub listen: Listen,
    pub project: String,
    /// Of the account's key: the same seed has the same key.
    pub seed: u64,
    /// How long an access token is good.
    pub token_life: Duration,
    pub clock: Clock,
}

impl Default for FcmSimulatorSettings {
    fn default() -> FcmSimulatorSettings {
        FcmSimulatorSettings {
            listen: Listen::loopback(0),
            project: "artel-simulator".to_owned(),
            seed: 1,
            token_life: Duration::from_secs(3_600),
            clock: system_clock(),
        }
    }
}

/// The simulator, until it is dropped.
pub struct FcmSimulator {
    served: Served,
    fcm: Arc<Fcm>,
}

impl FcmSimulator {
    pub async fn start(
        settings: FcmSimulatorSettings,
        board: Board,
        judge: Judge,
    ) -> io::Result<FcmSimulator> {
        let listen = settings.listen.clone();
        let fcm = Arc::new(Fcm {
            derived: Derived::new(settings.seed),
            settings,
            board,
            judge,
            account: OnceCell::new(),
            tokens: Mutex::default(),
            granted: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        });
        Ok(FcmSimulator { served: serve(listen, Arc::clone(&fcm)).await?, fcm })
    }

    pub fn served(&self) -> &Served {
        &self.served
    }

    /// The key file, as `GET /service-account.json` gives it.
    pub async fn service_account(&self) -> io::Result<String> {
        let account = self.fcm.account().await;
        let account = account.ok_or_else(|| io::Error::other("no key could be made"))?;
        Ok(account.file(&self.served.url()).to_string())
    }

    /// Access tokens are not known any more, as after an administrator's withdrawal.
    pub fn withdraw_tokens(&self) {
        self.fcm.tokens().clear();
    }

    /// How many access tokens were given.
    pub fn granted(&self) -> u64 {
        self.fcm.granted.load(Ordering::Relaxed)
    }
}

struct Fcm {
    settings: FcmSimulatorSettings,
    derived: Derived,
    board: Board,
    judge: Judge,
    account: OnceCell<Option<Account>>,
    /// Each with the time that it ends, in milliseconds since 1970; the newest last.
    tokens: Mutex<VecDeque<(String, u64)>>,
    granted: AtomicU64,
    messages: AtomicU64,
}

const GOOGLE: &str = "https://oauth2.googleapis.com/token";
const MOST_TOKENS: usize = 1_000;
const MOST_PAYLOAD: usize = 4_096;
const LEAST_TOKEN: usize = 32;

impl Routes for Fcm {
    const MOST_BODY: usize = 256 << 10;

    async fn answer(&self, request: Request<Bytes>) -> Option<Answer> {
        let path = request.uri().path();
        let project = path.strip_prefix("/v1/projects/").and_then(|rest| rest.strip_suffix("/messages:send"));
        match (request.method(), path, project) {
            (&Method::GET, "/service-account.json", _) => Some(self.file(request.headers()).await),
            (&Method::POST, "/token", _) => self.token(request.headers(), request.body()).await,
            (&Method::POST, _, Some(project)) => self.send(project, request.headers(), request.body()).await,
            _ => Some(text(StatusCode::NOT_FOUND, "no such route")),
        }
    }
}

impl Fcm {
    async fn account(&self) -> Option<&Account> {
        let make = || async {
            let (project, derived) = (self.settings.project.clone(), self.derived.clone());
            tokio::task::spawn_blocking(move || Account::generate(&project, &derived)).await.ok().flatten()
        };
        self.account.get_or_init(make).await.as_ref()
    }

    fn tokens(&self) -> MutexGuard<'_, VecDeque<(String, u64)>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn file(&self, headers: &HeaderMap) -> Answer {
        match self.account().await {
            Some(account) => json(StatusCode::OK, &account.file(&base(headers))),
            None => text(StatusCode::INTERNAL_SERVER_ERROR, "no key could be made"),
        }
    }

    async fn token(&self, headers: &HeaderMap, body: &[u8]) -> Option<Answer> {
        let (project, to) = (self.settings.project.clone(), self.account().await?.email.clone());
        let asked = Arrival { provider: "fcm_token", account: project, to, ..Arrival::default() };
        let behaviour = (self.judge)(&asked);
        tokio::time::sleep(behaviour.delay).await;
        let answer = match &behaviour.refusal {
            None => self.grant(headers, body).await,
            Some(refusal) => answers::no_token(refusal),
        };
        (!behaviour.lose_reply).then_some(answer)
    }

    async fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(body);
            fields.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
        };
        let refuse = |error: &str, why: &str| {
            json(StatusCode::BAD_REQUEST, &value!({"error": error, "error_description": why}))
        };
        if field("grant_type").as_deref() != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
            return refuse("unsupported_grant_type", "Invalid grant_type");
        }
        let Some(assertion) = field("assertion") else {
            return refuse("invalid_request", "Missing required parameter: assertion");
        };
        let Some(account) = self.account().await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "no key could be made");
        };
        let now = (self.settings.clock)();
        if let Err(why) = check(&assertion, account, &format!("{}/token", base(headers)), now / 1_000) {
            return refuse("invalid_grant", why);
        }
        let n = self.granted.fetch_add(1, Ordering::Relaxed);
        let token = self.derived.bytes("access token", format!("{n} {now}").as_bytes());
        let token = format!("ya29.{}", crate::jwt::base64url(token));
        let life = self.settings.token_life;
        let mut tokens = self.tokens();
        tokens.push_back((
            token.clone(),
            now.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)),
        ));
        while tokens.len() > MOST_TOKENS {
            tokens.pop_front();
        }
        drop(tokens);
        let granted = value!({"access_token": token, "expires_in": life.as_secs(), "token_type": "Bearer"});
        json(StatusCode::OK, &granted)
    }

    async fn send(&self, project: &str, headers: &HeaderMap, body: &[u8]) -> Option<Answer> {
        let bearer = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok()?.strip_prefix("Bearer "));
        let now = (self.settings.clock)();
        let known = |bearer| self.tokens().iter().any(|(token, until)| token == bearer && *until > now);
        if !bearer.is_some_and(known) {
            return Some(answers::unauthenticated());
        }
        if project != self.settings.project {
            return Some(error(403, "PERMISSION_DENIED", "Permission denied on the project."));
        }
        let message = match Message::read(body) {
            Ok(message) => message,
            Err(answer) => return Some(*answer),
        };
        let n = self.messages.fetch_add(1, Ordering::Relaxed);
        let id = u64::from_be_bytes(self.derived.bytes("message", &n.to_be_bytes())[..8].try_into().ok()?);
        let mut arrival = Arrival {
            provider: "fcm",
            account: project.to_owned(),
            to: message.token,
            title: message.notification.title,
            text: message.notification.body,
            raw: String::from_utf8_lossy(body).into_owned(),
            reference: format!("projects/{project}/messages/{id}"),
            ..Arrival::default()
        };
        let behaviour = (self.judge)(&arrival);
        let answer = match &behaviour.refusal {
            None => json(StatusCode::OK, &value!({"name": arrival.reference})),
            Some(refusal) => answers::refusal(refusal),
        };
        arrival.taken = behaviour.refusal.is_none();
        arrival.answer = said(&behaviour);
        self.board.put(arrival);
        tokio::time::sleep(behaviour.delay).await;
        (!behaviour.lose_reply).then_some(answer)
    }
}

/// As the request calls us, so that tokens are for what was asked.
fn base(headers: &HeaderMap) -> String {
    format!("http://{}", headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default())
}

/// What the list says of the answer.
pub(super) fn said(behaviour: &Behaviour) -> String {
    let answer = match &behaviour.refusal {
        None => "200".to_owned(),
        Some(Refusal::Http { status, code, .. }) => format!("{status} {code}").trim_end().to_owned(),
        Some(_) => "500".to_owned(),
    };
    if behaviour.lose_reply { format!("no answer ({answer})") } else { answer }
}

/// RFC 7523, section 3, and what Google asks for besides.
fn check(assertion: &str, account: &Account, audience: &str, now: u64) -> Result<(), &'static str> {
    let token = Token::read(assertion).ok_or("Invalid JWT: it can't be read")?;
    if token.header["alg"] != "RS256" || token.header["kid"] != account.key_id.as_str() {
        return Err("Invalid JWT Signature: unknown key");
    }
    if !account.signed(token.signed, &token.signature) {
        return Err("Invalid JWT Signature.");
    }
    if token.claims["iss"] != account.email.as_str() {
        return Err("Invalid grant: account not found");
    }
    // Google's own libraries name Google whatever the key file says.
    if token.claims["aud"] != audience && token.claims["aud"] != GOOGLE {
        return Err("Invalid JWT: wrong audience");
    }
    let (issued, ends) = (token.claims["iat"].as_u64(), token.claims["exp"].as_u64());
    match (issued, ends) {
        (Some(issued), Some(ends)) if ends > now && issued < now + 300 && ends <= issued + 3_600 => {}
        _ => return Err("Invalid JWT: Token must be a short-lived token (60 minutes)"),
    }
    let scopes = token.claims["scope"].as_str().unwrap_or_default();
    if !scopes
        .split(' ')
        .any(|s| s.ends_with("/auth/firebase.messaging") || s.ends_with("/auth/cloud-platform"))
    {
        return Err("Invalid OAuth scope or ID token audience provided.");
    }
    Ok(())
}

#[derive(Deserialize, Default)]
struct Notification {
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
}

struct Message {
    token: String,
    notification: Notification,
}

impl Message {
    /// Refuses what FCM refuses before it looks at the token, and then the token.
    fn read(body: &[u8]) -> Result<Message, Box<Answer>> {
        let whole: Value = serde_json::from_slice(body).map_err(|_| {
            Box::new(error(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected token."))
        })?;
        let message = &whole["message"];
        let wrong = |field: &str, why: &str| Box::new(answers::violation(field, why));
        let mut bytes = 0;
        for (at, (key, text)) in message["data"].as_object().into_iter().flatten().enumerate() {
            let Some(text) = text.as_str() else {
                return Err(wrong(&format!("message.data[{at}].value"), "Invalid value (TYPE_STRING)"));
            };
            bytes += key.len() + text.len();
        }
        let notification: Notification = match &message["notification"] {
            Value::Null => Notification::default(),
            own => serde_json::from_value(own.clone())
                .map_err(|_| wrong("message.notification", "Invalid value"))?,
        };
        for (name, text) in [("title", &notification.title), ("body", &notification.body)] {
            bytes += if text.is_empty() { 0 } else { name.len() + text.len() };
        }
        if bytes > MOST_PAYLOAD {
            return Err(wrong("message", "Message is too big"));
        }
        let token = message["token"].as_str().unwrap_or_default().to_owned();
        let good = |b: u8| b.is_ascii_alphanumeric() || b":_-.%".contains(&b);
        if token.len() < LEAST_TOKEN || !token.bytes().all(good) {
            return Err(Box::new(answers::bad_token()));
        }
        Ok(Message { token, notification })
    }
}

/// `Retry-After`, where the refusal has one.
fn with_retry(mut answer: Answer, retry_after: Option<Duration>) -> Answer {
    if let Some(after) = retry_after {
        header(&mut answer, "retry-after", &after.as_secs().to_string());
    }
    answer
}
