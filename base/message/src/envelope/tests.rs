use super::*;
use proptest::option;
use proptest::prelude::*;

fn envelope() -> Envelope {
    Envelope {
        id: Uuid::from_u128(1),
        name: "notify.accept".to_owned(),
        source: Envelope::source_of("notify"),
        time: Time::from_micros(1_769_851_800_123_456),
        trace: None,
        seq: None,
        prev: None,
        cause: None,
        reply: false,
        extra: Headers::new(),
    }
}

fn header<'a>(name: &'a str, value: &'a str) -> (&'a str, Option<&'a str>) {
    (name, Some(value))
}

/// The headers of a whole envelope with one of them replaced, or taken away.
fn with(name: &str, value: Option<&[u8]>) -> Result<Envelope, NotAnEnvelope> {
    let mut headers = envelope().to_headers();
    headers.retain(|known, _| known != name);
    headers.extend(value.map(|value| (name, Some(value))));
    Envelope::from_headers(&headers)
}

#[test]
fn headers_are_cloud_events_and_a_few_of_ours() {
    let whole = Envelope {
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        seq: Some(9),
        prev: Some(7),
        cause: Some(Uuid::from_u128(2)),
        reply: true,
        extra: [header("tenant", "a"), ("empty", None), header("tenant", "b")].into_iter().collect(),
        ..envelope()
    };
    let expected = [
        header("ce_id", "00000000-0000-0000-0000-000000000001"),
        header("ce_type", "notify.accept"),
        header("ce_source", "artel/notify"),
        header("ce_time", "2026-01-31T09:30:00.123456Z"),
        header("ce_specversion", "1.0"),
        header("content-type", "application/json"),
        header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        header("artel_seq", "9"),
        header("artel_prev", "7"),
        header("artel_cause", "00000000-0000-0000-0000-000000000002"),
        header("artel_reply", "1"),
        header("tenant", "a"),
        ("empty", None),
        header("tenant", "b"),
    ];
    let expected: Headers = expected.into_iter().collect();
    assert_eq!(whole.to_headers(), expected);
    assert_eq!(Envelope::from_headers(&expected), Ok(whole));
}

#[test]
fn each_header_that_is_needed_is_named_when_it_is_missing() {
    for name in ["ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion"] {
        assert_eq!(with(name, None).unwrap_err(), NotAnEnvelope { header: name, reason: "is missing" });
        assert_eq!(with(name, Some(b"")).unwrap_err(), NotAnEnvelope { header: name, reason: "is empty" });
    }
    assert!(Envelope::from_headers(&Headers::new()).is_err());
}

#[test]
fn each_malformed_header_is_named() {
    let wrong: [(&str, &[u8], &str); 11] = [
        ("ce_id", b"1", "is not a UUID"),
        ("ce_id", b"\xff", "is not UTF-8"),
        ("ce_type", b"\xff", "is not UTF-8"),
        ("ce_time", b"yesterday", "is not an RFC 3339 time"),
        ("ce_specversion", b"0.3", "is not 1.0"),
        ("artel_seq", b"-1", "is not a whole number from 0 to 2^63-1"),
        ("artel_seq", b"9223372036854775808", "is not a whole number from 0 to 2^63-1"),
        ("artel_prev", b"1.5", "is not a whole number from 0 to 2^63-1"),
        ("artel_prev", b"", "is not a whole number from 0 to 2^63-1"),
        ("artel_cause", b"x", "is not a UUID"),
        ("traceparent", b"\xff", "is not UTF-8"),
    ];
    for (name, value, reason) in wrong {
        assert_eq!(with(name, Some(value)).unwrap_err(), NotAnEnvelope { header: name, reason });
    }
    let null: Headers = envelope()
        .to_headers()
        .iter()
        .map(|(name, value)| (name, value.filter(|_| name != "ce_id")))
        .collect();
    let error = Envelope::from_headers(&null).unwrap_err();
    assert_eq!(error.to_string(), "header ce_id: is null");
}

#[test]
fn of_a_repeated_header_the_first_counts() {
    let mut headers = envelope().to_headers();
    headers.push("ce_type", Some(b"other.name"));
    headers.push("ce_id", None);
    assert_eq!(Envelope::from_headers(&headers), Ok(envelope()));
}

#[test]
fn only_the_platform_writes_reserved_headers() {
    for reserved in
        ["ce_id", "CE_anything", "artel_seq", "Artel_", "traceparent", "TraceParent", "Content-Type"]
    {
        assert!(is_reserved_header(reserved), "{reserved}");
    }
    for free in ["ce", "ceid", "ce-id", "tenant", "x-artel_seq", "ёё", "tracestate", ""] {
        assert!(!is_reserved_header(free), "{free}");
    }
}

prop_compose! {
    fn any_envelope()(
        id: u128, name in ".{1,20}", source in ".{1,20}", micros: i64, trace in option::of(".{1,55}"),
        seq in option::of(0i64..), prev in option::of(0i64..), cause: Option<u128>, reply: bool,
        extra in prop::collection::vec(("x-.{0,8}", option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..5),
    ) -> Envelope {
        Envelope {
            id: Uuid::from_u128(id), name, source, time: Time::from_micros(micros), trace, seq, prev,
            cause: cause.map(Uuid::from_u128), reply,
            extra: extra.into_iter().collect(),
        }
    }
}

proptest! {
    #[test]
    fn headers_give_their_envelope_back(envelope in any_envelope()) {
        prop_assert_eq!(Envelope::from_headers(&envelope.to_headers()), Ok(envelope));
    }

    #[test]
    fn no_headers_make_the_reader_panic(
        headers in prop::collection::vec(
            ("(ce_(id|type|source|time|specversion)|artel_(seq|prev|cause|reply)|x)",
             option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..12),
    ) {
        let headers: Headers = headers.into_iter().collect();
        let _ = Envelope::from_headers(&headers);
    }
}
