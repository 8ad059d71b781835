//! PDUs as octets, and back (SMPP 3.4, sections 3.2 and 4).
//!
//! Reading is done in two steps, so that a PDU with a broken body can still be answered: [`take`] finds the header and the body's
//! end, [`decode`] reads the body. Texts are read as Latin-1, an octet a character, so that any octet comes back as it was.
//! Responses are read leniently: their status says what matters, and centres are careless with what comes behind it.
//!
//! Why this is our own: `rusmpp` 0.4 speaks version 5 alone, refuses texts that are not ASCII and receipted ids without a zero at
//! their end, and loses its place in the stream, and the sequence number, with the first body it can't read; `smpp34` 1.5 knows
//! no status that is not in the standard's list, which centres' own ones are not.

use super::pdu::{Address, Bind, Body, HEADER, Message, Mode, Pdu, RESPONSE, State};
use super::tlv::Tlvs;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Octets of a PDU that are read at most, where nothing else is said: a `message_payload` of 64 KiB and its fields.
pub const MOST_PDU: usize = 66 << 10;

/// A PDU whose body nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: Bytes,
}

/// The length that a header names can't be: where the next PDU begins is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PDU of {length} octets; from {HEADER} to {most} are read")]
pub struct BadLength {
    pub length: u32,
    pub most: usize,
}

/// A body that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command {command:#x}: {field} can't be read")]
pub struct BadBody {
    pub command: u32,
    pub field: &'static str,
}

/// A value that has no room in its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{field}: longer than {most} octets")]
    Long { field: &'static str, most: usize },
    #[error("{field}: a character that is not Latin-1, or a zero")]
    Character { field: &'static str },
}

impl Frame {
    pub fn is_response(&self) -> bool {
        self.command & RESPONSE != 0
    }
}

/// The first PDU of what was read, once it is whole.
pub fn take(read: &mut BytesMut, most: usize) -> Result<Option<Frame>, BadLength> {
    let Some(length) = read.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets)) else {
        return Ok(None);
    };
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if !(HEADER..=most).contains(&size) {
        return Err(BadLength { length, most });
    }
    if read.len() < size {
        read.reserve(size - read.len());
        return Ok(None);
    }
    let mut body = read.split_to(size).freeze();
    body.advance(4);
    let [command, status, sequence] = [body.get_u32(), body.get_u32(), body.get_u32()];
    Ok(Some(Frame { command, status, sequence, body }))
}

/// Reads the body.
pub fn decode(frame: Frame) -> Result<Pdu, BadBody> {
    let Frame { command, status, sequence, body } = frame;
    let mut reader = Reader { command, lenient: command & RESPONSE != 0, octets: body };
    let body = reader.body()?;
    Ok(Pdu { status, sequence, body })
}

struct Reader {
    command: u32,
    lenient: bool,
    octets: Bytes,
}

impl Reader {
    fn body(&mut self) -> Result<Body, BadBody> {
        Ok(match self.command {
            0x01 => Body::Bind(self.bind(Mode::Receiver)?),
            0x02 => Body::Bind(self.bind(Mode::Transmitter)?),
            0x09 => Body::Bind(self.bind(Mode::Transceiver)?),
            0x8000_0001 => self.bind_resp(Mode::Receiver)?,
            0x8000_0002 => self.bind_resp(Mode::Transmitter)?,
            0x8000_0009 => self.bind_resp(Mode::Transceiver)?,
            0x03 => {
                Body::QuerySm { message_id: self.text("message_id")?, source: self.address("source_addr")? }
            }
            0x8000_0003 => Body::QuerySmResp(self.state()?),
            0x04 => Body::SubmitSm(Box::new(self.message()?)),
            0x8000_0004 => Body::SubmitSmResp { message_id: self.id()? },
            0x05 => Body::DeliverSm(Box::new(self.message()?)),
            0x8000_0005 => Body::DeliverSmResp { message_id: self.id()? },
            0x06 => Body::Unbind,
            0x8000_0006 => Body::UnbindResp,
            0x15 => Body::EnquireLink,
            0x8000_0015 => Body::EnquireLinkResp,
            RESPONSE => Body::GenericNack,
            command => Body::Other { command, body: std::mem::take(&mut self.octets) },
        })
    }

