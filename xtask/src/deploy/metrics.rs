//! The list of metrics that dashboards and alerts may use, and whether it is true: against the source, and against what a
//! node answered at `/metrics`.

use super::promql::Names;
use super::{Places, Report};
use anyhow::{Context as _, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FILE: &str = "deploy/prometheus/metrics.txt";
/// Labels that Prometheus gives to whatever it collects here.
const TARGET: [&str; 5] = ["job", "instance", "node", "installation", "severity"];

#[derive(Debug, Clone, PartialEq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
}

/// Families by name, without the suffixes that their kinds put on.
#[derive(Debug)]
pub struct Families(BTreeMap<String, Family>);

impl Families {
    pub fn read(places: &Places) -> Result<Families> {
        Families::parse(&places.text(FILE)?)
    }

    fn parse(text: &str) -> Result<Families> {
        let mut families = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(name), Some(kind)) = (words.next(), words.next()) else {
                bail!("{FILE}: '{line}' is no name and kind")
            };
            if families.insert(name.clone(), Family { kind, labels: words.collect() }).is_some() {
                bail!("{FILE}: {name} stands there twice");
            }
        }
        Ok(Families(families))
    }

    /// The family that a series belongs to.
    fn of(&self, series: &str) -> Option<&Family> {
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        suffixes.iter().find_map(|suffix| {
            let family = self.0.get(series.strip_suffix(suffix)?)?;
            let fits = match family.kind.as_str() {
                "counter" => *suffix == "_total",
                "histogram" => matches!(*suffix, "_bucket" | "_sum" | "_count"),
                _ => suffix.is_empty(),
            };
            fits.then_some(family)
        })
    }

    /// What an expression names that there is not.
    pub fn unknown(&self, names: &Names) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut labels: BTreeSet<&str> = TARGET.into();
        for metric in &names.metrics {
            match self.of(metric) {
                Some(family) => {
                    labels.extend(family.labels.iter().map(String::as_str));
                    labels.extend((family.kind == "histogram").then_some("le"));
                }
                None => wrong.push(format!("no series is called {metric}")),
            }
        }
        let foreign = names.labels.iter().filter(|label| !labels.contains(label.as_str()));
        wrong.extend(foreign.map(|label| format!("none of the series has a label {label}")));
        wrong
    }
}

pub fn check(places: &Places, known: &Families, scrape: Option<&Path>, report: &mut Report) -> Result<()> {
    source(places, known, report)?;
    match scrape {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            compare(known, &text, report);
        }
        None => report
            .note("types and labels are compared with a node's answer by --scrape FILE (curl …/metrics)"),
    }
    Ok(())
}

/// Every family of ours is registered somewhere in the source, and the other way round.
fn source(places: &Places, known: &Families, report: &mut Report) -> Result<()> {
    let mut registered = BTreeSet::new();
    for layer in ["base", "services", "products", "app"] {
        let mut folders = vec![places.root.join(layer)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() && !path.ends_with("tests") {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    registered.extend(literals(&std::fs::read_to_string(&path)?));
                }
            }
        }
    }
    for (name, family) in known.0.iter().filter(|(_, family)| family.kind != "foreign") {
        // The unit is put on when a family is encoded by hand, and the suffix of an info always.
        let plain =
            ["_seconds", "_bytes", "_info"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
        if !registered.contains(name) && !registered.contains(plain) {
            report.problem(format!("{FILE}: {name} ({}) is registered nowhere in the source", family.kind));
        }
    }
    let unknown = |name: &&String| {
        name.starts_with("artel_")
            && !known.0.contains_key(*name)
            && !known.0.contains_key(&format!("{name}_info"))
    };
    for name in registered.iter().filter(unknown) {
        report.problem(format!("{FILE}: {name} is registered in the source and missing here"));
    }
    Ok(())
}

