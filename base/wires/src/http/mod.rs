//! One HTTP request, once, over kept connections: HTTP/2 where the other side offers it in the TLS handshake, else HTTP/1.1.
//!
//! Redirects are answers like others. Nothing is sent again, but a request of which nothing had been written when its kept
//! connection turned out to be closed.

mod body;
mod connect;
mod url;
mod when;

pub use connect::{Addresses, NoTrust, Roots};
pub(crate) use url::is_loopback;
pub use url::{BadSetting, checked_url};
pub use when::{Clock, system_clock};

use crate::said::{MOST_BODY, Said, Stage};
use body::Once;
use bytes::{Bytes, BytesMut};
use connect::{Connector, NotAllowed};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// For one TCP connection.
    pub connect: Duration,
    /// For all of a request: waiting for a free place, the connection, the answer with its body.
    pub whole: Duration,
    /// An unused connection is closed after so long.
    pub idle: Duration,
    /// So many unused ones are kept for each host.
    pub idle_per_host: usize,
    /// So many requests are under way at once; further ones wait.
    pub at_once: usize,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Whom to connect to at all.
    pub addresses: Addresses,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            idle_per_host: 64,
            at_once: 256,
            roots: Roots::Native,
            addresses: Addresses::any(),
        }
    }
}

/// A pool of connections.
pub(crate) struct Http {
    client: Client<Connector, Once>,
    places: Semaphore,
    settings: HttpSettings,
    clock: Clock,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) retry_after: Option<Duration>,
    /// Cut at [`MOST_BODY`], or as [`Http::get`] was told.
    pub(crate) body: Bytes,
}

/// No answer.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// `None`: all of our own places were in use.
    pub(crate) stage: Option<Stage>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn said(self, host: &str) -> Said {
        Said::Http {
            status: self.status,
            retry_after: self.retry_after,
            body: self.body,
            host: host.to_owned(),
        }
    }
}

impl Broken {
    pub(crate) fn said(self) -> Said {
        match self.stage {
            Some(stage) => Said::Broken { stage, text: self.text },
            None => Said::Busy { text: self.text },
        }
    }
}

impl Http {
    pub(crate) fn new(settings: HttpSettings, clock: Clock) -> Result<Http, NoTrust> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(settings.idle)
            .pool_max_idle_per_host(settings.idle_per_host)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // A connection that died in silence is noticed while it is used, before every request on it waits its time out.
            .http2_keep_alive_interval(settings.whole)
            .http2_keep_alive_timeout(settings.connect);
        let client = builder.build(connect::connector(&settings)?);
        let places = Semaphore::new(settings.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Http { client, places, settings, clock })
    }

    /// The body must not be empty: that its first byte was asked for is how we know that the request may have left.
    pub(crate) async fn post(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, Broken> {
        self.send((Method::POST, uri), headers, body, MOST_BODY).await
    }

    /// Of the answer's body as many bytes are kept at most.
    pub(crate) async fn get(&self, uri: &Uri, headers: HeaderMap, most: usize) -> Result<Answer, Broken> {
        self.send((Method::GET, uri), headers, Bytes::new(), most).await
    }

    async fn send(
        &self,
        (method, uri): (Method, &Uri),
        headers: HeaderMap,
        body: Bytes,
        most: usize,
    ) -> Result<Answer, Broken> {
        let until = Instant::now() + self.settings.whole;
        let broken = |stage, text: String| Broken { stage, text: format!("{}: {text}", host_of(uri)) };
        connect::check_literal(uri, &self.settings.addresses)
            .map_err(|refused| broken(Some(Stage::Before), refused.to_string()))?;
        let Ok(Ok(_place)) = timeout_at(until, self.places.acquire()).await else {
            return Err(broken(None, "no free connection within the time".to_owned()));
        };
        let left = Arc::new(AtomicBool::new(false));
        let mut request = Request::new(Once::new(body, Arc::clone(&left)));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let stage = || Some(if left.load(Ordering::Acquire) { Stage::After } else { Stage::Before });
        match timeout_at(until, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(self.read(response, until, most).await),
            Ok(Err(error)) => Err(broken(stage(), innermost(&error))),
            Err(_) => Err(broken(stage(), "no answer within the time".to_owned())),
        }
    }

    /// The status is the answer. What its body lost by a broken connection does not change what became of the message.
    async fn read(&self, response: Response<Incoming>, until: Instant, most: usize) -> Answer {
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Ok(Some(Ok(frame))) = timeout_at(until, incoming.frame()).await {
            if let Ok(data) = frame.into_data() {
                let room = most - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    break;
                }
            }
        }
        let retry_after = when::retry_after(&parts.headers, &self.clock);
        Answer { status: parts.status.as_u16(), headers: parts.headers, retry_after, body: body.freeze() }
    }
}

/// The host with its port, where one is written.
pub(crate) fn host_of(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

/// The cause says more than what surrounds it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(refused) = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref())
            && let Some(refused) = refused.downcast_ref::<NotAllowed>()
        {
            return refused.to_string();
        }
        match cause.source() {
            Some(next) => cause = next,
            None => return cause.to_string(),
        }
    }
}
