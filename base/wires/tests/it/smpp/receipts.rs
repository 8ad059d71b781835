//! Receipts and messages from telephones.

use super::{Both, both, quiet, sms};
use artel_wires::Said;
use artel_wires::simulators::smpp::Receipts;
use artel_wires::simulators::{Behaviour, Judge, Receipt as Told};
use artel_wires::smpp::pdu::Message;
use artel_wires::smpp::{Ids, Incoming, Mode, Part, Receipt, Reference, sender};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn telling(receipts: Vec<Told>) -> Judge {
    let moment = Duration::from_millis(1);
    let receipts: Vec<_> = receipts.into_iter().map(|receipt| (moment, receipt)).collect();
    Arc::new(move |_| Behaviour { receipts: receipts.clone(), ..Behaviour::default() })
}

async fn receipt(both: &mut Both) -> Receipt {
    let delivery = both.next().await;
    let incoming = delivery.incoming.clone();
    delivery.stored().await;
    let Incoming::Receipt(receipt) = incoming else { panic!("no receipt: {incoming:?}") };
    receipt
}

#[tokio::test]
async fn each_receipt_comes_in_its_order_and_can_be_asked_for() {
    let told = vec![
        Told::OnItsWay,
        Told::Undelivered(41),
        Told::Delivered,
        Told::Delivered,
        Told::Expired,
        Told::Unknown,
    ];
    let mut both = both(telling(told), |_| {}, |_| {}).await;
    let sent = both.client.send(&sms("a").user_reference(77)).await;
    for state in [1, 5, 2, 2, 3, 7] {
        let receipt = receipt(&mut both).await;
        assert_eq!((receipt.state, Some(&receipt.reference)), (state, sent.handed.reference.as_ref()));
        assert_eq!((receipt.user_reference, receipt.to.digits.as_str()), (Some(77), "79161234567"));
        let error = if state == 5 { "041" } else { "000" };
        assert_eq!(
            (receipt.error.as_deref(), receipt.network.map(|error| error.code)),
            (Some(error), (state == 5).then_some(41))
        );
    }
    let state = both.client.query(&sent.taken[0], None).await.state.unwrap();
    assert_eq!(state.state, 7);
}

#[tokio::test]
async fn a_receipt_that_is_not_stored_comes_again() {
    let soon = Duration::from_millis(5);
    let mut both = both(telling(vec![Told::Delivered]), |centre| centre.repeat = soon, |_| {}).await;
    let sent = both.client.send(&sms("a")).await;
    for _ in 0..3 {
        drop(both.next().await);
    }
    assert_eq!(Some(receipt(&mut both).await.reference), sent.handed.reference);
    assert_eq!(both.smsc.counts().receipts, 4);
}

#[tokio::test]
async fn more_receipts_than_there_is_room_for_are_refused_and_none_is_lost() {
    let soon = Duration::from_millis(5);
    let mut both = both(
        telling(vec![Told::Delivered]),
        |centre| centre.repeat = soon,
        |settings| settings.most_unread = 2,
    )
    .await;
    let mut sent = BTreeSet::new();
    for n in 0..50 {
        sent.extend(both.client.send(&sms(&n.to_string())).await.handed.reference);
    }
    let mut told = BTreeSet::new();
    while told.len() < sent.len() {
        told.insert(receipt(&mut both).await.reference);
    }
    assert_eq!((told == sent, sent.len()), (true, 50));
}

#[tokio::test]
async fn a_receipt_waits_for_a_link_that_receives() {
    let both =
        both(telling(vec![Told::Delivered]), |_| {}, |settings| settings.binds = vec![Mode::Transmitter])
            .await;
    let sent = both.client.send(&sms("a")).await;
    let settings = super::settings(&both.smsc);
    let (client, incoming) = artel_wires::smpp::Client::start(artel_wires::smpp::Settings {
        binds: vec![Mode::Receiver],
        ..settings
    });
    let mut receiving = Both { client, incoming, ..both };
    assert_eq!(Some(receipt(&mut receiving).await.reference), sent.handed.reference);
    // One that only receives sends nothing, and says so.
    let said = receiving.client.send(&sms("b")).await.handed.said;
    assert!(matches!(&said, Said::Broken { text, .. } if text == "there is no link that sends"), "{said:?}");
}

#[tokio::test]
async fn receipts_of_text_alone_name_the_message_in_all_ways_of_writing_it() {
    for ids in [
        Ids::Alike,
        Ids::HexAnswers { digits: 16, upper: true },
        Ids::HexAnswers { digits: 0, upper: false },
        Ids::DecimalAnswers { digits: 20 },
    ] {
        let text = |centre: &mut artel_wires::simulators::smpp::SmppSimulatorSettings| {
            (centre.receipts, centre.ids) = (Receipts::Text, ids);
        };
        let mut both = both(telling(vec![Told::Undelivered(7)]), text, |settings| settings.ids = ids).await;
        let sent = both.client.send(&sms("a")).await;
        let receipt = receipt(&mut both).await;
        assert_eq!((Some(receipt.reference), receipt.state), (sent.handed.reference.clone(), 5), "{ids:?}");
        assert_eq!((receipt.error.as_deref(), receipt.network), (Some("007"), None));
        let state = both.client.query(&sent.taken[0], None).await.state;
        assert_eq!(state.map(|state| (state.state, state.error_code)), Some((5, 7)), "{ids:?}");
    }
}

#[tokio::test]
async fn receipts_without_text_are_understood() {
    let mut both =
        both(telling(vec![Told::Delivered]), |centre| centre.receipts = Receipts::Tlvs, |_| {}).await;
    let sent = both.client.send(&sms("a")).await;
    let receipt = receipt(&mut both).await;
    assert_eq!((Some(receipt.reference), receipt.state, receipt.error), (sent.handed.reference, 2, None));
}

#[tokio::test]
async fn a_message_from_a_telephone_is_handed_over() {
    let mut both = both(quiet(), |_| {}, |_| {}).await;
    let mut message = Message {
        source: sender("+79160000000").unwrap(),
        destination: sender("2775").unwrap(),
        data_coding: 8,
        ..Message::default()
    };
    let part = Part { reference: Reference::Sixteen(9), total: 2, number: 1 };
    part.write(&mut message, &[0x04, 0x2F]);
    let smsc = &both.smsc;
    let delivery = async { super::timeout(super::PATIENCE, both.incoming.recv()).await.unwrap().unwrap() };
    let (status, incoming) = tokio::join!(smsc.deliver("shop", message), async {
        let delivery = delivery.await;
        let incoming = delivery.incoming.clone();
        delivery.stored().await;
        incoming
    });
    let Incoming::Message(received) = incoming else { panic!("a receipt: {incoming:?}") };
    assert_eq!(
        (status, received.from.digits.as_str(), received.to.digits.as_str()),
        (Some(0), "79160000000", "2775")
    );
    assert_eq!(
        (received.part, received.octets.as_ref(), received.data_coding),
        (Some(part), &[0x04, 0x2F][..], 8)
    );
}
