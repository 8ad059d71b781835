//! Claims of effects between two nodes on one database.

use crate::caller::{
    Board, Claims, Dial, FIRST, HELD, Queue, Told, caller, caller_telling, catalogue, one, plain,
};
use crate::kit::{Node, Place};
use artel_flow::HandlerExt;
use artel_store::{Lane, Write};
use std::collections::BTreeSet;
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
        // The other node looks by its clock.
        place.clock.advance(Duration::from_secs(5));
        look_again.tick().await;
    }
    board.open("slow");
    while first.ctx("caller").query(Told {}).await.expect("told").is_empty() {
        look_again.tick().await;
    }
    assert_eq!(board.begun.borrow().len(), 1, "{:?}", board.begun.borrow());
    tokio::join!(first.stop(), second.stop());
}

/// A renewal of its claim undoes a telling that takes long, once: told again it holds the row from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telling_that_outlasts_renewals_ends_with_its_second_run() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.effect_lease = Duration::from_secs(1);
    let board = Arc::new(Board::default());
    let node = vec![caller_telling(plain(one(&board)), &board, true)];
    let node = place.start(node, catalogue()).await.expect("starts");
    let calls = vec![Dial { key: "a".to_owned(), number: HELD.to_owned() }];
    node.ctx("caller").ask(Queue { calls }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
    board.written(1).await;
    let (began, mut look_again) = (claims(&node).await, tokio::time::interval(LOOK));
    while claims(&node).await == began {
        look_again.tick().await;
    }
    board.open("told 1");
    board.written(2).await;
    let db = place.store().await.db("caller").await.expect("the database");
    let mut write = db.begin_plain(Lane::Background).await.expect("begins");
    let free = "SELECT attempts FROM flow_effect FOR UPDATE SKIP LOCKED";
    let free: Vec<(i64,)> = write.all(free, ()).await.expect("looks");
    assert_eq!(free, [], "no renewal comes between");
    write.rollback().await.expect("nothing was done");
    board.open("told 2");
    while node.ctx("caller").query(Told {}).await.expect("told").is_empty() {
        look_again.tick().await;
    }
    assert_eq!(board.told.borrow().len(), 2);
    node.stop().await;
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

/// A transaction of the test's own in the database of the service.
async fn aside(place: &Place) -> Write {
    let store = place.store().await;
    let db = store.db("caller").await.expect("the database");
    db.begin_plain(Lane::Interactive).await.expect("begins")
}

/// Between two bursts a queue is empty, and that is what the database knows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_claimed_than_there_is_room_for_whatever_is_known_of_the_queue() {
    for per_key in [false, true] {
        let Some(place) = Place::on_postgres().await else { return };
        // The plan that a connection comes to while the queue is empty, and keeps when it is not any more: the rows of the queue
        // one by one, each looked for among those that may be claimed.
        let mut write = aside(&place).await;
        let plan = "DO $$ DECLARE way TEXT; BEGIN
            FOREACH way IN ARRAY ARRAY['hashjoin', 'mergejoin', 'material', 'hashagg', 'sort'] LOOP
                EXECUTE format('ALTER DATABASE %I SET enable_%s = off', current_database(), way);
            END LOOP; END $$";
        write.exec(plan, ()).await.expect("set");
        write.commit().await.expect("set");
        let board = Arc::new(Board::default());
        let handler = if per_key { one(&board).width(3).per_key() } else { one(&board).width(3) };
        let node = place.start(vec![caller(handler)], catalogue()).await.expect("starts");
        let queue = async |calls: u32, from: u32| {
            let dial = |n: u32| Dial { key: (from + n).to_string(), number: "slow".to_owned() };
            node.ctx("caller").ask(Queue { calls: (0..calls).map(dial).collect() }).await.expect("queued");
            place.clock.advance(Duration::from_secs(1));
        };
        queue(1, 0).await;
        board.begun(1).await;
        queue(400, 1).await;
        board.begun(3).await;
        assert_eq!(claims(&node).await.len(), 3, "per key: {per_key}");
        board.open("slow");
        let mut look_again = tokio::time::interval(LOOK);
        while node.ctx("caller").query(Told {}).await.expect("told").len() < 401 {
            look_again.tick().await;
        }
        assert_eq!(*board.under_way.borrow(), (0, 3), "per key: {per_key}");
        node.stop().await;
    }
}

