//! The story of one message: where it is, what became of it, what caused it and what it caused.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, Place};
use crate::shop::{Note, Sell, catalogue, desk, shop};
use artel_bus::{From, Record};
use artel_flow::why::{Account, Fate, Inquiry, Reading, Story};
use artel_flow::{By, Letters, Skip};
use artel_message::{Cause, Code};
use std::time::Duration;
use uuid::Uuid;

async fn start(place: &Place) -> Node {
    place.start(vec![shop(), desk()], catalogue()).await.expect("start")
}

async fn sell(node: &Node, item: &str, count: u32) {
    node.ctx("shop").ask(Sell { item: item.into(), count }).await.expect("sold");
}

async fn why(node: &Node, id: Uuid) -> Story {
    node.runtime.why(&Inquiry::about(id)).await.expect("an answer")
}

/// The ids in a topic, partition by partition.
async fn ids(node: &Node, topic: &str) -> Vec<Uuid> {
    let id = |text: &[u8]| Uuid::parse_str(std::str::from_utf8(text).expect("text")).expect("an id");
    let records = node.records(topic).await;
    records.iter().map(|(_, r)| id(r.headers.get("ce_id").flatten().expect("ce_id"))).collect()
}

fn message(story: Story) -> Account {
    story.message.unwrap_or_else(|| panic!("it is not found: {:?}", story.looked))
}

fn of<'a>(account: &'a Account, group: &str) -> &'a Reading {
    account.groups.iter().find(|r| r.group == group).unwrap_or_else(|| panic!("{group}: {account:?}"))
}

fn op() -> By {
    By::who("op").because("a test")
}

#[tokio::test]
async fn it_is_told_from_what_caused_a_message_to_what_it_caused() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for n in 0..20 {
        sell(&node, &format!("other {n}"), 1).await;
    }
    sell(&node, "note:hello", 1).await;
    node.settle().await;
    let note = ids(&node, "desk.commands").await.remove(0);
    let story = why(&node, note).await;
    assert_eq!(story.because_of.len(), 0);
    assert!(story.origin.as_deref().unwrap_or_default().contains("service 'shop' made it"), "{story:?}");
    assert_eq!(
        (story.looked.open.clone(), story.looked.services.clone()),
        (vec![], vec!["desk".to_owned(), "shop".to_owned()])
    );
    let account = message(story);
    assert_eq!((account.name.as_deref(), account.source.as_deref()), (Some("desk.note"), Some("artel/shop")));
    assert_eq!((account.key.as_deref(), account.wants_answer), (Some("note:hello"), true));
    assert_eq!((account.places.len(), account.places[0].topic.as_str()), (1, "desk.commands"));
    assert_eq!(of(&account, "desk").fate, Fate::TakenIn);
    assert!(account.value.is_none(), "values are told where they are asked for");
    assert_eq!(account.caused.len(), 1, "{account:?}");
    let reply = &account.caused[0];
    assert_eq!((reply.name.as_deref(), reply.cause), (Some("desk.note.reply"), Some(note)));
    assert_eq!(of(reply, "shop").fate, Fate::TakenIn);

    let up = why(&node, reply.id).await;
    assert_eq!(up.because_of.iter().map(|a| a.id).collect::<Vec<_>>(), [note]);
    assert_eq!(of(&up.because_of[0], "desk").fate, Fate::TakenIn);
    assert!(up.origin.is_some());

    let asked = Inquiry { payload: true, topic: Some("desk.commands".into()), ..Inquiry::about(note) };
    let account = message(node.runtime.why(&asked).await.expect("an answer"));
    assert!(account.value.as_ref().expect("a value").get().contains("hello"));
    assert_eq!(account.caused.len(), 1, "what it caused lies in other topics");
    node.stop().await;
}

#[tokio::test]
async fn a_message_without_a_handler_and_a_group_that_began_later_are_told() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    node.ctx("shop").topics().ensure("far").await.expect("topic");
    sell(&node, "raw:far", 7).await;
    node.settle().await;
    let far = ids(&node, "far").await.remove(0);
    assert_eq!(message(why(&node, far).await).groups.len(), 0, "nobody reads it");
    let follow = |text: &str| Note { key: "reader".into(), text: text.into() };
    node.ctx("desk").ask(follow("follow far")).await.expect("noted");
    node.settle().await;
    let account = message(why(&node, far).await);
    assert_eq!(of(&account, "desk.reader").fate, Fate::Before, "{account:?}");
    node.ctx("desk").ask(follow("stop reading")).await.expect("noted");
    // Until then it takes in what comes.
    node.settle().await;
    sell(&node, "raw:far", 8).await;
    node.settle().await;
    let later = ids(&node, "far").await.into_iter().find(|id| *id != far).expect("another");
    let account = message(why(&node, later).await);
    let reading = of(&account, "desk.reader");
    assert_eq!(reading.fate, Fate::NotYet, "{reading:?}");
    assert!(reading.says.contains("stopped"), "{reading:?}");
    node.stop().await;
}

