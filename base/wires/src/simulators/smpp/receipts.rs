//! Receipts: `deliver_sm` with optional parameters and the text of appendix B.

use super::Receipts;
use super::centre::{Centre, now};
use crate::simulators::Receipt;
use crate::smpp::pdu::{Message, field, status};
use crate::smpp::{Address, tlv};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A message whose sender wants to hear of it.
pub(super) struct Awaited {
    pub(super) account: String,
    pub(super) number: u64,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) registered: u8,
    pub(super) user_reference: Option<u16>,
    pub(super) began: i64,
}

/// Sends them in their order, each until it is taken.
pub(super) async fn send(
    centre: Arc<Centre>,
    awaited: Awaited,
    receipts: Vec<(Duration, Receipt)>,
    answered: Instant,
) {
    for (delay, receipt) in receipts {
        sleep_until(answered + delay).await;
        let (state, error) = state(receipt);
        centre.set(awaited.number, (state, u8::try_from(error).unwrap_or(u8::MAX)));
        if !awaited.wants(state) {
            continue;
        }
        let message = awaited.receipt(&centre, state, error);
        for repeat in 0..=centre.settings.most_repeats {
            if repeat > 0 {
                sleep(centre.settings.repeat).await;
            }
            centre.count(|counts| counts.receipts += 1);
            if centre.deliver(&awaited.account, message.clone()).await == Some(status::OK) {
                centre.count(|counts| counts.receipts_taken += 1);
                break;
            }
        }
    }
}

/// `message_state` and the error code.
fn state(receipt: Receipt) -> (u8, u32) {
    match receipt {
        Receipt::OnItsWay => (1, 0),
        Receipt::Delivered => (2, 0),
        Receipt::Expired => (3, 0),
        Receipt::Undelivered(error) => (5, error),
        Receipt::Unknown => (7, 0),
    }
}

impl Awaited {
    /// Bits 0 and 1 of `registered_delivery` (section 5.2.17): 1 is every receipt, 2 that of a failure.
    fn wants(&self, state: u8) -> bool {
        match self.registered & 0x03 {
            1 => true,
            2 => !matches!(state, 1 | 2),
            _ => false,
        }
    }

    fn receipt(&self, centre: &Centre, state: u8, error: u32) -> Message {
        let form = centre.settings.receipts;
        let mut message = Message {
            source: self.to.clone(),
            destination: self.from.clone(),
            esm_class: field::RECEIPT,
            ..Message::default()
        };
        if form != Receipts::Tlvs {
            message.short_message = self.text(centre, state, error).into_bytes().into();
        }
        if form != Receipts::Text {
            message.tlvs.push_text(tlv::RECEIPTED_MESSAGE_ID, &centre.answered(self.number));
            message.tlvs.push_u8(tlv::MESSAGE_STATE, state);
            if let Ok(code) = u16::try_from(error)
                && code > 0
            {
                let [high, low] = code.to_be_bytes();
                message.tlvs.push(tlv::NETWORK_ERROR_CODE, vec![3, high, low]);
            }
            if let Some(own) = self.user_reference {
                message.tlvs.push_u16(tlv::USER_MESSAGE_REFERENCE, own);
            }
        }
        message
    }

    fn text(&self, centre: &Centre, state: u8, error: u32) -> String {
        let words =
            ["", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD"];
        let word = words.get(usize::from(state)).copied().unwrap_or("UNKNOWN");
        let delivered = u8::from(state == 2);
        let id = centre.written(self.number);
        let (began, done) = (moment(self.began), moment(now()));
        format!(
            "id:{id} sub:001 dlvrd:{delivered:03} submit date:{began} done date:{done} stat:{word} err:{error:03} text:"
        )
    }
}

/// `YYMMDDhhmm`.
fn moment(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |moment| moment.format("%y%m%d%H%M").to_string())
}
