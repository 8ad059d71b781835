//! `artel tail`: follows a topic, also over a restart of the node.

use crate::cli::Tail;
use crate::connect;
use crate::line::{Shown, compact};
use crate::say;
use anyhow::{Context, Result, bail};
use artel_frame::client::{Client, ClientError, Event, Events, Opened, Outgoing, query, segment};
use http::Method;
use std::io::Write;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was shown so far.
struct Following {
    client: Client,
    args: Tail,
    /// The id of the last event, to go on behind it.
    last: Option<String>,
    shown: u64,
}

pub async fn run(args: Tail) -> Result<()> {
    let client = connect::client(&args.target)?;
    let mut following = Following { client, args, last: None, shown: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        match following.open().await {
            Ok(events) => {
                pause = FIRST_PAUSE;
                if following.follow(events).await? {
                    return Ok(());
                }
                say("artel: the node ended the stream; waiting for it to come back");
            }
            // The first time there may be no node at all; later it is only away.
            Err(error) if following.last.is_none() && following.shown == 0 => return Err(error),
            Err(error) if error.downcast_ref::<ClientError>().is_none() => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Following {
    async fn open(&mut self) -> Result<Events> {
        if self.shown > 0 || self.last.is_some() {
            // It may have another token since.
            self.client = connect::client(&self.args.target)?;
        }
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
        match self.client.events(request).await? {
            Opened::Events(events) => Ok(events),
            Opened::Refused(answer) => {
                connect::check(&answer)?;
                bail!("the node answered {} where a stream was expected", answer.status)
            }
        }
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
