//! Waiting for servers that are away at the start: readiness names them, and the node goes on by itself.

use artel_message::Time;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The pause between attempts; it grows from the first to the second.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// What the node waits for.
#[derive(Clone)]
pub(super) struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    pub fn new() -> Waiting {
        Waiting(Arc::new(Mutex::new(Some("the node is starting".to_owned()))))
    }

    /// For readiness.
    pub async fn check(self) -> Result<(), String> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn say(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub fn over(&self) {
        self.say(None);
    }

    /// Tries until it succeeds, or until an error is none that waiting mends.
    pub async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
        is_away: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let (mut pause, began) = (PAUSE, Time::from_system(std::time::SystemTime::now()));
        self.say(Some(format!("connecting to {what}")));
        loop {
            match attempt().await {
                Err(error) if is_away(&error) => {
                    let reason = format!("waiting for {what} since {began}: {error}");
                    tracing::warn!(reason, "the start waits");
                    self.say(Some(reason));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
                result => {
                    self.say(Some("the node is starting".to_owned()));
                    return result;
                }
            }
        }
    }
}