#[tokio::test]
async fn parked_given_up_dropped_and_skipped_is_told_from_the_tables() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, "shy", 1).await;
    sell(&node, "shy", 2).await;
    node.settle().await;
    let shy = ids(&node, "shop.sale").await;
    let first = message(why(&node, shy[0]).await);
    let reading = of(&first, "desk");
    assert_eq!((reading.fate, reading.attempts), (Fate::Parked, Some(place.limits.tries)));
    assert!(reading.due.is_some() && reading.errors.len() == 1, "{reading:?}");
    let second = message(why(&node, shy[1]).await);
    assert!(of(&second, "desk").says.starts_with("waits behind offset"), "{second:?}");
    let key = of(&second, "desk").parked_key.expect("a key");
    let about = why(&node, key).await;
    assert!(about.is.as_deref().unwrap_or_default().contains("parked key"), "{about:?}");
    assert_eq!(message(about).id, shy[0]);
    let head = node.records("shop.sale").await[0].1.offset;
    node.ctx("desk").parked_keys().drop_first(key, head, &op()).await.expect("dropped");
    let gone = message(why(&node, shy[0]).await);
    assert_eq!(of(&gone, "desk").fate, Fate::Dropped, "{gone:?}");
    assert_eq!(of(&gone, "desk").steps[0].who, "op");

    sell(&node, "poison", 1).await;
    node.settle().await;
    let poison = ids(&node, "shop.sale").await.into_iter().find(|id| !shy.contains(id)).expect("poison");
    let account = message(why(&node, poison).await);
    let reading = of(&account, "desk");
    assert_eq!((reading.fate, account.copies.len()), (Fate::Dead, 1), "{account:?}");
    let letter = reading.letter.expect("a letter");
    assert!(reading.fingerprint.is_some() && reading.says.contains("never works"), "{reading:?}");
    let about = why(&node, letter).await;
    assert!(about.is.as_deref().unwrap_or_default().contains("dead letter"), "{about:?}");
    assert_eq!(message(about).id, poison);
    node.ctx("desk")
        .dead_letters()
        .drop_all(&Letters::default(), None, 10, Some(&op()))
        .await
        .expect("dropped");
    assert_eq!(of(&message(why(&node, poison).await), "desk").fate, Fate::Dropped);
    node.stop().await;
}

#[tokio::test]
async fn what_an_operator_passed_over_is_told_with_who_and_why() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, "tea", 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    // A gap stops the group before the second.
    let mut headers: artel_message::Headers = record
        .headers
        .iter()
        .filter(|(name, _)| !["artel_seq", "artel_prev", "ce_id"].contains(name))
        .collect();
    let lost = Cause::keyed("t", "t", "t", node.ctx("desk").now()).id();
    headers.push("ce_id", Some(lost.to_string().as_bytes()));
    let seq = record.headers.get("artel_seq").flatten().expect("a seq");
    let seq: i64 = std::str::from_utf8(seq).expect("text").parse().expect("a number");
    headers.push("artel_seq", Some((seq + 10).to_string().as_bytes()));
    headers.push("artel_prev", Some((seq + 9).to_string().as_bytes()));
    let borrowed: Vec<_> = headers.iter().collect();
    let time = node.ctx("desk").now();
    let value = record.value.as_deref();
    node.log
        .append("shop.sale", partition, &[Record { key: Some(b"tea"), value, headers: &borrowed, time }])
        .await
        .expect("append");
    node.settle().await;
    let account = message(why(&node, lost).await);
    assert_eq!(of(&account, "desk").fate, Fate::NotYet, "{account:?}");
    assert!(of(&account, "desk").says.contains("are missing"), "{account:?}");
    let (group, topic) = ("desk".to_owned(), "shop.sale".to_owned());
    let skip = Skip { group, topic, partition, to: From::Latest, repeats: false };
    node.ctx("desk").places().skip(&skip, Some(&op())).await.expect("moved");
    let account = message(why(&node, lost).await);
    let reading = of(&account, "desk");
    assert_eq!(reading.fate, Fate::Skipped);
    assert!(reading.says.contains("op moved") && reading.says.contains("a test"), "{reading:?}");
    node.stop().await;
}

