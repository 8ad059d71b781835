//! A node that starts while a move to its database begins: one of the two sees the other.

use crate::gated::{Answer, Asked};
use crate::kit::Place;
use crate::shop::{catalogue, desk, shop};
use artel_flow::StartError;
use artel_flow::moving::{Arrival, Arrivals};
use uuid::Uuid;

fn arrival(place: &Place) -> Arrival {
    Arrival {
        id: Uuid::now_v7(),
        source: Uuid::now_v7(),
        source_name: "old".to_owned(),
        log: "there".to_owned(),
        topics: Vec::new(),
        empty: false,
        kept: Vec::new(),
        began_at: place.clock.now(),
        done_at: None,
    }
}

#[tokio::test]
async fn a_move_that_begins_while_a_node_starts_sees_the_node() {
    let Some(place) = Place::on_postgres().await else { return };
    let store = place.store().await;
    let moves = Arrivals::open(&store).await.expect("opened");
    let one = arrival(&place);
    // The node has looked for a move and makes its topics.
    place.gates.hold("shop.sale", 0, Asked::Make, Answer::Silence);
    let meanwhile = async {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(5));
        while place.gates.when("make shop.sale").is_none() {
            again.tick().await;
        }
        assert_eq!(moves.begin(&one).await.expect("written down"), None);
        let seen = moves.any_node().await.expect("looked");
        moves.remove(one.id).await.expect("taken back");
        place.gates.let_go();
        seen
    };
    let (node, seen) = tokio::join!(place.start(vec![shop(), desk()], catalogue()), meanwhile);
    assert!(seen, "the node starts, and the move would have gone on beside it");
    node.expect("start").stop().await;
    store.close().await;
}

#[tokio::test]
async fn a_node_that_is_refused_leaves_no_trace_that_would_stop_the_move() {
    let Some(place) = Place::on_postgres().await else { return };
    let store = place.store().await;
    let moves = Arrivals::open(&store).await.expect("opened");
    assert_eq!(moves.begin(&arrival(&place)).await.expect("written down"), None);
    match place.start(vec![shop(), desk()], catalogue()).await {
        Err(StartError::Arriving { source_name, .. }) => assert_eq!(source_name, "old"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it started"),
    }
    assert!(!moves.any_node().await.expect("looked"));
    store.close().await;
}
