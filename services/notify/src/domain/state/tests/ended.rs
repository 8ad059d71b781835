//! What has ended stays ended.

use super::*;

fn gave_up(leg: usize) -> Happened {
    Happened::GivenUp { leg, reason: "tried for long enough".to_owned() }
}

fn busy(seconds: i64) -> Answer {
    Answer::NotTaken { again: at(seconds), reason: "451".to_owned() }
}

#[test]
fn what_waits_is_given_up_whatever_it_waits_for_and_the_next_channel_begins() {
    let mut delivery = push_then_sms();
    run(&mut delivery, &[begun(0, 1), answered(0, 1, busy(900))], at(10));
    let step = run(&mut delivery, &[gave_up(0)], at(20));
    assert_eq!(step.actions, [Action::Send { leg: 1, attempt: 1, at: at(20) }]);
    assert_eq!((step.audit.what.as_str(), delivery.legs[0].state()), ("given_up", State::Failed));
    assert_eq!(delivery.legs[0].reason(), Some("tried for long enough"));
    // A person may have it sent again.
    let step = run(&mut delivery, &[decided(0, Decision::SendAgain)], at(30));
    assert_eq!(step.actions, [Action::Send { leg: 0, attempt: 2, at: at(900) }]);
}

#[test]
fn no_attempt_is_made_beyond_the_most_and_nobody_can_ask_for_one() {
    let mut delivery = single();
    for attempt in 1..=MOST_ATTEMPTS as u32 {
        run(&mut delivery, &[begun(0, attempt), answered(0, attempt, busy(0))], at(1));
    }
    let next = MOST_ATTEMPTS as u32 + 1;
    assert_eq!(delivery.may_begin(0, next, at(-5)), Err(Refused::TooMany), "whatever it waits for");
    run(&mut delivery, &[gave_up(0)], at(1));
    assert_eq!(delivery.apply(&decided(0, Decision::SendAgain), at(2)), Err(Refused::TooMany));
    assert_eq!(delivery.state(), State::Failed);
}

#[test]
fn an_attempt_that_can_t_have_begun_leaves_the_end_as_it_is() {
    let (mut delivery, _) = Delivery::plan(&[Channel::Sms], Mode::First, None, Some(at(100)), at(0));
    run(&mut delivery, &[Happened::Expired], at(100));
    let before = delivery.clone();
    assert_eq!(delivery.was_begun(0, 1, "main", at(101)), Err(Refused::TooLate { at: at(100) }));
    assert_eq!(delivery.was_begun(0, 2, "main", at(99)), Err(Refused::WrongAttempt { attempt: 2, next: 1 }));
    assert_eq!(delivery, before);
    assert!(delivery.was_begun(1, 1, "main", at(99)).is_err());
}

fn ends() -> impl Strategy<Value = Happened> {
    select(vec![
        Happened::Superseded { by: "newer".to_owned() },
        Happened::Expired,
        Happened::Suppressed { leg: 0, reason: "opt-out".to_owned() },
        decided(0, Decision::GiveUp),
        gave_up(0),
    ])
}

proptest! {
    #[test]
    fn what_was_ended_while_under_way_is_not_tried_again(
        mut delivery in deliveries(), end in ends(), told in prop::collection::vec(events(), 1..20),
    ) {
        delivery.apply(&end, at(2)).unwrap();
        let ended = delivery.legs[0].end.clone();
        delivery.was_begun(0, 1, "main", at(1)).unwrap();
        prop_assert_eq!(delivery.legs[0].state(), State::Sending);
        for (i, event) in told.iter().enumerate() {
            if matches!(event, Happened::Decided { leg: 0, .. } | Happened::NoReceipt { leg: 0 }) {
                continue;
            }
            let _ = delivery.apply(&aimed(&delivery, event), at(1000 + i as i64));
            let leg = &delivery.legs[0];
            prop_assert!(!leg.is_waiting() && leg.attempts.len() == 1, "{leg:?}");
            prop_assert!(leg.end.is_none() || leg.end == ended);
        }
    }

    #[test]
    fn what_waits_and_nothing_else_is_given_up(
        mut delivery in deliveries(), events in prop::collection::vec(events(), 0..40), leg in 0..2usize,
    ) {
        for (i, event) in events.iter().enumerate() {
            let _ = delivery.apply(&aimed(&delivery, event), at(1000 + i as i64));
        }
        let (before, of) = (delivery.clone(), delivery.legs[leg].clone());
        match delivery.apply(&gave_up(leg), at(0)) {
            Ok(_) => prop_assert!(of.started && of.is_waiting() && delivery.legs[leg].state() == State::Failed),
            Err(_) => prop_assert!(!(of.started && of.is_waiting()) && delivery == before),
        }
    }
}
