//! The rules around changes of the clock, against the calendar looked at minute by minute.

use super::*;
use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// Zones whose clocks change in different ways: by an hour at 1, 2 and 3 o'clock, by half an hour, at midnight, not at all.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Beirut",
    "Europe/London",
    "Asia/Kolkata",
    "UTC",
];

fn recurrence(pattern: &'static str, zone: &'static str) -> Recurrence {
    Schedule::cron(pattern).zone(zone).parse().expect("a schedule")
}

fn time(text: &str) -> Time {
    text.parse().expect("a time")
}

fn runs(pattern: &'static str, zone: &'static str, from: &str, n: usize) -> Vec<String> {
    let recurrence = recurrence(pattern, zone);
    let mut at = time(from);
    (0..n)
        .map(|_| {
            at = recurrence.after(at).expect("a run");
            at.to_string()
        })
        .collect()
}

/// When a local time is: the first of two, or the first that exists behind it.
fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Tz> {
    let mut local = local;
    loop {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at,
            LocalResult::None => local += TimeDelta::minutes(1),
        }
    }
}

#[test]
fn a_time_that_does_not_exist_is_the_first_that_does() {
    // 2026-03-29: 02:00 is followed by 03:00 in Berlin.
    assert_eq!(
        runs("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00.000000Z", "2026-03-29T01:00:00.000000Z", "2026-03-30T00:30:00.000000Z"]
    );
}

#[test]
fn a_time_that_exists_twice_is_the_first_of_the_two() {
    // 2026-10-25: 03:00 is followed by 02:00 in Berlin.
    assert_eq!(
        runs("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3),
        ["2026-10-24T00:30:00.000000Z", "2026-10-25T00:30:00.000000Z", "2026-10-26T01:30:00.000000Z"]
    );
}

#[test]
fn several_times_in_one_gap_are_one_run() {
    assert_eq!(
        runs("0,20,40 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T01:00:00.000000Z", "2026-03-30T00:00:00.000000Z"]
    );
}

#[test]
fn what_means_every_hour_is_known() {
    let hourly = |pattern: &str| is_hourly(&Cron::from_str(pattern).expect("a pattern"));
    for pattern in ["* * * * *", "30 * * * *", "5 0 0-23 * * *", "0 */1 * * 1", "@hourly"] {
        assert!(hourly(pattern), "{pattern}");
    }
    for pattern in ["0 */2 * * *", "* 2 * * *", "0 0-22 * * *", "@daily"] {
        assert!(!hourly(pattern), "{pattern}");
    }
}

#[test]
fn patterns_and_zones_that_are_none_are_refused_with_a_sentence() {
    assert!(Schedule::cron("61 * * * *").parse().is_err_and(|e| e.starts_with("'61 * * * *': ")));
    let refused = Schedule::cron("* * * * *").zone("Europe/Berln").parse();
    assert!(refused.is_err_and(|e| e.contains("Europe/Berln") && e.contains("IANA")));
    assert!(Schedule::every(Duration::ZERO).parse().is_err());
    assert!(Schedule::every(Duration::from_secs(1)).zone("UTC").parse().is_err());
}

#[test]
fn a_distance_lies_on_its_multiples() {
    let recurrence = Schedule::every(Duration::from_secs(300)).parse().expect("a schedule");
    assert_eq!(recurrence.after(time("2026-01-01T00:00:00Z")), Some(time("2026-01-01T00:05:00Z")));
    assert_eq!(recurrence.after(time("2026-01-01T00:07:01Z")), Some(time("2026-01-01T00:10:00Z")));
}

proptest! {
    /// Times of a day: each local day has one run for each of them, where the calendar says; those that fall together are one.
    #[test]
    fn every_day_has_its_runs(
        zone in proptest::sample::select(&ZONES[..]),
        hours in proptest::collection::btree_set(prop_oneof![0u32..4, 0u32..24], 1..4),
        minutes in proptest::collection::btree_set(0u32..60, 1..4),
        start in 0i64..5000,
    ) {
        let list = |set: &std::collections::BTreeSet<u32>| {
            set.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        };
        let pattern: &'static str = format!("{} {} * * *", list(&minutes), list(&hours)).leak();
        let tz: Tz = zone.parse().expect("a zone");
        let recurrence = recurrence(pattern, zone);
        let first = NaiveDate::from_ymd_opt(2020, 1, 1).expect("a day") + TimeDelta::days(start);
        let mut wanted = Vec::new();
        for n in 0..400 {
            for hour in &hours {
                for minute in &minutes {
                    let local = (first + TimeDelta::days(n)).and_hms_opt(*hour, *minute, 0).expect("a time");
                    wanted.push(instant(tz, local).to_utc());
                }
            }
        }
        wanted.dedup();
        let mut at = Time::from_micros((wanted[0] - TimeDelta::seconds(1)).timestamp_micros());
        for wanted in wanted {
            at = recurrence.after(at).expect("a run");
            prop_assert_eq!(DateTime::<Utc>::from_timestamp_micros(at.micros()).expect("a time"), wanted);
        }
    }

    /// A pattern that means every hour runs evenly, whatever the clock on the wall does.
    #[test]
    fn every_quarter_of_an_hour_stays_that(zone in proptest::sample::select(&ZONES[..]), start in 0i64..130_000) {
        let recurrence = recurrence("*/15 * * * *", zone);
        let begin = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap() + TimeDelta::hours(start);
        let mut at = Time::from_micros(begin.timestamp_micros());
        for n in 1..=(4 * 24 * 8) {
            at = recurrence.after(at).expect("a run");
            prop_assert_eq!(at.micros(), (begin + TimeDelta::minutes(15 * n)).timestamp_micros());
        }
    }

    /// A later question never has an earlier answer, and the answer lies behind the question and fits the pattern's days.
    #[test]
    fn answers_are_in_order(
        zone in proptest::sample::select(&ZONES[..]), start in 0i64..450_000_000, step in 1i64..200_000,
        which in 0usize..6,
    ) {
        let pattern = ["30 2 * * *", "0 0 1 * *", "*/20 1-3 * * *", "15 30 2 * * 0", "0 12 * * MON-FRI", "*/7 * * * *"][which];
        let recurrence = recurrence(pattern, zone);
        let begin = Time::from_micros((1_577_836_800 + start) * 1_000_000);
        let mut last = begin;
        for n in 0..50 {
            let question = begin + Duration::from_secs((n * step).unsigned_abs());
            let answer = recurrence.after(question).expect("a run");
            prop_assert!(answer > question && answer >= last, "{} {} {}", question, answer, last);
            last = answer;
        }
        if which == 4 {
            let day = DateTime::<Utc>::from_timestamp_micros(last.micros()).expect("a time");
            let local = day.with_timezone(&zone.parse::<Tz>().expect("a zone"));
            prop_assert!(local.weekday().number_from_monday() <= 5);
        }
    }
}
