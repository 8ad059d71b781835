use super::*;
use crate::domain::schema::Schema;
use artel_contract::logistics::ShipmentMoved;
use artel_message::Described;
use proptest::prelude::*;
use serde_json::json;

fn met(text: &str, message: &Value) -> bool {
    text.parse::<Condition>().unwrap_or_else(|error| panic!("{text}: {error}")).is_met(message)
}

#[test]
fn conditions_mean_what_they_say() {
    let message = json!({
        "state": "lost", "n": 5, "big": 9_007_199_254_740_993u64, "half": 2.5, "yes": true, "no": false,
        "tags": ["a", "b"], "receiver": { "language": "ru", "name": null }, "list": [{ "x": 1 }],
    });
    for (text, expected) in [
        ("state == \"lost\"", true),
        ("state == 'lost' and n > 4", true),
        ("state != \"lost\" or n >= 5", true),
        ("state in [\"delayed\", \"lost\"]", true),
        ("state not in ['lost']", false),
        ("\"a\" in tags", true),
        ("'c' not in tags", true),
        ("n == 5.0", true),
        ("big == 9007199254740992", false),
        ("big > 9007199254740992", true),
        ("half < 3 and half > -1.5e1", true),
        ("yes", true),
        ("no", false),
        ("not no", true),
        ("n", false),
        ("exists(receiver.language) and not exists(receiver.name)", true),
        ("missing == null and receiver.name == null", true),
        ("missing < 5 or missing > 5", false),
        ("state < 5 or state > 5", false),
        ("state < \"m\"", true),
        ("list[0].x == 1 and list[1].x == null", true),
        ("n == 1 or n == 5 and yes", true),
        ("(n == 5 or n == 1) and no", false),
        ("not (n == 5) or not not yes", true),
        ("true", true),
        ("5 == n", true),
        ("tags == ['a', \"b\"]", true),
        ("state == 'it\\'s \\\"x\\\"'", false),
    ] {
        assert_eq!(met(text, &message), expected, "{text}");
    }
}

#[test]
fn what_is_no_condition_says_where() {
    for (text, at, reason) in [
        ("", 1, "expected a value or a path, found the end"),
        ("state", 0, ""),
        ("state = 'lost'", 7, "one '=' compares nothing; write '=='"),
        ("state == ", 10, "expected a value or a path, found the end"),
        ("state == 'lost' and", 20, "expected a value or a path, found the end"),
        ("state == 'lost", 10, "the text is not closed"),
        ("state == 'lost' 'x'", 17, "expected 'and', 'or' or the end, found the text \"x\""),
        ("(state == 'lost'", 17, "expected ')', found the end"),
        ("state in 'lost'", 10, "behind 'in' stands a list in brackets, or a path to one"),
        ("state not 'lost'", 11, "expected 'in' behind 'not', found the text \"lost\""),
        ("state in ['lost' 'x']", 18, "expected ',', found the text \"x\""),
        ("1 == 2", 1, "two values are compared; one side has to be a path"),
        ("'x'", 1, "a value alone is no condition; compare it with something"),
        ("a..b == 1", 1, "'a..b' is no path; write it as receiver.email or parcels[0].weight"),
        ("exists('x')", 8, "expected a path, found the text \"x\""),
        ("exists(and)", 8, "expected a path, found 'and'"),
        ("a == 1x", 6, "'1x' is no number"),
        ("a == 1 && b == 2", 8, "'&' means nothing here"),
        ("a == 'x\\q'", 8, "unknown escape; there are \\\\, \\\", \\' and \\n"),
        ("ключ == 1 и b == 2", 11, "expected 'and', 'or' or the end, found 'и'"),
    ] {
        match text.parse::<Condition>() {
            Ok(_) => assert_eq!(at, 0, "{text}"),
            Err(error) => assert_eq!((error.at, error.reason.as_str()), (at, reason), "{text}"),
        }
    }
    let deep = format!("{}a == 1{}", "(".repeat(40), ")".repeat(40));
    assert!(deep.parse::<Condition>().unwrap_err().reason.contains("nested deeper than 32"));
    let deep = format!("{}a", "not ".repeat(400));
    assert!(deep.parse::<Condition>().unwrap_err().reason.contains("nested deeper than 32"));
    let long = vec!["a == 1"; 500].join(" or ");
    assert!(long.parse::<Condition>().unwrap_err().reason.contains("longer than 2000"));
}

