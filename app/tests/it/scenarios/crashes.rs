//! Nothing that was answered is lost or done twice, wherever the system is killed.

use crate::system::{System, artel, consumed, messages, stats, stderr, stdout};
use crate::until::until;
use artel_frame::client::ClientError;
use artel_message::Time;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
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

/// A part of the lines for each kill; the last one is sent after all of them.
const PART: u64 = LINES / (KILLS as u64 + 1);

/// How many lines are accepted when the system is killed: one moment in each part but the last.
fn moments() -> Vec<u64> {
    let seed = std::env::var("ARTEL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let mut state = seed.unwrap_or(SEED).max(1);
    println!("seed {state}; another by ARTEL_TEST_SEED");
    (0..KILLS as u64).map(|n| n * PART + random(&mut state) % PART).collect()
}

pub async fn what_was_answered_is_consumed_once_through_ten_kills(system: &mut impl System) {
    let began = Instant::now();
    let mut producer = piping(system, "crashing");
    let feed = Feed::begin(&mut producer);
    for moment in moments() {
        // So much is left that something is under way, however late the moment is seen; and so little that the producer is never
        // through before the last kill.
        feed.up_to(moment + PART);
        assert!(reached(system, &mut producer, moment).await, "the producer gave up");
        system.crash().await;
    }
    feed.up_to(LINES);
    drop(feed);
    let sent = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(stdout(&sent).starts_with(&format!("accepted {LINES}, refused 0, ")), "{}", stdout(&sent));
    let totals = consumed(system, LINES).await;
    println!("{KILLS} kills, {LINES} lines, {:?} until all were consumed: {totals}", began.elapsed());
    agree(system, "crashing", LINES).await;
    in_order(&messages(system, "crashing").await);
}

/// Numbered lines for the standard input of a producer, as many as it is told; the input ends with it.
struct Feed(mpsc::Sender<u64>);

impl Feed {
    fn begin(producer: &mut Child) -> Feed {
        let mut input = BufWriter::new(producer.stdin.take().unwrap());
        let (told, limits) = mpsc::channel();
        // A pipe takes little: whoever fills it waits for the producer, who waits for the system.
        std::thread::spawn(move || {
            let mut next = 0;
            for limit in limits {
                for n in next..limit {
                    input.write_all(numbered_line(n).as_bytes()).unwrap();
                }
                input.flush().unwrap();
                next = limit;
            }
        });
        Feed(told)
    }

    fn up_to(&self, limit: u64) {
        self.0.send(limit).expect("the producer reads");
    }
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
    text.extend(lines.map(numbered_line));
    std::fs::write(path, text).unwrap();
}

fn numbered_line(n: u64) -> String {
    format!("{{\"n\":{n},\"k\":\"key {}\"}}\n", n % 97)
}

/// Sends such a file beside the test.
pub fn sending(system: &impl System, topic: &str, file: &std::path::Path) -> Child {
    producing(system, topic, file).spawn().unwrap()
}

/// The same with what comes through a pipe.
fn piping(system: &impl System, topic: &str) -> Child {
    producing(system, topic, "-".as_ref()).stdin(Stdio::piped()).spawn().unwrap()
}

fn producing(system: &impl System, topic: &str, file: &std::path::Path) -> Command {
    let mut produce = artel(system, &["produce", "--topic", topic, "--key-field", "k"]);
    produce.arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    produce
}
