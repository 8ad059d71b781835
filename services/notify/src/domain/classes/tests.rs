use super::*;
use serde_json::{Value, json};

const fn smtp(code: u16, enhanced: &'static str, text: &'static str) -> Answer<'static> {
    let enhanced = if enhanced.is_empty() { None } else { Some(enhanced) };
    Answer::Smtp { code, enhanced, text, sender: false }
}

/// In reply to MAIL FROM.
const fn sender(code: u16, enhanced: &'static str) -> Answer<'static> {
    let enhanced = if enhanced.is_empty() { None } else { Some(enhanced) };
    Answer::Smtp { code, enhanced, text: "", sender: true }
}

const fn http(status: u16, code: &'static str) -> Answer<'static> {
    at(status, code, "")
}

const fn at(status: u16, code: &'static str, host: &'static str) -> Answer<'static> {
    let code = if code.is_empty() { None } else { Some(code) };
    Answer::Http { status, code, retry_after: None, host }
}

const fn smpp(status: u32) -> Answer<'static> {
    Answer::Smpp { status }
}

fn check(provider: Provider, answer: Answer<'_>, class: Class) {
    let verdict = classify(provider, answer);
    assert_eq!(verdict.class, class, "{answer:?}: {verdict:?}");
    assert!(find(provider, answer).is_some(), "{answer:?} is in no row of the table");
}

/// One test for each row of a table, and one that no row is without a test.
macro_rules! table {
    ($module:ident, $provider:ident; $($name:ident: $answer:expr => $class:expr;)*) => {
        mod $module {
            use super::*;
            $(#[test]
            fn $name() {
                check(Provider::$provider, $answer, $class);
            })*

            #[test]
            fn every_row_has_a_test() {
                let answers = [$($answer),*];
                for row in Provider::$provider.rows() {
                    let found = answers.iter().any(|answer| {
                        find(Provider::$provider, *answer).is_some_and(|found| std::ptr::eq(found, row))
                    });
                    assert!(found, "{:?}", row.key);
                }
            }
        }
    };
}

use Class::{Accepted, Ambiguous, Config, Permanent, Retry, RetryAfter, Suppress, Throttled};
use Scope::{Account, Link, Recipient};

table! { of_smtp, Smtp;
    r250: smtp(250, "2.0.0", "ok") => Accepted;
    r421: smtp(421, "4.7.0", "try later") => Throttled(Account);
    r454_throttling: smtp(454, "", "Throttling failure: maximum send rate") => Throttled(Account);
    r450_sender: sender(450, "4.1.8") => Retry;
    r452_sender: sender(452, "4.2.2") => Retry;
    r452_full: smtp(452, "4.2.2", "over quota") => Retry;
    r450: smtp(450, "4.2.0", "greylisted") => Retry;
    r451: smtp(451, "4.3.0", "local error") => Retry;
    r452: smtp(452, "4.3.1", "out of storage") => Retry;
    r454: smtp(454, "4.7.0", "TLS not available") => Config;
    r552_large: smtp(552, "5.3.4", "message too big for system") => Permanent;
    r552_large_for_the_mailbox: smtp(552, "5.2.3", "message too large") => Permanent;
    r553_utf8: smtp(553, "5.6.7", "non-ASCII addresses not permitted") => Permanent;
    r554_media: smtp(554, "5.6.3", "conversion required") => Permanent;
    r552_sender: sender(552, "") => Permanent;
    r550_sender: sender(550, "5.1.1") => Config;
    r553_sender: sender(553, "5.1.3") => Config;
    r553_sender_large: sender(552, "5.3.4") => Permanent;
    r553_sender_later: smtp(553, "5.1.7", "bad sender address syntax") => Config;
    r550_sender_later: smtp(550, "5.1.8", "sender domain not found") => Config;
    r552_full: smtp(552, "5.2.2", "mailbox full") => Retry;
    r552: smtp(552, "", "exceeded storage allocation") => Retry;
    r530: smtp(530, "5.7.0", "authentication required") => Config;
    r534: smtp(534, "5.7.9", "mechanism too weak") => Config;
    r535: smtp(535, "5.7.8", "credentials invalid") => Config;
    r538: smtp(538, "5.7.11", "encryption required") => Config;
    r550_no_mailbox: smtp(550, "5.1.1", "no such user") => Suppress;
    r556_null_mx: smtp(556, "5.1.10", "null MX") => Suppress;
    r550_disabled: smtp(550, "5.2.1", "disabled") => Suppress;
    r550_policy: smtp(550, "5.7.26", "DMARC") => Permanent;
    r550: smtp(550, "", "mailbox unavailable") => Permanent;
    r551: smtp(551, "", "user not local") => Suppress;
    r553: smtp(553, "5.1.3", "bad mailbox syntax") => Suppress;
    r554: smtp(554, "", "transaction failed") => Permanent;
    r5yz: smtp(501, "5.5.4", "syntax") => Permanent;
    r4yz: smtp(471, "", "later") => Retry;
}

