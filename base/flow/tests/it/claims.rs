//! Claims of effects between two nodes on one database.

use crate::caller::{Board, Claims, Dial, Queue, Told, caller, catalogue, one, plain};
use crate::kit::{Node, Place};
use std::sync::Arc;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(20);

async fn claims(node: &Node) -> Vec<i64> {
    node.ctx("caller").query(Claims {}).await.expect("claims")
}

/// The claim of a call that runs for long is renewed: nobody else makes the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_outlasts_its_lease_is_made_by_nobody_else() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.effect_lease = Duration::from_secs(2);
    let board = Arc::new(Board::default());
    let start = async |name: &str| {
        place.start_named(name, vec![caller(plain(one(&board)))], catalogue()).await.expect("starts")
    };
    let (first, second) = (start("first").await, start("second").await);
    let calls = vec![Dial { key: "a".to_owned(), number: "slow".to_owned() }];
    first.ctx("caller").ask(Queue { calls }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
    board.begun(1).await;
    // The clocks of the nodes are hours away from the database's, and jump.
    place.clock.advance(Duration::from_secs(3600));
    let began = claims(&first).await;
    let mut look_again = tokio::time::interval(LOOK);
    // Until the first lease is long over by the database's clock.
    while claims(&first).await[0] < began[0] + 4_000_000 {
        look_again.tick().await;
    }
    board.open("slow");
    while first.ctx("caller").query(Told {}).await.expect("told").is_empty() {
        look_again.tick().await;
    }
    assert_eq!(board.begun.borrow().len(), 1, "{:?}", board.begun.borrow());
    tokio::join!(first.stop(), second.stop());
}

/// What a node that is gone had claimed is called by another one when the lease is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_had_claimed_is_called_by_another() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.effect_lease = Duration::from_millis(500);
    let board = Arc::new(Board::default());
    let life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let place = Arc::new(place);
    let (there, its_board) = (place.clone(), board.clone());
    let start = async move {
        there.start_named("first", vec![caller(plain(one(&its_board)))], catalogue()).await.expect("starts")
    };
    let first = life.spawn(start).await.expect("starts");
    let calls = vec![Dial { key: "a".to_owned(), number: "slow".to_owned() }];
    first.ctx("caller").ask(Queue { calls }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
    board.begun(1).await;
    life.shutdown_background();
    drop(first);
    board.open("slow");
    let second =
        place.start_named("second", vec![caller(plain(one(&board)))], catalogue()).await.expect("starts");
    // A node's own clock has nothing to do with it, but the look for what is due goes by it.
    let mut look_again = tokio::time::interval(LOOK);
    while second.ctx("caller").query(Told {}).await.expect("told").is_empty() {
        place.clock.advance(Duration::from_secs(5));
        look_again.tick().await;
    }
    let keys: Vec<_> = board.begun.borrow().iter().map(|begun| begun.key).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "called again with the same key: {keys:?}");
    second.stop().await;
}
