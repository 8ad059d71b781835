//! An embedded node that stands: its folders, held and opened as a node would, and nothing running on them.

use super::adapters::{open_segments, open_store_to_read};
use super::folder::FolderLock;
use super::{Closed, StartFailure, closed};
use crate::config::{BusAdapter, Config, DbAdapter};
use artel_bus::{Log, Segments};
use artel_flow::Clock;
use artel_store::Store;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log and the databases of a node that does not run. Nobody else has them meanwhile.
pub struct Standing {
    pub log: Arc<Segments>,
    pub store: Store,
    /// The folder of the databases.
    pub databases: PathBuf,
    _lock: FolderLock,
}

impl Standing {
    /// Opens what is there and makes nothing. [`StartFailure::is_in_use`] where a node runs on it. Retention rests.
    pub async fn open(config: &Config) -> Result<Standing, StartFailure> {
        Standing::open_as(config, false).await
    }

    /// The same, also where everything was moved away.
    pub(crate) async fn open_also_moved(config: &Config) -> Result<Standing, StartFailure> {
        Standing::open_as(config, true).await
    }

    async fn open_as(config: &Config, also_moved: bool) -> Result<Standing, StartFailure> {
        let (Ok(BusAdapter::Segments(folder)), Ok(DbAdapter::Sqlite(databases))) =
            (config.bus_adapter(), config.db_adapter())
        else {
            return Err(StartFailure::NotEmbedded);
        };
        for folder in [&config.node.data_dir, &folder, &databases] {
            if !folder.is_dir() {
                return Err(nothing_in(folder));
            }
        }
        let lock = FolderLock::take(&config.node.data_dir)?;
        if !(also_moved && matches!(Closed::of(&databases), Ok(Some(Closed::Moved { .. })))) {
            closed::check_folder(&databases)?;
        }
        let log = open_segments(config, &Clock::system(), folder, false).await?;
        let store = match open_store_to_read(config).await {
            Ok(store) => store,
            Err(failure) => {
                log.close().await;
                return Err(failure);
            }
        };
        Ok(Standing { log, store, databases, _lock: lock })
    }

    /// Why no node may start on it.
    pub(crate) fn closed(&self) -> Option<Closed> {
        // What can't be read is refused when it is opened.
        Closed::of(&self.databases).ok().flatten()
    }

    /// From here on no node starts on it.
    pub(crate) fn close_for_nodes(&self, why: &Closed) -> io::Result<()> {
        why.leave(&self.databases)
    }

    pub async fn close(self) {
        self.log.close().await;
        self.store.close().await;
    }
}

fn nothing_in(folder: &Path) -> StartFailure {
    StartFailure::Folder {
        path: folder.to_owned(),
        reason: "there is no such folder, so no node has run on it".to_owned(),
    }
}
