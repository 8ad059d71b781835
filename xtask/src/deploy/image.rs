//! The Dockerfile: by a linter, and what it must have here.

use super::tools::{Tools, finish};
use super::{Places, Report};
use anyhow::Result;
use std::process::Command;

const FILE: &str = "deploy/Dockerfile";

pub fn check(places: &Places, tools: &Tools, report: &mut Report) -> Result<()> {
    let text = places.text(FILE)?;
    rules(&text, report);
    let ignored = places.text(".dockerignore")?;
    for source in copied(&text) {
        if !places.root.join(&source).exists() {
            report.problem(format!("{FILE}: COPY {source}: there is no such file"));
        }
        if source != "." && !ignored.lines().any(|line| line == format!("!{source}")) {
            report.problem(format!("{FILE}: COPY {source}: .dockerignore keeps it out of the context"));
        }
    }
    members(places, &ignored, report)?;
    toolchain(places, &text, report)?;
    match tools.find("hadolint") {
        Ok(hadolint) => {
            if let Err(error) = finish(Command::new(hadolint).arg("--no-color").arg(places.root.join(FILE))) {
                report.problem(format!("{error:#}"));
            }
        }
        Err(error) => report.skip("image: hadolint", &format!("{error:#}")),
    }
    report.skip_engine("docker build");
    Ok(())
}

impl Report {
    /// What nothing but an engine shows is told, and is no failure: no developer's machine of ours has one.
    fn skip_engine(&mut self, what: &str) {
        self.note(format!("not run: {what}; it needs an engine for containers"));
    }
}

/// Instructions with their lines joined, without comments.
fn instructions(text: &str) -> Vec<String> {
    let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = plain.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect()
}

fn rules(text: &str, report: &mut Report) {
    let all = instructions(text);
    let mut stages: Vec<String> = Vec::new();
    for from in all.iter().filter_map(|line| line.strip_prefix("FROM ")) {
        let (image, stage) = from.split_once(" AS ").unwrap_or((from, ""));
        if stage.is_empty() {
            report.problem(format!("{FILE}: FROM {image}: the stage has no name"));
        }
        if !stages.iter().any(|name| name == image) && !is_pinned(image) {
            report.problem(format!("{FILE}: FROM {image}: no tag with a version"));
        }
        stages.push(stage.to_owned());
    }
    for stage in all.iter().filter_map(|line| line.split_once("--from=")).map(|(_, rest)| rest) {
        let name = stage.split(' ').next().unwrap_or_default();
        if !stages.iter().any(|known| known == name) {
            report.problem(format!("{FILE}: --from={name}: there is no such stage"));
        }
    }
    // What counts is the last stage.
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap_or(0);
    let runtime = &all[last..];
    let user = runtime.iter().filter_map(|line| line.strip_prefix("USER ")).next_back();
    let number = user.and_then(|user| user.split(':').next()?.parse::<u32>().ok());
    if number.is_none_or(|number| number == 0) {
        report.problem(format!(
            "{FILE}: the last USER is no number above 0; Kubernetes can't tell it from root"
        ));
    }
    for wanted in ["HEALTHCHECK", "ENTRYPOINT", "LABEL org.opencontainers.image."] {
        if !runtime.iter().any(|line| line.starts_with(wanted)) {
            report.problem(format!("{FILE}: the last stage has no {wanted}"));
        }
    }
}

/// A tag that begins with a version: neither `latest` nor the name of a release line alone.
pub fn is_pinned(image: &str) -> bool {
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map_or("", |(_, tag)| tag);
    tag.bytes().any(|b| b.is_ascii_digit())
}

/// What is copied from the context.
fn copied(text: &str) -> Vec<String> {
    let mut sources = Vec::new();
    for copy in instructions(text).iter().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<&str> = copy.split(' ').filter(|word| !word.starts_with("--")).collect();
        if !copy.contains("--from=") {
            sources.extend(words.iter().take(words.len().saturating_sub(1)).map(|word| (*word).to_owned()));
        }
    }
    sources
}

/// Every folder of a member goes into the context, or cargo can't read the workspace.
fn members(places: &Places, ignored: &str, report: &mut Report) -> Result<()> {
    let manifest: toml::Table = places.text("Cargo.toml")?.parse()?;
    let members = manifest.get("workspace").and_then(|w| w.get("members")?.as_array());
    for member in members.into_iter().flatten().filter_map(toml::Value::as_str) {
        let folder = member.split('/').next().unwrap_or(member);
        if !ignored.lines().any(|line| line == format!("!{folder}")) {
            report.problem(format!(".dockerignore keeps out the folder {folder} of the member {member}"));
        }
    }
    Ok(())
}

/// The image of the compiler is that of rust-toolchain.toml.
fn toolchain(places: &Places, text: &str, report: &mut Report) -> Result<()> {
    let file: toml::Table = places.text("rust-toolchain.toml")?.parse()?;
    let channel = file.get("toolchain").and_then(|t| t.get("channel")?.as_str()).unwrap_or_default();
    if !text.contains(&format!("FROM rust:{channel}-"))
        || !text.contains(&format!("RUSTUP_TOOLCHAIN={channel}"))
    {
        report.problem(format!(
            "{FILE}: rust-toolchain.toml says {channel}; use rust:{channel}-… and RUSTUP_TOOLCHAIN={channel}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut report = Report::default();
        rules(text, &mut report);
        report.problems
    }

    const GOOD: &str = "FROM rust:1.95 AS build\nRUN a \\\n  && b\nFROM debian:12.1 AS runtime\nLABEL org.opencontainers.image.title=\"x\"\n\
                        COPY --from=build /a /b\nCOPY deploy/probe \\\n  LICENSE /c/\nUSER 10001:10001\nHEALTHCHECK CMD a\nENTRYPOINT [\"a\"]\n";

    #[test]
    fn a_good_file_passes_and_its_sources_are_known() {
        assert_eq!(problems(GOOD), Vec::<String>::new());
        assert_eq!(copied(GOOD), ["deploy/probe", "LICENSE"]);
    }

    #[test]
    fn each_rule_is_told() {
        for (from, to, said) in [
            ("USER 10001:10001", "USER root", "no number"),
            ("USER 10001:10001", "USER 0", "no number"),
            ("HEALTHCHECK CMD a\n", "", "no HEALTHCHECK"),
            (" AS runtime", "", "has no name"),
            ("debian:12.1", "debian:stable-slim", "no tag"),
            ("--from=build", "--from=builder", "no such stage"),
        ] {
            let found = problems(&GOOD.replace(from, to));
            assert!(found.len() == 1 && found[0].contains(said), "{to}: {found:?}");
        }
    }

    #[test]
    fn a_version_is_a_pin() {
        for (image, pinned) in
            [("a/b:1.2", true), ("b", false), ("b:latest", false), ("host:5000/b", false), ("b:v1.5.0", true)]
        {
            assert_eq!(is_pinned(image), pinned, "{image}");
        }
    }
}
