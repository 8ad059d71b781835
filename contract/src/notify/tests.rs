use super::*;
use artel_message::Message;
use serde_json::json;

fn one(change: serde_json::Value) -> Result<(), Fault> {
    let mut whole = json!({
        "recipient": { "subscriber": "ivan" },
        "content": { "template": "shipment", "topic": "shipments" },
    });
    for (field, value) in change.as_object().unwrap() {
        whole["content"][field] = value.clone();
    }
    serde_json::from_value::<Notify>(whole).unwrap().validate()
}

#[test]
fn names_on_the_wire_are_the_ones_that_are_printed() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for channel in Channel::ALL {
        assert_eq!(serde_json::to_value(channel).unwrap(), channel.as_str());
    }
}

#[test]
fn what_can_t_be_sent_is_refused_and_the_field_is_named() {
    assert_eq!(one(json!({})), Ok(()));
    for (change, field) in [
        (json!({ "template": " " }), "content.template: "),
        (json!({ "topic": "a\nb" }), "content.topic: "),
        (json!({ "supersede_key": "x".repeat(201) }), "content.supersede_key: "),
        (json!({ "channels": ["sms", "sms"] }), "content.channels: sms stands there twice"),
        (json!({ "data": { "a": "x".repeat(65_536) } }), "content.data: is 65544 bytes"),
        (
            json!({ "send_at": "2026-01-02T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z" }),
            "content.expires_at: is not after send_at",
        ),
    ] {
        let fault = one(change).unwrap_err();
        assert!(fault.reason.starts_with(field), "{fault}");
    }
}

#[test]
fn recipients_are_some_and_each_of_them_somebody() {
    let content = json!({ "template": "shipment", "topic": "shipments" });
    let many = |recipients: serde_json::Value| {
        let whole = json!({ "recipients": recipients, "content": content });
        serde_json::from_value::<NotifyMany>(whole).unwrap().validate()
    };
    assert_eq!(many(json!([{ "email": "a@example.com" }])), Ok(()));
    assert!(many(json!([])).unwrap_err().reason.starts_with("recipients: there are 0"));
    for (second, field) in [
        (json!({ "language": "ru" }), "recipients[1]: names nobody"),
        (json!({ "subscriber": " " }), "recipients[1].subscriber: "),
        (json!({ "phone": "+1", "language": "Russian, please" }), "recipients[1].language: "),
        (json!({ "phone": "+1", "language": "ru-RU".repeat(8) }), "recipients[1].language: "),
        (json!({ "phone": "1".repeat(65) }), "recipients[1].phone: has 65 bytes; 64 are the most"),
        (json!({ "email": "x".repeat(1_017) }), "recipients[1].email: has 1017 bytes"),
    ] {
        let fault = many(json!([{ "phone": "+1", "language": "en-GB" }, second])).unwrap_err();
        assert!(fault.reason.starts_with(field), "{fault}");
    }
}
