//! Sending over links.

use super::delivery::Delivery;
use super::link::{Common, State as Link, keep};
use super::pdu::{Address, Body, Mode, Pdu, State, status};
use super::session::{NoAnswer, Session};
use super::settings::Settings;
use super::sms::Sms;
use crate::said::{Handed, Said, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// An account at a centre. It works from [`start`](Client::start) until [`close`](Client::close).
pub struct Client {
    common: Arc<Common>,
    closing: watch::Sender<bool>,
    links: Vec<(Mode, watch::Receiver<Link>)>,
    turn: AtomicUsize,
    /// They end with the client.
    _tasks: JoinSet<()>,
}

/// What came of a message.
///
/// A message of several parts is sent part by part, each when the one before it was taken, over one link. If it stops on the way,
/// the centre has its beginning: it is neither taken nor not taken, so `handed.said` is [`Said::Broken`] with [`Stage::After`]
/// whatever the reason. Who wants to go on sends [`Sms::after`] with as many parts as were taken, if `stopped` says that this
/// makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Of the whole; its reference is the first part's.
    pub handed: Handed,
    /// What the centre calls each part that it took: receipts come for each.
    pub taken: Vec<String>,
    /// Parts that were to be sent.
    pub parts: usize,
    /// What was said of the part that was not taken.
    pub stopped: Option<Said>,
}

/// What the centre says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queried {
    pub said: Said,
    pub state: Option<State>,
}

/// A link, with a place in its window.
struct Place {
    session: Arc<Session>,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    /// Begins to connect. What the centre sends comes out of the receiver: each has to be said [`stored`](Delivery::stored).
    pub fn start(settings: Settings) -> (Client, mpsc::Receiver<Delivery>) {
        let (deliveries, incoming) = mpsc::channel(settings.most_unread.max(1));
        let (closing, closed) = watch::channel(false);
        let (changes, _) = watch::channel(0);
        let common = Arc::new(Common { settings, deliveries, closing: closed, changes });
        let (mut links, mut tasks) = (Vec::new(), JoinSet::new());
        for mode in &common.settings.binds {
            let (state, link) = watch::channel(Link::Coming);
            tasks.spawn(keep(Arc::clone(&common), *mode, state));
            links.push((*mode, link));
        }
        (Client { common, closing, links, turn: AtomicUsize::new(0), _tasks: tasks }, incoming)
    }

    /// Sends a message, and waits for the answers to all of its parts.
    pub async fn send(&self, sms: &Sms) -> Sent {
        let (mut taken, mut stopped) = (Vec::new(), None);
        match self.place().await {
            Err(said) => stopped = Some(said),
            Ok(place) => {
                for message in sms.messages(&self.common.settings.source) {
                    match self.submit(&place, Body::SubmitSm(Box::new(message))).await {
                        Ok(reference) => taken.push(reference),
                        Err(said) => {
                            stopped = Some(said);
                            break;
                        }
                    }
                }
            }
        }
        self.sent(sms, taken, stopped)
    }

    /// Asks what became of a message that was taken (section 4.8). A message whose answer was lost has no reference to ask by:
    /// only its receipt tells, by [`Sms::user_reference`] where the centre brings that back. `from` is the message's sender
    /// where it is not that of the settings.
    pub async fn query(&self, reference: &str, from: Option<&Address>) -> Queried {
        let source = from.unwrap_or(&self.common.settings.source).clone();
        let body = Body::QuerySm { message_id: reference.to_owned(), source };
        let answer = match self.place().await {
            Ok(place) => self.ask(&place, body).await,
            Err(said) => Err(said),
        };
        match answer {
            Ok(Pdu { body: Body::QuerySmResp(state), .. }) => {
                Queried { said: Said::Smpp { status: status::OK }, state }
            }
            Ok(_) => Queried { said: Said::Smpp { status: status::UNKNOWN_ERROR }, state: None },
            Err(said) => Queried { said, state: None },
        }
    }

    /// Links that are bound.
    pub fn bound(&self) -> usize {
        self.links.iter().filter(|(_, link)| matches!(*link.borrow(), Link::Bound(_))).count()
    }

