//! No file names a place that only one machine has: a checkout's path, somebody's home, or the host of a package
//! registry (which a mirror may replace).

use super::Report;
use super::tree::{File, Tree};

/// Hosts of package registries, in two parts each so that this list does not find itself.
const REGISTRIES: [(&str, &str); 12] = [
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("registry.", "npmjs"),
    ("registry.", "yarnpkg"),
    ("pypi", ".org"),
    ("files.python", "hosted"),
    ("proxy.", "golang.org"),
    ("sum.", "golang.org"),
    ("repo.maven", ".apache"),
    ("repo1.", "maven.org"),
    ("deb.", "debian.org"),
    ("archive.", "ubuntu.com"),
];

pub fn check(tree: &Tree, report: &mut Report) {
    let registries: Vec<String> = REGISTRIES.iter().map(|(head, tail)| format!("{head}{tail}")).collect();
    // A path of one part, such as a container's, is too short to be told from other text.
    let checkout = Some(tree.root.to_string_lossy()).filter(|path| path.matches('/').count() > 1);
    let superuser = ["/ro", "ot/"].concat();
    for file in &tree.files {
        for (at, line) in file.lines() {
            if let Some(host) = registries.iter().find(|host| line.contains(*host)) {
                report.problem(
                    &file.path,
                    at,
                    format!("names the package registry {host}; leave it to the client"),
                );
            }
            if checkout.as_ref().is_some_and(|path| at_start_of_path(line, path).is_some()) {
                report.problem(&file.path, at, "names the path of this checkout; make it relative");
            }
            if at_start_of_path(line, &superuser).is_some() || home(line) {
                report.problem(&file.path, at, "names somebody's home folder; make it relative or a setting");
            }
        }
        temporary(file, report);
    }
}

/// What follows `prefix` where that is the beginning of an absolute path.
fn at_start_of_path<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.match_indices(prefix).find_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '}' | '/'));
        begins.then(|| &line[at + prefix.len()..])
    })
}

fn home(line: &str) -> bool {
    let prefix = ["/ho", "me/"].concat();
    at_start_of_path(line, &prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
}

/// Rust code asks for a folder instead of assuming one.
fn temporary(file: &File, report: &mut Report) {
    if file.extension() != "rs" || file.is_below("tests") {
        return;
    }
    let source = super::rust::Source::read(&file.text);
    let prefix = ["/t", "mp"].concat();
    for (line, text) in &source.strings {
        if text.starts_with(&prefix) && !source.test[*line - 1] {
            report.problem(&file.path, *line, format!("assumes {prefix}; take the data folder or tempfile"));
        }
    }
}
