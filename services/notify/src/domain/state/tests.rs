mod ended;

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;

fn at(seconds: i64) -> Time {
    Time::from_millis(1_700_000_000_000 + seconds * 1000)
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn single() -> Delivery {
    Delivery::plan(&[Channel::Sms], Mode::First, None, None, at(0)).0
}

fn push_then_sms() -> Delivery {
    Delivery::plan(&[Channel::Push, Channel::Sms], Mode::First, Some(minutes(5)), None, at(0)).0
}

fn begun(leg: usize, attempt: u32) -> Happened {
    Happened::Begun { leg, attempt, provider: "main".to_owned() }
}

fn answered(leg: usize, attempt: u32, answer: Answer) -> Happened {
    Happened::Answered { leg, attempt, answer }
}

fn receipt(leg: usize, attempt: u32, receipt: Receipt) -> Happened {
    Happened::Receipt { leg, attempt, receipt, reference: None }
}

fn taken() -> Answer {
    Answer::Taken { reference: Some("ref".to_owned()), parts: Vec::new() }
}

fn lost() -> Answer {
    Answer::Lost { reason: "link lost after the final dot".to_owned() }
}

fn refused(cause: Cause) -> Answer {
    Answer::Refused { cause, reason: "550".to_owned() }
}

fn decided(leg: usize, decision: Decision) -> Happened {
    Happened::Decided { leg, decision, by: "anna".to_owned(), why: None }
}

/// Runs what has to work, and gives the last step.
fn run(delivery: &mut Delivery, events: &[Happened], now: Time) -> Step {
    let steps: Vec<Step> = events
        .iter()
        .map(|event| delivery.apply(event, now).unwrap_or_else(|refused| panic!("{event:?}: {refused}")))
        .collect();
    steps.into_iter().next_back().expect("an event")
}

#[test]
fn a_message_goes_its_way() {
    let (mut delivery, actions) = Delivery::plan(&[Channel::Email], Mode::First, None, None, at(0));
    assert_eq!(actions, [Action::Send { leg: 0, attempt: 1, at: at(0) }]);
    assert_eq!(delivery.state(), State::Accepted);
    let wait = Wait { until: at(60), why: Why::QuietHours };
    let step = run(&mut delivery, &[Happened::PutOff { leg: 0, wait }], at(1));
    assert_eq!((step.from, step.to), (State::Accepted, State::Scheduled));
    assert_eq!(step.actions, [Action::Send { leg: 0, attempt: 1, at: at(60) }]);
    assert_eq!(delivery.apply(&begun(0, 1), at(59)), Err(Refused::TooEarly { until: at(60) }));
    assert_eq!(run(&mut delivery, &[begun(0, 1)], at(60)).to, State::Sending);
    assert_eq!(run(&mut delivery, &[answered(0, 1, taken())], at(61)).to, State::Sent);
    let step = run(&mut delivery, &[receipt(0, 1, Receipt::Delivered)], at(62));
    assert_eq!((step.from, step.to, step.actions.len()), (State::Sent, State::Delivered, 0));
    assert_eq!(step.audit.what, "receipt");
    assert_eq!(delivery.legs[0].attempts[0].reference.as_deref(), Some("ref"));
}

#[test]
fn what_was_not_taken_is_tried_again_at_its_moment() {
    let mut delivery = single();
    let again = Answer::NotTaken { again: at(90), reason: "451".to_owned() };
    let step = run(&mut delivery, &[begun(0, 1), answered(0, 1, again)], at(60));
    assert_eq!(step.to, State::Scheduled);
    assert_eq!(step.actions, [Action::Send { leg: 0, attempt: 2, at: at(90) }]);
    assert_eq!(step.audit.reason.as_deref(), Some("451"));
    assert_eq!(delivery.due(), Some(at(90)));
    assert_eq!(delivery.apply(&begun(0, 2), at(89)), Err(Refused::TooEarly { until: at(90) }));
    assert_eq!(delivery.apply(&begun(0, 1), at(90)), Err(Refused::WrongAttempt { attempt: 1, next: 2 }));
    assert_eq!(run(&mut delivery, &[begun(0, 2)], at(90)).to, State::Sending);
}

#[test]
fn unknown_is_left_by_asking_a_receipt_or_a_person_only() {
    let unknown = || {
        let mut delivery = single();
        let step = run(&mut delivery, &[begun(0, 1), answered(0, 1, lost())], at(60));
        assert_eq!(step.to, State::Unknown);
        assert_eq!(step.actions, [Action::AskProvider { leg: 0, attempt: 1 }]);
        delivery
    };
    let asked = |found| Happened::Asked { leg: 0, attempt: 1, found };
    for refused in [begun(0, 2), Happened::Expired, Happened::Superseded { by: "x".to_owned() }] {
        let error = unknown().apply(&refused, at(70)).unwrap_err();
        assert!(matches!(error, Refused::WrongState { state: State::Unknown, .. }), "{error}");
    }
    for (event, state) in [
        (asked(Found::Nothing), State::Scheduled),
        (asked(Found::CantSay), State::Unknown),
        (asked(Found::Known(Receipt::OnItsWay)), State::Sent),
        (asked(Found::Known(Receipt::Delivered)), State::Delivered),
        (receipt(0, 1, Receipt::Delivered), State::Delivered),
        (receipt(0, 1, Receipt::OnItsWay), State::Sent),
        (decided(0, Decision::SendAgain), State::Scheduled),
        (decided(0, Decision::Arrived), State::Delivered),
        (decided(0, Decision::GiveUp), State::Failed),
    ] {
        assert_eq!(run(&mut unknown(), std::slice::from_ref(&event), at(70)).to, state, "{event:?}");
    }
}

#[test]
fn sending_again_what_may_have_arrived_is_on_record_and_counted() {
    let mut delivery = single();
    let step =
        run(&mut delivery, &[begun(0, 1), answered(0, 1, lost()), decided(0, Decision::SendAgain)], at(60));
    assert_eq!(step.actions, [Action::Send { leg: 0, attempt: 2, at: at(60) }]);
    assert_eq!(step.audit.by.as_deref(), Some("anna"));
    run(&mut delivery, &[begun(0, 2), answered(0, 2, taken())], at(61));
    assert_eq!(delivery.legs[0].possible_duplicates(), 1);
    let step = run(&mut delivery, &[receipt(0, 1, Receipt::Delivered)], at(62));
    assert_eq!(step.to, State::Delivered);
}

#[test]
fn a_receipt_may_come_before_our_own_answer() {
    let mut delivery = single();
    let step = run(&mut delivery, &[begun(0, 1), receipt(0, 1, Receipt::Delivered)], at(60));
    assert_eq!(step.to, State::Delivered);
    let step = run(&mut delivery, &[answered(0, 1, taken())], at(61));
    assert!(step.is_repeat() && step.changes.is_empty() && step.actions.is_empty());
    assert_eq!(delivery.legs[0].attempts[0].reference.as_deref(), Some("ref"));
}

#[test]
fn a_late_delivered_lifts_a_failure() {
    for cause in [Cause::Temporary, Cause::Permanent] {
        let mut delivery = single();
        run(&mut delivery, &[begun(0, 1), answered(0, 1, refused(cause))], at(60));
        assert_eq!(delivery.state(), State::Failed);
        let step = run(&mut delivery, &[receipt(0, 1, Receipt::Delivered)], at(99));
        assert_eq!((step.to, step.audit.contradicts), (State::Delivered, cause == Cause::Permanent));
    }
    // And a failure after it changes nothing, but is on record as what contradicts it.
    let mut delivery = single();
    let bounce = Receipt::Undelivered { again: None, cause: Cause::Permanent, reason: "bounced".to_owned() };
    let events = [begun(0, 1), receipt(0, 1, Receipt::Delivered), receipt(0, 1, bounce)];
    let step = run(&mut delivery, &events, at(60));
    assert!(step.audit.contradicts && step.is_repeat() && step.to == State::Delivered);
}

#[test]
fn the_next_channel_comes_when_one_has_failed() {
    let mut delivery = push_then_sms();
    let step = run(&mut delivery, &[begun(0, 1)], at(10));
    assert_eq!(step.actions, [Action::AwaitReceipt { leg: 0, until: at(310) }]);
    let step = run(&mut delivery, &[answered(0, 1, refused(Cause::Permanent))], at(11));
    assert_eq!(step.actions, [Action::Send { leg: 1, attempt: 1, at: at(11) }]);
    assert_eq!((step.from, step.to), (State::Sending, State::Accepted));
    // The patience with the push is over as well: nothing more to begin.
    assert!(run(&mut delivery, &[Happened::NoReceipt { leg: 0 }], at(310)).is_repeat());
}

#[test]
fn the_next_channel_comes_when_nothing_is_heard_and_is_dropped_when_something_is() {
    let mut delivery = push_then_sms();
    run(&mut delivery, &[begun(0, 1), answered(0, 1, taken())], at(10));
    let step = run(&mut delivery, &[Happened::NoReceipt { leg: 0 }], at(310));
    assert_eq!(step.actions, [Action::Send { leg: 1, attempt: 1, at: at(310) }]);
    assert_eq!(delivery.legs[0].state(), State::Sent);
    let step = run(&mut delivery, &[receipt(0, 1, Receipt::Delivered)], at(311));
    assert_eq!(step.to, State::Delivered);
    assert_eq!(step.changes.len(), 2);
    assert_eq!(delivery.legs[1].state(), State::Superseded);
    assert!(delivery.apply(&begun(1, 1), at(312)).is_err());
}

#[test]
fn a_channel_that_gave_way_is_not_tried_again() {
    let mut delivery = push_then_sms();
    let again = |at| Answer::NotTaken { again: at, reason: "503".to_owned() };
    run(&mut delivery, &[begun(0, 1), answered(0, 1, again(at(400)))], at(10));
    run(&mut delivery, &[Happened::NoReceipt { leg: 0 }], at(310));
    assert_eq!(delivery.legs[0].state(), State::Superseded);
    // The same where the answer comes after the patience is over.
    let mut delivery = push_then_sms();
    run(&mut delivery, &[begun(0, 1), Happened::NoReceipt { leg: 0 }], at(310));
    run(&mut delivery, &[answered(0, 1, again(at(400)))], at(311));
    assert_eq!(delivery.legs[0].state(), State::Superseded);
}

#[test]
fn the_devices_of_one_person_are_tried_together() {
    let channels = [Channel::Push, Channel::Push, Channel::Sms];
    let (mut delivery, actions) = Delivery::plan(&channels, Mode::First, None, None, at(0));
    assert_eq!(actions.len(), 2);
    let gone = || refused(Cause::Permanent);
    let step = run(&mut delivery, &[begun(0, 1), answered(0, 1, gone())], at(1));
    assert!(step.actions.is_empty(), "the other device may work");
    let step = run(&mut delivery, &[begun(1, 1), answered(1, 1, gone())], at(2));
    assert_eq!(step.actions, [Action::Send { leg: 2, attempt: 1, at: at(2) }]);
}

#[test]
fn all_channels_at_once_do_not_close_each_other() {
    let channels = [Channel::Email, Channel::Push];
    let (mut delivery, actions) = Delivery::plan(&channels, Mode::All, None, None, at(0));
    assert_eq!(actions.len(), 2);
    run(&mut delivery, &[begun(0, 1), receipt(0, 1, Receipt::Delivered), begun(1, 1)], at(1));
    assert_eq!(delivery.legs[1].state(), State::Sending);
    assert_eq!(delivery.state(), State::Delivered);
}

#[test]
fn what_is_over_or_replaced_is_not_begun() {
    let expires = Some(at(100));
    let (mut late, _) = Delivery::plan(&[Channel::Sms], Mode::First, None, expires, at(0));
    assert_eq!(late.apply(&begun(0, 1), at(100)), Err(Refused::TooLate { at: at(100) }));
    assert_eq!(run(&mut late, &[Happened::Expired], at(100)).to, State::Expired);

    // Nor is it put off: until when that is, it waits for nothing.
    let (mut late, _) = Delivery::plan(&[Channel::Sms], Mode::First, None, expires, at(0));
    let wait = |until| Happened::PutOff { leg: 0, wait: Wait { until, why: Why::Breaker } };
    assert_eq!(run(&mut late, &[wait(at(300))], at(50)).to, State::Scheduled);
    let step = run(&mut late, &[wait(at(300))], at(100));
    assert_eq!((step.to, step.audit.what.as_str(), step.actions.len()), (State::Expired, "expired", 0));

    let mut delivery = push_then_sms();
    let newer = Happened::Superseded { by: "delivery 2".to_owned() };
    let step = run(&mut delivery, std::slice::from_ref(&newer), at(1));
    assert_eq!((step.to, step.changes.len()), (State::Superseded, 2));
    assert_eq!(delivery.legs[0].reason(), Some("delivery 2"));
    // What is under way goes on; only the channel that has not begun is dropped.
    let mut delivery = push_then_sms();
    let step = run(&mut delivery, &[begun(0, 1), newer], at(1));
    assert_eq!((step.to, step.changes.len()), (State::Sending, 1));
}

#[test]
fn a_failed_one_is_sent_again_by_a_person_and_not_when_its_time_is_over() {
    let (mut delivery, _) = Delivery::plan(&[Channel::Sms], Mode::First, None, Some(at(100)), at(0));
    run(&mut delivery, &[begun(0, 1), answered(0, 1, refused(Cause::Permanent))], at(1));
    let again = decided(0, Decision::SendAgain);
    assert_eq!(delivery.clone().apply(&again, at(100)), Err(Refused::TooLate { at: at(100) }));
    assert_eq!(run(&mut delivery, &[again], at(2)).to, State::Scheduled);
    assert_eq!(run(&mut delivery, &[begun(0, 2)], at(2)).to, State::Sending);
}

#[test]
fn it_is_stored_and_read_back() {
    let mut delivery = push_then_sms();
    run(&mut delivery, &[begun(0, 1), answered(0, 1, taken()), Happened::NoReceipt { leg: 0 }], at(400));
    let text = serde_json::to_string(&delivery).unwrap();
    assert_eq!(serde_json::from_str::<Delivery>(&text).unwrap(), delivery);
}

fn receipts() -> impl Strategy<Value = Receipt> {
    let reason = || "r".to_owned();
    select(vec![
        Receipt::OnItsWay,
        Receipt::Delivered,
        Receipt::Undelivered { again: Some(at(500)), cause: Cause::Temporary, reason: reason() },
        Receipt::Undelivered { again: Some(at(900)), cause: Cause::Temporary, reason: reason() },
        Receipt::Undelivered { again: None, cause: Cause::Temporary, reason: reason() },
        Receipt::Undelivered { again: None, cause: Cause::Permanent, reason: reason() },
        Receipt::Unclear { reason: reason() },
    ])
}

fn answers() -> impl Strategy<Value = Answer> {
    let reason = || "a".to_owned();
    select(vec![
        taken(),
        lost(),
        Answer::NotTaken { again: at(500), reason: reason() },
        refused(Cause::Temporary),
        refused(Cause::Permanent),
    ])
}

fn events() -> impl Strategy<Value = Happened> {
    let (leg, attempt) = (0..2usize, 1..4u32);
    let wait = Wait { until: at(300), why: Why::Pace };
    prop_oneof![
        12 => (leg.clone(), attempt.clone()).prop_map(|(leg, attempt)| begun(leg, attempt)),
        12 => (leg.clone(), attempt.clone(), answers()).prop_map(|(l, a, answer)| answered(l, a, answer)),
        12 => (leg.clone(), attempt.clone(), receipts()).prop_map(|(l, a, told)| receipt(l, a, told)),
        4 => (leg.clone(), attempt, select(vec![Found::Nothing, Found::CantSay]))
            .prop_map(|(leg, attempt, found)| Happened::Asked { leg, attempt, found }),
        2 => leg.clone().prop_map(|leg| Happened::NoReceipt { leg }),
        2 => leg.clone().prop_map(move |leg| Happened::PutOff { leg, wait }),
        2 => leg.clone().prop_map(|leg| Happened::Suppressed { leg, reason: "opt-out".to_owned() }),
        1 => leg.clone().prop_map(|leg| Happened::GivenUp { leg, reason: "long enough".to_owned() }),
        1 => Just(Happened::Superseded { by: "newer".to_owned() }),
        1 => Just(Happened::Expired),
        2 => (leg, select(vec![Decision::SendAgain, Decision::Arrived, Decision::GiveUp]))
            .prop_map(|(leg, decision)| decided(leg, decision)),
    ]
}

fn deliveries() -> impl Strategy<Value = Delivery> {
    let channels = select(vec![
        vec![Channel::Sms, Channel::Push],
        vec![Channel::Email, Channel::Sms],
        vec![Channel::Push; 2],
    ]);
    let mode = select(vec![Mode::First, Mode::All]);
    let patience = select(vec![None, Some(minutes(5))]);
    (channels, mode, patience)
        .prop_map(|(c, mode, patience)| Delivery::plan(&c, mode, patience, None, at(0)).0)
}

/// Mostly the attempt that is next, or the last one: what is refused anyway tests little.
fn aimed(delivery: &Delivery, event: &Happened) -> Happened {
    let mut event = event.clone();
    let made = |leg: usize| delivery.legs[leg].next_attempt() - 1;
    match &mut event {
        Happened::Begun { leg, attempt, .. } if *attempt < 3 => *attempt = made(*leg) + 1,
        Happened::Answered { leg, attempt, .. }
        | Happened::Receipt { leg, attempt, .. }
        | Happened::Asked { leg, attempt, .. }
            if *attempt < 3 =>
        {
            *attempt = made(*leg).max(1);
        }
        _ => {}
    }
    event
}

fn says_delivered(event: &Happened) -> bool {
    matches!(event, Happened::Receipt { receipt: Receipt::Delivered, .. })
}

fn states(delivery: &Delivery) -> Vec<State> {
    delivery.legs.iter().map(Leg::state).collect()
}

fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let (mut items, mut seed) = (items.to_vec(), seed);
    for i in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, (seed >> 33) as usize % (i + 1));
    }
    items
}

