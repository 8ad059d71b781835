//! What arrived, over HTTP: a small API, and a page for people.
//!
//! | route | |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /api/arrivals?after=&before=&provider=&to=&limit=&wait=` | the newest first, texts cut and without `raw`; `wait` seconds for one to come |
//! | `GET /api/arrivals/{n}` | one, whole |
//! | `GET /api/arrivals/{n}/html` | a mail as a program for mail shows it, without anything from elsewhere |
//! | `DELETE /api/arrivals` | forgets all |
//! | `GET /api/counts` | how many were sent and taken, by provider |
//! | `GET /api/faults`, `PUT /api/faults` | the plan of faults |
//! | `GET /api/simulators` | where each one listens |
//!
//! Errors are `{"error": "…"}`.

mod page;

use super::faults::{FaultPlan, Faults};
use super::serve::{Answer, Listen, Routes, Served, bytes, header, json, serve, text};
use super::{Arrival, Board, Wanted, smtp};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use page::Page;
use serde::Serialize;
use serde_json::json as value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(super) struct Front {
    board: Board,
    faults: Faults,
    page: Page,
    simulators: Vec<(&'static str, SocketAddr)>,
}

const MOST_LISTED: usize = 1_000;
/// Characters of a text in the list.
const MOST_SHOWN: usize = 1_000;
const LONGEST_WAIT: Duration = Duration::from_secs(25);
const MAIL_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'self'";

pub(super) async fn start(
    listen: Listen,
    board: Board,
    faults: Faults,
    simulators: Vec<(&'static str, SocketAddr)>,
) -> io::Result<Served> {
    serve(listen, Arc::new(Front { board, faults, page: Page::new(), simulators })).await
}

impl Routes for Front {
    const MOST_BODY: usize = 256 << 10;

    async fn answer(&self, request: Request<Bytes>) -> Option<Answer> {
        let path = request.uri().path();
        Some(match (request.method(), path) {
            (&Method::GET, "/") => self.page(),
            (&Method::GET, "/api/arrivals") => self.list(request.uri()).await,
            (&Method::DELETE, "/api/arrivals") => {
                self.board.clear();
                text(StatusCode::NO_CONTENT, "")
            }
            (&Method::GET, "/api/counts") => json(StatusCode::OK, &self.board.counts()),
            (&Method::GET, "/api/faults") => json(StatusCode::OK, &self.faults.plan()),
            (&Method::PUT, "/api/faults") => self.set_faults(&request),
            (&Method::GET, "/api/simulators") => self.listening(),
            (&Method::GET, path) => match path.strip_prefix("/api/arrivals/").unwrap_or_default() {
                n if n.ends_with("/html") => self.mail(n.trim_end_matches("/html")),
                n => self.one(n),
            },
            _ => problem(StatusCode::NOT_FOUND, "no such route"),
        })
    }
}

impl Front {
    fn page(&self) -> Answer {
        let html = Bytes::from_static(page::HTML.as_bytes());
        let mut answer = bytes(StatusCode::OK, "text/html; charset=utf-8", html);
        header(&mut answer, "content-security-policy", &self.page.policy);
        header(&mut answer, "referrer-policy", "no-referrer");
        answer
    }

    async fn list(&self, uri: &Uri) -> Answer {
        let (wanted, wait) = match asked(uri.query().unwrap_or_default()) {
            Ok(asked) => asked,
            Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
        };
        let mut watch = self.board.watch();
        let fits = async {
            loop {
                let found = self.board.list(&wanted);
                if !found.is_empty() || watch.changed().await.is_err() {
                    return found;
                }
            }
        };
        let found = timeout(wait, fits).await.unwrap_or_default();
        json(StatusCode::OK, &found.iter().map(Listed::of).collect::<Vec<_>>())
    }

    /// Strangers write it: it is an origin of its own, runs nothing and fetches nothing.
    fn mail(&self, n: &str) -> Answer {
        let arrival = n.parse().ok().and_then(|n| self.board.one(n));
        match arrival.as_ref().and_then(smtp::html) {
            Some(html) => {
                let mut answer = bytes(StatusCode::OK, "text/html; charset=utf-8", html.into());
                header(&mut answer, "content-security-policy", MAIL_POLICY);
                header(&mut answer, "referrer-policy", "no-referrer");
                answer
            }
            None => problem(StatusCode::NOT_FOUND, "no such mail, or it has no HTML"),
        }
    }

    fn one(&self, n: &str) -> Answer {
        match n.parse().ok().and_then(|n| self.board.one(n)) {
            Some(arrival) => json(StatusCode::OK, &arrival),
            None => problem(StatusCode::NOT_FOUND, "no such arrival, or it was forgotten"),
        }
    }

    /// With its own media type a form of another site can't send it.
    fn set_faults(&self, request: &Request<Bytes>) -> Answer {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
            return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json");
        }
        let plan: FaultPlan = match serde_json::from_slice(request.body()) {
            Ok(plan) => plan,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match self.faults.set(plan) {
            Ok(()) => json(StatusCode::OK, &self.faults.plan()),
            Err(bad) => problem(StatusCode::BAD_REQUEST, &bad.to_string()),
        }
    }

    fn listening(&self) -> Answer {
        let all = self.simulators.iter().map(|(name, at)| value!({"name": name, "address": at.to_string()}));
        json(StatusCode::OK, &all.collect::<Vec<_>>())
    }
}

/// What to list, and how long to wait for the first of it.
fn asked(query: &str) -> Result<(Wanted, Duration), String> {
    let mut wanted = Wanted::default();
    let mut wait = Duration::ZERO;
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let number = || text.parse::<u64>().map_err(|_| format!("{name}: not a number"));
        match &*name {
            "after" => wanted.after = number()?,
            "before" => wanted.before = number()?,
            "limit" => wanted.limit = number()?.min(MOST_LISTED as u64) as usize,
            "wait" => wait = Duration::from_secs(number()?).min(LONGEST_WAIT),
            "provider" => wanted.provider = Some(text.into_owned()).filter(|text| !text.is_empty()),
            "to" => wanted.to = Some(text.into_owned()).filter(|text| !text.is_empty()),
            _ => {
                return Err(format!(
                    "{name}: no such parameter; give after, before, provider, to, limit, wait"
                ));
            }
        }
    }
    Ok((wanted, wait))
}

/// An arrival in the list.
#[derive(Serialize)]
struct Listed<'a> {
    n: u64,
    at: u64,
    provider: &'a str,
    to: &'a str,
    key: &'a str,
    title: &'a str,
    text: &'a str,
    /// Whether the text goes on.
    cut: bool,
    reference: &'a str,
    answer: &'a str,
    taken: bool,
}

impl Listed<'_> {
    fn of(own: &Arrival) -> Listed<'_> {
        let end = own.text.char_indices().nth(MOST_SHOWN).map_or(own.text.len(), |(at, _)| at);
        Listed {
            n: own.n,
            at: own.at,
            provider: own.provider,
            to: &own.to,
            key: &own.key,
            title: &own.title,
            text: &own.text[..end],
            cut: end < own.text.len(),
            reference: &own.reference,
            answer: &own.answer,
            taken: own.taken,
        }
    }
}

fn problem(status: StatusCode, why: &str) -> Answer {
    json(status, &value!({"error": why}))
}
