//! The access token: asked for once by whoever needs it first, and given to all.

use super::ServiceAccount;
use crate::http::{Clock, Http, host_of};
use crate::said::{Said, Stage};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Uri};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Of a token's life this much is not used: a request takes its time, and clocks differ.
const SPARE: Duration = Duration::from_secs(60);
/// A life that is longer is not believed.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A token as the header that it is sent in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bearer(HeaderValue);

impl Bearer {
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

pub(super) struct Tokens {
    account: ServiceAccount,
    uri: Uri,
    http: Arc<Http>,
    clock: Clock,
    /// Requests for a token that have ended.
    asked: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<(Bearer, Instant)>,
    /// What the last request for a token came to, when it failed: for those who waited for it.
    failed: Option<Said>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(account: ServiceAccount, uri: Uri, http: Arc<Http>, clock: Clock) -> Tokens {
        Tokens { account, uri, http, clock, asked: AtomicU64::new(0), state: Mutex::default() }
    }

    /// The token, or what was said in its place: an answer of the token's server, or [`Stage::Before`].
    pub(super) async fn get(&self) -> Result<Bearer, Said> {
        let asked = self.asked.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        // Another one asked while this one waited: a server that does not answer is waited for once, not once by each.
        let shared = self.asked.load(Ordering::Acquire) != asked;
        match &*state {
            State { held: Some((bearer, until)), .. } if shared || Instant::now() < *until => {
                return Ok(bearer.clone());
            }
            State { failed: Some(said), .. } if shared => return Err(said.clone()),
            _ => {}
        }
        let result = self.ask().await;
        self.asked.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok((bearer, life)) => {
                let until = Instant::now() + life.min(LONGEST).saturating_sub(SPARE);
                *state = State { held: Some((bearer.clone(), until)), failed: None };
                Ok(bearer)
            }
            Err(said) => {
                *state = State { held: None, failed: Some(said.clone()) };
                Err(said)
            }
        }
    }

    /// It was refused. Nothing happens where another one was asked for since.
    pub(super) async fn forget(&self, refused: &Bearer) {
        let mut state = self.state.lock().await;
        if state.held.as_ref().is_some_and(|(held, _)| held == refused) {
            state.held = None;
        }
    }

    async fn ask(&self) -> Result<(Bearer, Duration), Said> {
        let before = |text: String| Said::Broken { stage: Stage::Before, text };
        let assertion = self
            .account
            .assertion((self.clock)() / 1_000)
            .map_err(|_| before("the service account's key does not sign".to_owned()))?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let answer = self.http.post(&self.uri, headers, Bytes::from(body)).await;
        // However far this request came, the message itself was not sent.
        let answer = answer.map_err(|broken| match broken.stage {
            Some(_) => before(broken.text),
            None => broken.said(),
        })?;
        let host = host_of(&self.uri);
        if !answer.is_success() {
            return Err(answer.said(host));
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|_| before(format!("{host}: the answer holds no token")))?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", granted.access_token))
            .map_err(|_| before(format!("{host}: the token is none")))?;
        header.set_sensitive(true);
        Ok((Bearer(header), Duration::from_secs(granted.expires_in)))
    }
}
