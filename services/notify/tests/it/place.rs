//! Where nodes of a test keep what they know.

use crate::board::Board;
use crate::catalogue;
use artel_flow::Service;
use artel_frame::{Sandbox, SandboxOptions};
use artel_store::conformance::{TestDatabase, database};
use std::sync::Arc;

/// A database that outlives its nodes.
#[derive(Default)]
pub struct Place {
    /// Where there is none, each node has SQLite files in its folder.
    database: Option<TestDatabase>,
}

impl Place {
    pub fn new() -> Place {
        Place { database: None }
    }

    /// A PostgreSQL database of its own; `None` where no server is given.
    pub async fn on_postgres() -> Option<Place> {
        Some(Place { database: Some(database().await?) })
    }

    /// A node with this board for all of its providers.
    pub async fn start(&self, board: &Arc<Board>) -> Sandbox {
        self.of(board).file(ACCOUNTS).start().await.expect("the node starts")
    }

    /// What a node is started with, without accounts.
    pub fn of(&self, board: &Arc<Board>) -> SandboxOptions {
        let board = board.clone();
        self.with(move || artel_notify::service_over(board.carriers()))
    }

    /// The same with carriers of the service's own choice.
    pub fn with(&self, service: impl Fn() -> Service + Send + Sync + 'static) -> SandboxOptions {
        let options = Sandbox::of(move || vec![service()], catalogue);
        match &self.database {
            Some(database) => options.setting("db.url", database.url.as_str()),
            None => options,
        }
    }
}

pub const ACCOUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/accounts.toml");
pub const PACED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/paced.toml");
