use super::*;
use crate::domain::address::{Address, Kind};
use crate::domain::preferences::{Choice, Topic};
use crate::domain::quiet;
use crate::domain::suppression::{Reason, Suppressed};
use artel_contract::logistics::ShipmentMoved;
use artel_contract::notify::DeliveryId;
use artel_message::{Cause, Described, Time};
use proptest::prelude::*;
use serde_json::json;

fn rule(change: Value) -> Rule {
    let mut whole = json!({
        "id": "shipment-moved",
        "on": { "topic": "logistics.shipment", "message": "logistics.shipment-moved" },
        "when": "state in ['out_for_delivery', 'delayed', 'lost']",
        "template": "shipment",
        "topic": "shipments",
        "to": { "event": {
            "subscriber": "receiver.subscriber", "email": "receiver.email", "phone": "receiver.phone",
            "name": "receiver.name", "language": "receiver.language",
        } },
        "channels": ["push", "sms"],
        "patience_s": 300,
        "valid_for_s": 3600,
        "supersede": "shipment:{shipment}",
    });
    for (field, value) in change.as_object().unwrap() {
        match value {
            Value::Null => whole.as_object_mut().unwrap().remove(field),
            value => whole.as_object_mut().unwrap().insert(field.clone(), value.clone()),
        };
    }
    serde_json::from_value(whole).unwrap()
}

fn event(state: &str) -> Value {
    json!({
        "shipment": "S-1", "tracking_number": "RB1", "state": state, "occurred_at": "2026-01-10T20:00:00Z",
        "receiver": { "subscriber": "ivan", "name": "Иван", "phone": "+7 916 123-45-67", "language": "ru" },
    })
}

fn now() -> Time {
    "2026-01-10T20:30:00Z".parse().unwrap()
}

fn ids(text: &str) -> DeliveryId {
    DeliveryId::from_uuid(Cause::keyed("event-1", "notify", text, now()).id())
}

fn device(n: usize) -> Address {
    Address::Fcm(format!("device-{n}-{}", "x".repeat(100)).parse().unwrap())
}

fn ivan() -> Person {
    Person { subscriber: Some("ivan".to_owned()), addresses: vec![device(1)], ..Person::default() }
}

fn plan(rule: &Rule, people: &[Person]) -> Vec<Planned> {
    match rule.plan(&event("lost"), people, &Topic::default(), now(), now(), &mut ids) {
        Outcome::Planned { planned, .. } => planned,
        other => panic!("{other:?}"),
    }
}

fn person(rule: &Rule, event: &Value, subscriber: Option<Person>) -> Person {
    match rule.aim(event) {
        Aim::One(given) => given.person(subscriber),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_becomes_a_delivery_to_its_receiver() {
    let rule = rule(json!({}));
    assert!(rule.on.fits("logistics.shipment", Some("logistics.shipment-moved")));
    assert!(!rule.on.fits("logistics.shipment", None) && !rule.on.fits("other", None));
    assert_eq!(rule.aim(&event("in_transit")), Aim::NotMet);
    let planned = plan(&rule, &[person(&rule, &event("lost"), Some(ivan()))]);
    let one = &planned[0];
    assert_eq!(planned.len(), 1);
    let addresses: Vec<String> = one.legs.iter().map(|leg| leg.address.key()).collect();
    assert_eq!(addresses, [device(1).key(), "+79161234567".to_owned()]);
    assert_eq!(one.expires_at, Some(now() + Duration::from_secs(3600)));
    assert_eq!(one.supersede_key.as_deref(), Some("shipment:S-1\nsubscriber:ivan"));
    assert_eq!((one.language.as_deref(), one.name.as_deref()), (Some("ru"), Some("Иван")));
    assert!(one.left_out.is_empty());
}

#[test]
fn the_same_event_gives_the_same_ids_and_nobody_gets_it_twice() {
    let rule = rule(json!({}));
    let changed = Rule { version: 9, ..rule.clone() };
    let people = [ivan(), Person { subscriber: Some("anna".to_owned()), ..Person::default() }, ivan()];
    let (first, second) = (plan(&rule, &people), plan(&changed, &people));
    assert_eq!(first.len(), 2);
    let ids = |planned: &[Planned]| planned.iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second));
    assert_ne!(first[0].id, first[1].id);
}

#[test]
fn what_is_left_out_says_why() {
    let rule = rule(json!({ "channels": ["email", "push", "sms"] }));
    let mut given = event("lost");
    given["receiver"]["email"] = json!("ivan@example.com\r\nBcc: x@example.com");
    let mut own = ivan();
    own.preferences.everywhere.insert(Channel::Push, Choice::Out);
    own.suppressed
        .push(("+79161234567".to_owned(), Suppressed::new(Kind::Phone, Reason::Unsubscribed, now())));
    let one = plan(&rule, &[person(&rule, &given, Some(own))]).remove(0);
    assert!(one.legs.is_empty());
    let why: Vec<String> =
        one.left_out.iter().map(|left| format!("{}: {}", left.channel.as_str(), left.why)).collect();
    assert_eq!(
        why,
        [
            "email: email: holds the control character U+000D",
            "push: the recipient has opted out",
            "sms: the address is suppressed: unsubscribed",
        ]
    );
    let nobody = Person { subscriber: Some("anna".to_owned()), ..Person::default() };
    let left = plan(&rule, &[nobody]).remove(0).left_out;
    assert!(left.len() == 3 && left.iter().all(|left| left.why == WhyLeftOut::NoAddress));
}

