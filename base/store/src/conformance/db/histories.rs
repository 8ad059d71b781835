//! Random histories: a few transactions at the same time on a few rows, and a look for an order, one after the other, that
//! explains what each of them read and what is left in the end.

use super::{Dice, change};
use crate::conformance::DbHarness;
use crate::{Db, Engine, Lane, StoreError, Write};
use std::sync::Arc;
use tokio::sync::Barrier;

const TABLE: &str = "CREATE TABLE cell (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
const RESET: &str = "UPDATE cell SET n = id";
const READ: &str = "SELECT n FROM cell WHERE id = $1";
const SUM: &str = "SELECT CAST(sum(n) AS BIGINT) FROM cell";
const WRITE: &str = "UPDATE cell SET n = $2 WHERE id = $1";
const ALL: &str = "SELECT n FROM cell ORDER BY id";

const CELLS: usize = 4;
const TRANSACTIONS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Read(usize),
    /// The sum of all cells.
    Sum,
    /// The sum of all that was read so far, plus a number that no other step has.
    Write(usize, i64),
}

type Program = Vec<Step>;
type Cells = [i64; CELLS];

/// Begins with a read, so that all can have begun before any writes.
fn program(dice: &mut Dice, mark: i64) -> Program {
    let below = |dice: &mut Dice, bound: usize| usize::try_from(dice.below(bound as u64)).unwrap_or(0);
    let mut steps = vec![Step::Read(below(dice, CELLS))];
    for step in 0..2 + below(dice, 3) {
        steps.push(match below(dice, 5) {
            0 => Step::Read(below(dice, CELLS)),
            1 => Step::Sum,
            _ => Step::Write(below(dice, CELLS), mark + i64::try_from(step).unwrap_or(0)),
        });
    }
    steps
}

/// What it reads and leaves when it is alone.
fn alone(program: &Program, cells: &mut Cells) -> Vec<i64> {
    let mut read = Vec::new();
    for step in program {
        match *step {
            Step::Read(at) => read.push(cells[at]),
            Step::Sum => read.push(cells.iter().sum()),
            Step::Write(at, mark) => cells[at] = read.iter().sum::<i64>() + mark,
        }
    }
    read
}

/// Whether some order of the transactions gives these reads and that end.
fn explained(programs: &[Program], reads: &[Vec<i64>], end: &Cells) -> bool {
    fn go(
        programs: &[Program],
        reads: &[Vec<i64>],
        end: &Cells,
        done: &mut Vec<usize>,
        cells: Cells,
    ) -> bool {
        if done.len() == programs.len() {
            return cells == *end;
        }
        (0..programs.len()).any(|next| {
            let mut cells = cells;
            if done.contains(&next) || alone(&programs[next], &mut cells) != reads[next] {
                return false;
            }
            done.push(next);
            let found = go(programs, reads, end, done, cells);
            done.pop();
            found
        })
    }
    go(programs, reads, end, &mut Vec::new(), start())
}

fn start() -> Cells {
    std::array::from_fn(|at| i64::try_from(at).unwrap_or(0))
}

async fn begin(db: &Db, plain: bool) -> Result<Write, StoreError> {
    if plain { db.begin_plain(Lane::Interactive).await } else { db.begin(Lane::Interactive).await }
}

async fn attempt(
    db: &Db,
    plain: bool,
    program: &Program,
    met: Option<&Barrier>,
) -> Result<Vec<i64>, StoreError> {
    let mut write = begin(db, plain).await?;
    let mut read = Vec::new();
    for (at, step) in program.iter().enumerate() {
        match *step {
            Step::Read(cell) => {
                let id = i64::try_from(cell).unwrap_or(0);
                read.push(write.one::<(i64,)>(READ, (id,)).await?.0);
            }
            Step::Sum => read.push(write.one::<(i64,)>(SUM, ()).await?.0),
            Step::Write(cell, mark) => {
                let id = i64::try_from(cell).unwrap_or(0);
                write.exec(WRITE, (id, read.iter().sum::<i64>() + mark)).await?;
            }
        }
        if at == 0
            && let Some(met) = met
        {
            met.wait().await;
        }
    }
    write.commit().await?;
    Ok(read)
}

async fn run(db: Db, plain: bool, program: Program, met: Option<Arc<Barrier>>) -> Vec<i64> {
    let mut first = true;
    loop {
        // Only the first attempts meet: nobody waits for those who begin again.
        let met = met.as_deref().filter(|_| std::mem::take(&mut first));
        match attempt(&db, plain, &program, met).await {
            Ok(read) => return read,
            Err(error) => assert!(error.is_rerun(), "{error:?}"),
        }
    }
}

/// How many of `rounds` histories have no explanation. `plain` runs them by [`Db::begin_plain`].
pub async fn anomalies(db: &Db, plain: bool, seed: u64, rounds: u32) -> u32 {
    change(db, TABLE, ()).await;
    for id in 0..i64::try_from(CELLS).unwrap_or(0) {
        change(db, "INSERT INTO cell (id, n) VALUES ($1, $1)", (id,)).await;
    }
    let mut dice = Dice(seed);
    let mut found = 0;
    for round in 0..rounds {
        change(db, RESET, ()).await;
        let programs: Vec<Program> =
            (1..=TRANSACTIONS).map(|n| program(&mut dice, i64::try_from(n).unwrap_or(0) * 1000)).collect();
        // A single writer can't wait for others to begin.
        let met = (db.engine() != Engine::Sqlite).then(|| Arc::new(Barrier::new(TRANSACTIONS)));
        let tasks: Vec<_> = programs
            .iter()
            .map(|program| tokio::spawn(run(db.clone(), plain, program.clone(), met.clone())))
            .collect();
        let mut reads = Vec::new();
        for task in tasks {
            reads.push(task.await.expect("the task ends well"));
        }
        let rows = db.read().await.expect("reads").all::<(i64,)>(ALL, ()).await.expect("reads");
        let end: Vec<i64> = rows.into_iter().map(|(n,)| n).collect();
        let end: Cells = end.try_into().expect("all cells are there");
        if !explained(&programs, &reads, &end) {
            println!("seed {seed}, round {round}: {programs:?} read {reads:?} and left {end:?}");
            found += 1;
        }
    }
    found
}

/// [`Db::begin`] keeps transactions apart: every history has an explanation.
pub async fn serial_histories(harness: DbHarness) {
    let db = harness.db().await;
    assert_eq!(anomalies(&db, false, 20_261_121, 300).await, 0);
}
