//! Properties of the codec, and agreement with the crate `kafka-protocol` in both directions.

use super::*;
use crate::{Received, Record};
use artel_message::Time;
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as kafka;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LIMITS: Limits = Limits { record_bytes: 1 << 20, batch_bytes: 4 << 20, records: 100_000, headers: 100 };

#[derive(Debug, Clone)]
struct Owned {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    millis: i64,
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = |max| option::of(vec(any::<u8>(), 0..max));
    let headers = vec(("[a-cé]{0,3}", bytes(20)), 0..6);
    (bytes(40), bytes(300), headers, 0i64..4_000_000_000_000)
        .prop_map(|(key, value, headers, millis)| Owned { key, value, headers, millis })
}

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)]
}

type Borrowed<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

fn encoded(records: &[Owned], codec: Compression, limits: &Limits) -> Result<Batch, EncodeError> {
    borrowed(records, |records| encode(records, codec, limits))
}

fn borrowed<T>(records: &[Owned], work: impl FnOnce(&[Record<'_>]) -> T) -> T {
    let headers: Vec<Borrowed<'_>> =
        records.iter().map(|r| r.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect()).collect();
    let records: Vec<Record<'_>> = records
        .iter()
        .zip(&headers)
        .map(|(r, headers)| Record {
            key: r.key.as_deref(),
            value: r.value.as_deref(),
            headers,
            time: Time::from_millis(r.millis),
        })
        .collect();
    work(&records)
}

fn expected(records: &[Owned], base: i64) -> Vec<Received> {
    (base..)
        .zip(records)
        .map(|(offset, r)| Received {
            offset,
            time: Time::from_millis(r.millis),
            key: r.key.clone().map(Bytes::from),
            value: r.value.clone().map(Bytes::from),
            headers: r.headers.iter().cloned().collect(),
        })
        .collect()
}

fn decoded(batch: &Bytes) -> Result<Vec<Received>, CodecError> {
    check_crc(batch)?;
    Records::open(batch, &Limits::READ)?.collect()
}

/// The crate keeps the last of equal header names; ours keeps all.
fn last_of_each(mut records: Vec<Received>) -> Vec<Received> {
    for record in &mut records {
        let mut kept: Vec<(&str, Option<&[u8]>)> = Vec::new();
        for (name, value) in &record.headers {
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some(slot) => slot.1 = value,
                None => kept.push((name, value)),
            }
        }
        record.headers = kept.into_iter().collect();
    }
    records
}

fn theirs(record: &kafka::Record) -> Received {
    let headers = record.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
    Received {
        offset: record.offset,
        time: Time::from_millis(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: headers.collect(),
    }
}

/// As the crate wants it to make one batch of all records: the sequence follows the offset.
fn to_theirs(record: Received, base: i64) -> kafka::Record {
    kafka::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: kafka::NO_PRODUCER_ID,
        producer_epoch: kafka::NO_PRODUCER_EPOCH,
        timestamp_type: kafka::TimestampType::Creation,
        offset: record.offset,
        sequence: i32::try_from(record.offset - base).unwrap() - 1,
        timestamp: record.time.millis(),
        key: record.key,
        value: record.value,
        headers: record
            .headers
            .iter()
            .map(|(n, v)| (StrBytes::from_string(n.to_owned()), v.map(Bytes::copy_from_slice)))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_encoded_comes_back(
        records in vec(owned(), 1..40), codec in codec(), base in 0i64..1 << 40, from in 0i64..50,
    ) {
        let batch = encoded(&records, codec, &LIMITS).unwrap();
        prop_assert_eq!(batch.count() as usize, records.len());
        let (max, size) = (batch.max_timestamp(), batch.size());
        let bytes = batch.place(base, 7);
        let header = BatchHeader::parse(&bytes).unwrap();
        prop_assert_eq!((header.base_offset, header.leader_epoch, header.size), (base, 7, size));
        prop_assert_eq!(header.max_timestamp, max);
        prop_assert_eq!(decoded(&bytes).unwrap(), expected(&records, base));

        let mut rest = Records::open(&bytes, &Limits::READ).unwrap();
        rest.skip_below(base + from).unwrap();
        let rest: Vec<Received> = rest.map(Result::unwrap).collect();
        let skipped = usize::try_from(from).unwrap().min(records.len());
        prop_assert_eq!(rest, expected(&records, base).split_off(skipped));
    }

    #[test]
    fn the_room_that_is_made_is_enough_and_little_more(records in vec(owned(), 1..40)) {
        let size = encoded(&records, Compression::None, &LIMITS).unwrap().size();
        let room = borrowed(&records, estimate);
        prop_assert!((size..=size + 16 * records.len()).contains(&room), "{size} bytes, {room} made");
    }

    #[test]
    fn kafka_protocol_reads_what_we_write(records in vec(owned(), 1..40), codec in codec(), base in 0i64..1 << 40) {
        let mut bytes = encoded(&records, codec, &LIMITS).unwrap().place(base, 0);
        let read = kafka::RecordBatchDecoder::decode(&mut bytes).unwrap();
        let read: Vec<Received> = read.records.iter().map(theirs).collect();
        prop_assert_eq!(read, last_of_each(expected(&records, base)));
    }

    #[test]
    fn we_read_what_kafka_protocol_writes(records in vec(owned(), 1..40), codec in codec(), base in 0i64..1 << 40) {
        let wanted = last_of_each(expected(&records, base));
        let given: Vec<kafka::Record> = wanted.iter().cloned().map(|r| to_theirs(r, base)).collect();
        let compression = match codec {
            Compression::None => kafka::Compression::None,
            Compression::Lz4 => kafka::Compression::Lz4,
            Compression::Zstd => kafka::Compression::Zstd,
        };
        let mut out = BytesMut::new();
        let options = kafka::RecordEncodeOptions { version: 2, compression };
        kafka::RecordBatchEncoder::encode(&mut out, &given, &options).unwrap();
        prop_assert_eq!(decoded(&out.freeze()).unwrap(), wanted);
    }

    #[test]
    fn any_changed_byte_after_the_crc_is_noticed(
        records in vec(owned(), 1..10), codec in codec(), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let bytes = encoded(&records, codec, &LIMITS).unwrap().place(5, 0);
        let mut changed = bytes.to_vec();
        let at = 17 + at.index(changed.len() - 17);
        changed[at] ^= 1 << bit;
        prop_assert!(check_crc(&changed).is_err());
    }

    #[test]
    fn garbage_is_refused_without_harm(mut noise in vec(any::<u8>(), 0..400), codec in codec()) {
        let _ = decoded(&Bytes::from(noise.clone()));
        // The same noise as the records of a batch whose header is in order.
        let one = Owned { key: None, value: Some(vec![1; 400]), headers: vec![], millis: 1 };
        let mut batch = encoded(&[one], Compression::None, &LIMITS).unwrap().place(0, 0).to_vec();
        batch.truncate(HEADER_BYTES);
        batch.append(&mut noise);
        let length = i32::try_from(batch.len() - 12).unwrap();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[22] = match codec { Compression::None => 0, Compression::Lz4 => 3, Compression::Zstd => 4 };
        if let Ok(records) = Records::open(&Bytes::from(batch), &Limits::READ) {
            let _: Vec<_> = records.collect();
        }
    }
}

fn one(value: Vec<u8>) -> Owned {
    Owned { key: None, value: Some(value), headers: vec![], millis: 1 }
}

#[test]
fn each_limit_is_kept_and_named() {
    let limits = Limits { record_bytes: 100, batch_bytes: 300, records: 3, headers: 1 };
    let refused = |records: &[Owned]| encoded(records, Compression::Lz4, &limits).unwrap_err();
    assert!(matches!(
        refused(&[one(vec![]), one(vec![0; 200])]),
        EncodeError::RecordBytes { index: 1, limit: 100, .. }
    ));
    assert!(matches!(
        refused(&[one(vec![0; 90]), one(vec![0; 90]), one(vec![0; 90])]),
        EncodeError::BatchBytes { .. }
    ));
    assert!(matches!(refused(&vec![one(vec![]); 4]), EncodeError::Records { count: 4, limit: 3 }));
    let mut wide = one(vec![]);
    wide.headers = vec![("a".into(), None), ("b".into(), None)];
    assert!(matches!(refused(&[wide]), EncodeError::Headers { index: 0, count: 2, limit: 1 }));
    let mut old = one(vec![]);
    old.millis = -1;
    assert_eq!(refused(&[old]), EncodeError::Time { index: 0 });
    assert_eq!(refused(&[]), EncodeError::Empty);
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    for codec in [Compression::Lz4, Compression::Zstd] {
        let bomb = encoded(&[one(vec![0; 900_000])], codec, &LIMITS).unwrap().place(0, 0);
        assert!(bomb.len() < 20_000, "{codec:?} takes {} bytes", bomb.len());
        let limits = Limits { batch_bytes: 100_000, ..Limits::READ };
        let refused = Records::open(&bomb, &limits).unwrap_err();
        assert!(matches!(refused, CodecError::TooLarge { limit: 100_000, .. }), "{refused}");
    }
}

#[test]
fn gzip_and_snappy_are_refused_by_number() {
    let mut batch = encoded(&[one(vec![1])], Compression::None, &LIMITS).unwrap().place(0, 0).to_vec();
    for number in [1, 2, 5] {
        batch[22] = number;
        let refused = Records::open(&Bytes::copy_from_slice(&batch), &Limits::READ).unwrap_err();
        assert_eq!(refused, CodecError::Compression(number));
    }
}

#[test]
fn values_are_slices_of_the_batch() {
    let bytes = encoded(&[one(vec![7; 50])], Compression::None, &LIMITS).unwrap().place(0, 0);
    let value = decoded(&bytes).unwrap().remove(0).value.unwrap();
    let (start, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len());
    assert!((start..end).contains(&(value.as_ptr() as usize)));
}
