//! A folder of databases that no node may start on, with the reason: a small file beside them.

use super::StartFailure;
use crate::config::{Config, DbAdapter};
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const FILE: &str = "closed.json";

/// Why a folder of databases is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "why")]
pub enum Closed {
    /// A backup is being brought back into it, or that was interrupted.
    Restoring { from: PathBuf, at: Time },
    /// What it holds was moved to another place and goes on there.
    Moved { to: String, at: Time, id: Uuid },
}

impl Closed {
    pub(crate) fn restoring(from: &Path, at: Time) -> Closed {
        Closed::Restoring { from: from.to_owned(), at }
    }

    /// The file beside the databases.
    pub(crate) const FILE: &str = FILE;

    /// Whether the folder says anything.
    pub(crate) fn is_left(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// What the folder says, if it is closed.
    pub fn of(folder: &Path) -> io::Result<Option<Closed>> {
        match std::fs::read(folder.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Durable on return.
    pub(crate) fn leave(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(format!("{FILE}.new"));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    pub(crate) fn remove(folder: &Path) -> io::Result<()> {
        std::fs::remove_file(folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    /// The sentence for whoever wants to start there.
    pub fn sentence(&self, folder: &Path) -> String {
        let file = folder.join(FILE);
        let (folder, file) = (folder.display(), file.display());
        match self {
            Closed::Restoring { from, .. } => format!(
                "bringing back the backup '{}' into '{folder}' was interrupted; remove the folder and restore again",
                from.display()
            ),
            Closed::Moved { to, at, .. } => format!(
                "what '{folder}' holds was moved to {to} at {at} and goes on there; start the node with the settings that name \
                 it. To go back to what it was at that moment, giving up all that has happened there since, remove the file \
                 '{file}'"
            ),
        }
    }
}

/// Refuses a folder of databases that is closed.
pub(super) fn check(config: &Config) -> Result<(), StartFailure> {
    let Ok(DbAdapter::Sqlite(folder)) = config.db_adapter() else { return Ok(()) };
    check_folder(&folder)
}

pub(crate) fn check_folder(folder: &Path) -> Result<(), StartFailure> {
    match Closed::of(folder) {
        Ok(None) => Ok(()),
        Ok(Some(closed)) => Err(StartFailure::Closed(closed.sentence(folder))),
        Err(error) => Err(StartFailure::Folder {
            path: folder.join(FILE),
            reason: format!("it can't be read: {}", error.to_string().to_lowercase()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_says_why_and_opens_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = Time::from_micros(0);
        let said = || check_folder(folder.path()).map_err(|failure| failure.to_string());
        assert_eq!(said(), Ok(()));
        Closed::restoring(Path::new("monday"), at).leave(folder.path()).expect("left");
        assert!(said().expect_err("is closed").contains("the backup 'monday'"));
        let moved = Closed::Moved { to: "kafka://k:1".to_owned(), at, id: Uuid::nil() };
        moved.leave(folder.path()).expect("left");
        let sentence = said().expect_err("is closed");
        assert!(sentence.contains("moved to kafka://k:1") && sentence.contains("closed.json"), "{sentence}");
        Closed::remove(folder.path()).expect("removed");
        assert_eq!(said(), Ok(()));
        std::fs::write(folder.path().join(FILE), "what?").expect("written");
        assert!(said().expect_err("nobody knows").contains("can't be read"));
    }
}
