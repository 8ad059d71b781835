//! The row whose class is found over the wire, and without the service behind it.

use super::bench::wire_of_web_push;
use super::samples::Sample;
use artel_notify::domain::classes::{Answer, Provider, Row, find};
use artel_wires::Said;

/// What a push service of this name means by the answer.
pub async fn of_host(row: &'static Row, sample: &Sample, host: &str) {
    let Sample::Refuses(answered) = sample else { panic!("{sample:?}") };
    let Said::Http { status, retry_after, .. } = wire_of_web_push(answered).await else {
        panic!("an answer")
    };
    let host = format!("db5{host}");
    let answer = Answer::Http { status, code: None, retry_after, host: &host };
    assert_eq!(find(Provider::WebPush, answer), Some(row));
}
