//! `artel tail`: follows a topic, also over a restart of the node.

use crate::cli::Tail;
use crate::connect::{self, is_for_now};
use crate::line::{Shown, compact};
use crate::say;
use anyhow::{Context, Result, anyhow, bail};
use artel_frame::client::{Answer, Client, ClientError, Event, Events, Opened, Outgoing, query, segment};
use http::Method;
use std::io::Write;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A node that was away may refuse so often before that is its answer.
const REFUSALS: u32 = 10;

const UNAUTHENTICATED: u16 = 401;

/// Why there is no stream.
enum Closed {
    /// The node is away, or on its way: it is asked again.
    Away,
    /// Asking again helps nothing.
    Refused(anyhow::Error),
}

/// What was shown so far.
struct Following {
    client: Client,
    args: Tail,
    /// The id of the last event, to go on behind it.
    last: Option<String>,
    shown: u64,
    /// How often a node that was away has refused since.
    refusals: u32,
}

/// The sentence of a node that gives no stream.
fn refused(answer: &Answer) -> Closed {
    let status = answer.status;
    Closed::Refused(match connect::check(answer) {
        Err(error) => error,
        Ok(()) => anyhow!("the node answered {status} where a stream was expected"),
    })
}

pub async fn run(args: Tail) -> Result<()> {
    let client = connect::client(&args.target)?;
    let mut following = Following { client, args, last: None, shown: 0, refusals: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        match following.open().await {
            Ok(events) => {
                (pause, following.refusals) = (FIRST_PAUSE, 0);
                if following.follow(events).await? {
                    return Ok(());
                }
                say("artel: the node ended the stream; waiting for it to come back");
            }
            Err(Closed::Refused(error)) => return Err(error),
            Err(Closed::Away) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Following {
    /// Whether there was a stream before: then the node is only away.
    fn has_begun(&self) -> bool {
        self.shown > 0 || self.last.is_some()
    }

    async fn open(&mut self) -> Result<Events, Closed> {
        if self.has_begun() {
            // It may have another token since.
            self.client = connect::client(&self.args.target).map_err(Closed::Refused)?;
        }
        match self.client.events(self.request()).await {
            Ok(Opened::Events(events)) => Ok(events),
            // A node that starts takes connections a moment before its token lies in the folder.
            Ok(Opened::Refused(answer))
                if self.has_begun() && (answer.status == UNAUTHENTICATED || is_for_now(answer.status)) =>
            {
                self.refusals += 1;
                if self.refusals < REFUSALS { Err(Closed::Away) } else { Err(refused(&answer)) }
            }
            Ok(Opened::Refused(answer)) => Err(refused(&answer)),
            // The first time there may be no node at all.
            Err(error) if !self.has_begun() => Err(Closed::Refused(error.into())),
            Err(_) => Err(Closed::Away),
        }
    }

    fn request(&self) -> Outgoing {
        let args = &self.args;
        let partition = args.partition.map(|partition| partition.to_string());
        let from = match args.from.as_str() {
            "beginning" => "earliest",
            "end" => "latest",
            other => other,
        };
        let query = query(&[
            ("from", Some(from)),
            ("partition", partition.as_deref()),
            ("key", args.key.as_deref()),
            ("contains", args.contains.as_deref()),
        ]);
        let path = format!("/api/admin/topics/{}/messages/live{query}", segment(&args.topic));
        let mut request = Outgoing::new(Method::GET, path).header("accept", "text/event-stream");
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last.clone());
        }
        request
    }

    /// Shows events until there are enough (true) or the stream ends.
    async fn follow(&mut self, mut events: Events) -> Result<bool> {
        loop {
            if self.args.count.is_some_and(|count| self.shown >= count) {
                return Ok(true);
            }
            match events.next().await {
                Ok(Some(event)) => self.show(event)?,
                Ok(None) | Err(ClientError::Broken { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn show(&mut self, event: Event) -> Result<()> {
        self.last = event.id.or(self.last.take());
        match event.name.as_str() {
            "message" => {
                let line = if self.args.json {
                    compact(&event.data)
                } else {
                    serde_json::from_str::<Shown>(&event.data).context("a message could not be read")?.line()
                };
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()?;
                self.shown += 1;
                Ok(())
            }
            "skipped" => {
                say(&format!("artel: retention removed messages before they were shown: {}", event.data));
                Ok(())
            }
            "failed" => bail!("the stream ended: {}", event.data),
            _ => Ok(()),
        }
    }
}
