//! The classes of failure (infrastructure, not yet, never), which decide what becomes of a message.

use artel_bus::BusError;
use artel_message::{Code, Fault};
use artel_store::StoreError;

/// Why an attempt came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The database, the disk, the log, our own outbox bound: tried again without limit, never counted.
    #[error("{0}")]
    Infrastructure(Fault),
    /// The transaction collided with another one: run again at once, from its start.
    #[error("{0}")]
    Contended(Fault),
    /// The bytes are not what the message's name promises; trying at once again cannot help.
    #[error("{0}")]
    Undecodable(String),
    /// The handler's own word.
    #[error("{0}")]
    Refused(Fault),
    /// The fence found no row: another owner, or an operator moved the group. Here, not an error of the message.
    #[error("the fence of {topic}/{partition} failed")]
    Fenced { topic: String, partition: u32 },
}

/// What is done with a message after a failure of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait and try again, without limit.
    Infrastructure,
    /// A few tries in place, then its key is parked.
    NotYet,
    /// No further try in place helps, yet a later one may: its key is parked at once.
    Undecodable,
    /// Dead at once.
    Never,
}

impl Failure {
    pub fn class(&self) -> Class {
        match self {
            Failure::Infrastructure(_) | Failure::Contended(_) | Failure::Fenced { .. } => {
                Class::Infrastructure
            }
            Failure::Undecodable(_) => Class::Undecodable,
            Failure::Refused(fault) if fault.code.is_final() => Class::Never,
            Failure::Refused(_) => Class::NotYet,
        }
    }

    /// Whether running the same transaction again at once may succeed.
    pub fn is_contended(&self) -> bool {
        matches!(self, Failure::Contended(_))
    }

    /// As a caller is told.
    pub fn into_fault(self) -> Fault {
        match self {
            Failure::Infrastructure(fault) | Failure::Contended(fault) | Failure::Refused(fault) => fault,
            Failure::Undecodable(reason) => Fault::invalid(reason),
            Failure::Fenced { .. } => Fault::unavailable(self.to_string()),
        }
    }

    pub fn code(&self) -> Code {
        match self {
            Failure::Infrastructure(fault) | Failure::Contended(fault) | Failure::Refused(fault) => {
                fault.code
            }
            Failure::Undecodable(_) => Code::Invalid,
            Failure::Fenced { .. } => Code::Unavailable,
        }
    }
}

impl From<StoreError> for Failure {
    /// A constraint or a wrong statement is the handler's own doing: it would wait for ever as infrastructure.
    fn from(error: StoreError) -> Failure {
        if error.is_rerun() {
            Failure::Contended(error.into())
        } else if error.is_infrastructure() {
            Failure::Infrastructure(error.into())
        } else {
            Failure::Refused(error.into())
        }
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Failure {
        Failure::Infrastructure(error.into())
    }
}

/// How often a transaction that collided with another one runs again at once.
pub(crate) const RERUNS: u32 = 8;
