//! What a broker's disk has spoiled.

use super::own::{Cluster, Options, libs};
use super::{ALL, append, config, ready, record, text, topic, within};
use artel_bus::{BusError, Log};
use std::fs;
use std::os::unix::fs::FileExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_batch_stops_its_partition_and_is_not_jumped_over() {
    let Some(libs) = libs("damage::a_damaged_batch_stops_its_partition_and_is_not_jumped_over") else {
        return;
    };
    let cluster = Cluster::start(libs, 1, &Options::default());
    let bus = ready(config(&cluster.address())).await;
    let name = topic(&bus, 3).await;
    let texts = |from: usize| -> Vec<String> { (from..from + 10).map(|n| n.to_string()).collect() };
    append(&bus, &name, &texts(0)).await.expect("appended");
    append(&bus, &name, &texts(10)).await.expect("appended");
    // The last byte of the second batch; the broker itself does not look.
    let path = cluster.file_of(&name, 0);
    let file = fs::File::options().read(true).write(true).open(path).expect("the partition's file");
    let last = file.metadata().expect("its length").len() - 1;
    let mut byte = [0];
    file.read_exact_at(&mut byte, last).expect("read");
    file.write_all_at(&[byte[0] ^ 0x55], last).expect("damaged");
    append(&bus, &name, &texts(20)).await.expect("appended");
    for partition in [1, 2] {
        bus.append(&name, partition, &[record(b"whole")]).await.expect("appended");
    }
    bus.close().await;

    // As a process that has seen none of it. It goes through all partitions again and again, as a consumer does.
    let bus = ready(config(&cluster.address())).await;
    let (mut at, mut seen) = (0, Vec::new());
    for _ in 0..2 {
        let stopped = loop {
            for partition in [1, 2] {
                let fetched =
                    within("a read", bus.read(&name, partition, 0, ALL)).await.expect("it is whole");
                assert_eq!(fetched.records.iter().map(text).collect::<Vec<_>>(), ["whole"]);
            }
            match within("a read", bus.read(&name, 0, at, ALL)).await {
                Ok(fetched) => {
                    at = fetched.next;
                    seen.extend(fetched.records.iter().map(text));
                }
                Err(stopped) => break stopped,
            }
        };
        assert!(matches!(stopped, BusError::Stopped { partition: 0, .. }), "{stopped:?}");
        assert_eq!((at, &seen), (10, &texts(0)), "all before the damage, and nothing behind it");
    }
    let waited = within("a wait", bus.wait(&name, 0, at)).await;
    assert!(matches!(waited, Err(BusError::Stopped { .. })), "{waited:?}");
    bus.close().await;
}
