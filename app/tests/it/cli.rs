//! The commands that talk to a node, and those that need none.

use crate::process::Process;
use crate::system::{System, artel, consumed, post, program, stderr, stdout};
use crate::until::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

async fn with_messages() -> Process {
    let process = Process::start().await;
    for n in 0..3 {
        let message = json!({ "topic": "greetings", "key": "ann", "value": { "n": n } });
        assert_eq!(post(&process, "/api/bridge/messages", &message).await.status, 202);
    }
    consumed(&process, 3).await;
    process
}

#[tokio::test]
async fn what_a_node_knows_is_shown() {
    let process = with_messages().await;
    let run = |args: &[&str]| ok(artel(&process, args).output().unwrap());
    let topics = run(&["topics"]);
    assert!(topics.starts_with("topic ") && topics.contains("\ngreetings "), "{topics}");
    assert!(run(&["topics", "greetings"]).contains("partition  begin  end"));
    let groups = run(&["groups"]);
    assert!(groups.contains("bridge") && groups.contains("running"), "{groups}");
    assert!(run(&["topology"]).contains("bridge"));
    assert!(run(&["topology", "--format", "mermaid"]).starts_with("flowchart LR\n"));
    let json: Value = serde_json::from_str(&run(&["topology", "--format", "json"])).unwrap();
    assert!(!json["items"].as_array().unwrap().is_empty());
    let status = run(&["status"]);
    assert!(status.contains("ready, this one") && status.ends_with("nothing is wrong\n"), "{status}");
    assert!(status.contains("keeper") && status.contains("outbox"), "{status}");
    let json: Value = serde_json::from_str(&run(&["status", "--format", "json"])).unwrap();
    assert_eq!((&json["nodes"][0]["ready"], &json["problems"]), (&json!(true), &json!([])));
    assert_eq!(run(&["dead", "list"]), "no message was given up on\n");
    assert_eq!(run(&["dead", "causes"]), "no message was given up on\n");
    assert_eq!(run(&["dead", "retry", "--service", "bridge", "--dry-run"]), "0 would be tried\n");
    assert_eq!(run(&["parked", "list"]), "no key is parked\n");
    assert_eq!(run(&["audit"]), "nothing was done by hand\n");
    assert!(run(&["cache"]).starts_with("key "));
    let schedules = run(&["schedules", "list"]);
    assert!(
        schedules.starts_with("service ")
            && schedules.contains("bridge.purge ")
            && schedules.contains("  17 * * * *  UTC "),
        "{schedules}"
    );
    assert_eq!(run(&["schedules", "run", "bridge", "bridge.purge"]), "bridge.purge of bridge is due now\n");
    let none = artel(&process, &["schedules", "run", "bridge", "bridge.perge"]).output().unwrap();
    assert!(stderr(&none).contains("there is: bridge.purge"), "{}", stderr(&none));
}

