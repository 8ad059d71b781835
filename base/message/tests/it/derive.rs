//! What the derives write.

use artel_message::{Code, Command, Described, Effect, Event, Fault, Id, Kind, Later, Message, Query, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

enum Delivery {}
impl Tag for Delivery {
    const NAME: &'static str = "Delivery";
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.accept", reply = Accepted, key = to, validate = Accept::check)]
struct Accept {
    to: u64,
    text: String,
}

impl Accept {
    fn check(&self) -> Result<(), Fault> {
        if self.text.is_empty() { Err(Fault::field("text", "is empty")) } else { Ok(()) }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Accepted {
    id: Id<Delivery>,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.purge")]
struct Purge;

#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.status", reply = Option<String>)]
struct Status(Id<Delivery>);

#[derive(Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.delivery-changed", topic = "notify.delivery", key = delivery)]
struct DeliveryChanged {
    delivery: Id<Delivery>,
}

#[derive(Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.renamed", topic = "notify.delivery", key = 0, validate = short)]
struct Renamed(String);

fn short(renamed: &Renamed) -> Result<(), Fault> {
    if renamed.0.len() < 5 { Ok(()) } else { Err(Fault::invalid("the name is too long; use 4 letters")) }
}

#[derive(Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "notify.deliver", done = u16, key = to)]
struct Deliver {
    to: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "notify.ping")]
struct Ping {}

fn reply_of<C: Command>(json: &str) -> C::Reply {
    serde_json::from_str(json).unwrap()
}

#[test]
fn names_and_topics_are_those_of_the_attribute() {
    assert_eq!(Accept::NAME, "notify.accept");
    assert_eq!(Status::NAME, "notify.status");
    assert_eq!(
        (DeliveryChanged::NAME, DeliveryChanged::TOPIC),
        ("notify.delivery-changed", "notify.delivery")
    );
    assert_eq!(Deliver::NAME, "notify.deliver");
}

#[test]
fn the_key_is_the_text_of_the_field() {
    let id: Id<Delivery> = "0198c2f4-5a10-7cc3-98c4-dc0c0c07398f".parse().unwrap();
    assert_eq!(DeliveryChanged { delivery: id }.key(), id.to_string());
    assert_eq!(Renamed("Ёж".to_owned()).key(), "Ёж");
    assert_eq!(Command::key(&Accept { to: 7, text: String::new() }).as_deref(), Some("7"));
    assert_eq!(Command::key(&Purge), None);
    assert_eq!(Effect::key(&Deliver { to: 8 }).as_deref(), Some("8"));
    assert_eq!(Effect::key(&Ping {}), None);
}

#[test]
fn replies_and_results_have_their_type() {
    let id = "0198c2f4-5a10-7cc3-98c4-dc0c0c07398f";
    let reply: Accepted = reply_of::<Accept>(&format!(r#"{{"id":"{id}"}}"#));
    assert_eq!(reply, Accepted { id: id.parse().unwrap() });
    reply_of::<Purge>("null");
    let status: <Status as Query>::Reply = Some(String::new());
    let done: (<Deliver as Effect>::Done, <Ping as Effect>::Done) = (200, ());
    assert_eq!((status.is_some(), done.0), (true, 200));
}

#[test]
fn rules_run_where_there_are_some() {
    let fault = Accept { to: 1, text: String::new() }.validate().unwrap_err();
    assert_eq!((fault.code, fault.reason.as_str()), (Code::Invalid, "text: is empty"));
    assert_eq!(Accept { to: 1, text: "a".to_owned() }.validate(), Ok(()));
    assert!(Renamed("too long".to_owned()).validate().is_err());
    assert_eq!(Purge.validate(), Ok(()));
}

#[test]
fn commands_and_effects_can_be_put_off() {
    fn name<M: Later>(_: &M) -> &'static str {
        M::NAME
    }
    assert_eq!([name(&Purge), name(&Deliver { to: 1 })], ["notify.purge", "notify.deliver"]);
}

#[test]
fn the_catalogue_describes_each_kind() {
    let command = Described::command::<Accept>();
    assert_eq!((command.kind, command.name, command.topic), (Kind::Command, "notify.accept", None));
    let schema = (command.schema)();
    assert_eq!(schema.pointer("/properties/text/type"), Some(&"string".into()));
    let reply = command.reply.map(|reply| reply());
    assert!(reply.and_then(|reply| reply.pointer("/properties/id").cloned()).is_some());
    let event = Described::event::<DeliveryChanged>();
    assert_eq!(
        (event.kind.as_str(), event.topic, event.reply.is_none()),
        ("event", Some("notify.delivery"), true)
    );
    assert_eq!(Described::query::<Status>().kind.as_str(), "query");
    let effect = Described::effect::<Deliver>();
    assert_eq!((effect.kind.as_str(), effect.reply.is_some()), ("effect", true));
}
