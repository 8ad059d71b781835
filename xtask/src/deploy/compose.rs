//! compose.yaml: by the reference implementation of the specification, and what it must have here.

use super::image::is_pinned;
use super::tools::{Tools, finish};
use super::{Places, Report, settings};
use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const FILE: &str = "deploy/compose.yaml";
/// Their health checks are in their images.
const CHECKED_BY_IMAGE: [&str; 4] = ["artel-1", "artel-2", "artel-3", "redis-commander"];

pub fn check(places: &Places, tools: &Tools, report: &mut Report) -> Result<()> {
    let example = places.text("deploy/.env.example")?;
    let text = interpolate(&places.text(FILE)?, &variables(&example))?;
    let file: Value = serde_saphyr::from_str(&text).with_context(|| format!("{FILE} is no YAML"))?;
    let services = file.get("services").and_then(Value::as_object).context("compose.yaml has no services")?;
    for (name, service) in services {
        rules(name, service, report);
        mounts(places, name, service, report);
    }
    let names: BTreeSet<&str> = services
        .values()
        .filter_map(|s| s.get("environment")?.as_object())
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    settings::check(places, FILE, names.into_iter(), report)?;
    references(&file, services, report);
    secrets(places, &file, report)?;
    unused(&places.text(FILE)?, &example, report);
    stops(places, services, report)?;
    match tools.find("compose-spec") {
        Ok(program) => {
            let path = places.scratch("compose.yaml", &text)?;
            let mut command = Command::new(program);
            // Its own way to put values in reads no environment; they are in already.
            command
                .args(["--no-interpolation", "--no-path-resolution"])
                .arg(path)
                .current_dir(places.scratch.path());
            if let Err(error) = finish(&mut command) {
                report.problem(format!("{FILE}: {error:#}"));
            }
        }
        Err(error) => report.skip("compose: schema", &format!("{error:#}")),
    }
    report.note("not run: docker compose up; it needs an engine for containers");
    Ok(())
}

fn variables(example: &str) -> BTreeMap<&str, &str> {
    let lines = example.lines().filter(|line| !line.starts_with('#'));
    let mut variables: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    // make-secrets fills this one.
    variables.insert("KAFKA_CLUSTER_ID", "made");
    variables
}

/// `${A}`, `${A-default}`, `${A:-default}`, `${A:?sentence}`.
fn interpolate(text: &str, variables: &BTreeMap<&str, &str>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, behind) = after.split_once('}').context("a ${ without its }")?;
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, rule) = inner.split_at(end);
        let value = variables.get(name).copied();
        let filled = value.filter(|value| !value.is_empty());
        out.push_str(before);
        out.push_str(if let Some(default) = rule.strip_prefix(":-") {
            filled.unwrap_or(default)
        } else if let Some(default) = rule.strip_prefix('-') {
            value.unwrap_or(default)
        } else if let Some(sentence) = rule.strip_prefix(":?") {
            filled.with_context(|| format!("{name} {sentence}"))?
        } else {
            value.with_context(|| format!("{name} has no value in .env.example"))?
        });
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn rules(name: &str, service: &Value, report: &mut Report) {
    let mut wrong = |what: &str| report.problem(format!("{FILE}: {name}: {what}"));
    let image = service.get("image").and_then(Value::as_str).unwrap_or_default();
    if !is_pinned(image) {
        wrong(&format!("the image '{image}' has no tag with a version"));
    }
    if service.get("restart").is_none() {
        wrong("no restart policy");
    }
    if service.pointer("/deploy/resources/limits/memory").is_none() {
        wrong("no limit of memory");
    }
    if service.get("healthcheck").is_none() && !CHECKED_BY_IMAGE.contains(&name) {
        wrong("no health check");
    }
    for port in service.get("ports").and_then(Value::as_array).into_iter().flatten() {
        let port = port.as_str().unwrap_or_default();
        if name != "nginx" || !port.starts_with("127.0.0.1:") {
            wrong(&format!("the port {port} is open; only nginx has any, on loopback"));
        }
    }
    let networks: Vec<&str> = service
        .get("networks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if networks != ["inner"] && name != "nginx" {
        wrong("belongs to the network inner and no other");
    }
}

/// Each name that a service uses stands in the file: the schema does not ask.
fn references(file: &Value, services: &Map<String, Value>, report: &mut Report) {
    let has = |section: &str, name: &str| file.get(section).and_then(|section| section.get(name)).is_some();
    for (name, service) in services {
        let list = |key: &str| {
            service.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        };
        let mut used: Vec<(&str, &str)> = Vec::new();
        used.extend(list("secrets").map(|secret| ("secrets", secret)));
        used.extend(list("networks").map(|network| ("networks", network)));
        let volumes = list("volumes").filter_map(|volume| volume.split(':').next());
        used.extend(
            volumes.filter(|volume| !volume.starts_with(['.', '/'])).map(|volume| ("volumes", volume)),
        );
        let before = service.get("depends_on").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        used.extend(before.map(|other| ("services", other.as_str())));
        for (section, other) in used.into_iter().filter(|(section, other)| !has(section, other)) {
            report.problem(format!("{FILE}: {name}: there is no '{other}' under {section}"));
        }
    }
}