table! { of_ses, Ses;
    daily: smtp(454, "", "Throttling failure: Daily message quota exceeded") => Throttled(Account);
    rate: smtp(454, "", "Throttling failure: Maximum sending rate exceeded") => Throttled(Account);
    unverified: smtp(554, "", "Message rejected: Email address is not verified") => Config;
    taken: smtp(250, "", "Ok 0100") => Accepted;
    connections: smtp(421, "4.4.5", "Too many connections") => Throttled(Account);
    password: smtp(535, "", "Authentication Credentials Invalid") => Config;
    later: smtp(451, "4.4.2", "Timeout") => Retry;
    refused: smtp(554, "", "Transaction failed") => Permanent;
    api_taken: http(200, "") => Accepted;
    throttling: http(400, "ThrottlingException") => Throttled(Account);
    too_many: http(429, "TooManyRequestsException") => Throttled(Account);
    limit: http(400, "LimitExceededException") => Throttled(Account);
    suspended: http(400, "AccountSuspendedException") => Config;
    paused: http(400, "SendingPausedException") => Config;
    domain: http(400, "MailFromDomainNotVerifiedException") => Config;
    rejected: http(400, "MessageRejected") => Permanent;
    bad: http(400, "BadRequestException") => Permanent;
    unauthorized: http(401, "") => Config;
    forbidden: http(403, "") => Config;
    internal: http(500, "") => Retry;
}

table! { of_smpp, Smpp;
    ok: smpp(0) => Accepted;
    throttled: smpp(0x58) => Throttled(Link);
    queue_full: smpp(0x14) => Retry;
    system: smpp(0x08) => Retry;
    unreachable: smpp(0x64) => Retry;
    permanent: smpp(0x65) => Permanent;
    rejects: smpp(0x66) => Retry;
    source: smpp(0x0A) => Config;
    number: smpp(0x0B) => Suppress;
    length: smpp(0x01) => Permanent;
    command_length: smpp(0x02) => Permanent;
    command: smpp(0x03) => Permanent;
    session: smpp(0x04) => Retry;
    bound: smpp(0x05) => Config;
    bind: smpp(0x0D) => Config;
    password: smpp(0x0E) => Config;
    system_id: smpp(0x0F) => Config;
    submit: smpp(0x45) => Permanent;
    source_ton: smpp(0x48) => Config;
    dest_ton: smpp(0x50) => Suppress;
    validity: smpp(0x62) => Permanent;
    vendor: smpp(0x42F) => Retry;
    rest: smpp(0xC3) => Permanent;
}

table! { of_fcm, Fcm;
    taken: http(200, "") => Accepted;
    unregistered: http(404, "UNREGISTERED") => Suppress;
    token_refused: http(400, "invalid_grant") => Config;
    client_refused: http(401, "invalid_client") => Config;
    client_not_allowed: http(400, "unauthorized_client") => Config;
    token: http(400, "INVALID_ARGUMENT token") => Suppress;
    message: http(400, "INVALID_ARGUMENT message") => Permanent;
    sender: http(403, "SENDER_ID_MISMATCH") => Suppress;
    third_party: http(401, "THIRD_PARTY_AUTH_ERROR") => Config;
    quota: http(429, "QUOTA_EXCEEDED") => Throttled(Account);
    too_many: http(429, "") => Throttled(Account);
    unavailable: http(503, "UNAVAILABLE") => Retry;
    internal: http(500, "INTERNAL") => Retry;
    bad: http(400, "FAILED_PRECONDITION") => Permanent;
    denied: http(403, "PERMISSION_DENIED") => Config;
    project: http(404, "NOT_FOUND") => Config;
    gateway: http(502, "") => Retry;
}

