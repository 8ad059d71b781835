//! The PDUs of SMPP 3.4 that an ESME and a centre exchange over short messages (section 4).

use super::tlv::Tlvs;
use bytes::Bytes;

/// Bit 31 of the command id: a response (section 5.1.2.1).
pub const RESPONSE: u32 = 0x8000_0000;
/// Octets of the header, and the least that a PDU has (section 3.2).
pub const HEADER: usize = 16;
/// Sequence numbers are from 1 to this one (section 3.2).
pub const LAST_SEQUENCE: u32 = 0x7FFF_FFFF;

/// Values of `command_status` that this crate itself says or looks for (section 5.1.3).
pub mod status {
    pub const OK: u32 = 0x00;
    pub const INVALID_MESSAGE_LENGTH: u32 = 0x01;
    pub const INVALID_COMMAND_LENGTH: u32 = 0x02;
    pub const INVALID_COMMAND: u32 = 0x03;
    pub const INVALID_BIND_STATE: u32 = 0x04;
    pub const ALREADY_BOUND: u32 = 0x05;
    pub const SYSTEM_ERROR: u32 = 0x08;
    pub const INVALID_MESSAGE_ID: u32 = 0x0C;
    pub const BIND_FAILED: u32 = 0x0D;
    pub const INVALID_PASSWORD: u32 = 0x0E;
    pub const INVALID_SYSTEM_ID: u32 = 0x0F;
    pub const QUEUE_FULL: u32 = 0x14;
    pub const THROTTLED: u32 = 0x58;
    /// `ESME_RX_T_APPN`: the receiver can't take it now; the centre tries again.
    pub const TEMPORARY: u32 = 0x64;
    pub const QUERY_FAILED: u32 = 0x67;
    pub const UNKNOWN_ERROR: u32 = 0xFF;
}

/// Bits and values of fields (section 5.2).
pub mod field {
    /// `esm_class`: the message type's bits.
    pub const TYPE: u8 = 0x3C;
    /// `esm_class`: a delivery receipt of the centre.
    pub const RECEIPT: u8 = 0x04;
    /// `esm_class`: an intermediate notification, which is told like a receipt.
    pub const INTERMEDIATE: u8 = 0x20;
    /// `esm_class`: the text begins with a user data header.
    pub const HEADER: u8 = 0x40;
    /// `registered_delivery`: a receipt whatever becomes of it.
    pub const RECEIPT_WANTED: u8 = 0x01;
    /// `data_coding`: the centre's own alphabet, in practice that of GSM 03.38, an octet for a septet.
    pub const DEFAULT_ALPHABET: u8 = 0x00;
    /// `data_coding`: UTF-16 in big endian.
    pub const UCS2: u8 = 0x08;
}

/// One PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdu {
    pub status: u32,
    pub sequence: u32,
    pub body: Body,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Only receives: receipts and messages.
    Receiver,
    /// Only sends.
    Transmitter,
    #[default]
    Transceiver,
}

/// A number or a name, with its kind (sections 5.2.5 and 5.2.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Address {
    /// Type of number: 0 unknown, 1 international, 5 alphanumeric.
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 ISDN (E.163, E.164).
    pub npi: u8,
    /// At most 20 characters.
    pub digits: String,
}

/// Of `bind_transmitter`, `bind_receiver` and `bind_transceiver` (section 4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    pub mode: Mode,
    /// At most 15 characters.
    pub system_id: String,
    /// At most 8 characters in the standard, 64 here.
    pub password: String,
    /// At most 12 characters.
    pub system_type: String,
    /// 0x34 is 3.4.
    pub interface_version: u8,
    /// What a receiver wants to hear of: `digits` is a pattern of at most 40 characters, as a rule empty.
    pub range: Address,
}

/// Of `submit_sm` and `deliver_sm` (sections 4.4.1 and 4.6.1), which have the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// At most 5 characters.
    pub service_type: String,
    pub source: Address,
    pub destination: Address,
    pub esm_class: u8,
    pub protocol_id: u8,
    pub priority: u8,
    /// Empty or 16 characters (section 7.1.1).
    pub schedule: String,
    /// Empty or 16 characters.
    pub validity: String,
    pub registered_delivery: u8,
    pub replace: u8,
    pub data_coding: u8,
    pub default_message: u8,
    /// At most 254 octets to send; one more is read, as later versions have it.
    pub short_message: Bytes,
    pub tlvs: Tlvs,
}

/// What comes behind the header. A `message_id` is absent where the response has no body, as refusals have (section 4.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Bind(Bind),
    BindResp {
        mode: Mode,
        system_id: Option<String>,
        tlvs: Tlvs,
    },
    SubmitSm(Box<Message>),
    SubmitSmResp {
        message_id: Option<String>,
    },
    DeliverSm(Box<Message>),
    DeliverSmResp {
        message_id: Option<String>,
    },
    QuerySm {
        message_id: String,
        source: Address,
    },
    QuerySmResp(Option<State>),
    Unbind,
    UnbindResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    /// A command that this crate does not speak.
    Other {
        command: u32,
        body: Bytes,
    },
}

/// Of `query_sm_resp` (section 4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub message_id: String,
    /// Empty or 16 characters.
    pub final_date: String,
    /// `message_state` (section 5.2.28).
    pub state: u8,
    /// The network's own; 0 where there is none.
    pub error_code: u8,
}

impl Mode {
    /// The command id of its request.
    pub const fn command(self) -> u32 {
        match self {
            Mode::Receiver => 0x01,
            Mode::Transmitter => 0x02,
            Mode::Transceiver => 0x09,
        }
    }

    pub const fn sends(self) -> bool {
        !matches!(self, Mode::Receiver)
    }

    pub const fn receives(self) -> bool {
        !matches!(self, Mode::Transmitter)
    }
}

impl Body {
    /// `command_id` (section 5.1.2.1).
    pub const fn command(&self) -> u32 {
        match self {
            Body::Bind(bind) => bind.mode.command(),
            Body::BindResp { mode, .. } => mode.command() | RESPONSE,
            Body::QuerySm { .. } => 0x03,
            Body::QuerySmResp(_) => 0x03 | RESPONSE,
            Body::SubmitSm(_) => 0x04,
            Body::SubmitSmResp { .. } => 0x04 | RESPONSE,
            Body::DeliverSm(_) => 0x05,
            Body::DeliverSmResp { .. } => 0x05 | RESPONSE,
            Body::Unbind => 0x06,
            Body::UnbindResp => 0x06 | RESPONSE,
            Body::EnquireLink => 0x15,
            Body::EnquireLinkResp => 0x15 | RESPONSE,
            Body::GenericNack => RESPONSE,
            Body::Other { command, .. } => *command,
        }
    }

    /// A PDU with this body and status 0.
    pub fn with(self, sequence: u32) -> Pdu {
        Pdu { status: status::OK, sequence, body: self }
    }
}

impl Message {
    /// The text's octets, wherever they stand.
    pub fn octets(&self) -> Bytes {
        match self.tlvs.get(super::tlv::MESSAGE_PAYLOAD) {
            Some(payload) if self.short_message.is_empty() => payload.clone(),
            _ => self.short_message.clone(),
        }
    }

    /// Whether it tells what became of another message.
    pub fn is_receipt(&self) -> bool {
        matches!(self.esm_class & field::TYPE, field::RECEIPT | field::INTERMEDIATE)
    }
}

/// The password stays out of logs.
impl std::fmt::Debug for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bind")
            .field("mode", &self.mode)
            .field("system_id", &self.system_id)
            .field("system_type", &self.system_type)
            .field("interface_version", &self.interface_version)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