/// What is mounted from this folder is there, and what is run can be.
fn mounts(places: &Places, name: &str, service: &Value, report: &mut Report) {
    for volume in
        service.get("volumes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if let Some(path) = volume.strip_prefix("./").and_then(|rest| rest.split(':').next())
            && !places.deploy.join(path).exists()
        {
            report.problem(format!("{FILE}: {name}: there is no deploy/{path}"));
        }
    }
}

/// Each secret is made by make-secrets, and each is used.
fn secrets(places: &Places, file: &Value, report: &mut Report) -> Result<()> {
    let script = places.text("deploy/make-secrets")?;
    let known = file.get("secrets").and_then(Value::as_object).cloned().unwrap_or_default();
    let used: BTreeSet<&str> = file["services"]
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .flat_map(|service| service.get("secrets").and_then(Value::as_array).into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for name in known.keys() {
        if !script.contains(&format!("keep {name} ")) {
            report.problem(format!("deploy/make-secrets does not make secrets/{name}"));
        }
        if !used.contains(name.as_str()) {
            report.problem(format!("{FILE}: nobody uses the secret {name}"));
        }
    }
    Ok(())
}

/// A line of .env.example that nothing reads is a lie.
fn unused(text: &str, example: &str, report: &mut Report) {
    for name in variables(example).keys().filter(|name| !text.contains(&format!("${{{name}"))) {
        report.problem(format!("deploy/.env.example: nothing reads {name}"));
    }
}

fn stops(places: &Places, services: &Map<String, Value>, report: &mut Report) -> Result<()> {
    let takes = settings::stop_takes(places)?;
    for (name, service) in services.iter().filter(|(name, _)| name.starts_with("artel-")) {
        let waits = service.get("stop_grace_period").and_then(Value::as_str).unwrap_or("10s");
        if settings::seconds(waits)? < takes {
            report.problem(format!(
                "{FILE}: {name}: a stop takes up to {takes} s, stop_grace_period is {waits}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_as_compose_does() {
        let variables = BTreeMap::from([("A", "1"), ("E", "")]);
        let put = |text: &str| interpolate(text, &variables).map_err(|error| error.to_string());
        assert_eq!(put("x ${A} ${A:-2} ${N:-3} ${N-4} ${E:-5} [${E-6}]").unwrap(), "x 1 1 3 4 5 []");
        assert_eq!(put("${E:?is empty; do this}").unwrap_err(), "E is empty; do this");
        assert!(put("${N}").unwrap_err().contains("N has no value"));
    }

    #[test]
    fn a_name_that_is_not_there_is_told() {
        let yaml = "services:\n  a:\n    secrets: [s, t]\n    networks: [n, m]\n    volumes: [\"v:/v\", \"w:/w\", \"./x:/x\"]\n\
                    \x20   depends_on: {a: {}, b: {}}\nsecrets: {s: {}}\nnetworks: {n: }\nvolumes: {v: }\n";
        let file: Value = serde_saphyr::from_str(yaml).unwrap();
        let mut report = Report::default();
        references(&file, file["services"].as_object().unwrap(), &mut report);
        let told: Vec<&str> =
            report.problems.iter().filter_map(|problem| problem.split('\'').nth(1)).collect();
        assert_eq!(told, ["t", "m", "w", "b"]);
    }

    #[test]
    fn a_service_has_what_it_must_have() {
        let yaml = "image: a/b:1.0\nrestart: always\nhealthcheck: {}\nnetworks: [inner]\ndeploy: {resources: {limits: {memory: 1G}}}\n";
        let of = |yaml: &str| {
            let mut report = Report::default();
            rules("x", &serde_saphyr::from_str(yaml).unwrap(), &mut report);
            report.problems
        };
        assert_eq!(of(yaml), Vec::<String>::new());
        for (from, to, said) in [
            ("a/b:1.0", "a/b:latest", "no tag"),
            ("restart: always\n", "", "restart"),
            ("memory: 1G", "cpus: 1", "memory"),
            ("healthcheck: {}\n", "", "health"),
            ("healthcheck: {}\n", "healthcheck: {}\nports: [\"127.0.0.1:1:1\"]\n", "only nginx"),
        ] {
            let found = of(&yaml.replace(from, to));
            assert!(found.len() == 1 && found[0].contains(said), "{to}: {found:?}");
        }
    }
}
