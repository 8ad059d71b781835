//! One run of one seed: nodes that come and go, callers, a stranger, faults; then peace, and the verdict.

use crate::judge;
use crate::life::{Life, PATIENCE};
use crate::log::{NodeLog, SimLog};
use crate::oracle::{self, Acked};
use crate::outside::{NodeOutside, Outside};
use crate::services::{self, Make, NAMES, Noted};
use crate::stage::{Counts, Stage, Weather, pass};
use crate::trials::{self, Back};
use artel_bus::{Received, partition};
use artel_flow::{Asked, Clock, FlowMetrics, Ids, Limits, Me, Parts, Pulse, Runtime};
use artel_message::{Envelope, Event, Headers, Message, Time};
use artel_store::{MemoryCache, SimServer, Store};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How long callers keep on, and how long peace may take until all is done.
const LOAD: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(180);

/// What becomes of a run beside faults that leave nothing behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    None,
    /// The database of `ann` goes back to what it was a while ago.
    Restored,
    /// The log confirms messages of `ann` and loses them.
    LostTail,
}

/// What a run is like.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    /// Several nodes on one database; otherwise one at a time.
    pub shared: bool,
    pub requests: u64,
    pub trial: Trial,
    pub weather: Weather,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub seed: u64,
    pub hash: u64,
    pub counts: Counts,
    /// Empty = all rules hold.
    pub broken: Vec<String>,
    pub lines: Vec<String>,
}

impl Verdict {
    /// Why the run proves little; `None` = it counts.
    pub fn too_tame(&self, shared: bool) -> Option<String> {
        let counts = &self.counts;
        let enough = counts.messages >= 200 && counts.crashes >= 3 && counts.unknown_commits >= 1;
        let moved = !shared || (counts.lease_takeovers >= 1 && counts.relay_takeovers >= 1);
        (!enough || !moved).then(|| format!("{counts:?}"))
    }
}

/// Where the nodes live.
pub struct World {
    pub plan: Plan,
    pub stage: Arc<Stage>,
    pub server: SimServer,
    pub log: Arc<SimLog>,
    nodes: Vec<Mutex<Option<Arc<Runtime>>>>,
    pub lives: Vec<Mutex<Option<Arc<Life>>>>,
    pub acked: Mutex<Vec<Acked>>,
    pub outside: Arc<Outside>,
    /// When each schedule was due first, as far as it was seen.
    pub schedules: Mutex<BTreeMap<String, i64>>,
    /// What went back with a database.
    pub back: Mutex<Option<Back>>,
    /// By how much all clocks lag from then on.
    pub lag: Duration,
    /// Every node that ever was, by its id: the last one that had it.
    known: Mutex<BTreeMap<Uuid, Arc<Life>>>,
}

pub fn run(plan: Plan) -> Verdict {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async move { World::new(plan).play().await })
}

impl World {
    pub fn new(plan: Plan) -> Arc<World> {
        let stage = Stage::new(plan.seed, plan.weather);
        Arc::new(World {
            plan,
            server: SimServer::new(),
            log: SimLog::new(&stage),
            nodes: (0..plan.nodes).map(|_| Mutex::new(None)).collect(),
            lives: (0..plan.nodes).map(|_| Mutex::new(None)).collect(),
            acked: Mutex::default(),
            outside: Arc::default(),
            schedules: Mutex::default(),
            back: Mutex::default(),
            lag: stage.chance(|chance| chance.millis(0..30_000)),
            known: Mutex::default(),
            stage,
        })
    }

    async fn play(self: Arc<World>) -> Verdict {
        prepare(&self.server).await;
        for node in 0..self.plan.nodes {
            tokio::spawn(self.clone().keep(node));
        }
        tokio::spawn(self.clone().watch_leases());
        tokio::spawn(self.clone().take_leaders());
        match self.plan.trial {
            Trial::None => {}
            Trial::Restored => drop(tokio::spawn(trials::restore(self.clone()))),
            Trial::LostTail => trials::lose_tail(&self),
        }
        let callers: Vec<_> = (0..4).map(|caller| tokio::spawn(self.clone().call(caller))).collect();
        let stranger = tokio::spawn(self.clone().stranger());
        pass(LOAD + LOAD / 2).await;
        self.stage.end_faults();
        self.stage.note(97, "PEACE", "");
        for caller in callers {
            let _ = caller.await;
        }
        let _ = stranger.await;
        let at_rest = tokio::time::timeout(REST, async {
            while !oracle::is_done(&self) {
                pass(Duration::from_millis(500)).await;
            }
        });
        if at_rest.await.is_err() {
            self.stage.broke(format!("not at rest after {REST:?}: {}", oracle::what_is_open(&self)));
            self.troubles().into_iter().for_each(|trouble| self.stage.broke(trouble));
        }
        // What is still under way may come twice.
        pass(Duration::from_secs(10)).await;
        while NAMES.iter().any(|name| self.server.is_busy(name)) {
            pass(Duration::from_millis(1)).await;
        }
        judge::judge(&self);
        Verdict {
            seed: self.plan.seed,
            hash: self.stage.hash(),
            counts: self.stage.counts(),
            broken: self.stage.broken(),
            lines: self.stage.lines(),
        }
    }

