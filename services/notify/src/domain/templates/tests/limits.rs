//! What one text may cost: to compile, to try, to fill.

use super::*;
use std::fmt::Write as _;

fn mjml(inside: &str) -> Value {
    let source = format!("<mjml>\n<mj-body>\n<mj-raw>{inside}</mj-raw>\n</mj-body></mjml>");
    json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": source } } })
}

fn html(inside: &str) -> String {
    let template = compiled(mjml(inside));
    let rendered = template.render(Channel::Email, None, &json!({ "a": "A" }), &context()).unwrap();
    let Body::Email { html: Some(html), .. } = rendered.body else { panic!() };
    html
}

fn refused(texts: Value, said: &str) {
    let problems = try_compiled(texts).map(drop).expect_err(said);
    assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:?}");
}

#[test]
fn mjml_goes_so_deep_and_no_deeper() {
    let deep = |count: usize| format!("{}x{}", "<a>".repeat(count), "</a>".repeat(count));
    assert!(html(&deep(90)).contains("<a>x</a>"));
    for inside in [
        deep(60_000).as_str(),
        &"<a>".repeat(60_000),
        &"<a><!-- </a> -->".repeat(200),
        &"<a title='</a>'>".repeat(200),
        &"<!--[if mso]><a><![endif]-->".repeat(200),
    ] {
        let problems = try_compiled(mjml(inside)).map(drop).unwrap_err();
        assert!(problems[0].starts_with("en.email.html"), "{problems:?}");
    }
    refused(
        mjml(&format!("\n{}", deep(101))),
        "en.email.html, line 4: elements stand in each other more than 100 deep",
    );
    // What has no end, or nothing in it, is no deeper; nor is what stands in a comment.
    let flat = "<br><img src='x'/><hr><!-- <a><a> --><p>y</p>".repeat(150);
    assert_eq!(html(&flat).matches("<p>y</p>").count(), 150);
}

#[test]
fn mjml_has_so_many_elements_and_tags_and_no_more() {
    refused(mjml(&"<p></p>".repeat(2_000)), "there are more than 2000 elements");
    refused(
        mjml(&"{{ a }}\n".repeat(2_001)),
        "en.email.html, line 2003: there are more than 2000 tags of Jinja",
    );
    let mut each = String::new();
    (0..1_000).for_each(|n| write!(each, "{n}{{{{ a }}}},").unwrap());
    let filled = html(&each);
    assert!(filled.contains("0A,1A,2A,") && filled.contains("998A,999A,"), "each where it was");
    let shared = format!("<mj-attributes><mj-all css-class=\"{}\" /></mj-attributes>", "x".repeat(5_000));
    let source = format!("<mjml><mj-head>{shared}</mj-head><mj-body></mj-body></mjml>");
    let texts = json!({ "email": { "subject": "s", "text": "t", "html": { "mjml": source } } });
    refused(texts, "<mj-attributes> has more than 4096 bytes");
}

