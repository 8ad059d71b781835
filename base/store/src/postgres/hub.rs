//! Wake-ups between processes: one connection that listens and notifies for all schemas. Notifications are sent outside of the
//! transactions that they tell of (within, PostgreSQL lets these commit one by one only), several in one.

use super::{Server, within};
use crate::wake::Wakes;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The one channel of the server for all schemas.
const CHANNEL: &str = "artel_wake";
/// A notification holds 8,000 bytes at most.
const PAYLOAD: usize = 7_000;
/// Between two notifications: what comes meanwhile goes with the next one.
const SPACING: Duration = Duration::from_millis(5);
/// How long the end of a process may take over what it still has to send.
const LAST: Duration = Duration::from_secs(1);
/// Until the first attempt to connect again, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Hub {
    /// Who sent a notification: one's own are known already.
    me: Uuid,
    /// (schema, channel), to be sent.
    pending: Mutex<BTreeSet<(String, &'static str)>>,
    sends: Notify,
    schemas: Mutex<HashMap<String, Weak<Wakes>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// What is pending is sent, and then it is over.
    closing: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new() -> Hub {
        Hub {
            me: Uuid::now_v7(),
            pending: Mutex::default(),
            sends: Notify::new(),
            schemas: Mutex::default(),
            task: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    pub fn add(&self, schema: &str, wakes: &Arc<Wakes>) {
        lock(&self.schemas).insert(schema.to_owned(), Arc::downgrade(wakes));
    }

    /// To the other processes.
    pub fn send(&self, schema: &str, channel: &'static str) {
        if lock(&self.pending).insert((schema.to_owned(), channel)) {
            self.sends.notify_one();
        }
    }

    /// Connects when it is first needed. The task holds the server weakly: it ends with it.
    pub fn start(&self, server: &Arc<Server>) {
        let mut task = lock(&self.task);
        if task.is_none() {
            *task = Some(server.runtime.spawn(run(Arc::downgrade(server))));
        }
    }

    pub fn abort(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }

    /// Sends what is pending: the last that a process says, such as that it gave back what it had, is what others wait for.
    pub async fn close(&self) {
        let task = lock(&self.task).take();
        self.closing.send_replace(true);
        let Some(mut task) = task else { return };
        if tokio::time::timeout(LAST, &mut task).await.is_err() {
            task.abort();
        }
    }

    /// `ID`, then a line `SCHEMA CHANNEL` for each.
    fn payloads(&self) -> Vec<(String, Vec<(String, &'static str)>)> {
        let mut out: Vec<(String, Vec<_>)> = Vec::new();
        for (schema, channel) in std::mem::take(&mut *lock(&self.pending)) {
            let line = format!("\n{schema} {channel}");
            match out.last_mut() {
                Some((text, pairs)) if text.len() + line.len() <= PAYLOAD => {
                    text.push_str(&line);
                    pairs.push((schema, channel));
                }
                _ => out.push((format!("{}{line}", self.me), vec![(schema, channel)])),
            }
        }
        out
    }

    /// Sends what is pending. A server that says nothing for the length of `silence` is gone.
    async fn notify(&self, listener: &mut PgListener, silence: Duration) -> Result<(), sqlx::Error> {
        let mut result = Ok(());
        for (payload, pairs) in self.payloads() {
            if result.is_ok() {
                let query = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload);
                let sent = within(Some(silence), query.execute(&mut *listener));
                result = sent.await.map(|_| ());
            }
            if result.is_err() {
                lock(&self.pending).extend(pairs); // sent once it is connected again
            }
        }
        result
    }

    fn received(&self, payload: &str) {
        let mut lines = payload.lines();
        if lines.next().is_some_and(|sender| sender == self.me.to_string()) {
            return;
        }
        for (schema, channel) in lines.filter_map(|line| line.split_once(' ')) {
            let wakes = lock(&self.schemas).get(schema).and_then(Weak::upgrade);
            if let Some(wakes) = wakes {
                wakes.wake(channel);
            }
        }
    }

    /// Nobody knows what came while nobody listened.
    fn wake_everybody(&self) {
        let all: Vec<_> = lock(&self.schemas).values().filter_map(Weak::upgrade).collect();
        for wakes in all {
            wakes.wake_all();
        }
    }
}

async fn run(server: Weak<Server>) {
    let mut pause = PAUSES.0;
    loop {
        let Some(held) = server.upgrade() else { return };
        let mut closing = held.hub.closing.subscribe();
        let connected = connect(&held).await;
        drop(held);
        let ended = match connected {
            Ok(listener) => {
                pause = PAUSES.0;
                serve(&server, listener).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "wake-ups from other processes wait for the server");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = closed(&mut closing) => return,
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as the hub; without it it is over too.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn connect(server: &Server) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(server.settings.connect_timeout)
        .connect_lazy_with(server.options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Until the connection is lost.
async fn serve(server: &Weak<Server>, mut listener: PgListener) -> Result<(), sqlx::Error> {
    let Some(held) = server.upgrade() else { return Ok(()) };
    let (hub, silence) = (Arc::clone(&held.hub), held.settings.keepalive);
    drop(held);
    let mut closing = hub.closing.subscribe();
    hub.wake_everybody();
    hub.notify(&mut listener, silence).await?;
    loop {
        tokio::select! {
            notification = listener.try_recv() => match notification? {
                Some(notification) => hub.received(notification.payload()),
                None => return Ok(()),
            },
            () = hub.sends.notified() => {
                hub.notify(&mut listener, silence).await?;
                tokio::time::sleep(SPACING).await;
            }
            () = closed(&mut closing) => return hub.notify(&mut listener, silence).await,
            // Silence may also mean that the other side is gone.
            () = tokio::time::sleep(silence) => {
                let ping = sqlx::query("SELECT 1").execute(&mut listener);
                match tokio::time::timeout(silence, ping).await {
                    Ok(answered) => { answered?; }
                    Err(_) => return Ok(()),
                }
            }
        }
    }
}
