//! What start-up refuses.

use crate::kit::Place;
use crate::shop::{Sell, catalogue, desk, shop};
use artel_flow::{Service, StartError, Tx};
use artel_message::Fault;
use std::sync::{Arc, Mutex};

async fn mistakes(services: Vec<Service>) -> Vec<String> {
    match Place::new().start(services, catalogue()).await {
        Err(StartError::Registry(mistakes)) => mistakes,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it started"),
    }
}

async fn sell(_: &mut Tx, _: Sell) -> Result<u32, Fault> {
    Ok(0)
}

#[tokio::test]
async fn a_missing_handler_is_refused_by_name() {
    let found = mistakes(vec![shop()]).await;
    for name in ["command 'desk.note'", "query 'desk.journal'", "effect 'desk.call'"] {
        assert!(found.iter().any(|m| m.contains(name)), "{name} in {found:?}");
    }
}

#[tokio::test]
async fn a_doubled_handler_is_refused_by_name() {
    let found = mistakes(vec![shop().command(sell), desk()]).await;
    assert_eq!(found, ["service 'shop': command 'shop.sell' has two handlers; keep one"]);
}

#[tokio::test]
async fn a_handler_in_the_wrong_service_is_refused() {
    let found = mistakes(vec![shop(), desk(), Service::new("bank").command(sell)]).await;
    assert!(found[0].contains("'bank'") && found[0].contains("'shop'"), "{found:?}");
}

#[tokio::test]
async fn a_service_twice_and_a_bad_schedule_are_refused() {
    async fn tick(_: &mut Tx, (): ()) -> Result<(), Fault> {
        Ok(())
    }
    let found = mistakes(vec![shop(), desk().every("desk.bad", "whenever", tick), desk()]).await;
    assert!(found.iter().any(|m| m.contains("'whenever'")), "{found:?}");
    assert!(found.iter().any(|m| m.contains("'desk' stands in the table twice")), "{found:?}");
}

#[tokio::test]
async fn a_start_hook_runs_once_where_the_service_does_and_can_ask() {
    let place = Place::new();
    let (seen, told) = tokio::sync::mpsc::unbounded_channel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (order.clone(), order.clone());
    let shop = shop()
        .on_start(move |ctx| {
            first.lock().unwrap().push("first");
            let (ctx, seen) = (ctx.clone(), seen.clone());
            tokio::spawn(async move { seen.send(ctx.ask(Sell { item: "tea".to_owned(), count: 1 }).await) });
            Ok(())
        })
        .on_start(move |_| {
            second.lock().unwrap().push("second");
            Ok(())
        });
    let elsewhere = desk().on_start(|_| Err(Fault::internal("it does not run here")));
    let roles = Some(vec!["shop".to_owned()]);
    let node = place.start_roles(vec![shop, elsewhere], catalogue(), roles).await.unwrap();
    let mut told = told;
    assert!(told.recv().await.unwrap().is_ok());
    assert!(told.try_recv().is_err());
    assert_eq!(*order.lock().unwrap(), ["first", "second"]);
    node.stop().await;
}

#[tokio::test]
async fn a_start_hook_that_fails_ends_the_start_and_nothing_runs() {
    let place = Place::new();
    let refuse = desk().on_start(|_| Err(Fault::field("desk.lamp", "is out")));
    let refused = place.start(vec![shop(), refuse], catalogue()).await.map(drop).unwrap_err();
    assert!(matches!(&refused, StartError::Hook { service, .. } if service == "desk"), "{refused}");
    assert!(refused.to_string().contains("desk.lamp"), "{refused}");
    // Its files are free again.
    place.start(vec![shop(), desk()], catalogue()).await.unwrap().stop().await;
}