proptest! {
    #[test]
    fn final_states_stay(mut delivery in deliveries(), events in prop::collection::vec(events(), 0..40)) {
        for (i, event) in events.iter().enumerate() {
            let event = &aimed(&delivery, event);
            let before = states(&delivery);
            if delivery.apply(event, at(1000 + i as i64)).is_err() {
                prop_assert_eq!(&before, &states(&delivery), "a refusal changes nothing");
            }
            for (leg, (from, to)) in before.iter().zip(states(&delivery)).enumerate() {
                let by_a_person = matches!(event,
                    Happened::Decided { leg: l, decision: Decision::SendAgain, .. } if *l == leg);
                if *from == State::Delivered {
                    prop_assert_eq!(to, State::Delivered);
                } else if from.is_final() && to != *from {
                    let arrived = to == State::Delivered && says_delivered(event);
                    prop_assert!(arrived || (by_a_person && *from == State::Failed), "{event:?}: {from:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn an_ambiguous_attempt_is_never_repeated_silently(
        mut delivery in deliveries(), events in prop::collection::vec(events(), 0..60),
    ) {
        let mut begins = BTreeSet::new();
        for (i, event) in events.iter().enumerate() {
            let event = &aimed(&delivery, event);
            let before = delivery.clone();
            let Ok(_) = delivery.apply(event, at(1000 + i as i64)) else { continue };
            if let Happened::Begun { leg, attempt, .. } = event {
                prop_assert!(begins.insert((*leg, *attempt)), "an attempt begins once");
                if let Some(last) = before.legs[*leg].attempts.last() {
                    let certain = matches!(last.fact, Fact::NotTaken { .. } | Fact::Undelivered { .. });
                    prop_assert!(certain || last.released, "{:?}", last);
                }
                prop_assert!(before.legs[*leg].attempts.iter().all(|a| a.fact != Fact::Delivered));
            }
        }
    }

    #[test]
    fn the_order_of_receipts_does_not_matter(
        delivery in deliveries(), answer in answers(), seed: u64,
        told in prop::collection::vec((receipts(), 1..3usize), 0..6),
    ) {
        let mut first = delivery;
        first.apply(&begun(0, 1), at(1)).unwrap();
        let mut second = first.clone();
        let mut all: Vec<Happened> = told
            .into_iter()
            .flat_map(|(one, times)| std::iter::repeat_n(receipt(0, 1, one), times))
            .collect();
        all.push(answered(0, 1, answer));
        for event in &all {
            first.apply(event, at(2)).unwrap();
        }
        for event in &shuffled(&all, seed) {
            second.apply(event, at(2)).unwrap();
        }
        prop_assert_eq!(states(&first), states(&second));
        prop_assert_eq!(first.state(), second.state());
    }

    #[test]
    fn what_happens_twice_has_its_actions_once(
        mut once in deliveries(), events in prop::collection::vec(events(), 0..40),
    ) {
        let mut twice = once.clone();
        for (i, event) in events.iter().enumerate() {
            let now = at(1000 + i as i64);
            let event = &aimed(&once, event);
            let first = once.apply(event, now);
            prop_assert_eq!(&first, &twice.apply(event, now));
            if let Ok(step) = twice.apply(event, now) {
                prop_assert!(step.actions.is_empty() && step.changes.is_empty(), "{event:?}: {step:?}");
            }
            prop_assert_eq!(&once, &twice);
        }
    }

    #[test]
    fn the_audit_tells_what_happened(mut delivery in deliveries(), events in prop::collection::vec(events(), 0..40)) {
        for event in &events {
            let (whole, before) = (delivery.state(), states(&delivery));
            let Ok(step) = delivery.apply(event, at(1000)) else { continue };
            prop_assert_eq!((step.from, step.to), (whole, delivery.state()));
            for change in &step.changes {
                prop_assert_eq!(change.from, before[change.leg]);
                prop_assert_eq!(change.to, delivery.legs[change.leg].state());
            }
            let moved = before.iter().zip(states(&delivery)).filter(|(a, b)| *a != b).count();
            prop_assert_eq!(moved, step.changes.len());
        }
    }
}
