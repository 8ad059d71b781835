//! What start-up refuses.

use crate::kit::Place;
use crate::shop::{Sell, catalogue, desk, shop};
use artel_flow::{Service, StartError, Tx};
use artel_message::Fault;

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
