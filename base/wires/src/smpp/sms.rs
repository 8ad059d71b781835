//! A message as the caller hands it over: its octets are chosen already.

use super::pdu::{Address, Message, field};
use super::tlv;
use super::udh::{Part, Reference};
use bytes::Bytes;
use std::time::Duration;

/// Octets of the longest message that is left to the centre to divide: 255 parts of 153.
const MOST_PAYLOAD: usize = 255 * 153;

/// A message to one number. One that exists can be sent: its fields have room for what is in them.
///
/// The alphabets are not known here. The caller chooses the coding, divides the text, and encodes each part; the parts' headers are
/// written here, for the way that they are joined by ([`Reference`]) is a matter of the centre.
#[derive(Clone, PartialEq, Eq)]
pub struct Sms {
    to: Address,
    from: Option<Address>,
    data_coding: u8,
    reference: Reference,
    parts: Vec<Bytes>,
    /// How many of the first parts are left out.
    after: usize,
    user_reference: Option<u16>,
    validity: String,
}

/// A message that can't be sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSms {
    #[error("the number has to be 1 to 20 digits, with or without a plus")]
    Number,
    #[error("the sender has to be up to 20 digits, or 1 to 11 characters of ASCII where its kind is 5")]
    Sender,
    #[error("a message has 1 to 255 parts, not {0}")]
    Parts(usize),
    #[error("part {number} has {octets} octets; there is room for {room}")]
    Long { number: usize, octets: usize, room: usize },
}

impl Sms {
    /// `parts` are the text's octets without headers: with `data_coding` 0 (and 1, 3) an octet for a septet. A single part that is
    /// longer than a short message goes as `message_payload`, for the centre to divide.
    pub fn new(to: &str, data_coding: u8, parts: Vec<Bytes>, reference: Reference) -> Result<Sms, BadSms> {
        let to = number(to).ok_or(BadSms::Number)?;
        if !(1..=255).contains(&parts.len()) {
            return Err(BadSms::Parts(parts.len()));
        }
        let room = if parts.len() > 1 { room(data_coding, reference.header()) } else { MOST_PAYLOAD };
        for (part, number) in parts.iter().zip(1..) {
            if part.len() > room {
                return Err(BadSms::Long { number, octets: part.len(), room });
            }
        }
        let (from, user_reference) = (None, None);
        Ok(Sms { to, from, data_coding, reference, parts, after: 0, user_reference, validity: String::new() })
    }

    /// Another sender than that of the settings: [`sender`] makes one.
    pub fn from(mut self, from: Address) -> Result<Sms, BadSms> {
        if !fits(&from) {
            return Err(BadSms::Sender);
        }
        self.from = Some(from);
        Ok(self)
    }

    /// Goes as `user_message_reference`: receipts of some centres bring it back, so that they are told apart even where the answer
    /// to the message was lost.
    pub fn user_reference(mut self, own: u16) -> Sms {
        self.user_reference = Some(own);
        self
    }

    /// How long the centre may try, to the second and at most 30 days; otherwise it is the centre's choice.
    pub fn validity(mut self, validity: Duration) -> Sms {
        let seconds = validity.as_secs().clamp(1, 30 * 86_400);
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        // Relative to now (section 7.1.1.1).
        self.validity = format!("0000{days:02}{hours:02}{minutes:02}{:02}000R", seconds % 60);
        self
    }

    /// The same message without its first parts, which the centre has already.
    pub fn after(mut self, taken: usize) -> Sms {
        self.after = self.after.saturating_add(taken);
        self
    }

    /// Parts of the whole message.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// What is sent, in order.
    pub(super) fn messages(&self, from: &Address) -> impl Iterator<Item = Message> {
        let total = u8::try_from(self.parts.len()).unwrap_or(u8::MAX);
        self.parts.iter().zip(1u8..=total).skip(self.after).map(move |(payload, number)| {
            let mut message = Message {
                source: self.from.as_ref().unwrap_or(from).clone(),
                destination: self.to.clone(),
                validity: self.validity.clone(),
                registered_delivery: field::RECEIPT_WANTED,
                data_coding: self.data_coding,
                ..Message::default()
            };
            match total {
                1 if payload.len() <= room(self.data_coding, 0) => message.short_message = payload.clone(),
                1 => message.tlvs.push(tlv::MESSAGE_PAYLOAD, payload.clone()),
                _ => Part { reference: self.reference, total, number }.write(&mut message, payload),
            }
            if let Some(own) = self.user_reference {
                message.tlvs.push_u16(tlv::USER_MESSAGE_REFERENCE, own);
            }
            message
        })
    }

    /// No part is left out.
    pub(super) fn is_whole(&self) -> bool {
        self.after == 0
    }

    pub(super) fn sent_parts(&self) -> usize {
        self.parts.len().saturating_sub(self.after)
    }
}

/// A sender: digits with a plus are an international number, digits alone a short one of the network's, anything else a name.
pub fn sender(name: &str) -> Result<Address, BadSms> {
    let digits = name.strip_prefix('+').unwrap_or(name);
    let all = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    let (ton, npi) = match (all, name.starts_with('+')) {
        (true, true) => (1, 1),
        (true, false) if digits.len() <= 8 => (3, 0),
        (true, false) => (1, 1),
        (false, _) => (5, 0),
    };
    let digits = if all { digits } else { name }.to_owned();
    let sender = Address { ton, npi, digits };
    if fits(&sender) { Ok(sender) } else { Err(BadSms::Sender) }
}

fn fits(sender: &Address) -> bool {
    let octets = sender.digits.as_bytes();
    match sender.ton {
        5 => (1..=11).contains(&octets.len()) && octets.iter().all(|octet| (b' '..=b'~').contains(octet)),
        _ => octets.len() <= 20 && octets.iter().all(u8::is_ascii_digit),
    }
}

fn number(to: &str) -> Option<Address> {
    let digits = to.strip_prefix('+').unwrap_or(to);
    let fits = (1..=20).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
    fits.then(|| Address { ton: 1, npi: 1, digits: digits.to_owned() })
}

/// Octets of text in one short message beside a header: of its 140 octets, or of as many septets as these have bits for.
const fn room(data_coding: u8, header: usize) -> usize {
    match data_coding {
        // The default alphabet, ASCII and Latin-1, which the centre turns into septets.
        0 | 1 | 3 => (140 - header) * 8 / 7,
        _ => 140 - header,
    }
}

/// The number and the text stay out of logs.
impl std::fmt::Debug for Sms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sms")
            .field("data_coding", &self.data_coding)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}
