//! What can't work is said in a sentence that names the setting and what to do, and shows no secret: wrong credentials, a topic
//! that was changed, data of another log, a database of a newer program, settings that don't fit together.

use crate::address;
use crate::backends::Backends;
use crate::java::{TOPICS, Tools};
use crate::nodes::{Nodes, Servers};
use crate::system::{consumed, get, post};
use artel_store::{Lane, Store, StoreSettings};
use serde_json::json;

const SECRET: &str = "the-wrong-word";

/// The exit code of a node with these settings, which is not ready first, and the last line that it says.
async fn ends(servers: Servers, settings: &str) -> (Option<i32>, String) {
    let mut nodes = Nodes::unready(servers, settings);
    let status = nodes.processes[0].ended().await;
    let log = nodes.processes[0].log();
    assert!(!log.contains(SECRET), "{log}");
    (status.code(), last(&log).to_owned())
}

async fn send(nodes: &Nodes) {
    let message = json!({ "topic": "greetings", "key": "ann", "value": 1 });
    let answer = post(nodes, "/api/bridge/messages", &message).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

const OTHER_LOG: [&str; 3] = [
    "the database of service 'bridge' belongs to another log: its places in topic 'bridge.commands' are of log ",
    "point bus.url and kafka.topic_prefix at the log that this database was used with",
    "nodes that share a database share a log on kafka: as well",
];

fn last(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}

fn check(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "'{part}' is missing in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_postgres_refuses_end_the_start() {
    let Some(servers) = Servers::given().await else { return };
    let (scheme, rest) = servers.database.url.split_once("://").unwrap();
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    let url = format!("{scheme}://nobody-here:{SECRET}@{server}");
    let settings = servers.settings("node-1", "").replace(&servers.database.url, &url);
    let (code, said) = ends(servers, &settings).await;
    assert_eq!(code, Some(2), "{said}");
    check(&said, &["the database (db.url)", "refuses the user or the password of the URL", "nobody-here"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_redis_refuses_are_said_and_the_node_works_without() {
    let Some(servers) = Servers::given().await else { return };
    let url = servers.redis.replace("redis://", &format!("redis://somebody:{SECRET}@"));
    let settings = servers.settings("node-1", "").replace(&servers.redis, &url);
    let nodes = Nodes::unready(servers, &settings);
    let sentence = "it refuses the user or the password; correct them in the cache's URL";
    let report = nodes.report(200, &["\"cache\":{\"status\":\"degraded\"", sentence]).await;
    send(&nodes).await;
    consumed(&nodes, 1).await;
    let log = nodes.processes[0].log();
    check(&log, &[sentence]);
    assert!(!log.contains(SECRET) && !report.contains(SECRET), "{report}\n{log}");
}

/// A broker that also listens where users log in.
fn broker_with_login(port: u16) -> Option<Backends> {
    let settings = [
        format!(
            "listeners=CLIENTS://127.0.0.1:{{port}},LOGIN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{{controller}}"
        ),
        format!("advertised.listeners=CLIENTS://127.0.0.1:{{port}},LOGIN://127.0.0.1:{port}"),
        "listener.security.protocol.map=CLIENTS:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
            .to_owned(),
        "listener.name.login.sasl.enabled.mechanisms=PLAIN".to_owned(),
        "listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
         required user_artel=\"the-right-word\";"
            .to_owned(),
    ];
    let options: Vec<&str> = settings.iter().flat_map(|setting| ["--kafka-set", setting.as_str()]).collect();
    Backends::start("logins", &["kafka"], &options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_kafka_refuses_end_the_start_and_right_ones_work() {
    let (Some(servers), Some(second)) = (Servers::given().await, Servers::given().await) else { return };
    let port = address::free().port();
    let Some(_backends) = broker_with_login(port) else { return };
    let settings = |servers: &Servers, password: &str| {
        let login = format!(
            "[kafka]\nsecurity = \"sasl_plaintext\"\nmechanism = \"PLAIN\"\nuser = \"artel\"\npassword = \"{password}\"\n"
        );
        let settings = servers.settings("node-1", "").replace(&servers.kafka, &format!("127.0.0.1:{port}"));
        settings.replace("[kafka]\n", &login)
    };
    let wrong = settings(&servers, SECRET);
    let (code, said) = ends(servers, &wrong).await;
    assert_eq!(code, Some(2), "{said}");
    check(&said, &["the log (bus.url)", "don't let user 'artel' in by PLAIN", "kafka.user, kafka.password"]);
    let right = settings(&second, "the-right-word");
    let nodes = Nodes::unready(second, &right);
    nodes.report(200, &[]).await;
    send(&nodes).await;
    consumed(&nodes, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_another_number_of_partitions_ends_the_start() {
    let Some(servers) = Servers::given().await else { return };
    let Some(tools) = Tools::given(&servers.kafka) else { return };
    let (settings, topic) =
        (servers.settings("node-1", ""), format!("{}.bridge.commands", servers.database.name));
    let mut nodes = Nodes::unready(servers, &settings);
    nodes.report(200, &[]).await;
    nodes.processes[0].stop().await;
    tools.run(TOPICS, &["--alter", "--topic", &topic, "--partitions", "6"], "").await;
    nodes.processes[0].begin_unready();
    let code = nodes.processes[0].ended().await.code();
    let log = nodes.processes[0].log();
    assert_eq!(code, Some(2), "{log}");
    let sentence = "topic 'bridge.commands' has 6 partitions, and had 4 when it was made";
    check(last(&log), &[sentence, "bring back the topic with 4 partitions"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_another_log_is_said_and_nothing_is_skipped() {
    let Some(servers) = Servers::given().await else { return };
    let settings = servers.settings("node-1", "");
    let own = format!("topic_prefix = \"{}.", servers.database.name);
    let another = settings.replace(&own, &format!("{own}other."));
    let mut nodes = Nodes::unready(servers, &settings);
    nodes.report(200, &[]).await;
    send(&nodes).await;
    consumed(&nodes, 1).await;
    nodes.processes[0].stop().await;
    nodes.set(&another);
    nodes.processes[0].begin_unready();
    let code = nodes.processes[0].ended().await.code();
    let log = nodes.processes[0].log();
    assert_eq!(code, Some(2), "{log}");
    check(last(&log), &OTHER_LOG);
    nodes.set(&settings);
    nodes.processes[0].begin_unready();
    nodes.report(200, &[]).await;
    send(&nodes).await;
    consumed(&nodes, 2).await;
    assert_eq!(get(&nodes, "/api/bridge/stats").await["duplicates"], 0);
}

/// `segments:` is one process with everything; a second one on its database would carry messages into a log of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_with_an_embedded_log_is_refused() {
    let (Some(servers), Some(unused)) = (Servers::given().await, Servers::given().await) else { return };
    let kafka = format!("url = \"kafka://{}\"", servers.kafka);
    let settings = servers.settings("node-1", "").replace(&kafka, "url = \"segments:\"");
    let nodes = Nodes::unready(servers, &settings);
    nodes.report(200, &[]).await;
    send(&nodes).await;
    consumed(&nodes, 1).await;
    let (code, said) = ends(unused, &settings.replace("node-1", "node-2")).await;
    assert_eq!(code, Some(2), "{said}");
    check(&said, &OTHER_LOG);
    send(&nodes).await;
    consumed(&nodes, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_newer_than_the_program_ends_the_start() {
    let Some(servers) = Servers::given().await else { return };
    let (settings, url) = (servers.settings("node-1", ""), servers.database.url.clone());
    let mut nodes = Nodes::unready(servers, &settings);
    nodes.report(200, &[]).await;
    nodes.processes[0].stop().await;
    let store = Store::open(&url, StoreSettings::default()).await.unwrap();
    let mut newer = store.db("bridge").await.unwrap().begin(Lane::Interactive).await.unwrap();
    let applied = "INSERT INTO artel_migration (component, version, name, checksum, applied_at)
         SELECT component, 9999, '9999_later.sql', checksum, applied_at FROM artel_migration
         WHERE component = 'bridge' AND version = 1";
    assert_eq!(newer.exec(applied, ()).await.unwrap(), 1);
    newer.commit().await.unwrap();
    store.close().await;
    nodes.processes[0].begin_unready();
    let code = nodes.processes[0].ended().await.code();
    let log = nodes.processes[0].log();
    assert_eq!(code, Some(2), "{log}");
    let parts = [
        "the database 'bridge' is newer than this program: migration bridge/9999_later.sql is applied",
        "works with programs that know bridge/9999 or later, and this one knows bridge up to 0003",
        "run the newer program, or restore the backup made before it",
    ];
    check(last(&log), &parts);
}
