//! The main job in size: a file of many lines through the real program, in bounded memory. Its figures are printed.

use crate::process::Process;
use crate::system::{artel, stats, stderr, stdout};
use crate::until::until;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

const LINES: u64 = 200_000;
/// What the process may hold at its peak, whatever the size of the file.
const MEMORY: u64 = 400 << 20;

fn lines() -> u64 {
    std::env::var("ARTEL_TEST_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES)
}

#[tokio::test]
async fn every_line_of_a_large_file_ends_as_consumed_in_bounded_memory() {
    let (folder, count) = (tempfile::tempdir().unwrap(), lines());
    let file = folder.path().join("large.ndjson");
    let mut text = BufWriter::new(File::create(&file).unwrap());
    for n in 0..count {
        let (note, n7) = ("a line as long as an event of a shop is, more or less", n % 7_919);
        writeln!(
            text,
            "{{\"n\":{n},\"order\":\"o-{n7}\",\"total\":{}.{:02},\"note\":\"{note}\"}}",
            n % 500,
            n % 100
        )
        .unwrap();
    }
    text.into_inner().unwrap().sync_all().unwrap();
    let system = Process::start().await;
    let began = Instant::now();
    let mut producer = artel(&system, &["produce", "--topic", "large", "--key-field", "order"]);
    let producer = producer.arg(&file).output();
    let sent = tokio::task::spawn_blocking(move || producer).await.unwrap().unwrap();
    let accepted = began.elapsed();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(stdout(&sent).starts_with(&format!("accepted {count}, refused 0, ")), "{}", stdout(&sent));
    let totals = until("every line produced and consumed", async || {
        let now = stats(&system).await;
        let through = |field: &str| now[field].as_u64() == Some(count);
        (through("consumed") && through("produced")).then_some(now)
    })
    .await;
    let (consumed, peak) = (began.elapsed(), system.peak());
    println!(
        "{count} lines: accepted after {:.1} s, consumed after {:.1} s, at most {} MiB of memory",
        accepted.as_secs_f64(),
        consumed.as_secs_f64(),
        peak.map_or_else(|| "an unknown number of".to_owned(), |bytes| (bytes >> 20).to_string()),
    );
    assert_eq!((totals["accepted"].as_u64(), totals["failed"].as_u64()), (Some(count), Some(0)));
    assert_eq!(totals["duplicates"], 0);
    assert!(peak.is_none_or(|bytes| bytes <= MEMORY), "{peak:?} bytes of memory");
}
