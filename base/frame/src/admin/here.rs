//! Whose services this node answers for, and who answers for the others: a list of what is here is no list of all.

use super::Admin;
use artel_flow::Ctx;
use artel_message::{Cursor, Fault, Page};
use schemars::JsonSchema;
use serde::Serialize;

/// A service that runs on other nodes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Elsewhere {
    service: String,
    /// Those that run it; empty = none does.
    nodes: Vec<String>,
}

/// A page of what is here.
#[derive(Serialize, JsonSchema)]
pub(super) struct Listed<T> {
    #[serde(flatten)]
    page: Page<T>,
    /// Services that this node can't answer for: what they have is not among the items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_here: Vec<Elsewhere>,
}

impl<T> Listed<T> {
    /// Of one service, or of all that run here.
    pub fn of(admin: &Admin, service: Option<&str>, items: Vec<T>, next: Option<Cursor>) -> Listed<T> {
        let not_here = if service.is_none() { elsewhere(admin) } else { Vec::new() };
        Listed { page: Page { items, next }, not_here }
    }
}

/// The services that don't run here.
pub(super) fn elsewhere(admin: &Admin) -> Vec<Elsewhere> {
    let all = admin.0.facts.0.services.iter().map(|(name, _)| name);
    let not_here = all.filter(|name| admin.0.runtime.ctx(name).is_none());
    not_here.map(|name| Elsewhere { service: name.clone(), nodes: nodes_of(admin, name) }).collect()
}

/// The services that run here, or the one that is meant; a sentence where that runs on other nodes, or is none.
pub(super) fn contexts<'a>(admin: &'a Admin, service: Option<&str>) -> Result<Vec<(String, &'a Ctx)>, Fault> {
    let running = admin.0.facts.running(&admin.0.runtime).into_iter();
    let of = running.filter_map(|name| Some((name.clone(), admin.0.runtime.ctx(&name)?)));
    let Some(service) = service else { return Ok(of.collect()) };
    let meant: Vec<_> = of.filter(|(name, _)| name == service).collect();
    if !meant.is_empty() {
        return Ok(meant);
    }
    let known = admin.0.facts.0.services.iter().any(|(name, _)| name == service);
    let nodes = nodes_of(admin, service);
    Err(Fault::not_found(match (known, nodes.is_empty()) {
        (false, true) => format!("there is no service '{service}'; artel status names them"),
        (true, true) => format!("service '{service}' does not run here, nor on another node"),
        (_, false) => {
            format!("service '{service}' does not run here; ask a node that runs it: {}", nodes.join(", "))
        }
    }))
}

fn nodes_of(admin: &Admin, service: &str) -> Vec<String> {
    let members = admin.0.runtime.members().list().into_iter();
    let runs = members.filter(|member| member.alive && member.roles.iter().any(|role| role == service));
    runs.map(|member| member.name).collect()
}
