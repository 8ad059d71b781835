//! `cargo xtask tidy`: the rules of this workspace that a program can check. Each rule is a function over the tree that
//! adds problems to a report, so that a run shows all of them at once.

mod code;
mod files;
mod manifests;
mod places;
mod rust;
mod tree;

use anyhow::Result;
use std::fmt;
use std::path::Path;
use tree::Tree;

/// What was found; notes do not fail the run.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the workspace's folder, with `/` between the parts.
    path: String,
    /// From 1.
    line: usize,
    reason: String,
}

impl Report {
    fn problem(&mut self, path: &str, line: usize, reason: impl Into<String>) {
        self.problems.push(Finding { path: path.to_owned(), line, reason: reason.into() });
    }

    fn note(&mut self, path: &str, line: usize, reason: impl Into<String>) {
        self.notes.push(Finding { path: path.to_owned(), line, reason: reason.into() });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.reason)
    }
}

/// Checks the workspace in `root` and prints what is wrong; true when nothing is.
pub fn run(root: &Path) -> Result<bool> {
    let tree = Tree::load(root)?;
    let report = check(&tree);
    for note in &report.notes {
        println!("note: {note}");
    }
    for problem in &report.problems {
        println!("{problem}");
    }
    println!("tidy: {} files, {} problems", tree.files.len(), report.problems.len());
    Ok(report.problems.is_empty())
}

fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    manifests::check(tree, &mut report);
    files::check(tree, &mut report);
    places::check(tree, &mut report);
    code::check(tree, &mut report);
    report.problems.sort();
    report.notes.sort();
    report
}

#[cfg(test)]
mod tests;
