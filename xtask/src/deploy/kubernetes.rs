//! The manifests: put together by kustomize, each object against the schema of its kind, and what ties them to a node.

use super::tools::{Tools, finish};
use super::{Places, Report, settings};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "deploy/kubernetes";
const OVERLAYS: [&str; 2] = ["overlays/one", "overlays/split"];

pub fn check(places: &Places, tools: &Tools, report: &mut Report) -> Result<()> {
    let set = places.yaml(&format!("{FOLDER}/role-set/statefulset.yaml"))?;
    node(places, &set, report)?;
    config(places, report)?;
    for crd in ["podmonitor", "probe"] {
        places.yaml(&format!("{FOLDER}/monitoring/{crd}.yaml"))?;
    }
    let validate = tools.find("kubernetes-validate");
    if let Ok(validate) = &validate {
        let secret = places.deploy.join("kubernetes/base/secret.example.yaml");
        schema(validate, &secret, "base/secret.example.yaml", report);
    }
    let kustomize = match tools.find("kustomize") {
        Ok(kustomize) => kustomize,
        Err(error) => {
            report.skip("kubernetes", &format!("{error:#}"));
            return Ok(());
        }
    };
    for overlay in OVERLAYS {
        let text =
            match finish(Command::new(&kustomize).arg("build").arg(places.root.join(FOLDER).join(overlay))) {
                Ok(text) => text,
                Err(error) => {
                    report.problem(format!("{FOLDER}/{overlay}: {error:#}"));
                    continue;
                }
            };
        together(overlay, &text, report)?;
        let path = places.scratch("manifests.yaml", &text)?;
        match &validate {
            Ok(validate) => schema(validate, &path, overlay, report),
            Err(error) => report.skip(&format!("kubernetes: schema of {overlay}"), &format!("{error:#}")),
        }
    }
    if let Err(error) =
        finish(Command::new(&kustomize).arg("build").arg(places.root.join(FOLDER).join("monitoring")))
    {
        report.problem(format!("{FOLDER}/monitoring: {error:#}"));
    }
    report.note(
        "not run: a cluster; the kinds of the Prometheus operator are not checked against their schemas",
    );
    Ok(())
}

fn schema(validate: &Path, file: &Path, what: &str, report: &mut Report) {
    if let Err(error) = finish(Command::new(validate).args(["--strict", "--quiet"]).arg(file)) {
        report.problem(format!("{FOLDER}/{what}: {error:#}"));
    }
}

/// The pod of a node: its variables, its time to stop, its rights.
fn node(places: &Places, set: &Value, report: &mut Report) -> Result<()> {
    let file = format!("{FOLDER}/role-set/statefulset.yaml");
    let pod = set.pointer("/spec/template/spec").context("the stateful set has no pod")?;
    let container = pod.pointer("/containers/0").context("the pod has no container")?;
    let names = container.get("env").and_then(Value::as_array).into_iter().flatten();
    settings::check(places, &file, names.filter_map(|env| env.get("name")?.as_str()), report)?;
    let pause = container.pointer("/lifecycle/preStop/exec/command/1").and_then(Value::as_str).unwrap_or("0");
    let takes = settings::stop_takes(places)? + pause.parse::<u64>().unwrap_or(0);
    let waits = pod.get("terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
    if waits < takes {
        report.problem(format!(
            "{file}: a stop takes up to {takes} s, terminationGracePeriodSeconds is {waits}"
        ));
    }
    for (path, wanted) in [
        ("/securityContext/runAsNonRoot", Value::Bool(true)),
        ("/securityContext/seccompProfile/type", Value::from("RuntimeDefault")),
        ("/containers/0/securityContext/readOnlyRootFilesystem", Value::Bool(true)),
        ("/containers/0/securityContext/allowPrivilegeEscalation", Value::Bool(false)),
        ("/containers/0/securityContext/capabilities/drop/0", Value::from("ALL")),
        ("/automountServiceAccountToken", Value::Bool(false)),
        ("/enableServiceLinks", Value::Bool(false)),
    ] {
        if pod.pointer(path) != Some(&wanted) {
            report.problem(format!("{file}: {path} of the pod is not {wanted}"));
        }
    }
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let asked = container.pointer(&format!("/{probe}/httpGet/path")).and_then(Value::as_str);
        if asked != Some(path) {
            report.problem(format!("{file}: {probe} asks {asked:?}, not {path}"));
        }
    }
    Ok(())
}

/// The settings file of the nodes has settings that there are.
fn config(places: &Places, report: &mut Report) -> Result<()> {
    let file = format!("{FOLDER}/base/artel.toml");
    let own: toml::Table = places.text(&file)?.parse().with_context(|| format!("{file} is no TOML"))?;
    let name = |section: &str, key: &str| format!("ARTEL_{section}_{key}").to_ascii_uppercase();
    let tables = own.iter().filter_map(|(section, table)| Some((section, table.as_table()?)));
    let names: Vec<String> =
        tables.flat_map(|(section, table)| table.keys().map(|key| name(section, key))).collect();
    settings::check(places, &file, names.iter().map(String::as_str), report)
}

/// What kustomize may lose: each autoscaler scales a set that there is, each selector of a set finds its pods.
fn together(overlay: &str, text: &str, report: &mut Report) -> Result<()> {
    let documents: Vec<Value> = text
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).context("kustomize wrote no YAML"))
        .collect::<Result<_>>()?;
    let of_kind = |kind: &'static str| {
        documents.iter().filter(move |d| d.get("kind").and_then(Value::as_str) == Some(kind))
    };
    let at = |document: &Value, path: &str| document.pointer(path).cloned().unwrap_or_default();
    let sets: Vec<Value> = of_kind("StatefulSet").map(|set| at(set, "/metadata/name")).collect();
    for scaler in of_kind("HorizontalPodAutoscaler") {
        let target = at(scaler, "/spec/scaleTargetRef/name");
        if !sets.contains(&target) {
            report.problem(format!("{FOLDER}/{overlay}: an autoscaler scales {target}, which there is not"));
        }
    }
    let pods: Vec<Value> =
        of_kind("StatefulSet").map(|set| at(set, "/spec/template/metadata/labels")).collect();
    let places = [
        ("StatefulSet", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
    ];
    for (kind, path) in places {
        for document in of_kind(kind) {
            let wanted = at(document, path);
            let fits = |pod: &Value| {
                wanted.as_object().is_some_and(|w| w.iter().all(|(k, v)| pod.get(k) == Some(v)))
            };
            let found = pods.iter().filter(|pod| fits(pod)).count();
            if found == 0 || (kind != "Service" && found != 1) {
                let name = at(document, "/metadata/name");
                report.problem(format!(
                    "{FOLDER}/{overlay}: {kind} {name} chooses {found} sets of pods by {wanted}"
                ));
            }
        }
    }
    for set in of_kind("StatefulSet") {
        let service = at(set, "/spec/serviceName");
        if !of_kind("Service").any(|s| at(s, "/metadata/name") == service) {
            report.problem(format!(
                "{FOLDER}/{overlay}: a set names the service {service}, which there is not"
            ));
        }
    }
    Ok(())
}