#[test]
fn what_can_t_be_met_is_found_before_it_is_waited_for() {
    let schema: Value = (Described::event::<ShipmentMoved>().schema)().into();
    let mistakes = |text: &str| -> Vec<String> {
        let condition: Condition = text.parse().unwrap();
        condition.check(Schema::new(&schema)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        mistakes("state in ['lost', 'delayed'] and exists(eta) and parcels > 1"),
        Vec::<String>::new()
    );
    assert_eq!(mistakes("eta == null or receiver.language != 'ru'"), Vec::<String>::new());
    for (text, said) in [
        ("staet == 'lost'", "at character 1: staet: 'staet' is not there; did you mean 'state'?"),
        (
            "exists(eta) and receiver.mail == 'x'",
            "at character 17: receiver.mail: 'receiver.mail' is not there; did you mean 'receiver.email'?",
        ),
        (
            "state == 'delievered'",
            "at character 1: state: is never \"delievered\"; did you mean \"delivered\"?",
        ),
        (
            "state in ['lost', 'x']",
            "at character 1: state: is never \"x\"; it is one of in_transit, out_for_delivery, delivered, lost, accepted, at_depot, delayed",
        ),
        ("state != 'gone'", "at character 1: state: is never \"gone\"; it is one of in_transit"),
        ("state == 5", "at character 1: state: is never a number, such as 5"),
        ("state == null", "at character 1: state: is never null, such as null"),
        ("parcels == 'one'", "at character 1: parcels: is never a text"),
        ("state", "at character 1: state: is never true or false"),
        ("receiver < 5", "at character 1: receiver: is neither a number nor a text"),
        ("state in []", "at character 1: state: is compared with an empty list"),
        ("'x' in state", "at character 8: state: is no list"),
        (
            "state == 'lost' and state == 'delayed'",
            "at character 21: state: can't be \"lost\" and \"delayed\" at once",
        ),
    ] {
        let found = mistakes(text);
        assert!(found.first().is_some_and(|first| first.starts_with(said)), "{text}: {found:?}");
    }
}

#[test]
fn it_is_stored_as_it_was_written() {
    let json = json!("  state ==   'lost' ");
    let condition: Condition = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(condition).unwrap(), json);
    let error = serde_json::from_value::<Condition>(json!("a ==")).unwrap_err().to_string();
    assert!(error.contains("at character 5"), "{error}");
}

proptest! {
    #[test]
    fn no_text_panics_and_the_place_lies_within_it(text in "[a-c .()\\[\\]'\"=!<>0-9,\\\\я]{0,40}|\\PC{0,40}") {
        if let Err(error) = text.parse::<Condition>() {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{}", error);
        }
    }

    #[test]
    fn words_in_any_order_do_not_panic(words in prop::collection::vec(
        prop::sample::select(vec!["a", "b.c", "and", "or", "not", "in", "exists", "(", ")", "==", "<", "1", "'x'", "[", "]", ","]), 0..20,
    )) {
        if let Ok(condition) = words.join(" ").parse::<Condition>() {
            condition.is_met(&json!({ "a": 1, "b": { "c": ["x"] } }));
            condition.check(Schema::new(&json!({ "type": "object", "properties": { "a": { "type": "integer" } } })));
        }
    }

    #[test]
    fn not_turns_every_answer_round(n in -5..5i64, m in -5..5i64, sign in prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="])) {
        let message = json!({ "n": n });
        let plain = met(&format!("n {sign} {m}"), &message);
        prop_assert_eq!(met(&format!("not n {sign} {m}"), &message), !plain);
        let same = match sign { "==" => n == m, "!=" => n != m, "<" => n < m, "<=" => n <= m, ">" => n > m, _ => n >= m };
        prop_assert_eq!(plain, same);
    }
}