table! { of_apns, Apns;
    taken: http(200, "") => Accepted;
    unregistered: http(410, "Unregistered") => Suppress;
    expired: http(410, "ExpiredToken") => Suppress;
    bad_token: http(400, "BadDeviceToken") => Suppress;
    foreign: http(400, "DeviceTokenNotForTopic") => Suppress;
    own_token: http(403, "ExpiredProviderToken") => Retry;
    own_key: http(403, "InvalidProviderToken") => Config;
    updates: http(429, "TooManyProviderTokenUpdates") => Config;
    too_many: http(429, "TooManyRequests") => Throttled(Recipient);
    large: http(413, "PayloadTooLarge") => Permanent;
    topic: http(400, "BadTopic") => Permanent;
    collapse: http(400, "BadCollapseId") => Permanent;
    shutdown: http(503, "Shutdown") => Retry;
    idle: http(400, "IdleTimeout") => Retry;
    internal: http(500, "InternalServerError") => Retry;
    forbidden: http(403, "Forbidden") => Config;
    rest: http(405, "MethodNotAllowed") => Permanent;
}

table! { of_web_push, WebPush;
    created: http(201, "") => Accepted;
    unknown: http(404, "") => Suppress;
    gone: http(410, "") => Suppress;
    windows: at(406, "", "db5.notify.windows.com") => Throttled(Recipient);
    too_many: http(429, "") => Throttled(Recipient);
    large: http(413, "") => Permanent;
    bad: http(400, "") => Permanent;
    unauthorized: http(401, "") => Retry;
    forbidden: http(403, "") => Suppress;
    internal: http(503, "") => Retry;
}

table! { of_twilio, Twilio;
    r20429: http(429, "20429") => Throttled(Account);
    r30001: http(200, "30001") => Throttled(Account);
    r21611: http(429, "21611") => Throttled(Account);
    r30003: http(0, "30003") => Retry;
    r30005: http(0, "30005") => Suppress;
    r30006: http(0, "30006") => Suppress;
    r21635: http(400, "21635") => Suppress;
    r21211: http(400, "21211") => Suppress;
    r21614: http(400, "21614") => Suppress;
    r21612: http(400, "21612") => Suppress;
    r21610: http(400, "21610") => Suppress;
    r30007: http(0, "30007") => Permanent;
    r30036: http(0, "30036") => Retry;
    r20003: http(401, "20003") => Config;
    r21606: http(400, "21606") => Config;
    taken: http(201, "") => Accepted;
    too_many: http(429, "") => Throttled(Account);
    unauthorized: http(401, "") => Config;
    internal: http(500, "20500") => Retry;
    unavailable: http(503, "20503") => Retry;
    no_code: http(500, "") => Ambiguous;
    bad_gateway: http(502, "") => Ambiguous;
    away: http(503, "") => Ambiguous;
    gateway: http(504, "") => Ambiguous;
    rest: http(400, "21602") => Permanent;
}

table! { of_smsc, Smsc;
    r1: http(200, "1") => Permanent;
    r2: http(200, "2") => Config;
    r3: http(200, "3") => Config;
    r4: http(200, "4") => Config;
    r5: http(200, "5") => Permanent;
    r6: http(200, "6") => Permanent;
    r7: http(200, "7") => Suppress;
    r8: http(200, "8") => Suppress;
    r9: http(200, "9") => Accepted;
    taken: http(200, "") => Accepted;
    gateway: http(504, "") => Ambiguous;
    internal: http(500, "") => Retry;
}

table! { of_sms_ru, SmsRu;
    r100: http(200, "100") => Accepted;
    r220: http(200, "220") => Retry;
    r500: http(200, "500") => Retry;
    r230: http(200, "230") => Throttled(Recipient);
    r231: http(200, "231") => RetryAfter;
    r232: http(200, "232") => Accepted;
    r233: http(200, "233") => Accepted;
    r200: http(200, "200") => Config;
    r201: http(200, "201") => Config;
    r204: http(200, "204") => Config;
    r206: http(200, "206") => Config;
    r300: http(200, "300") => Config;
    r301: http(200, "301") => Config;
    r302: http(200, "302") => Config;
    r202: http(200, "202") => Suppress;
    r207: http(200, "207") => Suppress;
    r209: http(200, "209") => Suppress;
    r203: http(200, "203") => Permanent;
    r205: http(200, "205") => Permanent;
    r208: http(200, "208") => Permanent;
    r212: http(200, "212") => Permanent;
    r213: http(200, "213") => Permanent;
    taken: http(200, "") => Accepted;
    gateway: http(504, "") => Ambiguous;
    internal: http(502, "") => Retry;
}

