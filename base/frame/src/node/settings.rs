//! The services' own sections of the configuration, and what must fit together across sections.

use crate::config::{BusAdapter, Config, Problem};
use artel_flow::{BadSettings, Service};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that is wrong with the services' sections and with `node.roles`.
pub fn check_services(config: &Config, services: &[Service]) -> Vec<Problem> {
    let mut problems = roles(config, services);
    for service in services {
        problems.extend(section(config, service));
    }
    problems
}

/// Each service's section as the runtime takes it.
pub(super) fn tables(config: &Config, services: &[Service]) -> Result<BTreeMap<String, Value>, Vec<Problem>> {
    let problems = check_services(config, services);
    if !problems.is_empty() {
        return Err(problems);
    }
    services.iter().map(|service| Ok((service.name().to_owned(), config.section(service.name())?))).collect()
}

fn section(config: &Config, service: &Service) -> Vec<Problem> {
    let name = service.name();
    let parsed = config.section_with(name, |table| match service.parse_settings(table) {
        Ok(_) => Ok(Vec::new()),
        Err(BadSettings::Rules(broken)) => Ok(broken),
        Err(BadSettings::Type(refusal)) => Err(refusal),
    });
    match parsed {
        Err(problems) => problems,
        Ok(broken) => broken.iter().map(|sentence| rule(config, name, sentence)).collect(),
    }
}

/// `interval: too short` is about the key `<service>.interval`.
fn rule(config: &Config, service: &str, sentence: &str) -> Problem {
    let is_key = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
    };
    match sentence.split_once(": ") {
        Some((key, reason)) if is_key(key) => config.problem(&format!("{service}.{key}"), reason),
        _ => config.problem(service, sentence),
    }
}

fn roles(config: &Config, services: &[Service]) -> Vec<Problem> {
    let roles = &config.node.roles;
    let known: Vec<&str> = services.iter().map(Service::name).collect();
    let unknown = roles.iter().filter(|role| !known.contains(&role.as_str())).map(|role| {
        let reason = format!("no service is called '{role}'; there are {}", known.join(", "));
        config.problem("node.roles", reason)
    });
    let mut problems: Vec<Problem> = unknown.collect();
    let off: Vec<&str> =
        known.iter().copied().filter(|name| !roles.is_empty() && !roles.iter().any(|r| r == name)).collect();
    let embedded = matches!(config.bus_adapter(), Ok(BusAdapter::Segments(_)));
    if problems.is_empty() && embedded && !off.is_empty() {
        let reason = format!(
            "{} would run nowhere: the embedded log (bus.url segments:) belongs to one process with every service; leave the \
             roles out, or put the log on kafka:",
            off.join(", ")
        );
        problems.push(config.problem("node.roles", reason));
    }
    problems
}