#[test]
fn all_devices_get_it_up_to_a_bound() {
    let many = Person { addresses: (0..12).map(device).collect(), ..ivan() };
    let one = plan(&rule(json!({ "channels": ["push"], "patience_s": null })), &[many]).remove(0);
    assert_eq!((one.legs.len(), &one.left_out[0].why), (10, &WhyLeftOut::TooMany));
}

#[test]
fn quiet_hours_put_off_what_is_not_critical() {
    let windows = serde_json::from_value(json!([{ "from": "22:00", "to": "08:00" }])).unwrap();
    let sleeper = Person {
        addresses: vec![
            Address::Phone("+79161234567".parse().unwrap()),
            Address::Email("i@example.com".parse().unwrap()),
        ],
        zone: Some(quiet::zone("Europe/Moscow").unwrap()),
        quiet: windows,
        quiet_channels: vec![Channel::Sms, Channel::Push],
        ..ivan()
    };
    let legs = |lane: &str| {
        let rule = rule(json!({ "channels": ["sms", "email"], "lane": lane }));
        let one = plan(&rule, std::slice::from_ref(&sleeper)).remove(0);
        one.legs.iter().map(|leg| leg.not_before).collect::<Vec<_>>()
    };
    let morning: Time = "2026-01-11T05:00:00Z".parse().unwrap();
    assert_eq!(legs("transactional"), [morning, now()]);
    assert_eq!(legs("critical"), [now(), now()]);
}

#[test]
fn what_came_too_late_or_lacks_a_field_is_no_delivery() {
    let rule = rule(json!({}));
    let at = now() - Duration::from_secs(3600);
    let late = rule.plan(&event("lost"), &[ivan()], &Topic::default(), at, now(), &mut ids);
    assert_eq!(late, Outcome::Stale { expired_at: now() });
    let mut bare = event("lost");
    bare.as_object_mut().unwrap().remove("shipment");
    let keyless = rule.plan(&bare, &[ivan()], &Topic::default(), now(), now(), &mut ids);
    assert_eq!(keyless, Outcome::NoKey { reason: "supersede: the message has no shipment".to_owned() });
    let nameless = self::rule(json!({ "supersede": null, "once_per": "{shipment}" }));
    let nameless = nameless.plan(&bare, &[ivan()], &Topic::default(), now(), now(), &mut ids);
    assert_eq!(nameless, Outcome::NoKey { reason: "once_per: the message has no shipment".to_owned() });
    bare["receiver"] = json!({ "name": "Иван" });
    let reason = "to.event: the message has none of receiver.subscriber, receiver.email, receiver.phone";
    assert_eq!(rule.aim(&bare), Aim::Nobody { reason: reason.to_owned() });
    let all = super::tests::rule(json!({ "to": { "subscribed": { "key": "shipment:{shipment}" } } }));
    assert_eq!(all.aim(&event("lost")), Aim::All { key: "shipment:S-1".to_owned() });
    assert!(matches!(all.aim(&bare), Aim::Nobody { .. }));
    assert_eq!(super::tests::rule(json!({ "enabled": false })).aim(&event("lost")), Aim::NotMet);
}

