//! How tests of effects begin, and wait for what is told of them.

use crate::caller::{Dial, Queue, Told, catalogue};
use crate::kit::{Node, Place};
use artel_flow::Service;
use std::time::Duration;

pub async fn start(place: &Place, service: Service) -> Node {
    place.start(vec![service], catalogue()).await.expect("starts")
}

pub async fn queue(node: &Node, place: &Place, calls: Vec<Dial>) {
    node.ctx("caller").ask(Queue { calls }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
}

pub async fn told(node: &Node) -> Vec<String> {
    node.ctx("caller").query(Told {}).await.expect("told")
}

/// Until so many effects have been told of.
pub async fn until_told(node: &Node, lines: usize) -> Vec<String> {
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..3000 {
        let told = told(node).await;
        if told.len() >= lines {
            return told;
        }
        look_again.tick().await;
    }
    panic!("{} of {lines} effects were told of", told(node).await.len());
}
