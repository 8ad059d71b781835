//! Rules about files as such: their length, their name, and the numbers of migrations.

use super::Report;
use super::tree::{File, Tree};
use std::collections::BTreeMap;

const MOST_LINES: usize = 500;
const MANY_LINES: usize = 400;
const MEASURED: [&str; 6] = ["rs", "ts", "tsx", "sh", "py", "java"];
/// A file with such a name collects what nobody found a place for.
const NAMELESS: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];

pub fn check(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        length(file, report);
        name(file, report);
        test_binary(file, report);
    }
    migrations(tree, report);
}

fn length(file: &File, report: &mut Report) {
    let script = file.extension().is_empty() && file.text.starts_with("#!");
    if !script && !MEASURED.contains(&file.extension()) {
        return;
    }
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        let reason = format!("{lines} lines; split it by verbs, {MOST_LINES} is the most");
        report.problem(&file.path, MOST_LINES + 1, reason);
    } else if lines > MANY_LINES {
        report.note(&file.path, MANY_LINES + 1, format!("{lines} lines; {MANY_LINES} is the aim"));
    }
}

fn name(file: &File, report: &mut Report) {
    if !MEASURED.contains(&file.extension()) {
        return;
    }
    let parts = file.path.split('/').map(|part| part.split_once('.').map_or(part, |(stem, _)| stem));
    for part in parts {
        if NAMELESS.contains(&part) {
            report.problem(&file.path, 1, format!("'{part}' says nothing; name the file after what it does"));
        }
    }
}

/// Every file right in `tests/` is linked as a program of its own; one is enough.
fn test_binary(file: &File, report: &mut Report) {
    let direct = file.path.rsplit('/').nth(1) == Some("tests");
    if direct && file.extension() == "rs" && !file.is_below("src") {
        report.problem(&file.path, 1, "a second test binary; make it a module of tests/it/main.rs");
    }
}

/// What stands before the number of the oldest program that a migration works with.
const WORKS_FROM: &str = "-- works from ";
/// Migrations that were applied somewhere before that was asked for: their folder, and the number of the last one.
const BEFORE: [(&str, usize); 3] =
    [("base/flow/migrations", 8), ("base/flow/migrations/nodes", 3), ("products/bridge/migrations", 3)];

/// `NNNN_what.sql` below a folder `migrations`, from 0001 without a gap, each but the first with a line that says which programs go
/// on beside it. Those below `tests` are broken on purpose.
fn migrations(tree: &Tree, report: &mut Report) {
    let mut folders: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in tree.files.iter().filter(|f| f.extension() == "sql" && !f.is_below("tests")) {
        if let Some((folder, _)) = file.path.rsplit_once('/')
            && file.is_below("migrations")
        {
            folders.entry(folder).or_default().push(file);
        }
    }
    for files in folders.values() {
        for (at, file) in files.iter().enumerate() {
            let wanted = at + 1;
            let number = file.name().split_once('_').map_or("", |(number, _)| number);
            if number.len() != 4 || number.parse() != Ok(wanted) {
                report.problem(
                    &file.path,
                    1,
                    format!("expected {wanted:04}_<what>.sql here: migrations are numbered without a gap"),
                );
                break;
            }
            works_from(file, wanted, report);
        }
    }
}

fn works_from(file: &File, number: usize, report: &mut Report) {
    let before = BEFORE.iter().any(|(folder, last)| {
        number <= *last && file.path.rsplit_once('/').is_some_and(|(own, _)| own == *folder)
    });
    let says =
        |line: &str| line.strip_prefix(WORKS_FROM).and_then(|from| from.trim_end().parse::<usize>().ok());
    if number > 1 && !before && !file.text.lines().any(|line| says(line).is_some_and(|from| from <= number)) {
        let reason = format!(
            "say which programs go on once it is applied: '{WORKS_FROM}{:04}' those that know the file before it, \
             '{WORKS_FROM}{number:04}' none but its own",
            number - 1
        );
        report.problem(&file.path, 1, reason);
    }
}