/// Names of metrics right behind a call that registers or describes one, up to the unit tests of a file.
fn literals(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let text = lines.join("\n");
    let calls = ["register(", "encode_descriptor("];
    let mut found: BTreeSet<String> = BTreeSet::new();
    for call in calls {
        for (at, _) in text.match_indices(call) {
            let rest = text[at + call.len()..].trim_start();
            found.extend(rest.strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    // Those of the process and of the databases stand in tables.
    let listed = |part: &&str| {
        ["process_", "artel_store_"].iter().any(|of| part.starts_with(of)) && !part.contains(' ')
    };
    found.extend(text.split('"').filter(listed).map(str::to_owned));
    found.retain(|name| name.starts_with("artel_") || name.starts_with("process_"));
    found
}

fn compare(known: &Families, scrape: &str, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for line in scrape.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (name, kind) = family_of(name, kind);
            seen.insert(name.clone());
            match known.0.get(&name) {
                Some(family) if family.kind == kind => {}
                Some(family) => report.problem(format!("{FILE}: {name} is a {kind}, not a {}", family.kind)),
                None => report.problem(format!("{FILE}: a node has {name} ({kind}), which is missing here")),
            }
        } else if !line.starts_with('#') && !line.is_empty() {
            sample(known, line, report);
        }
    }
    let absent = known.0.iter().filter(|(name, family)| family.kind != "foreign" && !seen.contains(*name));
    absent.for_each(|(name, _)| report.note(format!("the scrape has no {name} (yet)")));
}

/// The name in our list, whichever format the node answered in: counters have their suffix in the older one, infos in neither
/// but the series.
fn family_of(name: &str, kind: &str) -> (String, String) {
    match kind {
        "counter" => (name.strip_suffix("_total").unwrap_or(name).to_owned(), kind.to_owned()),
        "info" => (format!("{name}_info"), "gauge".to_owned()),
        _ => (name.to_owned(), kind.to_owned()),
    }
}

/// The labels of one line, such as `a_total{b="c"} 1`.
fn sample(known: &Families, line: &str, report: &mut Report) {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let Some(family) = known.of(name) else { return };
    let Some((head, _)) = line.split_once("} ") else { return };
    let found = super::promql::names(&format!("{head}}}")).labels;
    let found: BTreeSet<String> = found.into_iter().filter(|label| label != "le").collect();
    let text = format!("{FILE}: {name} has the labels {found:?}, not {:?}", family.labels);
    if found != family.labels && !report.problems.contains(&text) {
        report.problem(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::promql;

    fn families() -> Families {
        Families::parse("# x\nartel_a counter service\nartel_b histogram\nartel_c gauge topic\nup foreign\n")
            .unwrap()
    }

    #[test]
    fn an_expression_may_use_only_what_there_is() {
        let wrong = |expression: &str| families().unknown(&promql::names(expression));
        assert_eq!(wrong("sum by (service, node) (rate(artel_a_total[5m])) > up"), Vec::<String>::new());
        assert_eq!(
            wrong("histogram_quantile(0.5, sum by (le) (rate(artel_b_bucket[5m])))"),
            Vec::<String>::new()
        );
        assert_eq!(wrong("artel_a"), ["no series is called artel_a"]);
        assert_eq!(wrong("artel_c_total"), ["no series is called artel_c_total"]);
        assert_eq!(wrong("sum by (service) (artel_c)"), ["none of the series has a label service"]);
    }

    #[test]
    fn a_scrape_is_compared() {
        let mut report = Report::default();
        let scrape = "# TYPE artel_a_total counter\n# TYPE artel_a counter\nartel_a_total{service=\"x, y=z\"} 1\n# TYPE artel_b gauge\n# TYPE artel_d gauge\n\
                      # TYPE artel_c gauge\nartel_c{topic=\"t\",more=\"m\"} 1\n# EOF\n";
        compare(&families(), scrape, &mut report);
        assert_eq!(report.problems.len(), 3, "{:?}", report.problems);
        assert!(report.problems[0].contains("artel_b is a gauge, not a histogram"));
        assert!(report.problems[1].contains("artel_d"));
        assert!(report.problems[2].contains("more"));
    }

    #[test]
    fn registrations_are_found_in_source() {
        let text = "r.register(\n  \"artel_x\", \"help\", a);\nlet h = \"artel_header\";\nr.register(\"other\", b)\n#[cfg(test)]\nr.register(\"artel_y\", c)";
        assert_eq!(literals(text).into_iter().collect::<Vec<_>>(), ["artel_x"]);
    }
}
