//! Servers of mail that refuse who sends, which their lists of mails know nothing of.

use artel_wires::simulators::smtp::{Early, Gate, Moment};
use artel_wires::simulators::{Answered, Refusal};
use std::sync::{Arc, Mutex};

/// How MAIL FROM is answered, how often, and whose mail it is then.
pub type Refused = (Answered, Option<u32>, String);

#[derive(Clone, Default)]
pub struct Senders(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    refused: Option<Refused>,
    /// To whom, over which account.
    seen: Vec<(String, &'static str)>,
}

impl Senders {
    pub fn refuse(&self, refused: Option<Refused>) {
        self.0.lock().unwrap().refused = refused;
    }

    /// The accounts over which mails for somebody came no further.
    pub fn seen(&self, to: &str) -> Vec<&'static str> {
        let state = self.0.lock().unwrap();
        state.seen.iter().filter(|(of, _)| of == to).map(|(_, account)| *account).collect()
    }

    pub fn gate(&self, account: &str) -> Gate {
        let (own, account) = (self.clone(), if account == "two" { "two" } else { "one" });
        Arc::new(move |moment| match moment {
            Moment::From(_) => own.0.lock().unwrap().answer(account),
            _ => None,
        })
    }
}

impl State {
    fn answer(&mut self, account: &'static str) -> Option<Early> {
        let (answered, left, to) = self.refused.as_mut()?;
        match left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        let Answered::Smtp { code, enhanced, text } = answered.clone() else { return None };
        self.seen.push((to.clone(), account));
        Some(Early::Refuse(Refusal::Smtp { code, enhanced, text }))
    }
}
