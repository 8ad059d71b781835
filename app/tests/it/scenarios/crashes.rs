//! Nothing that was answered is lost or done twice, wherever the system is killed.

use crate::system::{System, artel, consumed, messages, stats, stderr, stdout};
use crate::until::until;
use artel_frame::client::ClientError;
use artel_message::Time;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Child, Stdio};
use std::time::Instant;

const KILLS: usize = 10;
const LINES: u64 = 40_000;
const SEED: u64 = 42;

/// Numbers that look random, the same for the same seed (xorshift64*).
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// How many lines are accepted when the system is killed: one moment in each tenth of the file.
fn moments() -> Vec<u64> {
    let seed = std::env::var("ARTEL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let mut state = seed.unwrap_or(SEED).max(1);
    println!("seed {state}; another by ARTEL_TEST_SEED");
    let tenth = LINES * 9 / 10 / KILLS as u64;
    (0..KILLS as u64).map(|n| n * tenth + random(&mut state) % tenth).collect()
}

pub async fn what_was_answered_is_consumed_once_through_ten_kills(system: &mut impl System) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.ndjson");
    numbered(&file, LINES);
    let began = Instant::now();
    let mut producer = sending(system, "crashing", &file);
    let mut kills = 0;
    for moment in moments() {
        if reached(system, &mut producer, moment).await {
            system.crash().await;
            kills += 1;
        }
    }
    let sent = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert_eq!(kills, KILLS, "the producer had ended before the last kill");
    assert!(stdout(&sent).starts_with(&format!("accepted {LINES}, refused 0, ")), "{}", stdout(&sent));
    let totals = consumed(system, LINES).await;
    println!("{kills} kills, {LINES} lines, {:?} until all were consumed: {totals}", began.elapsed());
    agree(system, "crashing", LINES).await;
    in_order(&messages(system, "crashing").await);
}

/// Waits until this many lines are accepted; false when the producer is through.
pub async fn reached(system: &impl System, producer: &mut Child, moment: u64) -> bool {
    until(&format!("{moment} lines accepted"), async || {
        if producer.try_wait().unwrap().is_some() {
            return Some(false);
        }
        let accepted = accepted(system).await.ok()?;
        (accepted >= moment).then_some(true)
    })
    .await
}

async fn accepted(system: &impl System) -> Result<u64, ClientError> {
    let answer = system.client().get("/api/bridge/stats").await?;
    Ok(answer.json::<Value>().ok().and_then(|totals| totals["accepted"].as_u64()).unwrap_or(0))
}

/// Totals, states and values say the same: each of `lines` lines of the system's only topic is consumed, once, and no report was
/// taken in that had been before.
pub async fn agree(system: &impl System, topic: &str, lines: u64) {
    agree_of(system, topic, lines, lines).await;
}

/// The same where all topics together have `total` lines.
pub async fn agree_of(system: &impl System, topic: &str, lines: u64, total: u64) {
    let totals = until("every message marked as produced", async || {
        let now = stats(system).await;
        (now["produced"].as_u64() == Some(total)).then_some(now)
    })
    .await;
    let expected = |field: &str| assert_eq!(totals[field].as_u64(), Some(total), "{field}: {totals}");
    expected("accepted");
    expected("consumed");
    assert_eq!((&totals["failed"], &totals["again"]), (&0.into(), &0.into()), "{totals}");
    let mut seen = vec![0u8; usize::try_from(lines).unwrap()];
    for message in messages(system, topic).await {
        assert_eq!(message["status"], "consumed", "{message}");
        seen[usize::try_from(message["value"]["n"].as_u64().unwrap()).unwrap()] += 1;
    }
    let wrong: Vec<usize> = (0..seen.len()).filter(|n| seen[*n] != 1).collect();
    assert!(
        wrong.is_empty(),
        "{} lines are not there once: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(10)]
    );
}

/// Of each key the messages stand in the log in the order in which they were sent, and were read in it.
pub fn in_order(messages: &[Value]) {
    let mut by_key: BTreeMap<&str, Vec<(u64, i64, Time)>> = BTreeMap::new();
    for message in messages {
        let read: Time = serde_json::from_value(message["consumed_at"].clone()).unwrap();
        let place = (message["value"]["n"].as_u64().unwrap(), message["offset"].as_i64().unwrap(), read);
        by_key.entry(message["key"].as_str().unwrap()).or_default().push(place);
    }
    for (key, mut lines) in by_key {
        lines.sort_unstable();
        let wrong = lines.windows(2).find(|pair| pair[0].1 >= pair[1].1 || pair[0].2 > pair[1].2);
        assert!(wrong.is_none(), "key {key}, by line, offset, time of reading: {wrong:?}");
    }
}

/// A file of numbered lines, on 97 keys.
pub fn numbered(path: &std::path::Path, lines: u64) {
    numbered_from(path, 0..lines);
}

/// The same with these numbers.
pub fn numbered_from(path: &std::path::Path, lines: std::ops::Range<u64>) {
    let mut text = String::new();
    for n in lines {
        writeln!(text, "{{\"n\":{n},\"k\":\"key {}\"}}", n % 97).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// Sends such a file beside the test.
pub fn sending(system: &impl System, topic: &str, file: &std::path::Path) -> Child {
    artel(system, &["produce", "--topic", topic, "--key-field", "k"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