/// Who tells of an effect holds its row, for as long as that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_held_does_not_keep_other_claims_from_being_renewed() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.effect_lease = Duration::from_secs(2);
    let board = Arc::new(Board::default());
    let node = place.start(vec![caller(plain(one(&board)))], catalogue()).await.expect("starts");
    let dial = |key: &str| Dial { key: key.to_owned(), number: "slow".to_owned() };
    node.ctx("caller").ask(Queue { calls: vec![dial("a"), dial("b")] }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
    board.begun(2).await;
    let mut held = aside(&place).await;
    let hold =
        "UPDATE flow_effect SET due = due WHERE id = (SELECT id FROM flow_effect ORDER BY made_at LIMIT 1)";
    assert_eq!(held.exec(hold, ()).await.expect("held"), 1);
    let latest = async || claims(&node).await.into_iter().max().expect("two claims");
    let began = latest().await;
    let renewed = async {
        let mut look_again = tokio::time::interval(LOOK);
        while latest().await < began + 4_000_000 {
            look_again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("the other claim is renewed");
    held.rollback().await.expect("let go");
    board.open("slow");
    let mut look_again = tokio::time::interval(LOOK);
    while node.ctx("caller").query(Told {}).await.expect("told").len() < 2 {
        look_again.tick().await;
    }
    node.stop().await;
}

/// A node that dies between a call and its end leaves nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_ended_as_its_node_died_is_made_again_under_the_same_key_and_told_once() {
    let Some(mut place) = Place::on_postgres().await else { return };
    place.limits.effect_lease = Duration::from_millis(500);
    let board = Arc::new(Board::default());
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let life = life.expect("a runtime");
    let place = Arc::new(place);
    let (there, its_board) = (place.clone(), board.clone());
    let start = async move {
        let service = caller_telling(plain(one(&its_board)), &its_board, true);
        there.start_named("first", vec![service], catalogue()).await.expect("starts")
    };
    let first = life.spawn(start).await.expect("starts");
    let calls = vec![Dial { key: "a".to_owned(), number: FIRST.to_owned() }];
    first.ctx("caller").ask(Queue { calls }).await.expect("queued");
    place.clock.advance(Duration::from_secs(1));
    // It is being told, and waits.
    board.telling(1).await;
    life.shutdown_background();
    drop(first);
    board.open("told first");
    let service = caller_telling(plain(one(&board)), &board, true);
    let second = place.start_named("second", vec![service], catalogue()).await.expect("starts");
    let mut look_again = tokio::time::interval(LOOK);
    while second.ctx("caller").query(Told {}).await.expect("told").is_empty() {
        place.clock.advance(Duration::from_secs(5));
        look_again.tick().await;
    }
    let keys: Vec<_> = board.begun.borrow().iter().map(|begun| begun.key).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "called again with the same key: {keys:?}");
    second.settle().await;
    assert_eq!(second.ctx("caller").query(Told {}).await.expect("told").len(), 1);
    second.stop().await;
}

/// A statement that nobody waits for any more costs its connection: a look that a wake-up cut short was one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_for_effects_keep_their_connections() {
    let Some(place) = Place::on_postgres().await else { return };
    let board = Arc::new(Board::default());
    let node = place.start(vec![caller(plain(one(&board)))], catalogue()).await.expect("starts");
    let store = place.store().await;
    let db = store.db("caller").await.expect("the database");
    let (mut seen, mut look_again) = (BTreeSet::new(), tokio::time::interval(LOOK));
    for n in 0..100 {
        let calls = vec![Dial { key: n.to_string(), number: "quick".to_owned() }];
        node.ctx("caller").ask(Queue { calls }).await.expect("queued");
        place.clock.advance(Duration::from_secs(1));
        while node.ctx("caller").query(Told {}).await.expect("told").len() <= n {
            look_again.tick().await;
        }
        let mut read = db.read().await.expect("reads");
        let servers = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
        let servers: Vec<(i64,)> = read.all(servers, ()).await.expect("listed");
        seen.extend(servers);
    }
    assert!(seen.len() < 40, "{} connections were made", seen.len());
    node.stop().await;
}
