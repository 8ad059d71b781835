//! The workspace's text files, read once.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Folders with nothing of ours in them, by name.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "dist", "playwright-report"];
/// The same, in the workspace's own folder only.
const SKIPPED_AT_ROOT: [&str; 2] = [".cache", "data"];

/// Above this size a file is data, not text that somebody wrote.
const MOST_BYTES: u64 = 2 << 20;

#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    /// Sorted by path.
    pub files: Vec<File>,
}

#[derive(Debug)]
pub struct File {
    /// Relative to the root, with `/` between the parts.
    pub path: String,
    pub text: String,
}

impl Tree {
    pub fn load(root: &Path) -> Result<Tree> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder)
                .with_context(|| format!("list the folder {}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                // A link is looked at where it points to, or not at all.
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    let skipped = SKIPPED.iter().any(|skipped| name == *skipped)
                        || folder == root && SKIPPED_AT_ROOT.iter().any(|skipped| name == *skipped);
                    if !skipped {
                        folders.push(entry.path());
                    }
                } else if kind.is_file() {
                    files.extend(read(root, &entry.path())?);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree { root: root.to_owned(), files })
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &self.files[at])
    }
}

impl File {
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What follows the last point of the name; empty where there is none.
    pub fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Whether one of the folders above the file has this name.
    pub fn is_below(&self, folder: &str) -> bool {
        self.path.split('/').rev().skip(1).any(|part| part == folder)
    }

    /// The first folder: the layer that the file belongs to.
    pub fn layer(&self) -> &str {
        self.path.split_once('/').map_or("", |(first, _)| first)
    }

    /// (line from 1, its text)
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// `None` for what is not text: too large, or not UTF-8. A file that vanished meanwhile is none, too: editors and
/// other tools write beside us.
fn read(root: &Path, path: &Path) -> Result<Option<File>> {
    let Ok(about) = path.metadata() else { return Ok(None) };
    if about.len() > MOST_BYTES {
        return Ok(None);
    }
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    let relative = path.strip_prefix(root).context("a file outside of the workspace's folder")?;
    let path =
        relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    Ok(Some(File { path, text }))
}