    /// Tells when the number of bound links may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.common.changes.subscribe()
    }

    /// Sends nothing new, waits for the answers that are still to come, unbinds and closes the links. What is not answered within
    /// the time for answers is given up.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        for (_, link) in &self.links {
            // An error means that its task has ended.
            let _ = link.clone().wait_for(|link| matches!(link, Link::Closed)).await;
        }
    }

    async fn submit(&self, place: &Place, body: Body) -> Result<String, Said> {
        match self.ask(place, body).await?.body {
            Body::SubmitSmResp { message_id } => Ok(message_id.unwrap_or_default()),
            _ => Err(Said::Smpp { status: status::UNKNOWN_ERROR }),
        }
    }

    /// The answer, if it is no refusal.
    async fn ask(&self, place: &Place, body: Body) -> Result<Pdu, Said> {
        match place.session.ask(body, self.common.settings.answer_limit).await {
            // A refusal without a reason is one all the same.
            Ok(Pdu { status: status::OK, body: Body::GenericNack, .. }) => {
                Err(Said::Smpp { status: status::UNKNOWN_ERROR })
            }
            Ok(pdu) if pdu.status == status::OK => Ok(pdu),
            Ok(Pdu { status, .. }) => Err(Said::Smpp { status }),
            Err(NoAnswer::Broken { stage, text }) => Err(Said::Broken { stage, text }),
            // What the centre would say of it, had it seen it.
            Err(NoAnswer::Unfit(unfit)) => {
                tracing::warn!(account = self.common.settings.account(), %unfit, "a message has no room in a PDU");
                Err(Said::Smpp { status: status::INVALID_MESSAGE_LENGTH })
            }
        }
    }

    fn sent(&self, sms: &Sms, taken: Vec<String>, stopped: Option<Said>) -> Sent {
        let said = match &stopped {
            None => Said::Smpp { status: status::OK },
            Some(said) if taken.is_empty() && sms.is_whole() => said.clone(),
            Some(_) => {
                let parts = sms.parts();
                let had = parts - sms.sent_parts() + taken.len();
                Said::Broken { stage: Stage::After, text: format!("{had} of {parts} parts were taken") }
            }
        };
        let reference = taken.first().filter(|reference| !reference.is_empty()).cloned();
        // Where a beginning was left out, the caller has its names.
        let whole = stopped.is_none() && sms.is_whole() && taken.len() > 1;
        let parts = if whole { taken.clone() } else { Vec::new() };
        let handed = Handed { said, reference, parts, by: self.common.settings.account() };
        Sent { handed, taken, parts: sms.sent_parts(), stopped }
    }

    /// A place on the link that has most; waits for one, and says why there is none.
    async fn place(&self) -> Result<Place, Said> {
        let deadline = Instant::now() + self.common.settings.place_limit;
        let mut changes = self.common.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let waited = match self.best() {
                Ok(session) => {
                    let permit = Arc::clone(&session.window).acquire_owned();
                    match timeout_at(deadline, permit).await {
                        Ok(Ok(permit)) => return Ok(Place { session, _permit: permit }),
                        // This link has ended.
                        Ok(Err(_)) => timeout_at(deadline, changes.changed()).await.is_ok(),
                        // The link is there, and what we have on it is more than it takes.
                        Err(_) => {
                            return Err(Said::Busy { text: "no place in the window in time".to_owned() });
                        }
                    }
                }
                Err(Some(said)) => return Err(said),
                Err(None) => timeout_at(deadline, changes.changed()).await.is_ok(),
            };
            if !waited {
                return Err(no_place("no link in time"));
            }
        }
    }

    /// The bound link with the most places; otherwise why there is none, once that is known.
    fn best(&self) -> Result<Arc<Session>, Option<Said>> {
        if *self.common.closing.borrow() {
            return Err(Some(no_place("closed by us")));
        }
        let senders: Vec<Link> = self
            .links
            .iter()
            .filter(|(mode, _)| mode.sends())
            .map(|(_, link)| link.borrow().clone())
            .collect();
        // Of equals each has its turn.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % senders.len().max(1);
        let (late, early) = senders.split_at(turn);
        let bound = early.iter().chain(late).filter_map(|link| match link {
            Link::Bound(session) if !session.window.is_closed() => Some(session),
            _ => None,
        });
        if let Some(session) = bound.rev().max_by_key(|session| session.window.available_permits()) {
            return Ok(Arc::clone(session));
        }
        Err(why_none(&senders))
    }
}

/// What a centre said is worth more than that there was no connection; while a link is on its way nothing is known.
fn why_none(links: &[Link]) -> Option<Said> {
    if links.iter().any(|link| matches!(link, Link::Coming | Link::Bound(_))) {
        return None;
    }
    let down = || links.iter().filter_map(|link| if let Link::Down(said) = link { Some(said) } else { None });
    let refused = down().find(|said| matches!(said, Said::Smpp { .. }));
    Some(
        refused.or_else(|| down().next()).cloned().unwrap_or_else(|| no_place("there is no link that sends")),
    )
}

fn no_place(text: &str) -> Said {
    Said::Broken { stage: Stage::Before, text: text.to_owned() }
}
