use super::*;
use proptest::prelude::*;
use std::time::{SystemTime, UNIX_EPOCH};

/// (text, microseconds since 1970, the text we write). The numbers are GNU date's.
const KNOWN: [(&str, i64, &str); 17] = [
    ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z"),
    ("1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"),
    ("1985-04-12T23:20:50.52Z", 482_196_050_520_000, "1985-04-12T23:20:50.520000Z"),
    ("1996-12-19T16:39:57-08:00", 851_042_397_000_000, "1996-12-20T00:39:57.000000Z"),
    ("1990-12-31T23:59:60Z", 662_688_000_000_000, "1991-01-01T00:00:00.000000Z"),
    ("1990-12-31T15:59:60.25-08:00", 662_688_000_250_000, "1991-01-01T00:00:00.250000Z"),
    ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130_000, "1937-01-01T11:40:27.870000Z"),
    ("2000-02-29T00:00:00Z", 951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
    ("2024-02-29T23:59:59+00:00", 1_709_251_199_000_000, "2024-02-29T23:59:59.000000Z"),
    ("2100-03-01T00:00:00Z", 4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
    ("2026-01-31t09:30:00.1234567z", 1_769_851_800_123_456, "2026-01-31T09:30:00.123456Z"),
    ("2026-01-31 09:30:00+03:00", 1_769_841_000_000_000, "2026-01-31T06:30:00.000000Z"),
    ("2026-03-01T00:30:00+05:45", 1_772_304_300_000_000, "2026-02-28T18:45:00.000000Z"),
    ("1900-03-01T00:00:00-00:00", -2_203_891_200_000_000, "1900-03-01T00:00:00.000000Z"),
    ("1600-02-29T12:00:00Z", -11_670_955_200_000_000, "1600-02-29T12:00:00.000000Z"),
    ("0000-01-01T00:00:00Z", -62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
    ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
];

#[test]
fn known_moments_are_read_and_written() {
    for (text, micros, written) in KNOWN {
        let time: Time = text.parse().unwrap();
        assert_eq!(time.micros(), micros, "{text}");
        assert_eq!(time.to_string(), written, "{text}");
    }
}

#[test]
fn what_is_no_rfc_3339_time_is_refused() {
    let wrong = [
        "",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-01-31T09:30Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:59:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+0300",
        "2026-01-01T00:00:00+03:00Z",
        "2026-01-01T00:00:00ZZ",
        "+026-01-01T00:00:00Z",
        "2026-1-001T00:00:00Z",
        "２026-01-01T00:00:00Z",
        "2026-01-01Tё0:00:00Z",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "12026-01-01T00:00:00Z",
    ];
    for text in wrong {
        assert!(text.parse::<Time>().is_err(), "{text}");
        assert!(serde_json::from_value::<Time>(text.into()).is_err(), "{text}");
    }
    let long = "x".repeat(100);
    assert_eq!(
        long.parse::<Time>().unwrap_err().to_string(),
        format!("'{}' is not a time; write it as 2026-01-31T09:30:00Z", "x".repeat(40))
    );
}

#[test]
fn every_number_is_a_time_with_a_text() {
    for (micros, nearest) in [(i64::MIN, Time::MIN), (i64::MAX, Time::MAX)] {
        assert_eq!(Time::from_micros(micros), nearest);
        assert_eq!(Time::from_millis(micros), nearest);
    }
    assert_eq!(Time::MAX + Duration::MAX, Time::MAX);
    assert_eq!(Time::MIN - Duration::from_secs(1), Time::MIN);
    assert_eq!(Time::MIN.to_string().parse(), Ok(Time::MIN));
}

#[test]
fn the_wall_clock_is_cut_to_microseconds() {
    let after = UNIX_EPOCH + Duration::new(1, 2_999);
    assert_eq!(Time::from_system(after), Time::from_micros(1_000_002));
    let before: SystemTime = UNIX_EPOCH - Duration::from_secs(3);
    assert_eq!(Time::from_system(before), Time::from_millis(-3000));
}

#[test]
fn time_passed_is_never_negative() {
    let (a, b) = (Time::from_micros(5), Time::from_micros(8));
    assert_eq!(b.since(a), Duration::from_micros(3));
    assert_eq!(a.since(b), Duration::ZERO);
    assert_eq!(a + Duration::from_nanos(3_999), b);
    assert_eq!(Time::from_micros(-1).millis(), -1);
}

proptest! {
    #[test]
    fn a_text_gives_its_time_back(micros: i64) {
        let time = Time::from_micros(micros);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        let json = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }

    /// Both are lists of equal width, so texts sort as the times do.
    #[test]
    fn texts_sort_as_times(a: i64, b: i64) {
        let (a, b) = (Time::from_micros(a), Time::from_micros(b));
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-0-9TZtz:. +ё]{0,40}") {
        let _ = text.parse::<Time>();
    }
}
