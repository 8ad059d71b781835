//! What is wrong is refused with a sentence that says what to do.

use crate::process::Process;
use crate::system::{System, consumed, post, program, stderr, stdout};
use artel_frame::client::Outgoing;
use serde_json::{Value, json};
use std::process::Output;

/// `artel run` or `artel check` with this file of settings.
fn with_settings(command: &str, text: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, text).unwrap();
    let data = folder.path().join("data");
    let output =
        program().arg(command).arg("--config").arg(&file).arg("--data-dir").arg(&data).output().unwrap();
    assert!(!data.exists(), "nothing is begun with a wrong configuration");
    let said = stderr(&output).replace(&format!("{}/", folder.path().display()), "");
    (output, said)
}

#[test]
fn every_problem_of_a_configuration_is_said_at_once() {
    let text = "[http]\nlisten = \"8080\"\n[flow]\ntries = 0\nbatch_record = 5\n[bus]\nurl = \"kafka://h\"\n\
                [db]\nurl = \"mysql:x\"\n[bridge]\nno_such_key = 1\n";
    let brokers = if cfg!(feature = "kafka") {
        "my.toml:7: bus.url: 'kafka://h' names a broker without a port; write it as kafka://HOST:PORT,HOST:PORT\n"
    } else {
        "my.toml:7: bus.url: kafka is not compiled in; rebuild with --features kafka\n"
    };
    for command in ["run", "check"] {
        let (output, said) = with_settings(command, text);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{said}");
        for expected in [
            "my.toml:2: http.listen: '8080' is not an address with a port; write it as 127.0.0.1:8080\n",
            "my.toml:4: flow.tries: 0 is out of range; 1 to 100 is allowed\n",
            "my.toml:5: flow.batch_record: no such key; did you mean 'batch_records'?\n",
            brokers,
            "my.toml:9: db.url: no adapter for 'mysql:'; write sqlite: or postgres://USER:PASSWORD@HOST/DATABASE\n",
            "my.toml:11: bridge.no_such_key: no such key; known are ",
            "artel: 6 problems in the configuration; config/artel.toml explains every setting\n",
        ] {
            assert!(said.contains(expected), "{expected} is missing in:\n{said}");
        }
    }
}

#[test]
fn a_scheme_that_is_none_is_refused_before_anything_begins() {
    let (output, said) = with_settings("run", "[bus]\nurl = \"segmets:x\"\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with(
        "my.toml:2: bus.url: no adapter for 'segmets:'; write segments: or kafka://HOST:PORT\n"
    ));
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    for (text, said) in [
        (
            "[node]\nroles = [\"billing\"]\n",
            "my.toml:2: node.roles: no service is called 'billing'; there are bridge, notify\n",
        ),
        (
            "[kafka]\nsecurity = \"sasl_ssl\"\n",
            "kafka.password: missing; kafka.security asks for a password\n",
        ),
        (
            "[kafka]\nca_file = \"ca.pem\"\n",
            "my.toml:2: kafka.ca_file: kafka.security uses no TLS; make it ssl",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:7001\"\n",
            "my.toml:2: peers.listen: other nodes prove by peers.secret",
        ),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"\n",
            "my.toml:2: http.listen: 0.0.0.0:8080 can be reached from other machines",
        ),
    ] {
        for command in ["run", "check"] {
            let (output, told) = with_settings(command, text);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains(said), "{said} is missing in:\n{told}");
        }
    }
}

/// The sentence of a problem document with this status.
async fn refusal(process: &Process, status: u16, body: Value) -> String {
    let answer = post(process, "/api/bridge/messages", &body).await;
    assert_eq!(answer.status, status, "{body}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    answer.problem()
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_is_refused_and_says_why() {
    let process = Process::start().await;
    let said = refusal(&process, 400, json!({ "topic": "not a topic!", "value": 1 })).await;
    assert!(said.contains("topic"), "{said}");
    let said = refusal(&process, 400, json!({ "topic": "t", "value": 1, "extra": 1 })).await;
    assert!(said.contains("extra"), "{said}");
    let said = refusal(&process, 400, json!({ "topic": "t", "value": 1, "headers": { "ce_id": "x" } })).await;
    assert!(said.contains("ce_id"), "{said}");
    let said = refusal(&process, 403, json!({ "topic": "bridge.commands", "value": 1 })).await;
    assert!(said.contains("bridge"), "{said}");
    let answer =
        post(&process, "/api/bridge/messages", &json!({ "topic": "t", "value": "x".repeat(3 << 20) })).await;
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    assert!(answer.problem().contains("max_message_bytes"), "{}", answer.problem());
}

#[tokio::test]
async fn bad_lines_of_a_batch_are_named() {
    let process = Process::start().await;
    let body = "{\"topic\":\"t\",\"value\":1}\n{\"topic\":\n{\"topic\":\"t\",\"value\":2}\n{\"topic\":\"no topic\",\"value\":3}\n";
    let request = Outgoing::new("POST".parse().unwrap(), "/api/bridge/messages:batch")
        .body("application/x-ndjson", body);
    let answer = process.client().send(request).await.unwrap();
    let counts: Value = answer.json().unwrap();
    assert_eq!((&counts["accepted"], &counts["refused"]), (&json!(2), &json!(2)), "{counts}");
    let lines: Vec<&Value> =
        counts["errors"].as_array().unwrap().iter().map(|error| &error["line"]).collect();
    assert_eq!(lines, [2, 4]);
    consumed(&process, 2).await;
}
