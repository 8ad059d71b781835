//! What no log takes is refused where it is said, and not when it would leave: its partition would stand for ever.

use crate::kit::Place;
use crate::shop::{Sell, catalogue, desk, shop};
use artel_message::Code;

#[tokio::test]
async fn a_name_with_a_zero_character_fails_the_commit_and_holds_up_nothing() {
    let place = Place::new();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.ctx("shop").topics().ensure("far").await.expect("topic");
    let bad = node.ctx("shop").ask(Sell { item: "zero:far".into(), count: 1 }).await.expect_err("refused");
    assert_eq!(bad.code, Code::Invalid, "{bad:?}");
    assert!(format!("{bad:?}").contains("U+0000"), "{bad:?}");
    node.ctx("shop").ask(Sell { item: "raw:far".into(), count: 7 }).await.expect("sold");
    node.settle().await;
    let records = node.records("far").await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(node.runtime.troubles().is_empty(), "{:?}", node.runtime.troubles());
    node.stop().await;
}
