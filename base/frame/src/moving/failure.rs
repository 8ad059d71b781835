//! Why nothing was moved: each a sentence that says what to do.

use crate::StartFailure;
use crate::config::Problem;
use artel_bus::{BusError, CarryError};
use artel_flow::{Failure, StartError};
use artel_message::Time;
use artel_store::StoreError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the settings of --to: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Settings(Vec<Problem>),
    #[error("a node runs on what is to be moved ({0}); stop it, and move then")]
    Runs(Box<StartFailure>),
    #[error("what is to be moved: {0}")]
    Source(Box<StartFailure>),
    #[error("the target: {0}")]
    Target(Box<StartFailure>),
    #[error("what this folder holds was moved to {to} already; name that in --to, or start the node there")]
    Moved { to: String },
    #[error(
        "the folder has databases of services that this program doesn't have: {}; use the program that has them, or move their \
         files away",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
    #[error(
        "the database of '{service}' is not at this program's migrations ({file}); start and stop a node of this program on it \
         once, or run `artel migrate apply`"
    )]
    Migrations { service: String, file: String },
    #[error(
        "the database of '{service}' has a migration of a newer program ({file}), whose tables this one would not make in the \
         target; move with that program"
    )]
    Newer { service: String, file: String },
    #[error(
        "a move of the node '{name}' to this target began at {began_at} and is not done; where that is this node, and no other \
         `artel move` is under way, --again empties what it has copied and begins anew"
    )]
    Unfinished { name: String, began_at: Time },
    #[error(
        "another node, '{name}', is being moved to this target since {began_at}; take another database and another \
         kafka.topic_prefix"
    )]
    Other { name: String, began_at: Time },
    #[error(
        "the interrupted move copied to {log}, and --to names {now}; name the first place again, so that what was copied there can \
         be deleted"
    )]
    OtherLog { log: String, now: String },
    #[error(
        "the target is not empty: {}; take an empty database and a kafka.topic_prefix without topics",
        .0.join("; ")
    )]
    NotEmpty(Vec<String>),
    #[error(
        "group '{group}' needs messages of {topic}/{partition} from offset {next} on, and the target has removed some of them by \
         its age already; make retention longer there, and begin anew with --again"
    )]
    Gone { topic: String, partition: u32, group: String, next: i64 },
    #[error(
        "{}{} can't be kept in the target; nothing was copied. Make bus.max_message_bytes of --to large enough, or wait until \
         retention has taken away what no setting helps (docs/moving.md)",
        .messages.join("; "), further(*.more)
    )]
    Unfit { messages: Vec<String>, more: u64 },
    #[error("brokers take no topics of these names: {}", .0.join("; "))]
    Names(Vec<String>),
    #[error(
        "a node has shown itself on the target while it was being moved to; stop it. What was copied is begun anew with --again"
    )]
    NodeThere,
    #[error(
        "another `artel move` has taken this one's place on the target; the old folder stays as it is. Wait for the other one, or \
         stop it and begin anew with --again"
    )]
    TakenOver,
    #[error(
        "table {table} of '{service}' has other columns in the target: {reason}; is it made by another program?"
    )]
    Columns { service: String, table: String, reason: String },
    #[error(
        "table {table} of '{service}' is not the same in the target: {source_rows} rows there, {target_rows} here, or other values; \
         begin anew with --again"
    )]
    Differs { service: String, table: String, source_rows: u64, target_rows: u64 },
    #[error("'{}' can't be closed for nodes: {reason}; the target stays closed, run it again", path.display())]
    Close { path: PathBuf, reason: String },
    #[error("the log: {0}")]
    Log(#[from] BusError),
    #[error("the database: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Flow(Failure),
    #[error(transparent)]
    Start(#[from] StartError),
}

fn further(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

impl From<CarryError> for MoveError {
    fn from(error: CarryError) -> MoveError {
        match error {
            CarryError::Log(error) => MoveError::Log(error),
            record @ CarryError::Record { .. } => {
                MoveError::Unfit { messages: vec![record.to_string()], more: 0 }
            }
        }
    }
}

impl MoveError {
    pub(super) fn source(failure: StartFailure) -> MoveError {
        let failure = Box::new(failure);
        if failure.is_in_use() { MoveError::Runs(failure) } else { MoveError::Source(failure) }
    }

    pub(super) fn target(failure: StartFailure) -> MoveError {
        MoveError::Target(Box::new(failure))
    }
}
