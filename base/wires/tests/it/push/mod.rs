//! FCM, Web Push, and the list of what arrived.

mod answers;
mod fcm;
mod front;
mod judges;
mod tls;
mod token;
mod web_push;

use artel_wires::http::{Addresses, HttpSettings};
use artel_wires::simulators::{Behaviour, Board, Judge, Refusal};
use artel_wires::{Handed, Said, Stage};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn board() -> Board {
    Board::new(16 << 20, artel_wires::http::system_clock())
}

/// A judge whose mind can be changed.
#[derive(Clone)]
struct Mind(Arc<Mutex<Behaviour>>);

impl Mind {
    fn new() -> Mind {
        Mind(Arc::new(Mutex::new(Behaviour::good())))
    }
    fn set(&self, behaviour: Behaviour) {
        *self.0.lock().unwrap() = behaviour;
    }
    fn refuse(&self, status: u16, code: &str, retry_after: Option<u64>) {
        let refusal = Refusal::Http {
            status,
            code: code.to_owned(),
            retry_after: retry_after.map(Duration::from_secs),
        };
        self.set(Behaviour { refusal: Some(refusal), ..Behaviour::default() });
    }
    /// Of messages; access tokens are given.
    fn judge(&self) -> Judge {
        let own = self.clone();
        Arc::new(move |arrival| match arrival.provider {
            "fcm_token" => Behaviour::good(),
            _ => own.0.lock().unwrap().clone(),
        })
    }
}

/// Time limits that a loaded machine keeps; tests that wait one out shorten it.
fn http() -> HttpSettings {
    HttpSettings { whole: Duration::from_secs(30), addresses: Addresses::any(), ..HttpSettings::default() }
}

fn status(handed: &Handed) -> u16 {
    match &handed.said {
        Said::Http { status, .. } => *status,
        other => panic!("no answer: {other:?}"),
    }
}

fn stage(handed: &Handed) -> (Stage, &str) {
    match &handed.said {
        Said::Broken { stage, text } => (*stage, text),
        other => panic!("an answer: {other:?}"),
    }
}
