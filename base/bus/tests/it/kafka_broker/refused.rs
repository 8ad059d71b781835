//! What brokers refuse, and the sentences that say so.

use super::own::{Cluster, Options, libs};
use super::{ALL, append, config, fresh, open, read_all, ready, record, shared, text, topic, until, within};
use artel_bus::kafka::{KafkaConfig, Mechanism, Sasl, Secret, Security};
use artel_bus::{BusError, From as StartAt, Groups, Log, Topics};
use std::time::Duration;

fn login(address: &str, user: &str, password: &str) -> KafkaConfig {
    let sasl =
        Sasl { mechanism: Mechanism::ScramSha256, user: user.to_owned(), password: Secret::new(password) };
    KafkaConfig { security: Security::SaslPlaintext(sasl), ..config(address) }
}

#[test]
fn no_password_is_ever_shown() {
    let mut config = login("k:9092", "eva", "hush-hush");
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    let Security::SaslPlaintext(sasl) = config.security else { panic!("it was set") };
    config.security = Security::SaslSsl(sasl, artel_bus::kafka::Tls::default());
    assert!(!format!("{config:#?}").contains("hush"), "{config:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topics_own_limit_is_respected() {
    let Some(brokers) = shared("refused::a_topics_own_limit_is_respected") else { return };
    // Made by somebody with a lower limit; what another process believes of it is older.
    let maker = open(KafkaConfig { max_message_bytes: 20_000, ..config(&brokers) });
    let bus = open(config(&brokers));
    let name = topic(&maker, 1).await;
    let big = vec![b'x'; 20_000];
    match within("an append", bus.append(&name, 0, &[record(b"small"), record(&big)])).await {
        Err(BusError::TooLarge { size, limit, setting, .. }) => {
            assert!(
                size > 20_000 && limit == 20_000 && setting.contains("max.message.bytes"),
                "{size} {limit} {setting}"
            );
        }
        other => panic!("it should be too large, not {other:?}"),
    }
    // Many small ones are more than one batch of that size, and no batch is refused.
    let texts: Vec<String> = (0..3_000).map(|number| format!("{number:>80}")).collect();
    append(&bus, &name, &texts).await.expect("appended");
    // Just as large as it may be.
    let fits = vec![b'x'; 20_000 - 61 - 3 - 9];
    let whole = within("an append", bus.append(&name, 0, &[record(&fits)])).await;
    assert!(whole.is_ok(), "{whole:?}");
    let read: Vec<String> = read_all(&bus, &name, 0).await.iter().map(text).collect();
    assert_eq!((&read[..3_000], read.len()), (&texts[..], 3_001));
    maker.close().await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_was_lowered_behind_our_back_is_too_large_and_then_known() {
    let test = "refused::a_limit_that_was_lowered_behind_our_back_is_too_large_and_then_known";
    let (Some(brokers), Some(libs)) = (shared(test), libs(test)) else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    append(&bus, &name, &["first".to_owned()]).await.expect("appended");
    let change = ["--alter", "--topic", &name, "--add-config", "max.message.bytes=5000"];
    let tool = ["kafka.admin.ConfigCommand", "--bootstrap-server", &brokers];
    super::own::tool(&libs, &[&tool[..], &change[..]].concat());
    let big = "x".repeat(6_000);
    for _ in 0..2 {
        let refused = within("an append", append(&bus, &name, std::slice::from_ref(&big))).await;
        assert!(matches!(refused, Err(BusError::TooLarge { .. })), "{refused:?}");
    }
    append(&bus, &name, &["last".to_owned()]).await.expect("the next append works");
    let read: Vec<String> = read_all(&bus, &name, 0).await.iter().map(text).collect();
    assert_eq!(read, ["first", "last"]);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_kafka_would_change_are_refused() {
    let Some(brokers) = shared("refused::times_that_kafka_would_change_are_refused") else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    let mut early = record(b"x");
    early.time = artel_message::Time::from_millis(0);
    let refused = bus.append(&name, 0, &[record(b"x"), early]).await;
    assert!(matches!(refused, Err(BusError::InvalidRecord { index: 1, .. })), "{refused:?}");
    early.time = artel_message::Time::from_millis(4_000_000_000_000);
    bus.append(&name, 0, &[early]).await.expect("a time far ahead is as good as any");
    assert_eq!(read_all(&bus, &name, 0).await[0].time, early.time);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_and_a_closed_port_are_named() {
    let short = |brokers: &str| KafkaConfig { request_deadline: Duration::from_secs(2), ..config(brokers) };
    let unknown = open(short("no-such-host.invalid:9092"));
    match within("a check", unknown.check()).await {
        Err(BusError::Unavailable(reason)) => assert!(reason.contains("no-such-host.invalid"), "{reason}"),
        other => panic!("it should be unavailable, not {other:?}"),
    }
    within("closing", unknown.close()).await;
    let closed = open(short("127.0.0.1:1"));
    match within("a check", closed.check()).await {
        Err(BusError::Unavailable(reason)) => assert!(reason.contains("127.0.0.1:1"), "{reason}"),
        other => panic!("it should be unavailable, not {other:?}"),
    }
    within("closing", closed.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_acls() {
    let Some(libs) = libs("refused::logins_and_acls") else { return };
    let options = Options {
        users: &[("eva", "right"), ("root", "root")],
        settings: &[
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS;User:root",
        ],
        ..Options::default()
    };
    let cluster = Cluster::start(libs, 1, &options);
    let address = cluster.login_address();
    let root = ready(login(&address, "root", "root")).await;
    let name = topic(&root, 1).await;
    append(&root, &name, &["by root".to_owned()]).await.expect("appended");

    let wrong = open(login(&address, "eva", "wrong"));
    match within("a wrong password", wrong.describe(&name)).await {
        Err(BusError::Denied(reason)) => {
            assert!(
                reason.contains("'eva'") && reason.contains("SCRAM-SHA-256") && !reason.contains("wrong "),
                "{reason}"
            );
        }
        other => panic!("a wrong password should be denied, not {other:?}"),
    }
    within("closing", wrong.close()).await;

    let eva = open(KafkaConfig { group_prefix: "artel.".to_owned(), ..login(&address, "eva", "right") });
    let is_denied = |what: &str, error: Option<BusError>| match error {
        Some(BusError::Denied(reason)) => assert!(reason.contains("ACL"), "{what}: {reason}"),
        other => panic!("{what} should be denied, not {other:?}"),
    };
    is_denied("describe", within("describe", eva.describe(&name)).await.err());
    is_denied("append", within("append", append(&eva, &name, &["x".to_owned()])).await.err());
    is_denied("read", within("read", eva.read(&name, 0, 0, ALL)).await.err());
    is_denied("wait", within("wait", eva.wait(&name, 0, 5)).await.err());
    is_denied("make", within("make", eva.make(fresh(1))).await.err());

    let allow = ["--add", "--allow-principal", "User:eva", "--operation", "Read", "--operation", "Write"];
    let more = ["--operation", "Describe", "--operation", "DescribeConfigs", "--topic", &name];
    let plain = cluster.address();
    let tool = ["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &plain];
    cluster.tool(&[&tool[..], &allow[..], &more[..]].concat());
    until("the right is known", async || append(&eva, &name, &["by eva".to_owned()]).await.is_ok()).await;
    let read: Vec<String> = read_all(&eva, &name, 0).await.iter().map(text).collect();
    assert_eq!(read, ["by root", "by eva"]);
    // Reading needs no right on any group; telling offsets does.
    is_denied("register", within("register", eva.register("g", &name, StartAt::Earliest)).await.err());
    within("closing", eva.close()).await;
    within("closing", root.close()).await;
}