#[tokio::test]
async fn what_waits_in_an_outbox_is_told_with_what_it_waits_for() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for partition in 0..2 {
        place.gates.hold("shop.replies", partition, Asked::Append, Answer::Refusal);
    }
    sell(&node, "note:hi", 1).await;
    let refused = place.gates.refused("shop.replies", 2);
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the reply waits");
    let note = ids(&node, "desk.commands").await.remove(0);
    let account = message(why(&node, note).await);
    assert_eq!(account.caused.len(), 1, "{account:?}");
    let reply = &account.caused[0];
    let outbox = reply.outbox.as_ref().expect("in the outbox");
    assert_eq!((outbox.service.as_str(), outbox.topic.as_str()), ("desk", "shop.replies"));
    assert!(reply.places.is_empty(), "{reply:?}");
    let alone = why(&node, reply.id).await;
    assert_eq!(alone.because_of.iter().map(|a| a.id).collect::<Vec<_>>(), [note]);
    assert!(message(alone).outbox.is_some());
    place.gates.let_go();
    node.settle().await;
    let account = message(why(&node, note).await);
    assert!(account.caused[0].outbox.is_none() && account.caused[0].places.len() == 1, "{account:?}");
    node.stop().await;
}

#[tokio::test]
async fn what_nobody_knows_and_where_looking_ended_is_said() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for n in 0..30 {
        sell(&node, &format!("item {n}"), 1).await;
    }
    node.settle().await;
    let unknown = Cause::keyed("nobody", "nothing", "k", node.ctx("shop").now()).id();
    let story = why(&node, unknown).await;
    assert!(story.message.is_none());
    assert_eq!(story.looked.records, 30);
    assert!(story.looked.open[0].contains("nothing is known of"), "{:?}", story.looked);
    let few = Inquiry { records: 10, ..Inquiry::about(unknown) };
    let story = node.runtime.why(&few).await.expect("an answer");
    assert_eq!(story.looked.records, 10);
    assert!(story.looked.open.iter().any(|o| o.contains("--records")), "{:?}", story.looked);
    let random = Uuid::from_u128(0x1111_1111_1111_4111_8111_1111_1111_1111);
    let story = why(&node, random).await;
    assert!(story.looked.open.iter().any(|o| o.contains("--since")), "{:?}", story.looked);
    let nowhere = Inquiry { topic: Some("nowhere".into()), ..Inquiry::about(unknown) };
    assert_eq!(node.runtime.why(&nowhere).await.expect_err("no topic").code, Code::NotFound);
    // A partition that does not answer is left out, and named.
    place.gates.hold("shop.sale", 0, Asked::Read, Answer::Refusal);
    let story = why(&node, unknown).await;
    assert!(story.looked.open.iter().any(|o| o.contains("shop.sale/0 was left out")), "{:?}", story.looked);
    place.gates.let_go();
    node.stop().await;
}

#[tokio::test]
async fn a_message_of_another_program_is_known_by_its_place_and_its_effects_by_their_cause() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let time = node.ctx("desk").now();
    let known = node.log.describe("shop.commands").await.expect("the topic");
    let headers: [(&str, Option<&[u8]>); 5] = [
        ("ce_id", Some(b"0198f2a0-1111-7000-8000-000000000001")),
        ("ce_type", Some(b"shop.sell")),
        ("ce_source", Some(b"elsewhere")),
        ("ce_time", Some(b"2026-01-01T00:00:00Z")),
        ("ce_specversion", Some(b"1.0")),
    ];
    let value: &[u8] = br#"{"item":"tea","count":3}"#;
    let record = Record { key: Some(b"tea"), value: Some(value), headers: &headers, time };
    node.log.append("shop.commands", 1, &[record]).await.expect("append");
    node.settle().await;
    let sold = ids(&node, "shop.sale").await.remove(0);
    let story = why(&node, sold).await;
    assert_eq!(story.because_of.len(), 1, "{story:?}");
    assert_eq!(story.origin.as_deref(), Some("elsewhere wrote it into the log"));
    let by_place = Cause::foreign(known.id, "shop.commands", 1, 0, time).id();
    let account = message(why(&node, by_place).await);
    assert_eq!(account.source.as_deref(), Some("elsewhere"));
    assert_eq!(account.caused.iter().map(|a| a.id).collect::<Vec<_>>(), [sold]);
    node.stop().await;
}

#[tokio::test]
async fn what_the_log_has_deleted_is_told_from_where_it_waits() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, "shy", 1).await;
    sell(&node, "poison", 1).await;
    node.settle().await;
    let sold = ids(&node, "shop.sale").await;
    let before: Vec<Fate> = {
        let mut fates = Vec::new();
        for id in &sold {
            fates.push(of(&message(why(&node, *id).await), "desk").fate);
        }
        fates
    };
    node.log.delete("shop.sale").await.expect("deleted");
    for (id, fate) in sold.iter().zip(before) {
        let account = message(why(&node, *id).await);
        assert_eq!((account.id, of(&account, "desk").fate), (*id, fate), "{account:?}");
        assert_eq!(
            (account.name.as_deref(), account.source.as_deref()),
            (Some("shop.sold"), Some("artel/shop"))
        );
    }
    node.stop().await;
}
