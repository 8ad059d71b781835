//! Random histories of parked keys against a simple model: whatever fails, heals, restarts or is done by hand, each key's
//! messages are heard once and in their order.

use crate::kit::{Node, Place};
use crate::mill::{break_it, catalogue, lines, mend, mill, say_as};
use artel_flow::{By, Letters};
use std::collections::BTreeMap;
use std::time::Duration;

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STEPS: u32 = 120;

/// Numbers from a seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn key(&mut self) -> &'static str {
        KEYS[usize::try_from(self.below(5)).expect("small")]
    }
}

async fn heard(node: &Node) -> BTreeMap<String, Vec<u32>> {
    let mut heard: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in lines(node).await {
        let (key, number) = line.split_once(' ').expect("a key and a number");
        heard.entry(key.to_owned()).or_default().push(number.parse().expect("a number"));
    }
    heard
}

fn check(seed: u64, said: &BTreeMap<&str, u32>, heard: &BTreeMap<String, Vec<u32>>, whole: bool) {
    for (key, numbers) in heard {
        let count = u32::try_from(numbers.len()).expect("few");
        assert_eq!(*numbers, (0..count).collect::<Vec<u32>>(), "seed {seed}, key {key}: once each, in order");
    }
    for (key, count) in said.iter().filter(|_| whole) {
        let heard = heard.get(*key).map_or(0, Vec::len);
        assert_eq!(heard, usize::try_from(*count).expect("few"), "seed {seed}, key {key}: none is lost");
    }
}

/// Keys that are not parked are held up by nobody.
async fn check_others(node: &Node, seed: u64, said: &BTreeMap<&str, u32>) {
    let held = node.ctx("mill").parked_keys().list(None, None, 10).await.expect("keys");
    let heard = heard(node).await;
    for (key, count) in said {
        let flows = !held.iter().any(|held| held.key.as_deref() == Some(key.as_bytes()));
        let heard = heard.get(*key).map_or(0, Vec::len);
        let all = usize::try_from(*count).expect("few");
        assert!(!flows || heard == all, "seed {seed}, key {key}: not parked, and {heard} of {all} heard");
    }
}

/// What happens in a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// All may work later.
    Parked,
    /// Messages are given up too, and their keys stop until the letters are tried again: the order stays.
    Letters,
}

/// Tries some letters again, as they fit.
async fn try_letters(node: &Node, limit: u32) {
    let dead = node.ctx("mill").dead_letters();
    let done = dead.retry_all(&Letters::default(), None, limit, Some(&By::who("op"))).await.expect("letters");
    assert_eq!(done.refused, []);
}

async fn run(place: &Place, seed: u64, with: With) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut said: BTreeMap<&str, u32> = BTreeMap::new();
    let mut node = place.start(vec![mill()], catalogue()).await.expect("start");
    for _ in 0..STEPS {
        match chance.below(12) {
            0..=4 => {
                let (key, more) = (chance.key(), u32::try_from(1 + chance.below(4)).expect("small"));
                let kind = match (with, chance.below(3)) {
                    (With::Letters, _) => "strict",
                    (With::Parked, 0) => "batched",
                    (With::Parked, _) => "said",
                };
                let next = said.entry(key).or_default();
                say_as(&node, kind, key, *next..*next + more).await;
                *next += more;
            }
            5 if with == With::Letters && chance.below(2) == 0 => {
                break_it(&node, chance.key(), "invalid").await
            }
            5 => break_it(&node, chance.key(), "unavailable").await,
            6 | 7 => mend(&node, chance.key()).await,
            8 => place.clock.advance(Duration::from_secs(1 + chance.below(900))),
            9 => {
                for held in node.ctx("mill").parked_keys().list(None, None, 10).await.expect("keys") {
                    // It may be done by the time it is asked for.
                    let _ = node.ctx("mill").parked_keys().retry(held.id, &By::who("op")).await;
                }
                if with == With::Letters {
                    try_letters(&node, u32::try_from(1 + chance.below(3)).expect("small")).await;
                }
            }
            10 => {
                node.settle().await;
                check(seed, &said, &heard(&node).await, false);
                if place.limits.failing_window == 0 {
                    check_others(&node, seed, &said).await;
                }
            }
            _ if chance.below(4) == 0 => {
                node.stop().await;
                node = place.start(vec![mill()], catalogue()).await.expect("start");
            }
            _ => {}
        }
    }
    for key in KEYS {
        mend(&node, key).await;
    }
    let total = usize::try_from(said.values().sum::<u32>()).expect("few");
    let all = async {
        while lines(&node).await.len() < total {
            if with == With::Letters {
                try_letters(&node, 100).await;
            }
            node.settle().await;
            place.clock.advance(Duration::from_secs(600));
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(in_time.is_ok(), "seed {seed}: heard {:?} of {said:?}", heard(&node).await);
    node.settle().await;
    check(seed, &said, &heard(&node).await, true);
    let left = node.ctx("mill").parked_keys().list(None, None, 10).await.expect("keys");
    let dead = node.ctx("mill").dead_letters().find(&Letters::default(), None, 1).await.expect("letters");
    assert_eq!((left, dead), (vec![], vec![]), "seed {seed}");
    let read = node.ctx("mill").read().await.expect("read");
    for kind in ["parked-now", "parked-bytes"] {
        assert_eq!(read.counted(kind).await.expect("count"), 0, "seed {seed}: {kind}");
    }
    drop(read);
    node.stop().await;
}

#[tokio::test]
async fn random_histories_keep_each_key_in_order_and_lose_nothing() {
    for seed in 1..=6 {
        let Some(mut place) = super::place().await else { return };
        // Nothing is given up, so that everything has to be heard in the end.
        (place.limits.retry_for, place.limits.attempts) = (Duration::from_secs(100_000_000), 1_000_000);
        (place.limits.tries, place.limits.failing_window) = (2, 0);
        run(&place, seed, With::Parked).await;
    }
}

#[tokio::test]
async fn random_histories_where_partitions_pause_lose_nothing_either() {
    for seed in 11..=14 {
        let Some(mut place) = super::place().await else { return };
        (place.limits.retry_for, place.limits.attempts) = (Duration::from_secs(100_000_000), 1_000_000);
        (place.limits.tries, place.limits.failing_window) = (1, 4);
        (place.limits.parked_per_key, place.limits.parked_messages) = (4, 9);
        place.limits.probe_pause = Duration::from_millis(1);
        run(&place, seed, With::Parked).await;
    }
}

#[tokio::test]
async fn random_histories_with_letters_and_stopped_keys_keep_the_order_and_lose_nothing() {
    for seed in 21..=26 {
        let Some(mut place) = super::place().await else { return };
        (place.limits.retry_for, place.limits.attempts) = (Duration::from_secs(900), 20);
        (place.limits.tries, place.limits.failing_window) = (2, 0);
        run(&place, seed, With::Letters).await;
    }
}
