//! What a backup says of itself.

use super::place::io;
use super::{BackupError, Progress, place};
use artel_bus::Bounds;
use artel_bus::segments::CopiedTopic;
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use uuid::Uuid;

pub(super) const FILE: &str = "manifest.json";
/// Another one is of a program that this one does not know.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The version of the program that took it.
    pub program: String,
    /// The node's name.
    pub node: String,
    /// The moment that everything in it is of. What happened after it is not in the backup.
    pub cut_at: Time,
    pub finished_at: Time,
    pub databases: Vec<CopiedDatabase>,
    pub topics: Vec<CopiedLog>,
    pub files: Vec<CopiedFile>,
}

/// A service's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedDatabase {
    pub service: String,
    /// What is applied: component, version, file.
    pub migrations: Vec<(String, u32, String)>,
    /// What those that say so work from: component, version, the last migration that a program has to know.
    #[serde(default)]
    pub works_from: Vec<(String, u32, u32)>,
}

/// A topic of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedLog {
    pub topic: String,
    /// Its identity in the log.
    pub id: Uuid,
    /// Of each partition: the first offset, and the one behind the last.
    pub offsets: Vec<(i64, i64)>,
}

/// A file, seen from the backup's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
}

impl CopiedDatabase {
    pub(super) fn works_from(&self, component: &str, version: u32) -> Option<u32> {
        let of = |said: &&(String, u32, u32)| said.0 == component && said.1 == version;
        self.works_from.iter().find(of).map(|said| said.2)
    }
}

impl CopiedLog {
    pub(super) fn of(copied: &CopiedTopic) -> CopiedLog {
        let offsets = |bounds: &Bounds| (bounds.begin, bounds.end);
        CopiedLog {
            topic: copied.topic.name.clone(),
            id: copied.topic.id,
            offsets: copied.bounds.iter().map(offsets).collect(),
        }
    }
}

/// What is known before the files are counted.
pub(super) struct Head {
    pub program: String,
    pub node: String,
    pub cut_at: Time,
    pub finished_at: Time,
}

impl Manifest {
    pub(super) fn new(
        head: Head,
        databases: Vec<CopiedDatabase>,
        topics: Vec<CopiedLog>,
        files: Vec<CopiedFile>,
    ) -> Manifest {
        let Head { program, node, cut_at, finished_at } = head;
        Manifest { format: FORMAT, program, node, cut_at, finished_at, databases, topics, files }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Records of all topics.
    pub fn records(&self) -> u64 {
        let offsets = self.topics.iter().flat_map(|topic| &topic.offsets);
        offsets.map(|(begin, end)| u64::try_from(end - begin).unwrap_or(0)).sum()
    }

    pub fn read(backup: &Path) -> Result<Manifest, BackupError> {
        let none = |reason: String| BackupError::NoBackup { path: backup.to_owned(), reason };
        let text = std::fs::read(backup.join(FILE)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => none(format!("it has no {FILE}")),
            _ => none(format!("{FILE} can't be read: {error}")),
        })?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } =
            serde_json::from_slice(&text).map_err(|error| none(format!("{FILE} is no manifest: {error}")))?;
        if format != FORMAT {
            return Err(none(format!("it is of form {format}, which only a newer program reads")));
        }
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| none(format!("{FILE} is no manifest: {error}")))?;
        let is_inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        match manifest.files.iter().find(|file| !is_inside(&file.path)) {
            Some(file) => Err(none(format!("{FILE} names a file outside of it: {}", file.path.display()))),
            None => Ok(manifest),
        }
    }

    /// Durable on return; the backup is finished with it.
    pub(super) fn store(&self, backup: &Path) -> Result<(), BackupError> {
        let (path, new) = (backup.join(FILE), backup.join(format!("{FILE}.new")));
        let text = serde_json::to_vec_pretty(self).map_err(|error| io("writing", &path, &error.into()))?;
        let written = std::fs::File::create(&new).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        });
        written.map_err(|error| io("writing", &path, &error))?;
        place::sync(backup)
    }
}

/// Every file below a folder of the backup, with its checksum, in the order of their names.
pub(super) fn files(backup: &Path, progress: &Progress) -> Result<Vec<CopiedFile>, BackupError> {
    let (mut folders, mut paths) = (vec![backup.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| io("reading", &folder, &error))? {
            let entry = entry.map_err(|error| io("reading", &folder, &error))?;
            let is_folder = entry.file_type().map_err(|error| io("reading", &folder, &error))?.is_dir();
            if is_folder { folders.push(entry.path()) } else { paths.push(entry.path()) }
        }
    }
    paths.sort_unstable();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (bytes, sha256) = place::checksum(&path, progress)?;
        let path = path.strip_prefix(backup).unwrap_or(&path).to_owned();
        files.push(CopiedFile { path, bytes, sha256 });
    }
    Ok(files)
}
