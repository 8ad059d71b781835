//! Filters that write numbers and dates as people of a language do. The language and the zone are those of the text (`lang`,
//! `zone`), so that a filter has no arguments for them.

use artel_message::Time;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::Tz;
use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};

/// Adds the filters:
/// - `at | date`: `24 ноября`, `24 November`, with the year where it is not the present one;
/// - `at | time`: `14:05`;
/// - `at | day`: today, tomorrow, yesterday, or the date.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("date", date);
    environment.add_filter("time", time);
    environment.add_filter("day", day);
}

const MONTHS_RU: [&str; 12] = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// The language without region and script.
fn language(state: &State<'_, '_>) -> String {
    let tag = state.lookup("lang").map(|lang| lang.to_string()).unwrap_or_default();
    tag.split('-').next().unwrap_or_default().to_lowercase()
}

/// Which form a number takes, by the rules of CLDR: three in East Slavic languages, two elsewhere.
fn form(language: &str, number: i128) -> usize {
    let number = number.unsigned_abs();
    match language {
        "ru" | "uk" | "be" => match (number % 10, number % 100) {
            (1, tens) if tens != 11 => 0,
            (2..=4, tens) if !(12..=14).contains(&tens) => 1,
            _ => 2,
        },
        _ => usize::from(number != 1),
    }
}

/// `n | plural("место", "места", "мест")`, in English `n | plural("parcel", "parcels")`: the form that fits the number.
pub(super) fn plural(state: &State<'_, '_>, number: &Value, forms: Rest<String>) -> Result<String, Error> {
    let number =
        i128::try_from(number.clone()).map_err(|_| wrong("plural needs a whole number before it"))?;
    let language = language(state);
    let needed = if matches!(language.as_str(), "ru" | "uk" | "be") { 3 } else { 2 };
    if forms.len() != needed {
        return Err(wrong(format!("plural in '{language}' needs {needed} forms, not {}", forms.len())));
    }
    Ok(forms[form(&language, number)].clone())
}

fn zone(state: &State<'_, '_>) -> Tz {
    let name = state.lookup("zone").map(|zone| zone.to_string()).unwrap_or_default();
    name.parse().unwrap_or(Tz::UTC)
}

fn local(zone: Tz, at: Time) -> NaiveDateTime {
    let utc = DateTime::from_timestamp_micros(at.micros()).unwrap_or_default().naive_utc();
    zone.from_utc_datetime(&utc).naive_local()
}

fn moment(state: &State<'_, '_>, value: &Value) -> Result<NaiveDateTime, Error> {
    let at = value.as_str().and_then(|text| text.parse::<Time>().ok());
    let at = at.ok_or_else(|| wrong("this is no moment; it has to be as 2026-01-31T09:30:00Z"))?;
    Ok(local(zone(state), at))
}

fn today(state: &State<'_, '_>) -> Option<NaiveDate> {
    let now = state.lookup("now")?;
    let now: Time = now.as_str()?.parse().ok()?;
    Some(local(zone(state), now).date())
}

fn written(language: &str, date: NaiveDate, today: Option<NaiveDate>) -> String {
    let month = usize::try_from(date.month0()).unwrap_or_default().min(11);
    let same_year = today.is_some_and(|today| today.year() == date.year());
    match (language, same_year) {
        ("ru", true) => format!("{} {}", date.day(), MONTHS_RU[month]),
        ("ru", false) => format!("{} {} {} г.", date.day(), MONTHS_RU[month], date.year()),
        ("en", true) => format!("{} {}", date.day(), MONTHS_EN[month]),
        ("en", false) => format!("{} {} {}", date.day(), MONTHS_EN[month], date.year()),
        // ISO 8601 is understood everywhere.
        _ => date.format("%Y-%m-%d").to_string(),
    }
}

fn date(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    Ok(written(&language(state), moment(state, value)?.date(), today(state)))
}

fn time(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let at = moment(state, value)?;
    Ok(format!("{:02}:{:02}", at.hour(), at.minute()))
}

fn day(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let (language, date, today) = (language(state), moment(state, value)?.date(), today(state));
    let words = match language.as_str() {
        "ru" => ["вчера", "сегодня", "завтра"],
        "en" => ["yesterday", "today", "tomorrow"],
        _ => return Ok(written(&language, date, today)),
    };
    let away = today.map(|today| date.signed_duration_since(today).num_days());
    let word = away.and_then(|away| usize::try_from(away + 1).ok()).and_then(|at| words.get(at));
    Ok(word.map_or_else(|| written(&language, date, today), |word| (*word).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_form_that_people_give_them() {
        for (number, expected) in [
            (0, 2),
            (1, 0),
            (2, 1),
            (4, 1),
            (5, 2),
            (11, 2),
            (12, 2),
            (14, 2),
            (21, 0),
            (22, 1),
            (25, 2),
            (101, 0),
            (111, 2),
            (112, 2),
            (1_001, 0),
        ] {
            assert_eq!(form("ru", number), expected, "{number}");
        }
        assert_eq!([form("en", 0), form("en", 1), form("en", 2), form("en", 21)], [1, 0, 1, 1]);
        assert_eq!(form("ru", -1), 0);
    }
}
