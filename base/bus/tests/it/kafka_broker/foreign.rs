//! Other programs on the same brokers: what they write, delete and make, by rdkafka itself.

use super::{ALL, append, config, open, read_all, record, shared, text, topic, until, within};
use artel_bus::{BusError, Log, Topics};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::time::Duration;

const PATIENT: Duration = Duration::from_secs(20);

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("allow.auto.create.topics", "false");
    client
}

/// How many brokers there are.
pub fn brokers(address: &str) -> usize {
    let consumer: BaseConsumer = client(address).create().expect("a client");
    consumer.fetch_metadata(None, PATIENT).map_or(0, |metadata| metadata.brokers().len())
}

/// Who leads partition 0, and how many copies are in sync.
pub fn leader(address: &str, topic: &str) -> Option<(usize, usize)> {
    let consumer: BaseConsumer = client(address).create().expect("a client");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENT).ok()?;
    let partition = metadata.topics().first()?.partitions().first()?;
    Some((usize::try_from(partition.leader()).ok()?, partition.isr().len()))
}

/// A producer of transactions; `work` is between begin and the end that it asks for by its answer.
struct Transactions(BaseProducer);

impl Transactions {
    fn new(brokers: &str) -> Transactions {
        let id = uuid::Uuid::now_v7().to_string();
        let producer: BaseProducer =
            client(brokers).set("transactional.id", id).create().expect("a transactional producer");
        producer.init_transactions(PATIENT).expect("transactions");
        Transactions(producer)
    }

    fn begin(&self) {
        self.0.begin_transaction().expect("begun");
    }

    fn send(&self, topic: &str, texts: &[&str]) {
        for text in texts {
            let record = BaseRecord::<str, str>::to(topic).partition(0).payload(text);
            self.0.send(record).expect("sent");
        }
        self.0.flush(PATIENT).expect("stored");
    }

    fn commit(&self) {
        self.0.commit_transaction(PATIENT).expect("committed");
    }

    fn abort(&self) {
        self.0.abort_transaction(PATIENT).expect("aborted");
    }
}

fn texts(records: &[artel_bus::Received]) -> Vec<String> {
    records.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_and_control_records_are_passed_over() {
    let Some(brokers) = shared("foreign::aborted_and_control_records_are_passed_over") else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    let other = Transactions::new(&brokers);
    // 0 and 1, and a control record at 2; 3, and one at 4; 5, and one at 6.
    for (batch, commits) in [(&["a", "b"][..], true), (&["gone"][..], false), (&["c"][..], true)] {
        other.begin();
        other.send(&name, batch);
        if commits { other.commit() } else { other.abort() }
    }
    until("the last commit is seen", async || bus.bounds(&name, 0).await.is_ok_and(|b| b.end == 7)).await;
    let read = read_all(&bus, &name, 0).await;
    assert_eq!(texts(&read), ["a", "b", "c"]);
    assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 5]);
    // From the middle of what holds no record, and past the control record at the end.
    for from in [2, 3, 4, 5, 6] {
        let mut at = from;
        let mut seen = Vec::new();
        while at < 7 {
            let fetched = within("a read", bus.read(&name, 0, at, ALL)).await.expect("a read succeeds");
            assert!(fetched.next > at, "from {at} on there is something to pass");
            at = fetched.next;
            seen.extend(texts(&fetched.records));
        }
        assert_eq!((at, seen.len()), (7, usize::from(from <= 5)), "from {from}");
    }
    // Nobody is woken by what holds no record, or is not committed.
    let waiting = tokio::spawn({
        let (bus, name) = (bus.clone(), name.clone());
        async move { bus.wait(&name, 0, 7).await }
    });
    other.begin();
    other.send(&name, &["gone too"]);
    other.abort();
    other.begin();
    other.send(&name, &["open"]);
    until("the abort is seen", async || bus.bounds(&name, 0).await.is_ok_and(|b| b.end == 9)).await;
    assert_eq!(read_all(&bus, &name, 7).await, []);
    assert!(!waiting.is_finished(), "an open transaction wakes nobody");
    other.commit();
    within("the wait", waiting).await.expect("ends well").expect("woken by the commit");
    let fetched = bus.read(&name, 0, 7, ALL).await.expect("a read succeeds");
    assert_eq!(texts(&fetched.records), ["open"]);
    bus.close().await;
}

