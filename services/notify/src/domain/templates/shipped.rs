//! The templates that come with the module: the shipment of the example, in Russian and English.

use super::{EmailTexts, Markup, PushTexts, Template, Texts};
use std::collections::BTreeMap;

macro_rules! text {
    ($language:literal, $name:literal) => {
        include_str!(concat!("../../../templates/shipment/", $language, "/", $name)).trim_end().to_owned()
    };
}

/// How a shipment is told of: for messages `logistics.shipment-moved`.
pub fn shipment() -> Template {
    let push_data = || {
        [
            ("shipment", "{{ shipment }}"),
            ("state", "{{ state }}"),
            ("tracking_number", "{{ tracking_number }}"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
    };
    let russian = Texts {
        email: Some(EmailTexts {
            subject: text!("ru", "subject.txt"),
            text: text!("ru", "mail.txt"),
            html: Some(Markup::Mjml(text!("ru", "mail.mjml"))),
        }),
        sms: Some(text!("ru", "sms.txt")),
        push: Some(PushTexts {
            title: text!("ru", "push_title.txt"),
            body: text!("ru", "push_body.txt"),
            data: push_data(),
        }),
    };
    let english = Texts {
        email: Some(EmailTexts {
            subject: text!("en", "subject.txt"),
            text: text!("en", "mail.txt"),
            html: Some(Markup::Mjml(text!("en", "mail.mjml"))),
        }),
        sms: Some(text!("en", "sms.txt")),
        push: Some(PushTexts {
            title: text!("en", "push_title.txt"),
            body: text!("en", "push_body.txt"),
            data: push_data(),
        }),
    };
    Template {
        id: "shipment".to_owned(),
        version: 1,
        default_language: "en".to_owned(),
        languages: BTreeMap::from([("ru".to_owned(), russian), ("en".to_owned(), english)]),
    }
}
