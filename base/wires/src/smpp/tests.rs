use super::codec::{Frame, MOST_PDU, Unfit, decode, encode, take};
use super::pdu::{Address, Bind, Body, LAST_SEQUENCE, Message, Mode, Pdu, State, field};
use super::receipt::{Ids, Incoming, Receipt};
use super::tlv::{self, NetworkError, Tlvs};
use super::udh::{Part, Reference};
use super::{BadSms, Sms, sender};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::Duration;

fn octets(pdu: &Pdu) -> BytesMut {
    let mut octets = BytesMut::new();
    encode(pdu, &mut octets).unwrap();
    octets
}

fn read(octets: impl AsRef<[u8]>) -> Pdu {
    let mut read = BytesMut::from(octets.as_ref());
    let pdu = decode(take(&mut read, MOST_PDU).unwrap().unwrap()).unwrap();
    assert!(read.is_empty());
    pdu
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The PDU that the standard itself spells out (section 3.2.3).
#[test]
fn the_example_of_the_standard_is_read_and_written() {
    let example = from_hex(
        "00 00 00 2F 00 00 00 02 00 00 00 00 00 00 00 01 53 4D 50 50 33 54 45 53 54 00 73 65 63 72 65 74 30 38 00
         53 55 42 4D 49 54 31 00 00 01 01 00",
    );
    let bind = Bind {
        mode: Mode::Transmitter,
        system_id: "SMPP3TEST".into(),
        password: "secret08".into(),
        system_type: "SUBMIT1".into(),
        interface_version: 0,
        range: Address { ton: 1, npi: 1, digits: String::new() },
    };
    assert!(!format!("{bind:?}").contains("secret08"));
    let pdu = Body::Bind(bind).with(1);
    assert_eq!(read(&example), pdu);
    assert_eq!(octets(&pdu), example);
}

#[test]
fn lengths_are_bounded_on_both_sides() {
    let taken = |octets: &[u8], most| take(&mut BytesMut::from(octets), most);
    assert_eq!(taken(&[0, 0, 0], 64), Ok(None));
    assert_eq!(taken(&[0, 0, 0, 16, 0], 64), Ok(None));
    assert_eq!(
        taken(&[0, 0, 0, 15], 64).unwrap_err().to_string(),
        "a PDU of 15 octets; from 16 to 64 are read"
    );
    assert!(taken(&[0, 0, 0, 65], 64).is_err());
    assert!(taken(&[0xFF; 4], MOST_PDU).is_err());
    let long = |message: Message| encode(&Body::SubmitSm(Box::new(message)).with(1), &mut BytesMut::new());
    let digits = "7".repeat(21);
    let destination = Address { digits, ..Address::default() };
    assert_eq!(
        long(Message { destination, ..Message::default() }),
        Err(Unfit::Long { field: "destination_addr", most: 20 })
    );
    let short_message = Bytes::from(vec![0; 256]);
    assert_eq!(
        long(Message { short_message, ..Message::default() }),
        Err(Unfit::Long { field: "short_message", most: 255 })
    );
    let schedule = "я".into();
    assert_eq!(
        long(Message { schedule, ..Message::default() }),
        Err(Unfit::Character { field: "schedule_delivery_time" })
    );
    let mut kept = BytesMut::from("before");
    let source = Address { digits: "a\0b".into(), ..Address::default() };
    let query = Body::QuerySm { message_id: "1".into(), source }.with(1);
    assert!(encode(&query, &mut kept).is_err());
    assert_eq!(kept, "before");
}

#[test]
fn careless_answers_are_read() {
    // A refusal without a body; an id without its zero; query_sm_resp that ends early.
    let answer = |command: u32, status: u32, body: &'static [u8]| {
        decode(Frame { command, status, sequence: 9, body: Bytes::from_static(body) }).unwrap().body
    };
    assert_eq!(answer(0x8000_0004, 0x58, b""), Body::SubmitSmResp { message_id: None });
    assert_eq!(answer(0x8000_0004, 0, b"abc"), Body::SubmitSmResp { message_id: Some("abc".into()) });
    let state = State { message_id: "7".into(), state: 2, ..State::default() };
    assert_eq!(answer(0x8000_0003, 0, b"7\0\0\x02"), Body::QuerySmResp(Some(state)));
    let bind = answer(0x8000_0009, 0, b"smsc\0\x02\x10\0\x09\x34");
    let (mode, system_id, tlvs) = (Mode::Transceiver, Some("smsc".into()), Tlvs::default());
    assert_eq!(bind, Body::BindResp { mode, system_id, tlvs });
    // A request has to be whole.
    let bad = decode(Frame { command: 5, status: 0, sequence: 9, body: Bytes::from_static(b"\0\0\0") });
    assert_eq!(bad.unwrap_err().to_string(), "command 0x5: source_addr can't be read");
}