#[tokio::test]
async fn tail_shows_messages_from_where_it_is_told() {
    let process = with_messages().await;
    let run = |args: &[&str]| ok(artel(&process, args).output().unwrap());
    let lines = run(&["tail", "greetings", "--from", "beginning", "-n", "3"]);
    let values: Vec<&str> = lines.lines().map(|line| line.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(values, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    let json =
        run(&["tail", "greetings", "--from", "beginning", "--contains", "\"n\":1", "-n", "1", "--json"]);
    let message: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&message["value"], &message["key"]), (&json!({ "n": 1 }), &json!("ann")));
    let none = artel(&process, &["tail", "no-such-topic"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("topic 'no-such-topic' does not exist"), "{}", stderr(&none));
}

#[tokio::test]
async fn migrations_are_shown_by_a_running_node_and_by_the_databases_themselves() {
    let mut process = with_messages().await;
    let migrate = |process: &Process, step: &str| ok(artel(process, &["migrate", step]).output().unwrap());
    let running = migrate(&process, "status");
    assert_eq!(migrate(&process, "apply"), "nothing is pending\n");
    process.stop().await;
    let status = migrate(&process, "status");
    assert_eq!(status, running);
    assert!(
        status.contains("bridge") && status.contains("applied") && !status.contains("pending"),
        "{status}"
    );
    assert_eq!(migrate(&process, "plan"), "nothing is pending\n");
    assert_eq!(migrate(&process, "apply"), "nothing is pending\n");
}

#[tokio::test]
async fn tail_goes_on_over_a_restart_of_the_node() {
    let mut process = with_messages().await;
    let mut tail = artel(&process, &["tail", "greetings", "--from", "beginning", "-n", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap().rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!([next(), next(), next()], ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    process.restart().await;
    let message = json!({ "topic": "greetings", "key": "ann", "value": { "n": 3 } });
    assert_eq!(post(&process, "/api/bridge/messages", &message).await.status, 202);
    assert_eq!(next(), "{\"n\":3}");
    let ended = until("the end of tail", async || tail.try_wait().unwrap()).await;
    assert!(ended.success());
}

/// Answers each connection with the next of these, and ends.
fn answers(listener: TcpListener, answers: Vec<String>) {
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
}

/// A node on its way up takes connections before its new token lies in the folder, and may be busy.
#[tokio::test]
async fn tail_goes_on_when_a_node_that_comes_back_refuses_at_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stream = |n: u32| {
        let shown = json!({ "partition": 0, "offset": n, "time": "T", "key": null, "value": n });
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: 0:{n}\ndata: {shown}\n\n"
        )
    };
    let refusal =
        |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let (unknown, busy) = (refusal("401 Unauthorized"), refusal("503 Service Unavailable"));
    answers(listener, vec![stream(1), unknown, busy, stream(2)]);
    let tail = move || program().args(["tail", "t", "-n", "2", "--url", &url]).output().unwrap();
    let shown = ok(tokio::task::spawn_blocking(tail).await.unwrap());
    assert_eq!(shown, "T 0/1 - 1\nT 0/2 - 2\n");
}

#[tokio::test]
async fn standard_input_is_sent_as_it_comes() {
    let process = Process::start().await;
    let mut producer = artel(&process, &["produce", "--topic", "piped"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = producer.stdin.take().unwrap();
    writeln!(input, "1").unwrap();
    consumed(&process, 1).await;
    writeln!(input, "2\n3").unwrap();
    drop(input);
    let output = producer.wait_with_output().unwrap();
    assert!(ok(output).starts_with("accepted 3, refused 0, "));
    consumed(&process, 3).await;
}

#[test]
fn without_a_node_the_way_to_one_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = program()
        .args(["topics", "--url", "http://127.0.0.1:1", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.starts_with("artel: no connection to http://127.0.0.1:1 ("), "{said}");
    assert!(
        said.ends_with("); is a node running? start one with ./run, or name another with --url\n"),
        "{said}"
    );
}

#[tokio::test]
async fn without_the_token_the_way_to_it_is_said() {
    let process = Process::start().await;
    let folder = tempfile::tempdir().unwrap();
    let output = program()
        .args(["groups", "--url", &process.url(), "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("ARTEL_TOKEN"), "{}", stderr(&output));
}

#[test]
fn every_command_has_an_example() {
    let commands = [
        "run",
        "produce",
        "tail",
        "topics",
        "groups",
        "cache",
        "dead",
        "parked",
        "audit",
        "why",
        "schedules",
        "topology",
        "status",
        "check",
        "config",
        "migrate",
    ];
    let overview = ok(program().arg("--help").output().unwrap());
    for command in commands {
        assert!(overview.contains(&format!("  {command} ")), "{command} is not in the overview");
        let help = ok(program().args([command, "--help"]).output().unwrap());
        assert!(help.contains("example: artel "), "{command}: {help}");
    }
}

#[test]
fn the_settings_in_effect_are_printed_with_their_sources_and_without_secrets() {
    let run = |command: &str| {
        program()
            .args([command, "--listen", "127.0.0.1:9999"])
            .env("ARTEL_AUTH_OPERATOR_TOKEN", "a-very-secret-token")
            .output()
            .unwrap()
    };
    let text = ok(run("config"));
    assert!(text.contains("listen = \"127.0.0.1:9999\"") && text.contains("# --listen"), "{text}");
    assert!(text.contains("operator_token = \"***\"") && !text.contains("a-very-secret"), "{text}");
    assert_eq!(ok(run("check")), "the configuration is fine\n");
}

#[tokio::test]
async fn a_line_may_be_as_long_as_the_node_is_set_to_take() {
    let folder = tempfile::tempdir().unwrap();
    let (file, settings) = (folder.path().join("long.ndjson"), folder.path().join("my.toml"));
    std::fs::write(&file, format!("\"{}\"\n1\n", "x".repeat(5 << 20))).unwrap();
    std::fs::write(&settings, "[bus]\nmax_message_bytes = \"8MiB\"\n").unwrap();
    let generous = Process::with(None, &["--config", settings.to_str().unwrap()]).await;
    let sent = artel(&generous, &["produce", "--topic", "long"]).arg(&file).output().unwrap();
    assert!(stdout(&sent).starts_with("accepted 2, refused 0, "), "{}{}", stdout(&sent), stderr(&sent));
    let usual = Process::start().await;
    let sent = artel(&usual, &["produce", "--topic", "long"]).arg(&file).output().unwrap();
    assert!(stdout(&sent).starts_with("accepted 1, refused 1, "), "{}{}", stdout(&sent), stderr(&sent));
    let said = stderr(&sent);
    assert!(said.starts_with("line 1: ") && said.contains("bus.max_message_bytes"), "{said}");
}
