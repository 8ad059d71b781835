//! What Prometheus and Grafana read: by promtool, and against the list of metrics.

use super::metrics::Families;
use super::promql;
use super::tools::{Tools, finish};
use super::{Places, Report};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARDS: &str = "deploy/grafana/dashboards";

/// An expression and where it stands.
struct Used {
    place: String,
    expression: String,
}

pub fn check(places: &Places, tools: &Tools, known: &Families, report: &mut Report) -> Result<()> {
    let alerts = places.yaml(ALERTS)?;
    let mut used = of_alerts(&alerts);
    runbooks(places, &alerts, report)?;
    tested(places, &alerts, report)?;
    for path in files(&places.root.join(DASHBOARDS))? {
        used.extend(of_dashboard(&path, report)?);
    }
    for file in ["datasources/prometheus.yaml", "dashboards/artel.yaml"] {
        places.yaml(&format!("deploy/grafana/provisioning/{file}"))?;
    }
    exporter(places, tools, report);
    for one in &used {
        for wrong in known.unknown(&promql::names(&one.expression)) {
            report.problem(format!("{}: {wrong}: {}", one.place, one.expression.trim()));
        }
    }
    report.note("not run: Grafana; its dashboards are read as JSON and their queries checked");
    match tools.find("promtool") {
        Ok(promtool) => by_promtool(places, &promtool, &used, report),
        Err(error) => {
            report.skip("prometheus", &format!("{error:#}"));
            Ok(())
        }
    }
}

/// The exporter that asks /readyz reads its own configuration.
fn exporter(places: &Places, tools: &Tools, report: &mut Report) {
    let file = places.deploy.join("prometheus/blackbox.yml");
    match tools.find("prometheus-blackbox-exporter") {
        Ok(program) => {
            let mut argument = std::ffi::OsString::from("--config.file=");
            argument.push(&file);
            if let Err(error) = finish(Command::new(program).arg("--config.check").arg(argument)) {
                report.problem(format!("deploy/prometheus/blackbox.yml: {error:#}"));
            }
        }
        Err(error) => report.skip("prometheus: blackbox.yml", &format!("{error:#}")),
    }
}

fn by_promtool(places: &Places, promtool: &Path, used: &[Used], report: &mut Report) -> Result<()> {
    let folder = places.deploy.join("prometheus");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        if let Err(error) = finish(Command::new(promtool).args(arguments).current_dir(&folder)) {
            report.problem(format!("deploy/prometheus: {error:#}"));
        }
    }
    // promtool has no word for an expression alone; a recording rule is one. JSON is YAML.
    for (at, one) in used.iter().enumerate() {
        let expression = one.expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
        let rule = json!({ "record": format!("scratch:{at}"), "expr": expression });
        let file = json!({ "groups": [{ "name": "scratch", "rules": [rule] }] });
        let path = places.scratch("rule.yml", &file.to_string())?;
        if let Err(error) = finish(Command::new(promtool).args(["check", "rules"]).arg(path)) {
            report.problem(format!("{}: {error:#}", one.place));
        }
    }
    report.note(format!("{} expressions", used.len()));
    Ok(())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn rules(alerts: &Value) -> impl Iterator<Item = &Value> {
    list(alerts, "groups").flat_map(|group| list(group, "rules"))
}

fn of_alerts(alerts: &Value) -> Vec<Used> {
    rules(alerts)
        .map(|rule| Used {
            place: format!("{ALERTS}: {}", text(rule, "alert")),
            expression: text(rule, "expr").to_owned(),
        })
        .collect()
}

/// Each alert leads to a heading that says what to do.
fn runbooks(places: &Places, alerts: &Value, report: &mut Report) -> Result<()> {
    let readme = places.text("deploy/README.md")?;
    let heading = |line: &str| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    let headings: BTreeSet<String> =
        readme.lines().filter(|line| line.starts_with('#')).map(heading).collect();
    for rule in rules(alerts) {
        let (name, notes) = (text(rule, "alert"), &rule["annotations"]);
        let anchor = text(notes, "runbook").trim_start_matches('#');
        if !headings.contains(anchor) {
            report.problem(format!("{ALERTS}: {name}: deploy/README.md has no heading '{anchor}'"));
        }
        for wanted in ["summary", "description"] {
            if text(notes, wanted).is_empty() {
                report.problem(format!("{ALERTS}: {name} has no {wanted}"));
            }
        }
        if !["page", "ticket"].contains(&text(&rule["labels"], "severity")) {
            report.problem(format!("{ALERTS}: {name}: severity is page or ticket"));
        }
    }
    Ok(())
}

/// Each alert is seen to fire in a test.
fn tested(places: &Places, alerts: &Value, report: &mut Report) -> Result<()> {
    let tests = places.yaml("deploy/prometheus/alerts.test.yml")?;
    let cases = list(&tests, "tests").flat_map(|test| list(test, "alert_rule_test"));
    let firing: BTreeSet<&str> = cases
        .filter(|case| list(case, "exp_alerts").next().is_some())
        .map(|case| text(case, "alertname"))
        .collect();
    for rule in rules(alerts).filter(|rule| !firing.contains(text(rule, "alert"))) {
        report.problem(format!("{ALERTS}: no test of alerts.test.yml lets {} fire", text(rule, "alert")));
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The queries of a dashboard's panels, notes and variables; and that its panels have ids of their own.
fn of_dashboard(path: &Path, report: &mut Report) -> Result<Vec<Used>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let json = std::fs::read_to_string(path)?;
    let dashboard: Value = serde_json::from_str(&json).with_context(|| format!("{name} is no JSON"))?;
    let used = |place: &str, expression: &str| Used {
        place: format!("{name}: {place}"),
        expression: expression.to_owned(),
    };
    let mut all = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in
        list(&dashboard, "panels").flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels")))
    {
        let title = text(panel, "title");
        if !ids.insert(panel.get("id").and_then(Value::as_u64)) {
            report.problem(format!("{name}: {title}: the id of the panel is another's, or missing"));
        }
        if text(panel, "type") != "row" && list(panel, "targets").next().is_none() {
            report.problem(format!("{name}: {title}: the panel has no query"));
        }
        all.extend(list(panel, "targets").map(|target| used(title, text(target, "expr"))));
    }
    for note in list(&dashboard["annotations"], "list").filter(|note| note.get("expr").is_some()) {
        all.push(used(text(note, "name"), text(note, "expr")));
    }
    for variable in
        list(&dashboard["templating"], "list").filter(|variable| text(variable, "type") == "query")
    {
        let definition = text(variable, "definition");
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        match inner.and_then(|inner| inner.rsplit_once(", ")) {
            // The label as one that is asked for.
            Some((series, label)) => {
                all.push(used(text(variable, "name"), &format!("count by ({label}) ({series})")))
            }
            None => report.problem(format!(
                "{name}: the variable's query '{definition}' is not label_values(series, label)"
            )),
        }
    }
    Ok(all)
}