fn texts(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![4 => 0x20u8..0x7F, 1 => 1u8..=255], 0..=most)
        .prop_map(|octets| octets.into_iter().map(char::from).collect())
}

fn addresses(most: usize) -> impl Strategy<Value = Address> {
    (any::<u8>(), any::<u8>(), texts(most)).prop_map(|(ton, npi, digits)| Address { ton, npi, digits })
}

fn tlvs() -> impl Strategy<Value = Tlvs> {
    let tags = prop_oneof![any::<u16>(), Just(tlv::MESSAGE_PAYLOAD), Just(tlv::MESSAGE_STATE)];
    prop::collection::vec((tags, prop::collection::vec(any::<u8>(), 0..300)), 0..5).prop_map(|all| {
        let mut tlvs = Tlvs::default();
        all.into_iter().for_each(|(tag, value)| tlvs.push(tag, value));
        tlvs
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let head = (texts(5), addresses(20), addresses(20), any::<[u8; 3]>(), texts(16), texts(16));
    let tail = (any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..=255), tlvs());
    (head, tail).prop_map(
        |((service_type, source, destination, bits, schedule, validity), (more, text, tlvs))| {
            let [esm_class, protocol_id, priority] = bits;
            let [registered_delivery, replace, data_coding, default_message] = more;
            Message {
                service_type,
                source,
                destination,
                esm_class,
                protocol_id,
                priority,
                schedule,
                validity,
                registered_delivery,
                replace,
                data_coding,
                default_message,
                short_message: text.into(),
                tlvs,
            }
        },
    )
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Receiver), Just(Mode::Transmitter), Just(Mode::Transceiver)]
}

