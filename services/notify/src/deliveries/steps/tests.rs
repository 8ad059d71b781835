use super::*;
use crate::domain::state::{Answer, Delivery};
use artel_contract::notify::{Channel, Mode};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

fn at(seconds: i64) -> Time {
    Time::from_millis(1_700_000_000_000 + seconds * 1000)
}

/// An attempt of the only leg that began at once, as its effect tells of it.
fn attempt(attempt: u32, answer: Answer, retried: bool) -> Tell {
    let account = "tower".to_owned();
    let attempt =
        Attempted { attempt, account, begun_at: at(attempt.into()), answer, counts: true, verdict: None };
    Tell::Attempt { leg: 0, attempt, retried }
}

fn busy(again: i64) -> Answer {
    Answer::NotTaken { again: at(again), reason: "busy".to_owned() }
}

fn lost() -> Answer {
    Answer::Lost { reason: "the node stopped".to_owned() }
}

fn of(plan: Delivery) -> Stored {
    let content = json!({ "topic": "t", "template": "t", "lane": "transactional", "legs": [{}] });
    Stored {
        id: DeliveryId::from_uuid(Uuid::from_u128(1)),
        rev: 1,
        plan,
        recipient: "r".to_owned(),
        subscriber: None,
        accepted_at: at(0),
        changed_at: at(0),
        content: serde_json::from_value(content).unwrap(),
    }
}

/// What a delivery over one channel becomes by each of these steps, stored one after the other.
fn steps(expires: Option<Time>, tells: &[Tell]) -> Work {
    let (plan, _) = Delivery::plan(&[Channel::Sms], Mode::First, None, expires, at(0));
    let policy = RetryPolicy::default();
    let mut stored = of(plan);
    for tell in &tells[..tells.len() - 1] {
        stored = step(stored, std::slice::from_ref(tell), at(20), &policy).stored;
    }
    step(stored, &tells[tells.len() - 1..], at(20), &policy)
}

fn sends(work: &Work) -> Vec<(u32, Time)> {
    let send = |action: &Action| match action {
        Action::Send { attempt, at, .. } => Some((*attempt, *at)),
        _ => None,
    };
    work.actions.iter().filter_map(send).collect()
}

#[test]
fn whoever_tries_it_again_is_one_effect_whatever_another_node_told_before() {
    // Its own effect goes on.
    assert!(sends(&steps(None, &[attempt(1, busy(90), true)])).is_empty());
    // Another node took it over, held it for lost, and ended the effect.
    let work = steps(None, &[attempt(1, lost(), false), attempt(1, busy(90), true)]);
    assert_eq!((sends(&work), work.stored.plan.state()), (vec![(2, at(90))], State::Scheduled));
    // The same the other way round.
    let work = steps(None, &[attempt(1, busy(90), true), attempt(1, lost(), false)]);
    assert_eq!((sends(&work), work.stored.plan.state()), (vec![(2, at(90))], State::Scheduled));
    // Told twice by its own effect.
    assert!(sends(&steps(None, &[attempt(1, busy(90), true), attempt(1, busy(90), true)])).is_empty());
}

#[test]
fn what_did_not_happen_moves_nothing() {
    let over = Some(at(15));
    let late = Attempted {
        attempt: 1,
        account: "tower".to_owned(),
        begun_at: at(16),
        answer: lost(),
        counts: false,
        verdict: None,
    };
    let late = Tell::Attempt { leg: 0, attempt: late, retried: false };
    let work = steps(over, &[Tell::Happened(Happened::Expired, at(15)), late]);
    assert_eq!((work.moved(), work.trail.len(), work.refused.len()), (Vec::new(), 0, 2));
    assert_eq!(work.stored.plan.state(), State::Expired);
}

#[test]
fn what_was_ended_meanwhile_is_not_tried_again() {
    let newer = Tell::Happened(Happened::Superseded { by: "newer".to_owned() }, at(2));
    let work = steps(None, &[newer.clone(), attempt(1, busy(90), true)]);
    assert_eq!((work.moved(), work.stored.plan.state()), (Vec::new(), State::Superseded));
    assert_eq!((sends(&work).len(), work.trail.len()), (0, 2));
    // What is told of it later neither.
    let nothing = Happened::Asked { leg: 0, attempt: 1, found: crate::domain::state::Found::Nothing };
    let later = Tell::Happened(nothing, at(20) + Duration::from_secs(9));
    let work = steps(None, &[newer, attempt(1, lost(), false), later]);
    assert_eq!((sends(&work).len(), work.stored.plan.state()), (0, State::Superseded));
}
