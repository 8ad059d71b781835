//! Folders and files: empty ones, room in them, copies with a checksum, durable names.

use super::{BackupError, Progress};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;

pub(super) fn io(doing: &'static str, path: &Path, error: &io::Error) -> BackupError {
    BackupError::Io { doing, path: path.to_owned(), reason: error.to_string().to_lowercase() }
}

/// Whether nothing is there: no such folder, or nothing in it.
pub(super) fn is_empty(folder: &Path) -> Result<bool, BackupError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io("looking into", folder, &error)),
    }
}

/// Makes it and those above it, with names that are durable on return; what is in it is nobody else's to read.
pub(super) fn make(folder: &Path) -> Result<(), BackupError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| io("making", folder, &error))?;
        sync_name(folder)?;
    }
    Ok(())
}

/// Makes the name of a file or folder durable, where it stands.
pub(super) fn sync_name(path: &Path) -> Result<(), BackupError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(Path::new(".")),
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// Removes everything in a folder but that one file, durably; the folder itself may be mounted or linked, and stays.
pub(super) fn clear(folder: &Path, but: Option<&str>) -> Result<(), BackupError> {
    let failed = |path: &Path, error: &io::Error| io("removing", path, error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(folder, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        if but.is_some_and(|but| entry.file_name() == but) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().map_err(|error| failed(&path, &error))?.is_dir();
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|error| failed(&path, &error))?;
    }
    sync(folder)
}

/// Refuses a folder whose disk has less room.
pub(super) fn room(folder: &Path, need: u64) -> Result<(), BackupError> {
    let disk =
        rustix::fs::statvfs(folder).map_err(|error| io("looking for room in", folder, &error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < need { Err(BackupError::Room { path: folder.to_owned(), need, free }) } else { Ok(()) }
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io("syncing", folder, &error))
}

/// The bytes and the SHA-256 of a file.
pub(super) fn checksum(path: &Path, progress: &Progress) -> Result<(u64, String), BackupError> {
    pass(path, progress, |_| Ok(()))
}

/// Copies a file, durable but for its name; its bytes and SHA-256.
pub(super) fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<(u64, String), BackupError> {
    let failed = |error: &io::Error| io("writing", to, error);
    let mut target = File::options().write(true).create_new(true).open(to).map_err(|error| failed(&error))?;
    let found = pass(from, progress, |chunk| target.write_all(chunk).map_err(|error| failed(&error)))?;
    target.sync_all().map_err(|error| failed(&error))?;
    Ok(found)
}

fn pass(
    path: &Path,
    progress: &Progress,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(|error| io("reading", path, &error))?;
    let (mut chunk, mut hash, mut bytes) = (vec![0; CHUNK_BYTES], Sha256::new(), 0);
    loop {
        let have = file.read(&mut chunk).map_err(|error| io("reading", path, &error))?;
        if have == 0 {
            break;
        }
        each(&chunk[..have])?;
        hash.update(&chunk[..have]);
        bytes += have as u64;
        progress.add(have as u64);
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
