//! `cargo xtask licenses`: the licence of every dependency against the list in deny.toml, from cargo's own metadata.

use crate::spdx;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What of a package matters here.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// Checks the dependencies of the workspace in `root` and prints the offenders; true when there are none.
pub fn run(root: &Path) -> Result<bool> {
    let rules = std::fs::read_to_string(root.join("deny.toml")).context("read deny.toml")?;
    let allowed = allowed(&rules)?;
    let packages = foreign(&metadata(root)?)?;
    for (name, versions) in doubled(&packages) {
        println!("note: {name} is built in several versions: {}", versions.join(", "));
    }
    let offenders = offenders(&packages, &allowed);
    for offender in &offenders {
        println!("{offender}");
    }
    println!("licenses: {} dependencies, {} problems", packages.len(), offenders.len());
    Ok(offenders.is_empty())
}

fn allowed(rules: &str) -> Result<Vec<String>> {
    let table: toml::Table = rules.parse().context("read deny.toml")?;
    let list = table.get("licenses").and_then(|licenses| licenses.get("allow")?.as_array());
    let list = list.context("deny.toml: the list licenses.allow is missing")?;
    Ok(list.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect())
}

/// What cargo knows of the packages for this machine. Nothing is downloaded that a build would not need.
fn metadata(root: &Path) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV: no host")?;
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", host];
    let call = |more: &[&str]| {
        Command::new(&cargo).args(arguments).args(more).current_dir(root).output().context("start cargo")
    };
    let mut output = call(&["--offline"])?;
    if !output.status.success() {
        // On a fresh machine the packages are not there yet.
        output = call(&[])?;
    }
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("read cargo's metadata")
}

/// The packages that are not members of the workspace.
fn foreign(metadata: &Value) -> Result<Vec<Package>> {
    let list = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    Ok(list
        .iter()
        .filter(|package| !package["source"].is_null())
        .map(|package| Package {
            name: text(package, "name"),
            version: text(package, "version"),
            licence: package["license"].as_str().map(str::to_owned),
        })
        .collect())
}

fn offenders(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let verdict = |package: &Package| match &package.licence {
        Some(licence) => spdx::allows(licence, allowed).err(),
        None => Some("names no licence expression; look at its licence file".to_owned()),
    };
    packages
        .iter()
        .filter_map(|package| {
            verdict(package).map(|why| format!("{} {}: {why}", package.name, package.version))
        })
        .collect()
}

/// Packages in more than one version, by name.
fn doubled(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| (name, versions.into_iter().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn packages() -> Vec<Package> {
        let source = "registry";
        let metadata = json!({ "packages": [
            { "name": "ours", "version": "0.1.0", "license": null, "source": null },
            { "name": "free", "version": "1.0.0", "license": "MIT OR Apache-2.0", "source": source },
            { "name": "free", "version": "2.0.0", "license": "MIT", "source": source },
            { "name": "viral", "version": "1.0.0", "license": "GPL-3.0-only", "source": source },
            { "name": "silent", "version": "1.0.0", "license": null, "source": source },
        ]});
        foreign(&metadata).unwrap()
    }

    #[test]
    fn offenders_are_named_and_our_own_crates_are_not_asked() {
        let allowed = allowed("[licenses]\nallow = [\"MIT\"]").unwrap();
        let offenders = offenders(&packages(), &allowed);
        assert_eq!(offenders.len(), 2);
        assert!(offenders[0].starts_with("viral 1.0.0: 'GPL-3.0-only'"), "{}", offenders[0]);
        assert!(offenders[1].starts_with("silent 1.0.0: names no licence"), "{}", offenders[1]);
    }

    #[test]
    fn nothing_is_wrong_where_all_are_allowed() {
        let allowed = allowed("[licenses]\nallow = [\"MIT\", \"GPL-3.0-only\"]").unwrap();
        assert_eq!(offenders(&packages()[..3], &allowed), Vec::<String>::new());
    }

    #[test]
    fn two_versions_are_worth_a_note() {
        assert_eq!(doubled(&packages()), BTreeMap::from([("free", vec!["1.0.0", "2.0.0"])]));
    }

    #[test]
    fn rules_without_a_list_are_refused() {
        assert!(allowed("[licenses]").is_err());
    }
}
