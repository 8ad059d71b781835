//! A node asks a service that runs on other nodes. The way between them is bytes in memory here; frame's is HTTP.

use crate::kit::{Node, Place, This};
use crate::shop::{Journal, Note, Sell, Total, catalogue, desk, shop};
use artel_flow::{Asked, Mediator, Member, PeerCall, Peers};
use artel_message::{Code, Fault};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Carries calls to the mediators of nodes in this process.
#[derive(Default)]
struct Way {
    ends: Mutex<BTreeMap<String, Mediator>>,
    /// How many answers get lost; the call is made again then.
    losses: AtomicUsize,
    /// The keys of the commands that were carried.
    keys: Mutex<Vec<Option<String>>>,
}

impl Way {
    fn end(&self, nodes: &[Member]) -> Mediator {
        self.ends.lock().expect("unpoisoned")[&nodes[0].name].clone()
    }

    fn leads_to(&self, node: &Node, name: &str) {
        let mediator = node.runtime.mediator().clone();
        self.ends.lock().expect("unpoisoned").insert(name.to_owned(), mediator);
    }
}

#[async_trait]
impl Peers for Way {
    async fn ask(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault> {
        self.keys.lock().expect("unpoisoned").push(asked.key.clone());
        loop {
            let reply = self.end(nodes).ask_bytes(call.name, call.body.clone(), asked.clone()).await;
            let lost = |n: usize| n.checked_sub(1);
            if self.losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lost).is_err() {
                return reply;
            }
        }
    }

    async fn query(&self, nodes: &[Member], call: PeerCall<'_>, asked: &Asked) -> Result<Bytes, Fault> {
        self.end(nodes).query_bytes(call.name, call.body.clone(), asked.clone()).await
    }
}

fn this(name: &str, role: &str, way: Option<&Arc<Way>>) -> This {
    let mut this = This::named(name);
    this.me.peer = Some(format!("http://{name}"));
    this.roles = Some(vec![role.to_owned()]);
    this.peers = way.map(|way| way.clone() as Arc<dyn Peers>);
    this
}

async fn start(place: &Place, this: This) -> Node {
    place.start_this(this, vec![shop(), desk()], catalogue()).await.expect("starts")
}

/// One node with the shop, one with the desk, which see each other.
async fn two(place: &Place) -> (Node, Node, Arc<Way>) {
    let way = Arc::new(Way::default());
    let shops = start(place, this("shops", "shop", Some(&way))).await;
    way.leads_to(&shops, "shops");
    let desks = start(place, this("desks", "desk", Some(&way))).await;
    way.leads_to(&desks, "desks");
    (shops, desks, way)
}