    /// What the nodes that run say of themselves.
    pub fn troubles(&self) -> Vec<String> {
        self.running().iter().flat_map(|runtime| runtime.troubles()).collect()
    }

    fn running(&self) -> Vec<Arc<Runtime>> {
        let slots = self.nodes.iter();
        slots.filter_map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    fn put(&self, node: usize, running: Option<Arc<Runtime>>) {
        *self.nodes[node].lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// Starts a node, and again whenever it has died.
    async fn keep(self: Arc<World>, node: usize) {
        let mut lives = 0u64;
        loop {
            lives += 1;
            let life = Life::begin(&self.stage, node, &self.server, self.plan.shared);
            *self.lives[node].lock().unwrap_or_else(PoisonError::into_inner) = Some(life.clone());
            self.stage.note(node, "STARTS", &lives.to_string());
            let started = tokio::select! {
                biased;
                () = life.death.notified() => None,
                started = Runtime::start(self.parts(node, lives, &life)) => Some(started),
            };
            match started {
                None => {}
                Some(Err(error)) => {
                    self.stage.note(node, "start failed", &error.to_string());
                    life.leave();
                }
                Some(Ok(runtime)) => {
                    let runtime = Arc::new(runtime);
                    self.put(node, Some(runtime.clone()));
                    let stays = self.stage.chance(|chance| chance.millis(1_000..40_000));
                    let leaves = self.stage.strikes(3_000);
                    tokio::select! {
                        biased;
                        () = life.death.notified() => {}
                        () = self.stage.pass_in_faults(stays), if leaves => {
                            self.stage.note(node, "STOPS", "");
                            tokio::select! {
                                biased;
                                () = life.death.notified() => {}
                                () = runtime.stop(Duration::from_secs(5)) => {}
                            }
                            life.leave();
                        }
                    }
                }
            }
            self.put(node, None);
            let away = self.stage.chance(|chance| {
                if chance.once_in(5_000) { chance.millis(10..500) } else { chance.millis(500..8_000) }
            });
            pass(away).await;
        }
    }

    pub fn parts(&self, node: usize, lives: u64, life: &Arc<Life>) -> Parts {
        let same = self.stage.chance(|chance| chance.once_in(7_000));
        let number = (node as u128 + 1) * 1_000_000 + if same { 0 } else { u128::from(lives) };
        let name = format!("n{node}");
        let clock = Clock::timed(self.stage.clock.now());
        let skew = self.stage.chance(|chance| chance.millis(0..1_500));
        clock.advance(skew);
        clock.set_back(Duration::from_millis(750));
        let id = Uuid::from_u128(number);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, life.clone());
        Parts {
            services: services::services(),
            roles: None,
            catalogue: services::catalogue(),
            settings: BTreeMap::new(),
            bus: Arc::new(NodeLog { log: self.log.clone(), life: life.clone() }),
            store: Store::simulated(life.client()),
            cache: Arc::new(MemoryCache::new(1 << 16, Arc::new(|| Time::from_micros(0)))),
            outbound: Arc::new(NodeOutside { outside: self.outside.clone(), life: life.clone() }),
            limits: Limits {
                partitions: 3,
                batch_records: 12,
                relay_rows: 20,
                relay_run: 2,
                effects_beside: 2,
                // Shorter than most freezes.
                effect_lease: Duration::from_secs(4),
                // What is tried ever more seldom would not come to rest in time.
                parked_pause_most: Duration::from_secs(3),
                ..Limits::default()
            },
            clock,
            ids: Ids::seeded(self.plan.seed.wrapping_mul(1_000_003) + node as u64 * 10_007 + lives),
            metrics: FlowMetrics::default(),
            me: Me { id, name, peer: None, version: String::new() },
            pulse: Pulse { beat: Duration::from_millis(500), silence: Duration::from_secs(3) },
            peers: None,
        }
    }

    /// Somebody who asks for things to be made, and asks again with the same key when the answer is lost.
    async fn call(self: Arc<World>, caller: u64) {
        for ordinal in 0..self.plan.requests / 4 {
            let (pause, key) = self.stage.chance(|chance| {
                let mean = LOAD.as_millis() as u64 / (self.plan.requests / 4).max(1);
                (chance.millis(0..mean * 2), format!("k{}", chance.range(0..5)))
            });
            pass(pause).await;
            let request = format!("{caller}.{ordinal}");
            for _ in 0..6 {
                let candidates = self.running();
                let Some(runtime) = self.stage.chance(|chance| chance.pick(&candidates).cloned()) else {
                    pass(Duration::from_millis(700)).await;
                    continue;
                };
                let asked = Asked::by("caller").key(Some(request.clone()));
                let make = Make { key: key.clone(), request: request.clone() };
                let restores = self.stage.counts().restores;
                let answer = tokio::time::timeout(PATIENCE, runtime.mediator().ask(make, asked)).await;
                if let Ok(Ok(n)) = answer
                    // What was answered in the moment in which the database went back is gone.
                    && self.stage.counts().restores == restores
                {
                    let acked = Acked { request: request.clone(), key: key.clone(), n };
                    self.acked.lock().unwrap_or_else(PoisonError::into_inner).push(acked);
                    break;
                }
                pass(Duration::from_millis(200)).await;
            }
        }
    }

    /// Somebody who writes to a topic that no service owns, without our numbers.
    async fn stranger(self: Arc<World>) {
        // Now and then many at once.
        let mut burst = 0;
        for n in 0..60 {
            let (pause, begins) =
                self.stage.chance(|chance| (chance.millis(200..2_400), chance.once_in(1_000)));
            burst = if begins { 20 } else { u64::saturating_sub(burst, 1) };
            if burst == 0 {
                pass(pause).await;
            }
            let count = self.log.partitions(Noted::TOPIC);
            if count == 0 {
                continue;
            }
            let (id, key) = self.stage.chance(|chance| {
                (Uuid::from_u128(u128::from(chance.next()) << 32 | 7), format!("s{}", chance.range(0..3)))
            });
            let envelope = Envelope {
                id,
                name: Noted::NAME.to_owned(),
                source: "elsewhere".to_owned(),
                time: self.stage.clock.now(),
                trace: None,
                seq: None,
                prev: None,
                cause: None,
                reply: false,
                extra: Headers::new(),
            };
            let value = serde_json::to_vec(&Noted { key: key.clone(), n, id }).expect("JSON");
            let number = partition::of_key(key.as_bytes(), count);
            let record = Received {
                offset: 0,
                time: envelope.time,
                key: Some(Bytes::from(key)),
                value: Some(Bytes::from(value)),
                headers: envelope.to_headers(),
            };
            self.log.store(Noted::TOPIC, number, &[record]).expect("the topic is there");
        }
    }

    /// Counts leases that go from one who can't work to another. What is given back in order is no such thing.
    async fn watch_leases(self: Arc<World>) {
        let mut before: BTreeMap<String, Uuid> = BTreeMap::new();
        loop {
            pass(Duration::from_millis(500)).await;
            if !self.server.is_busy("cat") {
                let mut known = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
                known.extend(oracle::fresh_schedules(&self));
            }
            for (what, owner) in oracle::owners(&self) {
                let Some(owner) = owner else {
                    before.remove(&what);
                    continue;
                };
                let relay = what.ends_with("relay");
                if before.insert(what, owner).is_some_and(|was| was != owner && self.could_not_work(was)) {
                    self.stage.count(|counts| {
                        counts.lease_takeovers += u64::from(!relay);
                        counts.relay_takeovers += u64::from(relay);
                    });
                }
            }
        }
    }

    /// Whether the node with that id has died, or was frozen until a moment ago.
    fn could_not_work(&self, id: Uuid) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).is_some_and(|life| life.was_killed() || life.was_frozen(Duration::from_secs(1)))
    }

    /// Partitions lose their leaders now and then.
    async fn take_leaders(self: Arc<World>) {
        while self.stage.has_faults() {
            let pause = self.stage.chance(|chance| chance.millis(200..3_000));
            pass(pause).await;
            if self.stage.strikes(self.plan.weather.leaderless) {
                self.log.lose_a_leader();
            }
        }
    }
}

/// Every service's tables, and ids where the engine of many nodes would give them.
pub async fn prepare(server: &SimServer) {
    struct Calm;
    impl artel_store::SimHook for Calm {
        fn step(&self, _: artel_store::SimStep<'_>) -> artel_store::SimPlan {
            artel_store::SimPlan::Go
        }
        fn now(&self) -> Time {
            crate::stage::START
        }
    }
    let store = Store::simulated(server.client(Arc::new(Calm), true));
    for service in services::services() {
        let db = store.db(service.name()).await.expect("a database");
        db.migrate(&service.migration_sets()).await.expect("migrated");
    }
    for name in NAMES {
        server
            .script(
                name,
                "CREATE TABLE sim_id (next BIGINT NOT NULL);
                 INSERT INTO sim_id (next) VALUES (1);
                 CREATE TRIGGER sim_outbox_id AFTER INSERT ON flow_outbox WHEN NEW.id IS NULL BEGIN
                     UPDATE sim_id SET next = next + 1;
                     UPDATE flow_outbox SET id = (SELECT next FROM sim_id) WHERE rowid = NEW.rowid;
                 END;",
            )
            .expect("a trigger");
    }
}