#[test]
fn a_rule_that_can_t_work_is_refused_and_the_field_is_named() {
    let schema: Value = (Described::event::<ShipmentMoved>().schema)().into();
    let has = [Channel::Push, Channel::Sms, Channel::Email];
    let known = Known { schema: Some(&schema), template_channels: Some(&has) };
    let problems = |change: Value, known: Known<'_>| -> Vec<String> {
        rule(change).check(known).iter().map(ToString::to_string).collect()
    };
    assert_eq!(problems(json!({}), known), Vec::<String>::new());
    let only_sms = json!({ "to": { "event": { "phone": "receiver.phone" } }, "channels": ["email", "push"] });
    for (change, said) in [
        (
            json!({ "when": "status == 'lost'" }),
            "when: at character 1: status: 'status' is not there; did you mean 'state'?",
        ),
        (json!({ "when": "state == 'vanished'" }), "when: at character 1: state: is never \"vanished\""),
        (
            json!({ "to": { "event": { "email": "receiver.mail" } } }),
            "to.event.email: 'receiver.mail' is not there",
        ),
        (
            json!({ "to": { "event": { "subscriber": "receiver" } } }),
            "to.event.subscriber: 'receiver' is never a text",
        ),
        (json!({ "to": { "event": { "name": "receiver.name" } } }), "to.event: names nobody"),
        (only_sms, "channels: email needs to.event.email or to.event.subscriber"),
        (
            json!({ "supersede": "s:{shipmnt}" }),
            "supersede: 'shipmnt' is not there; did you mean 'shipment'?",
        ),
        (json!({ "supersede": "s:{receiver}" }), "supersede: 'receiver' is neither a text nor a number"),
        (json!({ "once_per": "{sate}" }), "once_per: 'sate' is not there; did you mean 'state'?"),
        (json!({ "channels": [] }), "channels: name at least one"),
        (json!({ "channels": ["sms", "sms"] }), "channels: sms stands there twice"),
        (json!({ "id": "Shipment moved" }), "id: use 1 to 100 lowercase"),
        (json!({ "topic": " " }), "topic: use 1 to 200"),
        (json!({ "valid_for_s": 0 }), "valid_for_s: use 1 to"),
        (json!({ "mode": "all" }), "patience_s: means nothing without a next channel"),
        (json!({ "patience_s": 3600 }), "patience_s: is not shorter than valid_for_s"),
        (json!({ "language": "по-русски" }), "language: 'по-русски' is no language tag"),
    ] {
        let found = problems(change, known);
        assert!(found.iter().any(|problem| problem.starts_with(said)), "{said}: {found:?}");
    }
    let none = Known { template_channels: Some(&[]), ..known };
    assert_eq!(problems(json!({}), none), ["template: there is no template 'shipment'"]);
    let mail = Known { template_channels: Some(&[Channel::Email]), ..known };
    assert_eq!(problems(json!({}), mail).len(), 2);
    assert_eq!(problems(json!({ "when": "anything == 1" }), Known::default()), Vec::<String>::new());
}

#[test]
fn a_rule_is_stored_and_read_back_and_mistyped_fields_are_refused() {
    let own = rule(json!({}));
    let stored = serde_json::to_value(&own).unwrap();
    assert_eq!(serde_json::from_value::<Rule>(stored.clone()).unwrap(), own);
    let mut wrong = stored;
    wrong["valid_for"] = json!(5);
    assert!(serde_json::from_value::<Rule>(wrong).unwrap_err().to_string().contains("valid_for"));
}

#[test]
fn keys_say_what_is_wrong_with_them() {
    for (text, said) in [
        ("", "at character 1: is empty"),
        ("a{b", "at character 2: '{' is not closed"),
        ("аб}", "at character 3: '}' closes nothing"),
        ("a{b c}", "at character 3: 'b c' is no path"),
        ("a\nb", "at character 2: holds a control character"),
    ] {
        let error = text.parse::<KeyTemplate>().unwrap_err().to_string();
        assert!(error.starts_with(said), "{text}: {error}");
    }
    let key: KeyTemplate = "{n}-{receiver.name}/x".parse().unwrap();
    assert_eq!(key.to_string(), "{n}-{receiver.name}/x");
    assert_eq!(key.fill(&json!({ "n": 5, "receiver": { "name": "Иван" } })), Ok("5-Иван/x".to_owned()));
    assert!(key.fill(&json!({ "n": 5, "receiver": { "name": "" } })).is_err());
}

proptest! {
    #[test]
    fn every_channel_of_the_rule_is_used_or_left_out(
        opted in prop::collection::vec(any::<bool>(), 3), known in prop::collection::vec(any::<bool>(), 3),
        suppressed in prop::option::of(prop::sample::select(Reason::ALL.to_vec())), critical: bool,
    ) {
        let channels = [Channel::Email, Channel::Sms, Channel::Push];
        let all = [
            Address::Email("i@example.com".parse().unwrap()),
            Address::Phone("+79161234567".parse().unwrap()),
            device(1),
        ];
        let mut own = Person { addresses: Vec::new(), ..ivan() };
        for i in 0..3 {
            if known[i] { own.addresses.push(all[i].clone()); }
            if opted[i] { own.preferences.everywhere.insert(channels[i], Choice::Out); }
        }
        if let Some(reason) = suppressed {
            own.suppressed.push((all[1].key(), Suppressed::new(Kind::Phone, reason, now())));
        }
        let lane = if critical { "critical" } else { "transactional" };
        let rule = rule(json!({ "channels": ["email", "sms", "push"], "lane": lane }));
        let one = plan(&rule, &[own]).remove(0);
        for (i, channel) in channels.into_iter().enumerate() {
            let used = one.legs.iter().any(|leg| leg.address.channel() == channel);
            let left = one.left_out.iter().any(|left| left.channel == channel);
            prop_assert!(used != left, "{channel:?}");
            prop_assert!(!used || (known[i] && !opted[i]));
        }
    }

    #[test]
    fn no_event_panics(text in "\\PC{0,20}", n: i64) {
        let rule = rule(json!({ "when": null }));
        for event in [json!(text), json!(n), json!([n]), json!({ "shipment": n, "receiver": { "email": text, "phone": text } })] {
            if let Aim::One(given) = rule.aim(&event) {
                rule.plan(&event, &[given.person(None)], &Topic::default(), now(), now(), &mut ids);
            }
        }
    }
}
