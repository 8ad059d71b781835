//! What the centre sends of its own accord: receipts, and messages from telephones.

use super::pdu::{Address, Message};
use super::tlv::{self, NetworkError};
use super::udh::Part;
use bytes::Bytes;

/// What became of a message, in the centre's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id that the answer to the message gave; empty where the centre left it out.
    pub reference: String,
    /// `message_state` (SMPP 3.4, section 5.2.28): 1 en route, 2 delivered, 3 expired, 4 deleted, 5 undeliverable, 6 accepted,
    /// 7 unknown, 8 rejected; 0 where the receipt names none that is known.
    pub state: u8,
    /// The centre's own code: `err` of the text, or the code of the network.
    pub error: Option<String>,
    pub network: Option<NetworkError>,
    /// What [`Sms::user_reference`](super::Sms::user_reference) gave, where the centre brings it back.
    pub user_reference: Option<u16>,
    /// To tell it from others: the number that the message went to.
    pub to: Address,
}

/// A message from a telephone, or one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub from: Address,
    pub to: Address,
    pub data_coding: u8,
    pub part: Option<Part>,
    /// The text's octets without their header.
    pub octets: Bytes,
}

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Receipt(Receipt),
    Message(Received),
}

/// How the ids in the text of receipts are written, where answers to messages write them otherwise. `receipted_message_id` is
/// always believed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    /// Alike.
    #[default]
    Alike,
    /// Receipts are decimal, answers hexadecimal with at least so many digits.
    HexAnswers { digits: usize, upper: bool },
    /// Receipts are hexadecimal, answers decimal with at least so many digits.
    DecimalAnswers { digits: usize },
}

impl Ids {
    /// An id of a receipt's text as the answer wrote it; one that is no such number stays as it is.
    pub fn of_answer(self, id: &str) -> String {
        let number = match self {
            Ids::Alike => None,
            Ids::HexAnswers { .. } => id.parse::<u128>().ok(),
            Ids::DecimalAnswers { .. } => u128::from_str_radix(id, 16).ok(),
        };
        match (self, number) {
            (Ids::HexAnswers { digits, upper: true }, Some(n)) => {
                format!("{n:0width$X}", width = digits.min(32))
            }
            (Ids::HexAnswers { digits, .. }, Some(n)) => format!("{n:0width$x}", width = digits.min(32)),
            (Ids::DecimalAnswers { digits }, Some(n)) => format!("{n:0width$}", width = digits.min(32)),
            _ => id.to_owned(),
        }
    }
}

impl Incoming {
    /// Reads a `deliver_sm`.
    pub fn read(message: Message, ids: Ids) -> Incoming {
        if message.is_receipt() {
            return Incoming::Receipt(Receipt::read(&message, ids));
        }
        let (part, octets) = Part::read(&message);
        let Message { source: from, destination: to, data_coding, .. } = message;
        Incoming::Message(Received { from, to, data_coding, part, octets })
    }
}

impl Receipt {
    /// From the optional parameters first, then from the text (appendix B).
    fn read(message: &Message, ids: Ids) -> Receipt {
        let tlvs = &message.tlvs;
        let text: String = message.octets().iter().map(|octet| char::from(*octet)).collect();
        let network = tlvs.network_error();
        let named = tlvs.text(tlv::RECEIPTED_MESSAGE_ID).filter(|id| !id.is_empty());
        let written = || value(&text, "id").map(|id| ids.of_answer(id));
        let error = || network.map(|error| error.code.to_string());
        Receipt {
            reference: named.or_else(written).unwrap_or_default(),
            state: tlvs.u8(tlv::MESSAGE_STATE).or_else(|| value(&text, "stat").map(state)).unwrap_or(0),
            error: value(&text, "err").map(str::to_owned).or_else(error),
            network,
            user_reference: tlvs.u16(tlv::USER_MESSAGE_REFERENCE),
            // The receipt comes from whom the message went to.
            to: message.source.clone(),
        }
    }
}

/// The words of appendix B.
fn state(word: &str) -> u8 {
    match word.to_ascii_uppercase().as_str() {
        "ENROUTE" => 1,
        "DELIVRD" => 2,
        "EXPIRED" => 3,
        "DELETED" => 4,
        "UNDELIV" => 5,
        "ACCEPTD" => 6,
        "UNKNOWN" => 7,
        "REJECTD" => 8,
        _ => 0,
    }
}

/// The value of `key:` in the text; keys are matched in any case, and what comes behind `text:` is the message's own.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once(':')?;
        let name = before.rsplit(' ').next().unwrap_or(before);
        if name.eq_ignore_ascii_case("text") {
            return None;
        }
        if name.eq_ignore_ascii_case(key) {
            return behind.split(' ').next().filter(|value| !value.is_empty());
        }
        rest = behind;
    }
}
