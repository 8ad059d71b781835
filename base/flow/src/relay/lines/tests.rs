//! Partitions that are slow or refuse at random, against a model of the database and the log.

use super::*;
use crate::storage::outbox::Outgoing;
use artel_message::Time;
use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

const FULL: Load = Load { rows: 7, bytes: 1 << 20 };

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many rows are written for that partition.
    Write(u32, usize),
    Round,
    Accept(u32),
    /// After so many rows of the append.
    Refuse(u32, usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u32..3, 1usize..30).prop_map(|(partition, rows)| Step::Write(partition, rows)),
        Just(Step::Round),
        Just(Step::Round),
        (0u32..3).prop_map(Step::Accept),
        (0u32..3, 0usize..3).prop_map(|(partition, taken)| Step::Refuse(partition, taken)),
        (1u64..300).prop_map(Step::Pass),
    ]
}

/// A relay without its database and its log.
struct Model {
    rows: Vec<Waiting>,
    read_to: i64,
    lines: Lines,
    under_way: BTreeMap<Place, Vec<i64>>,
    /// (partition, turn), as the log took them.
    log: Vec<(u32, i64)>,
    now: Instant,
    tasks: tokio::runtime::Runtime,
}

impl Model {
    fn write(&mut self, partition: u32, count: usize) {
        for _ in 0..count {
            let turn = i64::try_from(self.rows.len()).expect("few") + 1;
            let message = Outgoing {
                topic: "t".to_owned(),
                partition,
                message: Uuid::nil(),
                name: String::new(),
                key: None,
                headers: Bytes::new(),
                value: None,
                at: Time::from_micros(0),
                numbered: true,
            };
            self.rows.push(Waiting { id: turn, turn, seq: Some(turn), prev: None, message });
        }
    }

    fn round(&mut self) {
        for Wanted { place, behind, load } in self.lines.wanted(FULL, self.now) {
            let between = |row: &&Waiting| {
                row.message.partition == place.1 && row.turn > behind.after && row.turn <= behind.until
            };
            let all: Vec<Waiting> = self.rows.iter().filter(between).cloned().collect();
            let whole = all.len() < load.rows;
            self.lines.loaded(&place, all.into_iter().take(load.rows).collect(), whole);
        }
        let fresh: Vec<Waiting> =
            self.rows.iter().filter(|row| row.turn > self.read_to).take(FULL.rows).cloned().collect();
        for row in fresh {
            self.read_to = row.turn;
            self.lines.arrive(row);
        }
        self.begin();
    }

    fn begin(&mut self) {
        for chunk in self.lines.next() {
            let task = self.tasks.spawn(async {}).id();
            self.lines.begun(task, &chunk.place, &chunk.marks(), self.now);
            let turns = chunk.rows.iter().map(|row| row.turn).collect();
            assert!(self.under_way.insert(chunk.place, turns).is_none(), "one append at a time");
        }
    }

    fn accept(&mut self, partition: u32) {
        let place = ("t".to_owned(), partition);
        if let Some(turns) = self.under_way.remove(&place) {
            self.log.extend(turns.into_iter().map(|turn| (partition, turn)));
            self.lines.accepted(&place, self.now);
            self.begin();
        }
    }

    fn refuse(&mut self, partition: u32, taken: usize) {
        let place = ("t".to_owned(), partition);
        if let Some(turns) = self.under_way.remove(&place) {
            let taken = taken.min(turns.len() - 1);
            self.log.extend(turns[..taken].iter().map(|turn| (partition, *turn)));
            self.lines.refused(&place, turns[taken], Duration::from_millis(50), self.now);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(partition, count) => self.write(partition, count),
            Step::Round => self.round(),
            Step::Accept(partition) => self.accept(partition),
            Step::Refuse(partition, taken) => self.refuse(partition, taken),
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                self.lines.set_aside(self.now);
            }
        }
    }
}

proptest! {
    /// Whatever is slow or refuses: in the end each row was taken once, in order per partition.
    #[test]
    fn each_row_goes_once_and_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model {
            rows: Vec::new(),
            read_to: 0,
            lines: Lines::default(),
            under_way: BTreeMap::new(),
            log: Vec::new(),
            now: Instant::now(),
            tasks: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
        };
        steps.into_iter().for_each(|step| model.step(step));
        for _ in 0..model.rows.len() + 10 {
            model.round();
            (0..3).for_each(|partition| model.accept(partition));
            model.now += Duration::from_secs(1);
        }
        prop_assert!(model.lines.is_empty());
        for partition in 0..3 {
            let of = |rows: &[(u32, i64)]| -> Vec<i64> {
                rows.iter().filter(|(p, _)| *p == partition).map(|(_, turn)| *turn).collect()
            };
            let written: Vec<(u32, i64)> =
                model.rows.iter().map(|row| (row.message.partition, row.turn)).collect();
            prop_assert_eq!(of(&model.log), of(&written));
        }
    }
}
