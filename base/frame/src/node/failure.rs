//! Why a node does not start: each a sentence that says what to do.

use crate::config::Problem;
use artel_bus::BusError;
use artel_flow::StartError;
use artel_store::StoreError;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// Every problem of the configuration.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    #[error(
        "the data folder '{}' is in use by another process{}; stop that one, or choose another folder with --data-dir",
        path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("the data folder '{}' can't be used: {reason}; mend that, or choose another with --data-dir", path.display())]
    Folder { path: PathBuf, reason: String },
    /// What the folder holds was moved away, or is not all there yet.
    #[error("{0}")]
    Closed(String),
    #[error(
        "this needs an embedded node, with bus.url segments: and db.url sqlite:; what is kept in Kafka and PostgreSQL is backed up \
         by their own tools, the databases before the topics"
    )]
    NotEmbedded,
    #[error(
        "can't listen on {address}: {reason}; stop what listens there, or choose another address with --listen"
    )]
    Listen { address: SocketAddr, reason: String },
    #[error(
        "can't listen for other nodes on {address}: {reason}; stop what listens there, or choose another address by \
         peers.listen"
    )]
    Peers { address: SocketAddr, reason: String },
    #[error("no randomness for the operator token: {0}; set auth.operator_token")]
    Random(String),
    // The cause is in the sentence: it is no source besides, or whoever prints the chain says it twice.
    #[error("the log (bus.url): {0}")]
    Log(BusError),
    #[error("the database (db.url): {0}")]
    Store(StoreError),
    #[error(transparent)]
    Flow(#[from] StartError),
}

impl From<BusError> for StartFailure {
    fn from(error: BusError) -> StartFailure {
        StartFailure::Log(error)
    }
}

impl From<StoreError> for StartFailure {
    fn from(error: StoreError) -> StartFailure {
        StartFailure::Store(error)
    }
}

impl StartFailure {
    /// Whether another process, or one that is just ending, holds a folder.
    pub fn is_in_use(&self) -> bool {
        matches!(
            self,
            StartFailure::InUse { .. }
                | StartFailure::Log(BusError::Unavailable(_))
                | StartFailure::Store(StoreError::InUse { .. })
        )
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
