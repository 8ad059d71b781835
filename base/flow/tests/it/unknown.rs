//! A database that knows nothing of a partition in which the log has its messages, with numbers that are ahead of its clock: as it
//! is when it was brought back from a copy that is older than the first of them, on a machine whose clock is behind.

use crate::kit::{self, Place};
use crate::shop::{Journal, Sell, catalogue, desk, shop};

/// A life of a node that sells.
async fn life(place: &Place, counts: std::ops::Range<u32>) -> Vec<String> {
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for count in counts {
        node.ctx("shop").ask(Sell { item: "tea".into(), count }).await.expect("sold");
    }
    node.settle().await;
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    let journal = node.ctx("desk").query(Journal {}).await.expect("journal");
    node.stop().await;
    journal
}

/// Changes what a node that has stopped knows.
async fn alter(place: &Place, sql: &'static str) {
    let store = place.store().await;
    kit::alter(&store, "shop", sql).await;
    store.close().await;
}

#[tokio::test]
async fn numbers_that_the_log_has_are_not_given_again() {
    let Some(place) = super::place().await else { return };
    life(&place, 0..0).await;
    alter(&place, "UPDATE flow_seq SET next = next + 3600000000").await;
    life(&place, 0..40).await;
    alter(&place, "UPDATE flow_seq SET next = next - 3600000000").await;
    alter(&place, "DELETE FROM flow_sent").await;
    let sold: Vec<String> = (0..60).map(|count| format!("sold tea {count}")).collect();
    assert_eq!(life(&place, 40..60).await, sold);
}
