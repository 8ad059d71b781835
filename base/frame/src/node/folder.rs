//! The data folder: made where it is missing, held by one process; and the operator's token in it.

use super::StartFailure;
use crate::config::Secret;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file in the data folder with the operator's token, where the node has made one.
pub const TOKEN_FILE: &str = "operator-token";

/// The proof that no other process has the folder: a lock on `FOLDER/lock`, which holds the owner's pid as text. The log
/// and the databases have locks of their own, because their folders may lie elsewhere.
pub(crate) struct FolderLock {
    _file: File,
    path: PathBuf,
}

impl FolderLock {
    pub fn take(folder: &Path) -> Result<FolderLock, StartFailure> {
        let failed = |error: std::io::Error| StartFailure::Folder {
            path: folder.to_owned(),
            reason: error.to_string().to_lowercase(),
        };
        // What people send to each other is nobody else's to read; a folder that exists keeps the rights it was given.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let path = folder.join("lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StartFailure::InUse { path: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The pid is only told to a second process; a full disk must not keep this one from starting.
        let written = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = written.and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::debug!(folder = %folder.display(), %error, "the lock file does not hold the pid");
        }
        Ok(FolderLock { _file: file, path })
    }

    /// Takes the file away too, in a folder that nothing else is in.
    pub fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the lock file could not be removed");
        }
    }
}

/// The token as a file that only this user can read, for the commands of this machine; it goes away with the node.
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    /// Writes it beside and moves it in place: who reads it finds the old one or the new one.
    pub fn leave(folder: &Path, token: &Secret) -> std::io::Result<TokenFile> {
        let (path, new) = (folder.join(TOKEN_FILE), folder.join(format!("{TOKEN_FILE}.new")));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{}", token.expose())?;
        std::fs::rename(&new, &path)?;
        Ok(TokenFile(path))
    }

    /// It opens nothing any more.
    pub fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "the file of the operator's token could not be removed");
        }
    }
}
