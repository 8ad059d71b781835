//! Rows whose class is found over the wire, and without the service behind it.

use super::bench::wire_of_web_push;
use super::samples::{self, Sample};
use artel_notify::domain::classes::{Answer, Provider, Row, classify, code_of, find};
use artel_wires::Said;
use artel_wires::simulators::twilio::{TwilioSimulator, TwilioSimulatorSettings};
use artel_wires::simulators::{AddressRule, Board, FaultPlan, Faults};
use artel_wires::twilio::{From, Settings, Text, Twilio};
use std::sync::Arc;

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

/// Rows of two tries can't be walked as the others are: two accounts use them up at once.
#[tokio::test]
async fn every_row_of_twilio() {
    let board = Board::new(1 << 20, Arc::new(|| 0));
    let faults = Faults::new(FaultPlan::default()).unwrap();
    let own = TwilioSimulatorSettings::default();
    let (account, token) = (own.account.clone(), own.token.clone());
    let server = TwilioSimulator::start(own, board, faults.judge()).await.unwrap();
    let from = From::Sender("+15005550006".to_owned());
    let settings = Settings::new(&server.served().url(), &account, &token, from);
    let client = Twilio::new(settings, artel_wires::http::system_clock()).unwrap();
    for row in Provider::Twilio.rows() {
        let sample = samples::of(Provider::Twilio, row);
        let sample = sample.unwrap_or_else(|| panic!("nothing leads to {:?}", row.key));
        let refusal = match sample {
            Sample::Refuses(answered) => Some(answered),
            _ => None,
        };
        let to = "+79161234567".to_owned();
        let rule = AddressRule { begins: to.clone(), refusal, ..AddressRule::default() };
        faults.set(FaultPlan { seed: 1, addresses: vec![rule], ..FaultPlan::default() }).unwrap();
        let text = Text { to, from: None, body: "a parcel".to_owned(), reference: None, validity: None };
        let Said::Http { status, retry_after, body, host } = client.send(&text).await.said else {
            panic!("an answer to {:?}", row.key)
        };
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let code = code_of(Provider::Twilio, &body);
        let answer = Answer::Http { status, code: code.as_deref(), retry_after, host: &host };
        assert_eq!(find(Provider::Twilio, answer), Some(row), "{status} {code:?}");
        assert_eq!(classify(Provider::Twilio, answer).class, row.class);
    }
}
