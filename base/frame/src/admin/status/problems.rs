//! What is wrong, in words. Pure.

use super::{LeaseRow, NodeRow};
use crate::admin::groups::{Doing, GroupRow};

pub(super) fn of<'a>(
    services: impl Iterator<Item = &'a str>,
    nodes: &[NodeRow],
    leases: &[LeaseRow],
    groups: &[GroupRow],
) -> Vec<String> {
    let mut problems = Vec::new();
    for node in nodes.iter().filter(|node| node.alive) {
        // Why a group stands still is told once, with the group.
        let of_a_group = |reason: &str| reason.starts_with("groups: ");
        let reasons = node.reasons.iter().filter(|reason| !of_a_group(reason));
        match (node.ready, &node.peer) {
            (Some(true), _) | (None, None) => {}
            (Some(false), _) => {
                problems.extend(reasons.map(|reason| format!("node {} is not ready: {reason}", node.name)));
            }
            (None, Some(_)) => {
                problems.extend(reasons.map(|reason| format!("node {} can't be asked: {reason}", node.name)));
            }
        }
        problems.extend(node.without.iter().map(|what| format!("node {} goes on without {what}", node.name)));
    }
    for service in services {
        let runs = |node: &&NodeRow| node.alive && node.roles.iter().any(|role| role == service);
        if !nodes.iter().any(|node| runs(&node)) {
            problems.push(format!("service {service} runs on no living node"));
        }
    }
    problems.extend(leases.iter().filter(|lease| !lease.alive).map(lost));
    problems.extend(groups.iter().flat_map(standing));
    // What a node has to say of its groups that no row says.
    let told =
        |reason: &str| problems.iter().any(|problem| reason.lines().all(|line| problem.contains(line)));
    let untold: Vec<String> = (nodes.iter().filter(|node| node.alive))
        .flat_map(|node| {
            node.reasons.iter().filter_map(move |reason| Some((node, reason.strip_prefix("groups: ")?)))
        })
        .flat_map(|(node, reason)| reason.lines().map(move |line| (node, line)))
        .filter(|(_, line)| !told(line))
        .map(|(node, line)| format!("node {}: {line}", node.name))
        .collect();
    problems.extend(untold);
    problems
}

/// Work that nobody living does.
fn lost(lease: &LeaseRow) -> String {
    let work = match (&lease.topic, lease.partition) {
        (Some(topic), Some(partition)) => format!("group {}: {topic}/{partition}", lease.what),
        _ => format!("service {}: the {}", lease.service, lease.what),
    };
    match (lease.owner, &lease.node) {
        (None, _) => format!("{work} is not leased: no node has it"),
        (Some(_), Some(node)) => format!("{work} belongs to node {node}, which has fallen silent"),
        (Some(id), None) => format!("{work} belongs to node {id}, which is gone"),
    }
}

fn standing(group: &GroupRow) -> Vec<String> {
    let stopped: Vec<String> = (group.partitions.iter())
        .filter_map(|row| {
            let reason = row.stopped.as_ref()?;
            Some(format!("group {}: {}/{} is stopped: {reason}", group.group, group.topic, row.partition))
        })
        .collect();
    match (&group.error, group.state) {
        (Some(error), Doing::Failed) if stopped.is_empty() => {
            vec![format!("group {} of {} does not run: {error}", group.group, group.topic)]
        }
        _ => stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::groups::PartitionRow;
    use artel_message::Time;
    use uuid::Uuid;

    fn node(name: &str, alive: bool, ready: Option<bool>, reasons: &[&str]) -> NodeRow {
        NodeRow {
            id: Uuid::from_u128(1),
            name: name.to_owned(),
            roles: vec!["shop".to_owned()],
            peer: Some("http://x:1".to_owned()),
            version: String::new(),
            started_at: Time::from_micros(0),
            seen_at: Time::from_micros(0),
            alive,
            this: false,
            ready,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            without: Vec::new(),
        }
    }

    fn lease(partition: Option<u32>, node: Option<&str>, alive: bool) -> LeaseRow {
        LeaseRow {
            service: "shop".to_owned(),
            what: if partition.is_some() { "shop" } else { "relay" }.to_owned(),
            topic: partition.map(|_| "shop.sale".to_owned()),
            partition,
            owner: node.map(|_| Uuid::from_u128(1)),
            node: node.map(str::to_owned),
            alive,
            epoch: 1,
        }
    }

    fn group(stopped: Option<&str>) -> GroupRow {
        let stopped = stopped.map(str::to_owned);
        GroupRow {
            service: "shop".to_owned(),
            group: "shop".to_owned(),
            topic: "shop.sale".to_owned(),
            run_time: false,
            projection: None,
            version: None,
            phase: None,
            waits_for: None,
            state: if stopped.is_some() { Doing::Failed } else { Doing::Running },
            lag: Some(0),
            error: stopped.clone(),
            partitions: vec![PartitionRow { partition: 2, next: 7, lag: None, stopped }],
        }
    }

    #[test]
    fn where_all_is_well_nothing_is_said() {
        let mut silent = node("c", true, None, &["not asked"]);
        silent.peer = None;
        let nodes = [node("a", true, Some(true), &[]), node("b", false, None, &["silent"]), silent];
        let leases = [lease(Some(2), Some("a"), true), lease(None, Some("a"), true)];
        assert_eq!(of(["shop"].into_iter(), &nodes, &leases, &[group(None)]), Vec::<String>::new());
    }

    #[test]
    fn each_thing_is_said_once_in_words() {
        let reasons = ["disk: full", "groups: gap at 7\nother trouble"];
        let mut nodes = [node("a", true, Some(false), &reasons), node("b", true, None, &["no connection"])];
        nodes[0].without = vec!["cache: redis: gone".to_owned()];
        let leases =
            [lease(Some(2), None, false), lease(Some(3), Some("c"), false), lease(None, Some("c"), false)];
        let said = of(["shop", "desk"].into_iter(), &nodes, &leases, &[group(Some("gap at 7"))]);
        assert_eq!(
            said,
            [
                "node a is not ready: disk: full",
                "node a goes on without cache: redis: gone",
                "node b can't be asked: no connection",
                "service desk runs on no living node",
                "group shop: shop.sale/2 is not leased: no node has it",
                "group shop: shop.sale/3 belongs to node c, which has fallen silent",
                "service shop: the relay belongs to node c, which has fallen silent",
                "group shop: shop.sale/2 is stopped: gap at 7",
                "node a: other trouble",
            ]
        );
    }
}