fn bodies() -> impl Strategy<Value = Body> {
    let bind = (modes(), texts(15), texts(64), texts(12), any::<u8>(), addresses(40)).prop_map(
        |(mode, system_id, password, system_type, interface_version, range)| {
            Body::Bind(Bind { mode, system_id, password, system_type, interface_version, range })
        },
    );
    let bound = (modes(), prop::option::of((texts(15), tlvs()))).prop_map(|(mode, named)| {
        let (system_id, tlvs) = named.unzip();
        Body::BindResp { mode, system_id, tlvs: tlvs.unwrap_or_default() }
    });
    let state = (texts(64), texts(16), any::<u8>(), any::<u8>()).prop_map(
        |(message_id, final_date, state, error_code)| State { message_id, final_date, state, error_code },
    );
    let plain = [Body::Unbind, Body::UnbindResp, Body::EnquireLink, Body::EnquireLinkResp, Body::GenericNack];
    // data_sm and others, which have numbers that are not spoken here.
    let other =
        (prop_oneof![Just(0x0103u32), 0x0200u32..0x8000_0000], prop::collection::vec(any::<u8>(), 0..99));
    prop_oneof![
        bind,
        bound,
        messages().prop_map(|message| Body::SubmitSm(Box::new(message))),
        messages().prop_map(|message| Body::DeliverSm(Box::new(message))),
        prop::option::of(texts(64)).prop_map(|message_id| Body::SubmitSmResp { message_id }),
        prop::option::of(texts(64)).prop_map(|message_id| Body::DeliverSmResp { message_id }),
        (texts(64), addresses(20)).prop_map(|(message_id, source)| Body::QuerySm { message_id, source }),
        prop::option::of(state).prop_map(Body::QuerySmResp),
        prop::sample::select(plain.to_vec()),
        other.prop_map(|(command, body)| Body::Other { command, body: body.into() }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(all in prop::collection::vec((any::<u32>(), 1..=LAST_SEQUENCE, bodies()), 1..5), cut: prop::sample::Index) {
        let all: Vec<Pdu> = all.into_iter().map(|(status, sequence, body)| Pdu { status, sequence, body }).collect();
        let mut stream = BytesMut::new();
        all.iter().for_each(|pdu| encode(pdu, &mut stream).unwrap());
        // It comes in two pieces.
        let rest = stream.split_off(cut.index(stream.len() + 1));
        let mut got = Vec::new();
        for piece in [BytesMut::new(), rest] {
            stream.unsplit(piece);
            while let Some(frame) = take(&mut stream, MOST_PDU).unwrap() {
                got.push(decode(frame).unwrap());
            }
        }
        prop_assert_eq!(got, all);
        prop_assert!(stream.is_empty());
    }

    #[test]
    fn no_octets_are_too_much(mut octets: Vec<u8>, command in prop_oneof![any::<u32>(), 0u32..0x16, 0x8000_0000u32..0x8000_0016]) {
        let body = Bytes::from(octets.clone());
        if let Ok(pdu) = decode(Frame { command, status: 0, sequence: 1, body }) {
            // What was read can be answered, and a message of it taken apart.
            if let Body::SubmitSm(message) | Body::DeliverSm(message) = pdu.body {
                let _ = Part::read(&message);
                let _ = Incoming::read(*message, Ids::HexAnswers { digits: 8, upper: true });
            }
        }
        octets.splice(0..0, [0, 0, 0]);
        let mut stream = BytesMut::from(octets.as_slice());
        while let Ok(Some(frame)) = take(&mut stream, 64) {
            let _ = decode(frame);
        }
    }

    #[test]
    fn parts_are_found_again(reference in prop_oneof![
        any::<u8>().prop_map(Reference::Eight), any::<u16>().prop_map(Reference::Sixteen), any::<u16>().prop_map(Reference::Sar)
    ], total in 1u8.., seed: u8, payload in prop::collection::vec(any::<u8>(), 0..=133)) {
        let part = Part { reference, total, number: 1 + seed % total };
        let mut message = Message::default();
        part.write(&mut message, &payload);
        let pdu = Body::SubmitSm(Box::new(message)).with(1);
        let Body::SubmitSm(message) = read(octets(&pdu)).body else { panic!("another PDU") };
        prop_assert_eq!(Part::read(&message), (Some(part), Bytes::from(payload)));
    }
}

#[test]
fn headers_of_other_kinds_are_passed_over() {
    let message = |octets: &'static [u8]| Message {
        esm_class: field::HEADER,
        short_message: Bytes::from_static(octets),
        ..Message::default()
    };
    // Ports (element 5) before the concatenation.
    let (part, text) = Part::read(&message(&[0x0B, 5, 4, 0, 1, 0, 2, 0, 3, 9, 2, 1, b'x']));
    assert_eq!((part.unwrap().total, text.as_ref()), (2, &b"x"[..]));
    // Part 3 of 2, a header longer than the text, an element longer than the header, no header at all.
    assert_eq!(Part::read(&message(&[5, 0, 3, 9, 2, 3, b'x'])), (None, Bytes::from_static(b"x")));
    for octets in [&[9, 0, 3][..], &[2, 0, 3, b'x'], &[]] {
        assert_eq!(Part::read(&message(octets)).0, None);
    }
}

fn receipt(text: &str, build: impl FnOnce(&mut Tlvs), ids: Ids) -> Receipt {
    let short_message = Bytes::from(text.to_owned());
    let mut message = Message { esm_class: field::RECEIPT, short_message, ..Message::default() };
    build(&mut message.tlvs);
    let Incoming::Receipt(receipt) = Incoming::read(message, ids) else { panic!("no receipt") };
    receipt
}

#[test]
fn receipts_are_read_from_parameters_first_then_from_the_text() {
    let text = "id:0123456789 sub:001 dlvrd:001 submit date:2611221101 done date:2611221102 stat:DELIVRD err:000 text:id:9 stat:";
    let read = receipt(text, |_| {}, Ids::Alike);
    assert_eq!((read.reference.as_str(), read.state, read.error.as_deref()), ("0123456789", 2, Some("000")));
    let read = receipt(
        text,
        |tlvs| {
            // Without its zero, as many centres send it.
            tlvs.push(tlv::RECEIPTED_MESSAGE_ID, "ABC");
            tlvs.push_u8(tlv::MESSAGE_STATE, 5);
            tlvs.push(tlv::NETWORK_ERROR_CODE, vec![3, 1, 4]);
            tlvs.push_u16(tlv::USER_MESSAGE_REFERENCE, 513);
        },
        Ids::HexAnswers { digits: 8, upper: true },
    );
    assert_eq!((read.reference.as_str(), read.state, read.user_reference), ("ABC", 5, Some(513)));
    assert_eq!(read.network, Some(NetworkError { network: 3, code: 260 }));
    let read = receipt("Id:7 STAT:undeliv ERR:2B", |_| {}, Ids::Alike);
    assert_eq!((read.reference.as_str(), read.state, read.error.as_deref()), ("7", 5, Some("2B")));
    let read = receipt("", |tlvs| tlvs.push(tlv::MESSAGE_PAYLOAD, "id:8 stat:EXPIRED"), Ids::Alike);
    assert_eq!((read.reference.as_str(), read.state), ("8", 3));
    let read = receipt("what is this text:id:1", |_| {}, Ids::Alike);
    assert_eq!((read.reference.as_str(), read.state, read.error), ("", 0, None));
}

#[test]
fn ids_are_written_as_the_answers_had_them() {
    let hex = Ids::HexAnswers { digits: 8, upper: true };
    assert_eq!(hex.of_answer("3735928559"), "DEADBEEF");
    assert_eq!(hex.of_answer("255"), "000000FF");
    assert_eq!(hex.of_answer("not a number"), "not a number");
    assert_eq!(Ids::HexAnswers { digits: 0, upper: false }.of_answer("255"), "ff");
    assert_eq!(Ids::DecimalAnswers { digits: 10 }.of_answer("00FF"), "0000000255");
    assert_eq!(Ids::Alike.of_answer("00FF"), "00FF");
}

fn parts(count: usize, octets: usize) -> Vec<Bytes> {
    (0..count).map(|_| Bytes::from(vec![b'a'; octets])).collect()
}

#[test]
fn a_message_has_room_in_its_parts_or_is_none() {
    let eight = Reference::Eight(1);
    let sms = |coding, parts, reference| Sms::new("+79161234567", coding, parts, reference).map(|_| ());
    let long = |octets, room| Err(BadSms::Long { number: 1, octets, room });
    for (coding, octets, reference, expected) in [
        (0, 153, eight, Ok(())),
        (0, 154, eight, long(154, 153)),
        (0, 152, Reference::Sixteen(1), Ok(())),
        (0, 153, Reference::Sixteen(1), long(153, 152)),
        (8, 134, eight, Ok(())),
        (8, 134, Reference::Sixteen(1), long(134, 133)),
        (8, 134, Reference::Sar(1), Ok(())),
    ] {
        assert_eq!(sms(coding, parts(2, octets), reference), expected, "{coding} {octets} {reference:?}");
    }
    assert_eq!(sms(0, vec![], eight), Err(BadSms::Parts(0)));
    assert_eq!(sms(0, parts(256, 1), eight), Err(BadSms::Parts(256)));
    for number in ["", "+", "12a", "123456789012345678901"] {
        assert_eq!(Sms::new(number, 0, parts(1, 1), eight).unwrap_err(), BadSms::Number, "{number:?}");
    }
    assert_eq!(sender("+7916").unwrap(), Address { ton: 1, npi: 1, digits: "7916".into() });
    assert_eq!(sender("2775").unwrap(), Address { ton: 3, npi: 0, digits: "2775".into() });
    assert_eq!(sender("Parcels").unwrap(), Address { ton: 5, npi: 0, digits: "Parcels".into() });
    for name in ["", "Посылки", "twelve chars"] {
        assert_eq!(sender(name).unwrap_err(), BadSms::Sender, "{name:?}");
    }
}

#[test]
fn a_message_is_written_as_the_settings_have_it() {
    let whole = |sms: &Sms| sms.messages(&Address::default()).collect::<Vec<_>>();
    let new = |parts| Sms::new("79161234567", 8, parts, Reference::Sixteen(0x1234)).unwrap();
    let one = new(parts(1, 140)).validity(Duration::from_secs(93_784)).user_reference(7);
    let message = &whole(&one)[0];
    assert_eq!((message.short_message.len(), message.esm_class, message.registered_delivery), (140, 0, 1));
    assert_eq!(
        (message.validity.as_str(), message.tlvs.u16(tlv::USER_MESSAGE_REFERENCE)),
        ("000001020304000R", Some(7))
    );
    // One part that is longer is left to the centre.
    let message = &whole(&new(parts(1, 141)))[0];
    assert_eq!((message.short_message.len(), message.octets().len()), (0, 141));
    let three = new(parts(3, 2)).from(sender("Parcels").unwrap()).unwrap();
    let rest = whole(&three.clone().after(1));
    assert_eq!((whole(&three).len(), rest.len()), (3, 2));
    assert_eq!(rest[0].short_message.as_ref(), [6, 8, 4, 0x12, 0x34, 3, 2, b'a', b'a']);
    assert_eq!((rest[0].esm_class, rest[0].source.ton), (field::HEADER, 5));
    assert!(!format!("{three:?}").contains("7916"));
}
