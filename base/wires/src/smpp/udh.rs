//! Which part of a longer message a short one is: a user data header (3GPP TS 23.040, sections 9.2.3.24.1 and 9.2.3.24.8), or
//! the `sar_` parameters of SMPP.

use super::pdu::{Message, field};
use super::tlv;
use bytes::{Buf, Bytes};

/// What the parts of one message have in common. The next message to the same number needs another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// In a header of 6 octets: 153 septets or 67 units of UCS-2 are left.
    Eight(u8),
    /// In a header of 7 octets: 152 septets or 66 units of UCS-2 are left.
    Sixteen(u16),
    /// In the parameters `sar_msg_ref_num`, `sar_total_segments`, `sar_segment_seqnum`; the centre makes the header, of 6 octets.
    Sar(u16),
}

/// Part `number` of `total`; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub reference: Reference,
    pub total: u8,
    pub number: u8,
}

impl Reference {
    /// The number itself.
    pub const fn number(self) -> u16 {
        match self {
            Reference::Eight(number) => number as u16,
            Reference::Sixteen(number) | Reference::Sar(number) => number,
        }
    }

    /// Octets that are taken from the text of each part.
    pub const fn header(self) -> usize {
        match self {
            Reference::Eight(_) | Reference::Sar(_) => 6,
            Reference::Sixteen(_) => 7,
        }
    }
}

impl Part {
    /// Puts the part into a message.
    pub fn write(self, message: &mut Message, payload: &[u8]) {
        let Part { reference, total, number } = self;
        let header = match reference {
            Reference::Eight(own) => vec![5, 0x00, 3, own, total, number],
            Reference::Sixteen(own) => {
                let [high, low] = own.to_be_bytes();
                vec![6, 0x08, 4, high, low, total, number]
            }
            Reference::Sar(own) => {
                message.tlvs.push_u16(tlv::SAR_MSG_REF_NUM, own);
                message.tlvs.push_u8(tlv::SAR_TOTAL_SEGMENTS, total);
                message.tlvs.push_u8(tlv::SAR_SEGMENT_SEQNUM, number);
                vec![]
            }
        };
        if !header.is_empty() {
            message.esm_class |= field::HEADER;
        }
        message.short_message = [&header, payload].concat().into();
    }

    /// Which part a message is, where it is one, and its text without the header.
    pub fn read(message: &Message) -> (Option<Part>, Bytes) {
        let octets = message.octets();
        if message.esm_class & field::HEADER != 0 {
            return Part::of_header(octets);
        }
        let sar = || {
            let tlvs = &message.tlvs;
            Part::checked(
                Reference::Sar(tlvs.u16(tlv::SAR_MSG_REF_NUM)?),
                tlvs.u8(tlv::SAR_TOTAL_SEGMENTS)?,
                tlvs.u8(tlv::SAR_SEGMENT_SEQNUM)?,
            )
        };
        (sar(), octets)
    }

    /// Reads the elements of a header; those of other kinds, such as ports, are passed over.
    fn of_header(mut octets: Bytes) -> (Option<Part>, Bytes) {
        let Some(length) = octets.first().map(|length| usize::from(*length)) else { return (None, octets) };
        if octets.len() <= length {
            return (None, Bytes::new());
        }
        octets.advance(1);
        let (mut header, text) = (octets.split_to(length), octets);
        let mut part = None;
        while header.len() >= 2 {
            let (element, length) = (header.get_u8(), usize::from(header.get_u8()));
            if header.len() < length {
                break;
            }
            let value = header.split_to(length);
            part = match (element, value.as_ref()) {
                (0x00, &[own, total, number]) => Part::checked(Reference::Eight(own), total, number),
                (0x08, &[high, low, total, number]) => {
                    Part::checked(Reference::Sixteen(u16::from_be_bytes([high, low])), total, number)
                }
                _ => part,
            };
        }
        (part, text)
    }

    /// A part that can't be is none (TS 23.040: the element is ignored then).
    fn checked(reference: Reference, total: u8, number: u8) -> Option<Part> {
        (1..=total).contains(&number).then_some(Part { reference, total, number })
    }
}