#[test]
fn what_makes_texts_and_lists_of_any_size_is_refused_by_its_line() {
    for (source, said) in [
        ("{{ 'x' * 20000000 }}", "'*' is not taken"),
        ("{{ ('x' * 20000000) | length }}", "'*' is not taken"),
        ("{% if 2 ** 100 %}{% endif %}", "'**' is not taken"),
        ("{% set a = a ~ a %}", "'~' is not taken"),
        ("{{ a + a }}", "'+' is taken with a number"),
        ("{% for i in range(20) %}{{ 1 if a + a else 2 }}{% endfor %}", "'+' is taken with a number"),
        ("{% set a %}x{% endset %}", "{% set %} with a block"),
        ("{% filter upper %}x{% endfilter %}", "{% filter %}"),
        ("{% for x in a recursive %}{{ loop(x) }}{% endfor %}", "a loop that calls itself"),
        ("{% autoescape false %}{{ a }}{% endautoescape %}", "{% autoescape %}"),
        ("{% set a = [a, a] %}", "a list of what is no constant"),
        ("{% set a, b = b, a %}", "a list of what is no constant"),
        ("{% with a = [a] %}{% endwith %}", "a list of what is no constant"),
        ("{% for b in [[a, a]] %}{% endfor %}", "a list of what is no constant"),
        ("{% for b in [[a]|list] %}{% endfor %}", "a list of what is no constant"),
        ("{{ {'a': a} }}", "a map that is written here holds constants only"),
        ("{% set a = a | map(attribute='x', default=a) %}", "'map' takes constants only"),
        ("{{ a | map('safe') | join }}", "there is no filter 'safe'"),
        ("{{ range(*a) }}", "arguments are written one by one"),
        ("{{ a | uper }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("{{ a | pprint }}", "there is no filter 'pprint'"),
    ] {
        refused(json!({ "sms": format!("a\n{source}") }), &format!("en.sms, line 2: {said}"));
    }
    refused(json!({ "sms": format!("{{{{ [{}] | length }}}}", "a,".repeat(101)) }), "up to 100 elements");
    refused(json!({ "sms": "{{ a[1:] }}".repeat(21) }), "more than 20 slices");
    let message = json!({ "n": 2, "s": "xyz", "list": [{ "name": "a" }, { "name": "b" }] });
    for (source, expected) in [
        ("{{ n + 1 }} {{ n - 1 }} {{ 7 // n }} {{ -n + 4 }}", "3 1 3 2"),
        ("{% if s in ['xyz', 'b'] and n == 2 %}yes{% endif %}", "yes"),
        ("{{ list | map(attribute='name') | join(', ') }}", "a, b"),
        ("{{ list | map(attribute='nme', default='?') | join }}", "??"),
        ("{{ [s, n] | join(' ') }} {{ s[:2] | upper }} {{ s | replace('x', 'z') }}", "xyz 2 XY zyz"),
        ("{% set m = {'xyz': 'found'} %}{{ m[s] }} {{ list | length }} {{ q | default('-') }}", "found 2 -"),
        ("{% for one in list | selectattr('name', 'eq', 'b') %}{{ loop.index + 1 }}{% endfor %}", "2"),
    ] {
        assert_eq!(sms(source, message.clone()).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn filters_work_on_so_much_and_no_more() {
    let long = "x<".repeat(20_000);
    let message = json!({ "t": long, "many": vec![long.as_str(); 3] });
    for source in [
        "{% for i in range(100) %}{{ t | upper | length }}{% endfor %}",
        "{{ t | replace('x', t) | length }}",
        "{{ t | replace('', t) | length }}",
        "{{ range(90000) | join(t) | length }}",
        "{{ range(90000) | list | length }}",
        "{{ t | list | sort | list | length }}{{ t | list | reverse | list | length }}{{ t | list | length }}",
        "{% for i in range(9) %}{{ many | map('escape') | list | length }}{% endfor %}",
    ] {
        let error = sms(source, message.clone()).unwrap_err();
        assert!(error.contains("gives filters more than 262144 bytes to work on"), "{source}: {error}");
    }
    assert_eq!(sms("{{ t | upper | length }}", message).as_deref(), Ok("40000"));
}

#[test]
fn a_check_as_a_whole_ends() {
    let values: Vec<String> = (0..150).map(|n| format!("v{n}")).collect();
    let schema = json!({ "type": "object", "properties": { "a": { "enum": values } }, "required": ["a"] });
    let slow = "{% for x in range(30000) %}{% if x == a %}y{% endif %}{% endfor %}z";
    let languages: Map = (0..50u8)
        .map(|n| {
            (format!("x{}{}", char::from(b'a' + n / 10), char::from(b'a' + n % 10)), json!({ "sms": slow }))
        })
        .collect();
    let whole = json!({ "id": "test", "default_language": "xaa", "languages": languages });
    let template = Compiled::new(
        serde_json::from_value(whole).unwrap(),
        Bounds { steps: 1_000_000, ..Bounds::default() },
    );
    let problems = template.unwrap().check(&schema);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("languages: takes more than 20000000 steps"), "{problems:?}");

    // As many problems as anybody reads.
    let wrong: String = (0..500).fold(String::new(), |text, n| text + &format!("{{{{ wrong_{n} }}}}"));
    let problems = compiled(json!({ "sms": wrong })).check(&schema);
    assert_eq!(problems.len(), 50);
    let message = json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" }, "c": { "$ref": "#" } } });
    assert_eq!(compiled(json!({ "sms": "x{% if a %}y{% endif %}" })).check(&message), Vec::new());
}

type Map = serde_json::Map<String, Value>;

#[test]
fn data_are_held_against_what_the_texts_of_a_channel_name() {
    let fields = Fields::new(&shipment(), schema());
    let message = moved(ShipmentState::InTransit, true);
    let misfit = |channels: &[Channel], message: &Value| fields.misfit(channels, message);
    assert_eq!(misfit(&Channel::ALL, &message), None);
    let mut less = message.clone();
    less.as_object_mut().unwrap().remove("tracking_number");
    // Nobody reads the receiver there, though messages always have one.
    less.as_object_mut().unwrap().remove("receiver");
    assert_eq!(misfit(&[Channel::Sms], &less).map(|(field, _)| field).as_deref(), Some("tracking_number"));
    let mut wrong = message;
    wrong["parcels"] = json!("three");
    assert_eq!(misfit(&[Channel::Email], &wrong).map(|(field, _)| field).as_deref(), Some("parcels"));
    assert_eq!(misfit(&[], &wrong), None);
}
