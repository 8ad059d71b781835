//! Other nodes that run a service which this one does not: the port through which the mediator asks them.

use crate::mediator::Asked;
use crate::members::{Member, Members};
use artel_message::Fault;
use async_trait::async_trait;
use bytes::Bytes;

/// A command or query on its way to another node.
#[derive(Debug, Clone, Copy)]
pub struct PeerCall<'a> {
    /// The service that has the handler.
    pub service: &'a str,
    /// The message's name, such as `shop.sell`.
    pub name: &'a str,
    /// The message as JSON.
    pub body: &'a Bytes,
}

/// The way to other nodes.
///
/// - `nodes` all live, run the service and listen for others, as far as this node knows; there is at least one. Any of them
///   may answer, and an implementation may try another one when the first can't be reached or is busy.
/// - `ask`: `asked.key` is always there, so that a call which is made twice runs once: the second one gets the first reply. An
///   implementation may therefore send a command again whose answer got lost.
/// - A fault of the handler comes back as it is: code, reason and detail. What goes wrong on the way is `unavailable`, or
///   `timeout` where it is not known whether the call runs.
/// - A future that is dropped ends the waiting; a command that has arrived runs on.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Runs a command there and gives its reply.
    async fn ask(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault>;

    /// Answers a query there.
    async fn query(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault>;
}

/// The living nodes other than this one that run a service and can be reached; a fault that names the service when there is
/// none.
pub(crate) fn that_run(members: &Members, service: &str) -> Result<Vec<Member>, Fault> {
    let me = members.me().id;
    let runs = |m: &Member| m.alive && m.id != me && m.roles.iter().any(|role| role == service);
    let there: Vec<Member> = members.list().into_iter().filter(runs).collect();
    if there.is_empty() {
        return Err(Fault::unavailable(format!(
            "service '{service}' runs on no living node; start one with this role"
        ))
        .with(nowhere(service)));
    }
    let names: Vec<String> = there.iter().map(|m| m.name.clone()).collect();
    let reached: Vec<Member> = there.into_iter().filter(|m| m.peer.is_some()).collect();
    if reached.is_empty() {
        return Err(Fault::unavailable(format!(
            "service '{service}' runs on {}, where other nodes can't ask it; set peers.listen there",
            names.join(", ")
        ))
        .with(nowhere(service)));
    }
    Ok(reached)
}

/// This node has no way to the others.
pub(crate) fn no_way(service: &str) -> Fault {
    Fault::unavailable(format!(
        "service '{service}' runs on other nodes, which this one can't ask; set peers.secret here as there"
    ))
    .with(nowhere(service))
}

fn nowhere(service: &str) -> serde_json::Value {
    serde_json::json!({ "service": service })
}