    fn bad(&self, field: &'static str) -> BadBody {
        BadBody { command: self.command, field }
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, BadBody> {
        match self.octets.is_empty() {
            false => Ok(self.octets.get_u8()),
            true if self.lenient => Ok(0),
            true => Err(self.bad(field)),
        }
    }

    fn text(&mut self, field: &'static str) -> Result<String, BadBody> {
        let end = self.octets.iter().position(|octet| *octet == 0);
        let end = match end {
            Some(end) => end,
            None if self.lenient => self.octets.len(),
            None => return Err(self.bad(field)),
        };
        let text = self.octets.split_to(end).iter().map(|octet| char::from(*octet)).collect();
        if !self.octets.is_empty() {
            self.octets.advance(1);
        }
        Ok(text)
    }

    fn address(&mut self, field: &'static str) -> Result<Address, BadBody> {
        Ok(Address { ton: self.u8(field)?, npi: self.u8(field)?, digits: self.text(field)? })
    }

    fn tlvs(&mut self) -> Result<Tlvs, BadBody> {
        let read = Tlvs::read(std::mem::take(&mut self.octets));
        if self.lenient {
            Ok(read.unwrap_or_default())
        } else {
            read.ok_or_else(|| self.bad("an optional parameter"))
        }
    }

    fn bind(&mut self, mode: Mode) -> Result<Bind, BadBody> {
        Ok(Bind {
            mode,
            system_id: self.text("system_id")?,
            password: self.text("password")?,
            system_type: self.text("system_type")?,
            interface_version: self.u8("interface_version")?,
            range: self.address("address_range")?,
        })
    }

    fn bind_resp(&mut self, mode: Mode) -> Result<Body, BadBody> {
        Ok(Body::BindResp { mode, system_id: self.id()?, tlvs: self.tlvs()? })
    }

    fn id(&mut self) -> Result<Option<String>, BadBody> {
        if self.octets.is_empty() { Ok(None) } else { self.text("message_id").map(Some) }
    }

    fn state(&mut self) -> Result<Option<State>, BadBody> {
        if self.octets.is_empty() {
            return Ok(None);
        }
        Ok(Some(State {
            message_id: self.text("message_id")?,
            final_date: self.text("final_date")?,
            state: self.u8("message_state")?,
            error_code: self.u8("error_code")?,
        }))
    }

    fn message(&mut self) -> Result<Message, BadBody> {
        Ok(Message {
            service_type: self.text("service_type")?,
            source: self.address("source_addr")?,
            destination: self.address("destination_addr")?,
            esm_class: self.u8("esm_class")?,
            protocol_id: self.u8("protocol_id")?,
            priority: self.u8("priority_flag")?,
            schedule: self.text("schedule_delivery_time")?,
            validity: self.text("validity_period")?,
            registered_delivery: self.u8("registered_delivery")?,
            replace: self.u8("replace_if_present_flag")?,
            data_coding: self.u8("data_coding")?,
            default_message: self.u8("sm_default_msg_id")?,
            short_message: self.short_message()?,
            tlvs: self.tlvs()?,
        })
    }

    fn short_message(&mut self) -> Result<Bytes, BadBody> {
        let length = usize::from(self.u8("sm_length")?);
        if self.octets.len() < length {
            return Err(self.bad("short_message"));
        }
        Ok(self.octets.split_to(length))
    }
}

/// Appends the PDU; on an error `to` is as it was.
pub fn encode(pdu: &Pdu, to: &mut BytesMut) -> Result<(), Unfit> {
    let start = to.len();
    to.put_u32(0);
    to.put_u32(pdu.body.command());
    to.put_u32(pdu.status);
    to.put_u32(pdu.sequence);
    let written = write(&pdu.body, to).and_then(|()| {
        let length = to.len() - start;
        u32::try_from(length).map_err(|_| Unfit::Long { field: "the PDU", most: MOST_PDU })
    });
    match written {
        Ok(length) => to[start..start + 4].copy_from_slice(&length.to_be_bytes()),
        Err(unfit) => {
            to.truncate(start);
            return Err(unfit);
        }
    }
    Ok(())
}

fn write(body: &Body, to: &mut BytesMut) -> Result<(), Unfit> {
    match body {
        Body::Bind(bind) => {
            text(to, "system_id", &bind.system_id, 15)?;
            // The standard has room for 8 characters; some centres give out longer ones and take them.
            text(to, "password", &bind.password, 64)?;
            text(to, "system_type", &bind.system_type, 12)?;
            to.put_u8(bind.interface_version);
            address(to, "address_range", &bind.range, 40)
        }
        Body::BindResp { system_id, tlvs, .. } => {
            id(to, "system_id", system_id.as_deref(), 15)?;
            match system_id {
                Some(_) => write_tlvs(to, tlvs),
                None => Ok(()),
            }
        }
        Body::SubmitSm(message) | Body::DeliverSm(message) => write_message(to, message),
        Body::SubmitSmResp { message_id } | Body::DeliverSmResp { message_id } => {
            id(to, "message_id", message_id.as_deref(), 64)
        }
        Body::QuerySm { message_id, source } => {
            text(to, "message_id", message_id, 64)?;
            address(to, "source_addr", source, 20)
        }
        Body::QuerySmResp(Some(state)) => {
            text(to, "message_id", &state.message_id, 64)?;
            text(to, "final_date", &state.final_date, 16)?;
            to.put_slice(&[state.state, state.error_code]);
            Ok(())
        }
        Body::QuerySmResp(None)
        | Body::Unbind
        | Body::UnbindResp
        | Body::EnquireLink
        | Body::EnquireLinkResp
        | Body::GenericNack => Ok(()),
        Body::Other { body, .. } => {
            to.put_slice(body);
            Ok(())
        }
    }
}

fn write_message(to: &mut BytesMut, message: &Message) -> Result<(), Unfit> {
    text(to, "service_type", &message.service_type, 5)?;
    address(to, "source_addr", &message.source, 20)?;
    address(to, "destination_addr", &message.destination, 20)?;
    to.put_slice(&[message.esm_class, message.protocol_id, message.priority]);
    text(to, "schedule_delivery_time", &message.schedule, 16)?;
    text(to, "validity_period", &message.validity, 16)?;
    to.put_slice(&[
        message.registered_delivery,
        message.replace,
        message.data_coding,
        message.default_message,
    ]);
    let most = 255;
    let length = u8::try_from(message.short_message.len());
    to.put_u8(length.map_err(|_| Unfit::Long { field: "short_message", most })?);
    to.put_slice(&message.short_message);
    write_tlvs(to, &message.tlvs)
}

fn write_tlvs(to: &mut BytesMut, tlvs: &Tlvs) -> Result<(), Unfit> {
    tlvs.write(to).map_err(|_| Unfit::Long { field: "an optional parameter", most: usize::from(u16::MAX) })
}

fn address(to: &mut BytesMut, field: &'static str, address: &Address, most: usize) -> Result<(), Unfit> {
    to.put_slice(&[address.ton, address.npi]);
    text(to, field, &address.digits, most)
}

fn id(to: &mut BytesMut, field: &'static str, value: Option<&str>, most: usize) -> Result<(), Unfit> {
    value.map_or(Ok(()), |value| text(to, field, value, most))
}

/// A C-octet string: the characters and a zero.
fn text(to: &mut BytesMut, field: &'static str, value: &str, most: usize) -> Result<(), Unfit> {
    let start = to.len();
    for c in value.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(octet) if octet != 0 => to.put_u8(octet),
            _ => return Err(Unfit::Character { field }),
        }
    }
    if to.len() - start > most {
        return Err(Unfit::Long { field, most });
    }
    to.put_u8(0);
    Ok(())
}