#[test]
fn an_address_goes_exactly_where_the_class_says_so() {
    for provider in Provider::ALL {
        for row in provider.rows() {
            let suppresses = row.class == Class::Suppress;
            assert_eq!(suppresses, row.suppress.is_some(), "{} {:?}", provider.as_str(), row.key);
            assert!(!row.soft || matches!(row.class, Class::Retry | Class::Permanent), "{:?}", row.key);
            assert!(row.class != Class::RetryAfter || row.wait.is_some(), "{:?}", row.key);
            assert!(row.meaning.iter().all(|meaning| !meaning.is_empty()), "{:?}", row.key);
        }
    }
}

#[test]
fn the_server_s_own_pause_is_kept() {
    let answer = |status, wait: u64| Answer::Http {
        status,
        code: None,
        retry_after: Some(Duration::from_secs(wait)),
        host: "",
    };
    let verdict = classify(Provider::Fcm, answer(503, 120));
    assert_eq!((verdict.class, verdict.wait), (RetryAfter, Some(Duration::from_secs(120))));
    // The longer one of the two, and within a day.
    assert_eq!(classify(Provider::Fcm, answer(429, 5)).wait, Some(Duration::from_secs(60)));
    assert_eq!(classify(Provider::Fcm, answer(429, 10_000_000)).wait, Some(Duration::from_secs(86_400)));
    assert_eq!(classify(Provider::WebPush, answer(410, 120)).wait, None);
}

#[test]
fn what_is_said_of_the_sender_is_never_held_against_the_recipient() {
    for provider in [Provider::Smtp, Provider::Ses] {
        for code in 400..600 {
            for enhanced in ["", "5.1.1", "5.1.3", "5.1.10", "5.2.1", "5.2.2", "4.2.2", "5.7.1"] {
                let verdict = classify(provider, sender(code, enhanced));
                assert_eq!((verdict.suppress, verdict.soft), (None, false), "{code} {enhanced}");
            }
        }
    }
}

#[test]
fn that_our_own_connections_are_busy_costs_no_try() {
    let busy = busy(Provider::Smtp);
    assert_eq!((busy.class, busy.soft, busy.slow), (RetryAfter, false, false));
    assert!(explain(&busy, Language::English).contains("uses up no try"));
}

#[test]
fn a_lost_link_is_ambiguous_only_after_all_was_written() {
    for provider in Provider::ALL {
        let broken = |stage| classify(provider, Answer::Broken { stage, text: "" }).class;
        assert_eq!(broken(Stage::Before), Retry);
        assert_eq!(broken(Stage::After), Ambiguous);
    }
}

#[test]
fn codes_nobody_has_heard_of_are_judged_by_the_protocol() {
    for (provider, answer, class) in [
        (Provider::Smsc, http(418, ""), Permanent),
        (Provider::Smsc, http(429, ""), Throttled(Account)),
        (Provider::Smsc, http(403, ""), Config),
        (Provider::WebPush, http(408, ""), Ambiguous),
        (Provider::Fcm, http(418, ""), Permanent),
        (Provider::Ses, http(503, "Whatever"), Retry),
        // An answer in another protocol than the provider speaks.
        (Provider::Twilio, smtp(250, "", ""), Accepted),
        (Provider::Smtp, http(404, ""), Permanent),
        (Provider::Fcm, smpp(1), Permanent),
    ] {
        assert_eq!(classify(provider, answer).class, class, "{provider:?} {answer:?}");
    }
}

fn fcm(body: Value) -> Class {
    let code = code_of(Provider::Fcm, &body);
    let status = body["error"]["code"].as_u64().unwrap_or(0) as u16;
    let answer = Answer::Http { status, code: code.as_deref(), retry_after: None, host: "" };
    classify(Provider::Fcm, answer).class
}

