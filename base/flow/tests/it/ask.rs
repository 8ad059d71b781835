//! Commands and queries through the mediator.

use crate::shop::{Journal, Note, Sell, Total, catalogue, desk, shop};
use artel_flow::Asked;
use artel_message::Code;

#[tokio::test]
async fn a_command_runs_and_its_reply_comes_back() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let reply = node.ctx("desk").ask(Sell { item: "tea".into(), count: 3 }).await;
    assert_eq!(reply, Ok(6));
    assert_eq!(node.ctx("desk").query(Total {}).await, Ok(3));
    node.settle().await;
    assert_eq!(node.ctx("shop").query(Journal {}).await, Ok(vec!["sold tea 3".to_owned()]));
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gets_the_first_reply_and_runs_nothing() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let ctx = node.ctx("shop");
    let asked = || Asked::by("customer").key(Some("k1".into()));
    let first = ctx.ask_as(Sell { item: "tea".into(), count: 3 }, asked()).await;
    let again = ctx.ask_as(Sell { item: "tea".into(), count: 3 }, asked()).await;
    assert_eq!((first, again), (Ok(6), Ok(6)));
    assert_eq!(ctx.query(Total {}).await, Ok(3));

    let other = ctx.ask_as(Sell { item: "tea".into(), count: 4 }, asked()).await;
    assert_eq!(other.map_err(|f| f.code), Err(Code::Conflict));
    let other_caller =
        ctx.ask_as(Sell { item: "tea".into(), count: 4 }, Asked::by("b").key(Some("k1".into()))).await;
    assert_eq!(other_caller, Ok(8));
    assert_eq!(ctx.query(Total {}).await, Ok(7));
    node.stop().await;
}

#[tokio::test]
async fn a_refusal_is_rolled_back_and_kept() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let ctx = node.ctx("shop");
    let asked = || Asked::by("customer").key(Some("k2".into()));
    for _ in 0..2 {
        let fault =
            ctx.ask_as(Sell { item: "nothing".into(), count: 5 }, asked()).await.expect_err("refused");
        assert_eq!(fault.code, Code::Invalid);
        assert_eq!(fault.reason, "item: there is nothing to sell");
    }
    assert_eq!(ctx.query(Total {}).await, Ok(0), "a refused command leaves nothing");
    // A refusal that may pass by itself is not kept.
    let asked = || Asked::by("customer").key(Some("k3".into()));
    let first = ctx.ask_as(Sell { item: "later".into(), count: 5 }, asked()).await;
    assert_eq!(first.map_err(|f| f.code), Err(Code::NotFound));
    node.stop().await;
}

#[tokio::test]
async fn a_kept_reply_survives_a_restart() {
    let Some(place) = super::place().await else { return };
    let asked = || Asked::by("customer").key(Some("k".into()));
    for _ in 0..3 {
        let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
        let reply = node.ctx("shop").ask_as(Sell { item: "tea".into(), count: 3 }, asked()).await;
        assert_eq!(reply, Ok(6));
        node.settle().await;
        assert_eq!(node.ctx("shop").query(Journal {}).await, Ok(vec!["sold tea 3".to_owned()]));
        node.stop().await;
    }
}

#[tokio::test]
async fn a_command_without_its_service_says_so() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![desk()], Vec::new()).await.expect("start");
    let fault = node.ctx("desk").ask(Sell { item: "tea".into(), count: 1 }).await.expect_err("no shop");
    assert_eq!(fault.code, Code::Internal);
    assert!(fault.reason.contains("'shop'"), "{fault}");
    node.stop().await;
}

#[tokio::test]
async fn an_answer_to_a_sent_command_comes_to_its_sender() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    let ctx = node.ctx("shop");
    ctx.ask(Sell { item: "note:hello".into(), count: 1 }).await.expect("sold");
    ctx.ask(Sell { item: "note:bad".into(), count: 1 }).await.expect("sold");
    node.settle().await;
    let journal = ctx.query(Journal {}).await.expect("journal");
    assert!(journal.contains(&"note hello".to_owned()), "{journal:?}");
    let read = ctx.read().await.expect("read");
    let rows: Vec<(String,)> =
        read.all("SELECT item FROM sale WHERE count = 0 ORDER BY item", ()).await.expect("rows");
    assert_eq!(rows, [("noted hello".to_owned(),), ("refused invalid".to_owned(),)]);
    drop(read);
    node.stop().await;
}

#[tokio::test]
async fn commands_of_one_key_run_in_the_order_they_were_sent() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for i in 0..50 {
        node.ctx("shop").ask(Sell { item: "tea".into(), count: i }).await.expect("sold");
        node.ctx("desk").ask(Note { key: "k".into(), text: format!("n{i}") }).await.expect("noted");
    }
    node.settle().await;
    let journal = node.ctx("desk").query(Journal {}).await.expect("journal");
    let sold: Vec<&String> = journal.iter().filter(|l| l.starts_with("sold")).collect();
    let expected: Vec<String> = (0..50).map(|i| format!("sold tea {i}")).collect();
    assert_eq!(sold, expected.iter().collect::<Vec<_>>());
    node.stop().await;
}
