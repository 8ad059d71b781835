//! What arrives over a link, and the word that it is stored.

use super::pdu::{Body, Pdu, status};
use super::receipt::{Ids, Incoming};
use super::session::{Answers, Heard, Requests, Session};
use tokio::sync::mpsc;

/// Something that arrived. The centre is told that it was taken when the caller says that it is stored, and to try again later when
/// the caller drops it without a word. The same may come again in both cases.
pub struct Delivery {
    pub incoming: Incoming,
    sequence: u32,
    answers: Option<Answers>,
}

impl Delivery {
    /// With the link gone it says nothing, and the centre will repeat it.
    pub async fn stored(mut self) {
        if let Some(answers) = self.answers.take() {
            answers.send(&answer(status::OK, self.sequence)).await;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            answers.try_send(&answer(status::TEMPORARY, self.sequence));
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

fn answer(status: u32, sequence: u32) -> Pdu {
    // A message_id is there and empty (section 4.6.2).
    Pdu { status, sequence, body: Body::DeliverSmResp { message_id: Some(String::new()) } }
}

/// Requests of a centre.
pub(super) struct OfCentre<'a> {
    pub(super) ids: Ids,
    pub(super) deliveries: &'a mpsc::Sender<Delivery>,
}

impl Requests for OfCentre<'_> {
    async fn heard(&self, session: &Session, pdu: Pdu) -> Heard {
        match pdu.body {
            Body::DeliverSm(message) => {
                let incoming = Incoming::read(*message, self.ids);
                let answers = Some(session.answers());
                // Full, or nobody there: dropped, which the centre is told.
                let _ = self.deliveries.try_send(Delivery { incoming, sequence: pdu.sequence, answers });
                Heard::More
            }
            // outbind and alert_notification have no answers (sections 4.1.7 and 4.12.1).
            Body::Other { command: 0x0B | 0x0102, .. } => Heard::More,
            _ => Heard::Unknown,
        }
    }
}
