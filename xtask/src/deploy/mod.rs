//! `cargo xtask deploy-check`: what of the folder `deploy` can be checked without an engine for containers, a cluster, or
//! Grafana. Each check hands a file to the program or the schema that will read it; what ties the files to the sources
//! (settings, metrics, folders) is checked here.

mod compose;
mod image;
mod kubernetes;
mod metrics;
mod prometheus;
mod promql;
mod proxy;
mod settings;
mod tools;

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tools::Tools;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<String>,
    /// Checks that could not run, with what is missing.
    skipped: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn skip(&mut self, check: &str, missing: &str) {
        self.skipped.push(format!("skipped: deploy-check {check}: {missing}"));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// Where things are.
pub struct Places {
    root: PathBuf,
    deploy: PathBuf,
    /// Copies that are changed for a check; removed with this value.
    scratch: tempfile::TempDir,
}

impl Places {
    fn text(&self, path: &str) -> Result<String> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn yaml(&self, path: &str) -> Result<Value> {
        serde_saphyr::from_str(&self.text(path)?).with_context(|| format!("{path} is no YAML"))
    }

    /// A file of the scratch folder with this text.
    fn scratch(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Fetches the programs that check; what can't be had is said, and its checks are skipped later.
pub fn fetch(root: &Path) {
    for missing in Tools::new(root).fetch() {
        println!("missing: {missing}");
    }
}

/// Checks `deploy` of the workspace in `root`; true when nothing is wrong, and with CI=true nothing was left out.
pub fn run(root: &Path, scrape: Option<&Path>, only: &[String]) -> Result<bool> {
    let places = Places {
        root: root.to_owned(),
        deploy: root.join("deploy"),
        scratch: tempfile::tempdir().context("make a scratch folder")?,
    };
    let tools = Tools::new(root);
    let known = metrics::Families::read(&places)?;
    type Check<'a> = (&'a str, Box<dyn Fn(&mut Report) -> Result<()> + 'a>);
    let checks: Vec<Check<'_>> = vec![
        ("image", Box::new(|r| image::check(&places, &tools, r))),
        ("compose", Box::new(|r| compose::check(&places, &tools, r))),
        ("proxy", Box::new(|r| proxy::check(&places, &tools, r))),
        ("kubernetes", Box::new(|r| kubernetes::check(&places, &tools, r))),
        ("prometheus", Box::new(|r| prometheus::check(&places, &tools, &known, r))),
        ("metrics", Box::new(|r| metrics::check(&places, &known, scrape, r))),
    ];
    let mut all = Report::default();
    for (name, check) in checks.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|o| o == name)) {
        let mut report = Report::default();
        if let Err(error) = check(&mut report) {
            report.problem(format!("{error:#}"));
        }
        let verdict = if report.problems.is_empty() { "ok" } else { "FAILED" };
        println!("{name:<12} {verdict}");
        report.notes.iter().for_each(|note| println!("  note: {note}"));
        report.problems.iter().for_each(|problem| println!("  {}", problem.replace('\n', "\n    ")));
        report.skipped.iter().for_each(|skipped| println!("{skipped}"));
        all.problems.extend(report.problems);
        all.skipped.extend(report.skipped);
    }
    println!("deploy-check: {} problems, {} checks skipped", all.problems.len(), all.skipped.len());
    let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
    Ok(all.problems.is_empty() && (all.skipped.is_empty() || !strict))
}
