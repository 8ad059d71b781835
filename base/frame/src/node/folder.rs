//! The data folder: made where it is missing, held by one process.

use super::StartFailure;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The proof that no other process has the folder: a lock on `FOLDER/lock`, which holds the owner's pid as text. The log
/// and the databases have locks of their own, because their folders may lie elsewhere.
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub fn take(folder: &Path) -> Result<FolderLock, StartFailure> {
        let failed = |error: std::io::Error| StartFailure::Folder {
            path: folder.to_owned(),
            reason: error.to_string().to_lowercase(),
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join("lock");
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
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
        Ok(FolderLock { _file: file })
    }
}