#[test]
fn of_fcm_s_two_invalid_arguments_only_one_costs_the_token() {
    let error = |details: Value| json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message": "x", "details": details } });
    let fcm_error = json!({
        "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT",
    });
    let violation = |field: &str| {
        json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": "Invalid value" }],
        })
    };
    assert_eq!(fcm(error(json!([fcm_error]))), Suppress);
    assert_eq!(fcm(error(json!([violation("message.data[0].value")]))), Permanent);
    assert_eq!(fcm(error(json!([fcm_error, violation("message.token")]))), Suppress);
    // About the message as well: the token is kept.
    assert_eq!(fcm(error(json!([fcm_error, violation("message.android.ttl")]))), Permanent);
    assert_eq!(fcm(error(json!([]))), Permanent);
}

#[test]
fn codes_are_found_in_the_bodies() {
    let unregistered = json!({ "error": { "code": 404, "status": "NOT_FOUND", "details": [
        { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED" },
    ] } });
    assert_eq!(fcm(unregistered), Suppress);
    for (provider, body, code) in [
        (Provider::Apns, json!({ "reason": "BadDeviceToken" }), Some("BadDeviceToken")),
        (Provider::Twilio, json!({ "code": 21610, "message": "x", "status": 400 }), Some("21610")),
        (Provider::Twilio, json!({ "ErrorCode": "30003" }), Some("30003")),
        (Provider::Smsc, json!({ "error": "x", "error_code": 9 }), Some("9")),
        (Provider::Smsc, json!({ "id": 1, "cnt": 1 }), None),
        (Provider::SmsRu, json!({ "status": "OK", "status_code": 100 }), Some("100")),
        (
            Provider::SmsRu,
            json!({ "status_code": 100, "sms": { "+7916": { "status_code": 207 } } }),
            Some("207"),
        ),
        (
            Provider::Ses,
            json!({ "__type": "com.amazonaws#ThrottlingException:http" }),
            Some("ThrottlingException"),
        ),
        (Provider::WebPush, json!({ "code": 410 }), None),
        (Provider::Fcm, json!(null), None),
    ] {
        assert_eq!(code_of(provider, &body).as_deref(), code, "{provider:?} {body}");
    }
}

#[test]
fn receipts_of_smpp() {
    use ReceiptState::{Delivered, OnItsWay, Unclear, Undelivered};
    let temporary = Undelivered { permanent: false };
    let permanent = Undelivered { permanent: true };
    let expected = [
        Unclear, OnItsWay, Delivered, temporary, permanent, permanent, OnItsWay, Unclear, permanent, Unclear,
    ];
    for (state, expected) in expected.into_iter().enumerate() {
        assert_eq!(receipt_state(state as u8), expected, "{state}");
    }
}

#[test]
fn why_it_was_not_tried_again_is_a_sentence_in_both_languages() {
    let stopped = classify(Provider::Twilio, http(400, "21610"));
    assert_eq!(
        explain(&stopped, Language::English),
        "twilio answered 400 21610 (the recipient has unsubscribed): not tried again, and nothing more is sent to this address"
    );
    assert_eq!(
        explain(&stopped, Language::Russian),
        "twilio ответил 400 21610 (получатель отписался): повтора не будет, и на этот адрес больше ничего не отправляется"
    );
    let lost = classify(Provider::Smtp, Answer::Broken { stage: Stage::After, text: "ivan@example.com" });
    let sentence = explain(&lost, Language::English);
    assert!(sentence.contains("it may have arrived") && !sentence.contains("ivan"), "{sentence}");
    for provider in Provider::ALL {
        for row in provider.rows() {
            let answer = match row.key {
                Key::Smtp { from, enhanced, text, sender, .. } => {
                    Answer::Smtp { code: from, enhanced: Some(enhanced), text, sender }
                }
                Key::Http { from, code, host, .. } => {
                    Answer::Http { status: from, code: Some(code), retry_after: None, host }
                }
                Key::Smpp { from, .. } => Answer::Smpp { status: from },
            };
            let verdict = classify(provider, answer);
            for language in [Language::English, Language::Russian] {
                assert!(explain(&verdict, language).len() > 40);
            }
        }
    }
}

#[test]
fn a_verdict_is_stored_and_read_back() {
    let verdict = classify(Provider::Smpp, smpp(0x58));
    assert_eq!(verdict.code, "0x58");
    assert_eq!(
        classify(Provider::Fcm, http(400, "INVALID_ARGUMENT token")).code,
        "400 INVALID_ARGUMENT token"
    );
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}
