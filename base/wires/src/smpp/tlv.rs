//! Optional parameters (SMPP 3.4, section 5.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub const SC_INTERFACE_VERSION: u16 = 0x0210;
pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
pub const USER_MESSAGE_REFERENCE: u16 = 0x0204;
pub const SAR_MSG_REF_NUM: u16 = 0x020C;
pub const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
pub const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
pub const NETWORK_ERROR_CODE: u16 = 0x0423;
pub const MESSAGE_PAYLOAD: u16 = 0x0424;
pub const MESSAGE_STATE: u16 = 0x0427;

/// The optional parameters of a PDU in their order, also those that nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tlvs(Vec<(u16, Bytes)>);

/// `network_error_code` (section 5.3.2.31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkError {
    /// 1 ANSI-136, 2 IS-95, 3 GSM.
    pub network: u8,
    pub code: u16,
}

impl Tlvs {
    /// Adds one; values are at most 65,535 octets, a longer one is an error when the PDU is encoded.
    pub fn push(&mut self, tag: u16, value: impl Into<Bytes>) {
        self.0.push((tag, value.into()));
    }

    /// Adds a number of one octet.
    pub fn push_u8(&mut self, tag: u16, value: u8) {
        self.push(tag, vec![value]);
    }

    /// Adds a number of two octets.
    pub fn push_u16(&mut self, tag: u16, value: u16) {
        self.push(tag, value.to_be_bytes().to_vec());
    }

    /// Adds a C-octet string.
    pub fn push_text(&mut self, tag: u16, value: &str) {
        let mut octets: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        octets.push(0);
        self.push(tag, octets);
    }

    /// The first with this tag.
    pub fn get(&self, tag: u16) -> Option<&Bytes> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| value)
    }

    pub fn u8(&self, tag: u16) -> Option<u8> {
        self.get(tag).filter(|value| value.len() == 1).map(|value| value[0])
    }

    pub fn u16(&self, tag: u16) -> Option<u16> {
        self.get(tag).and_then(|value| Some(u16::from_be_bytes(value.as_ref().try_into().ok()?)))
    }

    /// A C-octet string; many centres leave out the zero at its end.
    pub fn text(&self, tag: u16) -> Option<String> {
        let value = self.get(tag)?;
        let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
        Some(value[..end].iter().map(|octet| char::from(*octet)).collect())
    }

    pub fn network_error(&self) -> Option<NetworkError> {
        let value: [u8; 3] = self.get(NETWORK_ERROR_CODE)?.as_ref().try_into().ok()?;
        Some(NetworkError { network: value[0], code: u16::from_be_bytes([value[1], value[2]]) })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `None` where one is longer than what is there.
    pub(super) fn read(mut octets: Bytes) -> Option<Tlvs> {
        let mut tlvs = Tlvs::default();
        while !octets.is_empty() {
            if octets.len() < 4 {
                return None;
            }
            let (tag, length) = (octets.get_u16(), usize::from(octets.get_u16()));
            if octets.len() < length {
                return None;
            }
            tlvs.0.push((tag, octets.split_to(length)));
        }
        Some(tlvs)
    }

    /// The tag of one that is too long is the error.
    pub(super) fn write(&self, to: &mut BytesMut) -> Result<(), u16> {
        for (tag, value) in &self.0 {
            let length = u16::try_from(value.len()).map_err(|_| *tag)?;
            to.put_u16(*tag);
            to.put_u16(length);
            to.put_slice(value);
        }
        Ok(())
    }
}
