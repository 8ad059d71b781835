use super::*;
use crate::simulators::{Receipt, Refusal};
use proptest::prelude::*;

fn arrival(provider: &'static str, to: &str) -> Arrival {
    Arrival { provider, to: to.to_owned(), ..Arrival::default() }
}

fn plan(json: &str) -> FaultPlan {
    serde_json::from_str(json).unwrap()
}

fn run(judge: &Judge, provider: &'static str, times: usize) -> Vec<Behaviour> {
    (0..times).map(|_| judge(&arrival(provider, "a@b.example"))).collect()
}

const MIXED: &str = r#"{
    "seed": 7,
    "providers": {
        "smtp": {
            "refusals": [
                {"percent": 20, "answer": {"smtp": {"code": 451}}},
                {"percent": 10, "answer": {"smtp": {"code": 550, "enhanced": "5.1.1", "text": "no"}}}
            ],
            "lost_replies": 5,
            "latency": {"percent": 50, "least_ms": 10, "most_ms": 20}
        },
        "smpp": {
            "refusals": [{"percent": 10, "answer": {"smpp": {"status": 88}}}],
            "receipts": {"missing": 10, "undelivered": 20, "undelivered_code": 5, "duplicate": 30, "late": 40, "late_ms": 5000}
        }
    }
}"#;

#[test]
fn the_same_seed_and_order_give_the_same_faults_whatever_other_providers_do() {
    let judge = |seed| Faults::new(FaultPlan { seed, ..plan(MIXED) }).unwrap().judge();
    let first = judge(7);
    let alone = run(&first, "smtp", 500);
    let second = judge(7);
    let mixed: Vec<Behaviour> = (0..500)
        .map(|_| {
            run(&second, "smpp", 3);
            run(&second, "smtp", 1).remove(0)
        })
        .collect();
    assert!(alone == mixed && alone != run(&judge(8), "smtp", 500));
    let faults = Faults::new(plan(MIXED)).unwrap();
    let judge = faults.judge();
    let before = run(&judge, "smtp", 100);
    faults.set(plan(MIXED)).unwrap();
    assert_eq!(run(&judge, "smtp", 100), before, "a plan that is set begins anew");
}

#[test]
fn shares_come_out() {
    let judge = Faults::new(plan(MIXED)).unwrap().judge();
    let mails = run(&judge, "smtp", 10_000);
    let count = |fits: &dyn Fn(&Behaviour) -> bool| mails.iter().filter(|b| fits(b)).count();
    let with = |wanted: u16| move |b: &Behaviour| matches!(b.refusal, Some(Refusal::Smtp { code, .. }) if code == wanted);
    assert!((1_800..2_200).contains(&count(&with(451))), "{}", count(&with(451)));
    assert!((850..1_150).contains(&count(&with(550))));
    assert!((400..600).contains(&count(&|b| b.lose_reply)));
    let slow = count(&|b| (10..=20).contains(&b.delay.as_millis()));
    assert!((4_700..5_300).contains(&slow) && slow + count(&|b| b.delay.is_zero()) == 10_000);
    let texts = run(&judge, "smpp", 10_000);
    let count = |fits: &dyn Fn(&Behaviour) -> bool| texts.iter().filter(|b| fits(b)).count();
    assert!((850..1_150).contains(&count(&|b| b.receipts.is_empty())));
    let undelivered = count(&|b| b.receipts.first().is_some_and(|(_, r)| *r == Receipt::Undelivered(5)));
    assert!((1_800..2_200).contains(&undelivered));
    // Of those that are not missing.
    assert!((2_400..3_000).contains(&count(&|b| b.receipts.len() == 2)));
    let late = count(&|b| b.receipts.first().is_some_and(|(after, _)| after.as_millis() == 5_000));
    assert!((3_300..3_900).contains(&late), "{late}");
}

#[test]
fn addresses_ask_for_their_fault() {
    let judge = Faults::new(FaultPlan::by_address()).unwrap().judge();
    let refusal = |provider, to| judge(&arrival(provider, to)).refusal;
    let unknown = Refusal::Smtp { code: 550, enhanced: "5.1.1".into(), text: "no such user here".into() };
    assert_eq!(refusal("smtp", "fail-550-5.1.1@x.example"), Some(unknown));
    assert_eq!(refusal("smtp", "anna@x.example"), None);
    assert_eq!(refusal("twilio", "fail-550-5.1.1@x.example"), None, "another provider's rule");
    for to in ["retry-451@x.example", "retry-451@y.example"] {
        let answers: Vec<bool> = (0..4).map(|_| refusal("smtp", to).is_some()).collect();
        assert_eq!(answers, [true, true, false, false], "{to}");
    }
    assert_eq!(refusal("smpp", "+491700000011"), Some(Refusal::Smpp { status: 0x0b }));
    let lost = judge(&arrival("smtp", "lost-reply@x.example"));
    assert!(lost.lose_reply && lost.refusal.is_none() && lost.receipts.len() == 1);
}

#[test]
fn a_plan_that_cannot_be_meant_is_refused_by_its_field() {
    let field = |json: &str| Faults::new(plan(json)).err().map(|bad| bad.field);
    let cases = [
        (r#"{"providers": {"fax": {}}}"#, "providers.fax"),
        (r#"{"providers": {"smtp": {"lost_replies": 101}}}"#, "providers.smtp.lost_replies"),
        (r#"{"providers": {"smtp": {"latency": {"least_ms": 5}}}}"#, "providers.smtp.latency.least_ms"),
        (
            r#"{"providers": {"fcm": {"refusals": [{"percent": 1, "answer": {"http": {"status": 200}}}]}}}"#,
            "providers.fcm.refusals[0].answer.http.status",
        ),
        (
            r#"{"providers": {"smpp": {"refusals": [
                {"percent": 60, "answer": {"smpp": {"status": 1}}}, {"percent": 60, "answer": {"smpp": {"status": 2}}}
            ]}}}"#,
            "providers.smpp.refusals",
        ),
        (
            r#"{"providers": {"smpp": {"receipts": {"missing": 60, "expired": 60}}}}"#,
            "providers.smpp.receipts",
        ),
        (r#"{"addresses": [{}]}"#, "addresses[0]"),
        (
            r#"{"addresses": [{"begins": "a", "refusal": {"smtp": {"code": 550, "text": "a\r\nb"}}}]}"#,
            "addresses[0].refusal.smtp.text",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(field(json).as_deref(), Some(expected), "{json}");
    }
    assert!(serde_json::from_str::<FaultPlan>(r#"{"sed": 1}"#).is_err(), "an unknown field");
}

proptest! {
    #[test]
    fn what_is_written_is_read(seed: u64, lost in 0.0..100.0f64, after: u16, begins in "[a-z]{1,9}", times: Option<u32>) {
        let mut plan = FaultPlan::by_address();
        plan.seed = seed;
        let mut shares = Shares { lost_replies: lost, ..Shares::default() };
        shares.receipts.after_ms = after.into();
        plan.providers.insert("twilio".to_owned(), shares);
        plan.addresses.push(AddressRule { begins, times, receipt: Some(ReceiptKind::Expired), ..AddressRule::default() });
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    }
}