/// Until a node sees as many living ones.
async fn sees(node: &Node, living: usize) {
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..1500 {
        if node.runtime.members().list().iter().filter(|m| m.alive).count() == living {
            return;
        }
        look_again.tick().await;
    }
    panic!("it sees {:?}", node.runtime.members().list());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_another_node_answers_with_replies_and_with_faults() {
    let Some(place) = Place::on_postgres().await else { return };
    let (shops, desks, way) = two(&place).await;
    sees(&shops, 2).await;
    let ctx = desks.ctx("desk");
    assert_eq!(ctx.ask(Sell { item: "tea".into(), count: 3 }).await, Ok(6));
    assert_eq!(ctx.query(Total {}).await, Ok(3));
    let refused = ctx.ask(Sell { item: "nothing".into(), count: 1 }).await.expect_err("refused");
    assert_eq!(refused, Fault::field("item", "there is nothing to sell"));
    let note = shops.ctx("shop").ask(Note { key: "k".into(), text: "hello".into() }).await;
    assert_eq!(note, Ok("hello".to_owned()));
    let keys = way.keys.lock().expect("unpoisoned").clone();
    assert!(keys.iter().all(Option::is_some), "every command has a key of its own: {keys:?}");
    shops.stop().await;
    desks.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_got_lost_runs_once_and_gives_its_first_reply() {
    let Some(place) = Place::on_postgres().await else { return };
    let (shops, desks, way) = two(&place).await;
    let ctx = desks.ctx("desk");
    way.losses.store(2, Ordering::SeqCst);
    assert_eq!(ctx.ask(Sell { item: "tea".into(), count: 3 }).await, Ok(6));
    assert_eq!(ctx.query(Total {}).await, Ok(3), "sold once");
    // A key of the caller's own holds over the way too.
    let asked = || Asked::by("customer").key(Some("k".into()));
    assert_eq!(ctx.ask_as(Sell { item: "tea".into(), count: 4 }, asked()).await, Ok(8));
    assert_eq!(ctx.ask_as(Sell { item: "tea".into(), count: 4 }, asked()).await, Ok(8));
    let other = ctx.ask_as(Sell { item: "tea".into(), count: 5 }, asked()).await;
    assert_eq!(other.map_err(|fault| fault.code), Err(Code::Conflict));
    assert_eq!(ctx.query(Total {}).await, Ok(7));
    shops.stop().await;
    desks.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_runs_nowhere_is_named_at_once() {
    let Some(place) = Place::on_postgres().await else { return };
    let (shops, desks, _way) = two(&place).await;
    shops.stop().await;
    sees(&desks, 1).await;
    let fault = desks.ctx("desk").query(Total {}).await.expect_err("it runs nowhere");
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.reason.contains("'shop' runs on no living node"), "{fault}");
    // One that listens for nobody is named.
    let mut deaf = this("deaf", "shop", None);
    deaf.me.peer = None;
    let deaf = start(&place, deaf).await;
    sees(&desks, 2).await;
    let fault = desks.ctx("desk").query(Total {}).await.expect_err("it can't be asked");
    assert!(fault.code == Code::Unavailable && fault.reason.contains("deaf"), "{fault}");
    // And one that has no way to the others says so of itself.
    let fault = deaf.ctx("shop").query(Journal {}).await.expect_err("there is no way");
    assert!(fault.reason.contains("peers.secret"), "{fault}");
    deaf.stop().await;
    desks.stop().await;
}

#[tokio::test]
async fn bytes_from_elsewhere_are_checked_like_any_message() {
    let place = Place::new();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("starts");
    let mediator = node.runtime.mediator();
    let by = || Asked::by("desk").key(Some("k".to_owned()));
    let ask =
        |name: &'static str, body: &'static [u8]| mediator.ask_bytes(name, Bytes::from_static(body), by());
    for (name, body, code, said) in [
        ("shop.burn", &b"{}"[..], Code::Unavailable, "'shop.burn' is not known"),
        ("shop.total", b"{}", Code::Unavailable, "'shop.total' is not known"),
        ("else.where", b"{}", Code::Unavailable, "'else' does not run on this node"),
        ("shop.sell", b"{\"item\":\"tea\"}", Code::Invalid, "missing field `count`"),
        ("shop.sell", b"no json", Code::Invalid, "canonical"),
        ("desk.note", b"{\"key\":\"\",\"text\":\"x\"}", Code::Invalid, "key: is empty"),
    ] {
        let fault = ask(name, body).await.expect_err(name);
        assert!(fault.code == code && fault.reason.contains(said), "{name}: {fault}");
    }
    let long = Asked::by("desk").key(Some("k".repeat(201)));
    let fault = mediator.ask_bytes("shop.sell", Bytes::from_static(b"{}"), long).await.expect_err("too long");
    assert!(fault.reason.starts_with("Idempotency-Key"), "{fault}");
    let fault =
        mediator.query_bytes("shop.sell", Bytes::from_static(b"{}"), by()).await.expect_err("no query");
    assert_eq!(fault.code, Code::Unavailable);
    assert_eq!(node.ctx("desk").query(Total {}).await, Ok(0));
    node.stop().await;
}
