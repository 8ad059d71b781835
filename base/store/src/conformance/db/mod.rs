//! The database suite.

mod cancelled;
mod errors;
mod histories;
mod isolation;
mod lanes;
mod migrations;
mod rows;
mod values;

pub use cancelled::{abandoned_statement, aborted_tasks, cancelled_anywhere, rolled_back_on_drop};
pub use errors::{
    conflicts_are_counted, deferred_constraint, swallowed_error_latches, unfit_values, unique_violation,
    wrong_parameters,
};
pub use histories::{anomalies, serial_histories};
pub use isolation::{lost_update, snapshots, transfers, write_skew};
pub use lanes::{clock, closing, interactive_lane, late, pressed_background};
pub use migrations::{
    migrations_at_once, migrations_fail_whole, migrations_in_order, migrations_of_a_newer_program,
    migrations_refused,
};
pub use rows::{many_rows, prepared_texts, rows_refused, rows_with_nulls, streams};
pub use values::{any_values, big_values, every_type, repeated_parameters, wrong_types};

use crate::{Args, Db, Lane, StoreError};

/// One change in a transaction of its own, such as making a table.
async fn change(db: &Db, sql: &'static str, args: impl Args) {
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec(sql, args).await.expect("runs");
    write.commit().await.expect("commits");
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    let mut read = db.read().await.expect("reads");
    read.one::<(i64,)>(sql, ()).await.expect("gives a number").0
}

/// Runs it until it neither collides nor asks for a rerun.
async fn rerun<F: Future<Output = Result<(), StoreError>>>(attempt: impl Fn() -> F) {
    loop {
        match attempt().await {
            Err(error) if error.is_rerun() => {}
            done => return done.expect("only collisions are run again"),
        }
    }
}

/// Numbers that look random and are the same in each run (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