/// Ends where the last stable offset stands in the middle of two transactions that are woven into each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_between_woven_transactions_is_reached() {
    let Some(brokers) = shared("foreign::an_end_between_woven_transactions_is_reached") else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    let (one, two) = (Transactions::new(&brokers), Transactions::new(&brokers));
    one.begin();
    two.begin();
    one.send(&name, &["aborted"]);
    two.send(&name, &["open"]);
    one.abort();
    // Offset 0 is aborted, its mark at 2 lies behind the open one at 1.
    until("the abort is seen", async || bus.bounds(&name, 0).await.is_ok_and(|b| b.end == 1)).await;
    let fetched = within("a read", bus.read(&name, 0, 0, ALL)).await.expect("a read succeeds");
    assert_eq!((fetched.records.len(), fetched.next), (0, 1));
    two.commit();
    until("the commit is seen", async || bus.bounds(&name, 0).await.is_ok_and(|b| b.end == 4)).await;
    assert_eq!(texts(&read_all(&bus, &name, 0).await), ["open"]);
    bus.close().await;
}

async fn remake(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().expect("an admin client");
    let options = AdminOptions::new().operation_timeout(Some(PATIENT)).request_timeout(Some(PATIENT));
    let deleted = admin.delete_topics(&[topic], &options).await.expect("answered");
    assert!(deleted[0].is_ok(), "{deleted:?}");
    until("it is made again", async || {
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        admin.create_topics([&new], &options).await.is_ok_and(|all| all[0].is_ok())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_behind_our_back_is_another() {
    let Some(brokers) = shared("foreign::a_topic_that_was_made_anew_behind_our_back_is_another") else {
        return;
    };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    let before = bus.describe(&name).await.expect("described");
    append(&bus, &name, &["old".to_owned(), "old".to_owned()]).await.expect("appended");
    assert_eq!(read_all(&bus, &name, 0).await.len(), 2);
    let waiting = tokio::spawn({
        let (bus, name) = (bus.clone(), name.clone());
        async move { bus.wait(&name, 0, 2).await }
    });
    remake(&brokers, &name).await;
    until("the new one is seen", async || bus.describe(&name).await.is_ok_and(|after| after.id != before.id))
        .await;
    let woken = within("the wait on the old one", waiting).await.expect("ends well");
    assert!(matches!(woken, Err(BusError::UnknownTopic(_))), "{woken:?}");
    until("an append succeeds", async || append(&bus, &name, &["new".to_owned()]).await.is_ok()).await;
    until("only the new one's records are read", async || {
        let read = bus.read(&name, 0, 0, ALL).await;
        read.is_ok_and(|fetched| texts(&fetched.records).iter().all(|text| text == "new") && fetched.next > 0)
    })
    .await;
    let listed = bus.list().await.expect("listed").into_iter().find(|topic| topic.name == name);
    assert_eq!(listed.map(|topic| topic.id), bus.describe(&name).await.ok().map(|topic| topic.id));
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_behind_our_back_is_unknown_to_all_calls() {
    let Some(brokers) = shared("foreign::a_topic_that_was_deleted_behind_our_back_is_unknown_to_all_calls")
    else {
        return;
    };
    let (bus, other) = (open(config(&brokers)), open(config(&brokers)));
    let name = topic(&bus, 1).await;
    append(&bus, &name, &["x".to_owned()]).await.expect("appended");
    let waiting = tokio::spawn({
        let (bus, name) = (bus.clone(), name.clone());
        async move { bus.wait(&name, 0, 1).await }
    });
    other.delete(&name).await.expect("deleted");
    let woken = within("the wait", waiting).await.expect("ends well");
    assert!(matches!(woken, Err(BusError::UnknownTopic(_))), "{woken:?}");
    let refused = within("an append", bus.append(&name, 0, &[record(b"y")])).await;
    assert!(matches!(refused, Err(BusError::UnknownTopic(_))), "{refused:?}");
    let read = within("a read", bus.read(&name, 0, 0, ALL)).await;
    assert!(matches!(read, Err(BusError::UnknownTopic(_))), "{read:?}");
    other.close().await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compression_is_read() {
    let Some(brokers) = shared("foreign::every_compression_is_read") else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 1).await;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let other: BaseProducer =
            client(&brokers).set("compression.type", codec).create().expect("a producer");
        let text = codec.repeat(200);
        let headers = OwnedHeaders::new().insert(Header { key: "codec", value: Some(codec) });
        let record = BaseRecord::<str, str>::to(&name).partition(0).payload(&text).headers(headers);
        other.send(record).map_err(|(error, _)| error).expect("sent");
        other.flush(PATIENT).expect("stored");
    }
    let read = read_all(&bus, &name, 0).await;
    assert_eq!(texts(&read), codecs.map(|codec| codec.repeat(200)));
    assert!(
        read.iter().zip(codecs).all(|(record, codec)| record
            .headers
            .iter()
            .next()
            .and_then(|(_, value)| value)
            == Some(codec.as_bytes()))
    );
    bus.close().await;
}
