mod limits;

use super::*;
use crate::domain::sms_text;
use artel_contract::logistics::{ShipmentMoved, ShipmentState};
use artel_message::Described;
use proptest::prelude::*;
use serde_json::{Value, json};

fn compiled(texts: Value) -> Compiled {
    try_compiled(texts).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn try_compiled(texts: Value) -> Result<Compiled, Vec<String>> {
    let whole = json!({ "id": "test", "default_language": "en", "languages": { "en": texts } });
    let template: Template = serde_json::from_value(whole).unwrap();
    let small = Bounds { steps: 5_000, output: 20_000, ..Bounds::default() };
    Compiled::new(template, small).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn context() -> Context<'static> {
    Context {
        unsubscribe_url: None,
        recipient_name: Some("Иван"),
        recipient_language: Some("ru"),
        zone: chrono_tz::Europe::Moscow,
        now: "2026-11-22T07:00:00Z".parse().unwrap(),
    }
}

fn sms(source: &str, message: Value) -> Result<String, String> {
    let template = try_compiled(json!({ "sms": source })).map_err(|problems| problems.join("; "))?;
    match template.render(Channel::Sms, None, &message, &context()) {
        Ok(Rendered { body: Body::Sms { text }, .. }) => Ok(text),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn schema() -> Value {
    (Described::event::<ShipmentMoved>().schema)().into()
}

#[test]
fn texts_are_filled_from_the_message() {
    assert_eq!(
        sms("{{ a.b }} {{ recipient.name }} {{ lang }}", json!({ "a": { "b": 5 } })).as_deref(),
        Ok("5 Иван en")
    );
    assert_eq!(sms("x{% if a %}{{ a }}{% endif %}", json!({ "a": null })).as_deref(), Ok("x"));
    assert_eq!(
        sms("{% for x in list %}{{ x }},{% endfor %}", json!({ "list": [1, 2] })).as_deref(),
        Ok("1,2,")
    );
    assert_eq!(sms("a\r\n  b", json!({})).as_deref(), Ok("a b"), "a short message is one line");
}

#[test]
fn dates_and_numbers_are_written_as_people_write_them() {
    let template = |language: &str| {
        let texts = json!({ "sms": "{{ at | day }} {{ at | time }}, {{ far | date }}" });
        let whole = json!({ "id": "t", "default_language": language, "languages": { language: texts } });
        Compiled::new(serde_json::from_value(whole).unwrap(), Bounds::default()).unwrap()
    };
    for (language, at, far, expected) in [
        // 22:30 in London is half past one of the next day in Moscow.
        ("ru", "2026-11-22T22:30:00Z", "2027-03-08T12:00:00Z", "завтра 01:30, 8 марта 2027 г."),
        ("ru", "2026-11-22T11:05:00Z", "2026-12-01T12:00:00Z", "сегодня 14:05, 1 декабря"),
        ("en", "2026-11-23T11:05:00Z", "2026-12-01T12:00:00Z", "tomorrow 14:05, 1 December"),
        ("en-GB", "2026-11-25T11:05:00Z", "2027-12-01T12:00:00Z", "25 November 14:05, 1 December 2027"),
        ("de", "2026-11-22T11:05:00Z", "2026-12-01T12:00:00Z", "2026-11-22 14:05, 2026-12-01"),
    ] {
        let message = json!({ "at": at, "far": far });
        let rendered = template(language).render(Channel::Sms, None, &message, &context()).unwrap();
        assert_eq!(rendered.body, Body::Sms { text: expected.to_owned() }, "{language}");
    }
    assert_eq!(
        sms("{{ n }} {{ n | plural('parcel', 'parcels') }}", json!({ "n": 1 })).as_deref(),
        Ok("1 parcel")
    );
    let error = sms("{{ n | plural('a', 'b', 'c') }}", json!({ "n": 1 })).unwrap_err();
    assert!(error.contains("needs 2 forms, not 3"), "{error}");
    let error = sms("{{ n | date }}", json!({ "n": "tomorrow" })).unwrap_err();
    assert!(error.contains("no moment") && !error.contains("tomorrow"), "{error}");
}

#[test]
fn html_is_escaped_and_plain_text_is_not() {
    let template = compiled(json!({ "email": {
        "subject": "{{ name }}", "text": "{{ name }}", "html": { "html": "<p title=\"{{ name }}\">{{ name }}</p>" },
    } }));
    let message = json!({ "name": "<b>\"O'Neil\" & co</b>\r\nBcc: x@example.com" });
    let rendered = template.render(Channel::Email, None, &message, &context()).unwrap();
    let Body::Email { subject, text, html } = rendered.body else { panic!() };
    assert_eq!(subject, "<b>\"O'Neil\" & co</b> Bcc: x@example.com");
    assert!(text.starts_with("<b>\"O'Neil\""));
    let html = html.unwrap();
    assert!(html.contains("&lt;b&gt;") && !html.contains("<b>") && !html.contains("\"O'"), "{html}");
    for out in [
        "{{ name | safe }}",
        "{{ debug() }}",
        "{% include 'x' %}",
        "{% macro x() %}{% endmacro %}",
        "{% extends 'x' %}",
    ] {
        let refused = match try_compiled(
            json!({ "email": { "subject": "s", "text": "t", "html": { "html": out } } }),
        ) {
            Err(_) => true,
            Ok(template) => template.render(Channel::Email, None, &message, &context()).is_err(),
        };
        assert!(refused, "{out}");
    }
}

#[test]
fn a_text_that_takes_too_much_is_stopped() {
    for (source, said) in [
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "takes more than 5000 steps",
        ),
        ("{% for a in range(900) %}twenty-three characters{% endfor %}", "comes out longer than 20000 bytes"),
        ("{% if a %}", "comes out empty"),
    ] {
        let error = sms(source, json!({})).unwrap_err();
        assert!(error.contains(said) || source == "{% if a %}", "{error}");
    }
    let long = "x".repeat(257 << 10);
    assert!(sms(&long, json!({})).unwrap_err().contains("262144 are the most"));
    let nested = format!("{}x{}", "{% if true %}".repeat(300), "{% endif %}".repeat(300));
    assert!(sms(&nested, json!({})).is_err());
    let push = compiled(json!({ "push": { "title": "t", "body": "{{ text }}", "data": { "k": "v" } } }));
    let error =
        push.render(Channel::Push, None, &json!({ "text": "я".repeat(2000) }), &context()).unwrap_err();
    assert_eq!(error.to_string(), "en.push: title, body and data have 4009 bytes; 3500 are the most");
}

#[test]
fn mistakes_are_found_when_it_is_saved() {
    for (texts, said) in [
        (json!({ "sms": "a\nb {{ x" }), "en.sms, line 2: "),
        (json!({ "sms": "{{ x | nofilter }}" }), "en.sms, line 1: "),
        (json!({ "sms": " " }), "en.sms: is empty"),
        (json!({}), "en: has no text for any channel"),
        (
            json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": "<mjml>\n<mj-body>\n<mj-txt>x</mj-txt></mj-body></mjml>" } } }),
            "en.email.html, line 3: there is no element <mj-txt>; did you mean <mj-text>?",
        ),
        (
            json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": "<mjml><mj-head>\n<mj-font nmae=\"x\" href=\"y\" /></mj-head><mj-body></mj-body></mjml>" } } }),
            "en.email.html, line 2: unexpected attribute",
        ),
        (
            json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": "<mjml><mj-body><mj-include path=\"/etc/passwd\" /></mj-body></mjml>" } } }),
            "en.email.html, line 1: mj-include loads nothing here",
        ),
    ] {
        let problems = match try_compiled(texts.clone()) {
            Err(problems) => problems,
            Ok(template) => template.check(&json!(true)).iter().map(ToString::to_string).collect(),
        };
        assert!(problems.iter().any(|problem| problem.starts_with(said)), "{texts}: {problems:?}");
    }
    let none = json!({ "id": "A b", "default_language": "de", "languages": { "en": { "sms": "x" }, "по": { "sms": "x" } } });
    let problems = Compiled::new(serde_json::from_value(none).unwrap(), Bounds::default()).unwrap_err();
    let parts: Vec<&str> = problems.iter().map(|problem| problem.part.as_str()).collect();
    assert_eq!(parts, ["id", "default_language", "по"]);
}

#[test]
fn variables_are_held_against_the_message() {
    let problems = |source: &str| -> Vec<String> {
        let template = compiled(json!({ "sms": source }));
        template.check(&schema()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        problems("{{ state }} {{ now | date }}{% if eta %}{{ eta | day }}{% endif %}{{ lang }}"),
        Vec::<String>::new()
    );
    assert_eq!(
        problems("{% for n in range(3) %}{{ n }}{{ loop.index }}{% endfor %}{% set a = 1 %}{{ a }}"),
        Vec::<String>::new()
    );
    for (source, said) in [
        (
            "a\n{{ tracking_nubmer }}",
            "en.sms, line 2: 'tracking_nubmer' is not there; did you mean 'tracking_number'?",
        ),
        (
            "state\n\n{{ receiver.nmae }}",
            "en.sms, line 3: 'receiver.nmae' is not there; did you mean 'receiver.name'?",
        ),
        (
            "{% if stat == 'lost' %}x{% endif %}y",
            "en.sms, line 1: 'stat' is not there; did you mean 'state'?",
        ),
        (
            "{{ recipient.nam }}",
            "en.sms, line 1: 'recipient.nam' is not there; did you mean 'recipient.name'?",
        ),
        ("x\n{{ eta | day }}", "en.sms, line 2: "),
        ("x {{ place }}", "en.sms, line 1: prints what is not there"),
        ("{% if state == 'lost' %}\n{{ parcels }}{% endif %}x", "en.sms, line 2: prints what is not there"),
        ("{{ recipient.name }}", "en.sms, line 1: prints what is not there"),
    ] {
        let found = problems(source);
        assert!(found.first().is_some_and(|first| first.starts_with(said)), "{source}: {found:?}");
    }
}

#[test]
fn languages_fall_back() {
    let texts = json!({ "id": "t", "default_language": "en", "languages": {
        "ru": { "sms": "русский" }, "pt-BR": { "sms": "brasileiro" }, "en": { "sms": "english", "push": { "title": "t", "body": "b" } },
    } });
    let template = Compiled::new(serde_json::from_value(texts).unwrap(), Bounds::default()).unwrap();
    let language = |channel, wanted| {
        template.render(channel, wanted, &json!({}), &context()).map(|rendered| rendered.language)
    };
    for (wanted, expected) in [
        (Some("ru-RU"), "ru"),
        (Some("RU_ru"), "ru"),
        (Some("pt-br"), "pt-BR"),
        (Some("pt"), "en"),
        (Some("de"), "en"),
        (Some(""), "en"),
        (None, "en"),
    ] {
        assert_eq!(language(Channel::Sms, wanted).as_deref(), Ok(expected), "{wanted:?}");
    }
    assert_eq!(
        language(Channel::Push, Some("ru")).as_deref(),
        Ok("en"),
        "where the language has no text for a channel"
    );
    let error = language(Channel::Email, None).unwrap_err();
    assert_eq!(error.to_string(), "email: the template 't' has no text for it");
}

fn moved(state: ShipmentState, full: bool) -> Value {
    let mut message = json!({
        "shipment": "S-1", "tracking_number": "RB123456789RU", "state": state, "receiver": { "name": "Иван" },
        "occurred_at": "2026-11-22T06:40:00Z",
    });
    if full {
        message["place"] = json!("Москва <склад №3>");
        message["eta"] = json!("2026-11-23T11:30:00Z");
        message["parcels"] = json!(3);
    }
    message
}

fn shipped() -> Compiled {
    Compiled::new(shipment(), Bounds::default()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn the_shipment_s_texts_fit_its_messages() {
    assert_eq!(shipped().check(&schema()), Vec::new());
    assert_eq!(shipment().channels(), Channel::ALL);
}

#[test]
fn the_shipment_is_told_of_in_both_languages() {
    let template = shipped();
    let text = |language: &str, state, full| match template.render(
        Channel::Sms,
        Some(language),
        &moved(state, full),
        &context(),
    ) {
        Ok(Rendered { body: Body::Sms { text }, .. }) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text("ru", ShipmentState::OutForDelivery, true),
        "Курьер везёт посылку RB123456789RU, будет завтра к 14:30"
    );
    assert_eq!(
        text("en", ShipmentState::Delayed, true),
        "Your parcel RB123456789RU is delayed, now expected tomorrow."
    );
    for state in ShipmentState::ALL {
        for full in [false, true] {
            // One short message each, also in Russian.
            let russian = sms_text::count(&text("ru", state, full));
            assert!(russian.parts == 1, "{state:?}: {russian:?}");
            if !full {
                assert_eq!(sms_text::count(&text("en", state, full)).coding, sms_text::Coding::Gsm7);
            }
        }
    }
}

#[test]
fn the_shipment_s_mail_is_whole_in_every_state() {
    let template = shipped();
    for (language, state, full) in ["ru", "en"].into_iter().flat_map(|l| {
        ShipmentState::ALL.into_iter().flat_map(move |state| [(l, state, true), (l, state, false)])
    }) {
        let rendered =
            template.render(Channel::Email, Some(language), &moved(state, full), &context()).unwrap();
        let Body::Email { subject, text, html: Some(html) } = rendered.body else { panic!() };
        assert!(subject.contains("RB123456789RU") && subject.chars().count() < 70, "{subject}");
        assert!(!text.contains("\n\n\n") && text.contains("Иван"), "{text}");
        assert!(!text.contains("{%") && !html.contains("{{") && !html.contains("JinjaTag"), "{html}");
        assert!(html.contains("color-scheme") && html.contains("prefers-color-scheme: dark"));
        assert!(!html.contains("http://www.w3.org/TR") && !html.contains("fonts.googleapis"), "{html}");
        assert_eq!(html.contains("Москва &lt;склад №3&gt;"), full, "{html}");
        // Mail programs cut off what is longer than 102 KB.
        assert!(html.len() < 60_000, "{}", html.len());
        let push = template.render(Channel::Push, Some(language), &moved(state, full), &context()).unwrap();
        let Body::Push { title, body, data } = push.body else { panic!() };
        assert!(title.chars().count() < 40 && body.chars().count() < 120, "{title}: {body}");
        assert_eq!(data["state"], state.as_str());
    }
    let rendered = template
        .render(Channel::Email, Some("ru"), &moved(ShipmentState::Delayed, true), &context())
        .unwrap();
    let Body::Email { text, html, .. } = rendered.body else { panic!() };
    assert_eq!(
        text,
        "Здравствуйте, Иван!\n\nВаша посылка задерживается. Простите, что заставляем ждать.\n\nНомер: RB123456789RU\n\
         Отправление: 3 места\nГде сейчас: Москва <склад №3>\nНовый срок: 23 ноября, 14:30\n\n\
         Это письмо отправлено автоматически, отвечать на него не нужно."
    );
    assert!(html.is_some_and(|html| html.contains("3 места") && html.contains("Новый срок")));
}

#[test]
fn a_preview_shows_every_channel_and_what_it_costs() {
    let preview = shipped().preview(Some("ru"), &sample(&schema(), true), &context());
    assert!(
        preview.messages.len() == 3 && preview.messages.iter().all(|(_, rendered)| rendered.is_ok()),
        "{preview:?}"
    );
    assert_eq!(preview.sms.map(|count| (count.coding, count.parts)), Some((sms_text::Coding::Ucs2, 1)));
    let texts = json!({ "sms": "{{ missing }}", "push": { "title": "t", "body": "b" } });
    let preview = compiled(texts).preview(None, &json!({}), &context());
    let ok: Vec<bool> = preview.messages.iter().map(|(_, rendered)| rendered.is_ok()).collect();
    assert_eq!((ok, preview.sms), (vec![false, true], None));
}

#[test]
fn mistakes_in_mjml_have_their_line_in_it() {
    let mjml = "<mjml><mj-body><mj-section><mj-column>\n<mj-text>x</mj-text>\n<mj-text>{{ place }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    let template = compiled(json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": mjml } } }));
    let problems: Vec<String> = template.check(&schema()).iter().map(ToString::to_string).collect();
    assert!(
        problems.len() == 1 && problems[0].starts_with("en.email.html, line 3: prints what is not there"),
        "{problems:?}"
    );
}

#[test]
fn a_template_is_stored_and_read_back() {
    let stored = serde_json::to_string(&shipment()).unwrap();
    assert_eq!(serde_json::from_str::<Template>(&stored).unwrap(), shipment());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_stands_in_a_message_stays_text(name in "\\PC{0,30}", place in "[<>&\"'{}% a-z\\r\\n]{1,30}") {
        let template = shipped();
        let mut message = moved(ShipmentState::InTransit, true);
        message["place"] = json!(place);
        let context = Context { recipient_name: Some(&name), ..context() };
        let rendered = template.render(Channel::Email, Some("ru"), &message, &context).unwrap();
        let Body::Email { subject, html: Some(html), .. } = rendered.body else { panic!() };
        prop_assert!(!subject.chars().any(char::is_control));
        let other = template.render(Channel::Email, Some("ru"), &moved(ShipmentState::InTransit, true), &context);
        let Ok(Rendered { body: Body::Email { html: Some(plain), .. }, .. }) = other else { panic!() };
        // The same elements, whatever is put into the texts.
        prop_assert_eq!(html.matches('<').count(), plain.matches('<').count());
        prop_assert!(template.render(Channel::Sms, Some("en"), &message, &context).is_ok());
    }

    #[test]
    fn no_template_panics(source in "[a-z {}%#|.\"'<>/=()\\n-]{0,60}", message in "[a-z]{0,5}") {
        if let Ok(template) = try_compiled(json!({ "sms": source, "email": { "subject": source, "text": "t", "html": { "mjml": source } } })) {
            let _ = template.render(Channel::Sms, None, &json!({ "a": message }), &context());
            template.check(&schema());
        }
    }
}
