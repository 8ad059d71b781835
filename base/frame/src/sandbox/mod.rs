//! Real nodes inside of a test: real HTTP on a port of their own, real files in a temporary folder, a clock that can be
//! moved by hand. Each node runs on a tokio runtime of its own, so that a crash takes all of its tasks at once.
//!
//! A node is embedded unless its settings say otherwise: URLs of real servers open the real adapters, as far as they are
//! compiled in. Several nodes with the same servers are one system.

use crate::client::Client;
use crate::config::{Compiled, Config, Sources};
use crate::{Node, Overrides, StartFailure};
use artel_bus::Kept;
use artel_bus::{Bus, Fetch};
use artel_flow::{Clock, Ctx, Ids, Service};
use artel_message::{Described, Envelope, Event, Time};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a node may take to become quiet, to stop, or to let go of its files, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

type Make<T> = Arc<dyn Fn() -> Vec<T> + Send + Sync>;

/// What a [`Sandbox`] is started with.
#[derive(Clone)]
pub struct SandboxOptions {
    services: Make<Service>,
    catalogue: Make<Described>,
    file: Option<PathBuf>,
    settings: Vec<(String, String)>,
    clock: Clock,
    ids: Ids,
    log: Option<Arc<dyn Bus>>,
}

impl SandboxOptions {
    /// A file of settings, as `--config` names one. It is read at each start; a [`setting`](SandboxOptions::setting) is stronger.
    pub fn file(mut self, path: impl Into<PathBuf>) -> SandboxOptions {
        self.file = Some(path.into());
        self
    }

    /// One setting, such as `("flow.tries", "2")` or `("bridge.consume", "false")`: the text is read as the type of its key.
    pub fn setting(mut self, path: &str, value: impl Into<String>) -> SandboxOptions {
        self.settings.push((path.to_owned(), value.into()));
        self
    }

    /// A clock that stands still at `start` until [`Sandbox::advance`] moves it.
    pub fn manual_clock(mut self, start: Time) -> SandboxOptions {
        self.clock = Clock::manual(start);
        self
    }

    /// One of several nodes on this log and this PostgreSQL database; `log` is closed by nobody.
    pub fn one_of_several(mut self, log: Arc<dyn Bus>, database: &str) -> SandboxOptions {
        self.log = Some(log);
        // The log in place of brokers: as they, it may have roles elsewhere.
        self.setting("bus.url", "kafka://in-this-process:9092").setting("db.url", database)
    }

    /// The same ids at each run.
    pub fn seeded_ids(mut self, seed: u64) -> SandboxOptions {
        self.ids = Ids::seeded(seed);
        self
    }

    /// Starts the node in a folder of its own.
    ///
    /// # Panics
    /// Where there is no temporary folder, or the settings are wrong.
    pub async fn start(self) -> Result<Sandbox, StartFailure> {
        #[allow(clippy::expect_used, reason = "for tests")]
        let folder = TempDir::new().expect("a temporary folder");
        let running = Some(run(&self, folder.path()).await?);
        Ok(Sandbox { options: self, folder, running })
    }
}

/// A node in a test.
pub struct Sandbox {
    options: SandboxOptions,
    folder: TempDir,
    /// `None` only while it is down.
    running: Option<Running>,
}

struct Running {
    node: Node,
    tokio: Runtime,
}

impl Sandbox {
    /// What to start with these services; they are made anew at each start.
    pub fn of(
        services: impl Fn() -> Vec<Service> + Send + Sync + 'static,
        catalogue: impl Fn() -> Vec<Described> + Send + Sync + 'static,
    ) -> SandboxOptions {
        SandboxOptions {
            services: Arc::new(services),
            catalogue: Arc::new(catalogue),
            file: None,
            settings: Vec::new(),
            clock: Clock::system(),
            ids: Ids::system(),
            log: None,
        }
    }

    /// Starts a node with default settings and the system's clock.
    pub async fn start(
        services: impl Fn() -> Vec<Service> + Send + Sync + 'static,
        catalogue: impl Fn() -> Vec<Described> + Send + Sync + 'static,
    ) -> Result<Sandbox, StartFailure> {
        Sandbox::of(services, catalogue).start().await
    }

    /// The node.
    ///
    /// # Panics
    /// After a start that failed.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn node(&self) -> &Node {
        &self.running.as_ref().expect("the node is down").node
    }

    /// Where it listens: another port after each start, unless the settings name one by `http.listen`.
    pub fn url(&self) -> String {
        self.node().url()
    }

    /// A client with the operator's token.
    ///
    /// # Panics
    /// Never with the URL of a node.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn client(&self) -> Client {
        let client = Client::new(&self.url()).expect("the URL of a node");
        client.with_token(Some(self.node().operator_token().clone()))
    }

    /// What a service is given.
    ///
    /// # Panics
    /// When no such service runs.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn ctx(&self, service: &str) -> &Ctx {
        self.node().ctx(service).expect("the service runs")
    }

    /// The data folder; it stays over restarts and crashes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns when nothing is outstanding.
    ///
    /// # Panics
    /// When that takes longer than two minutes.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub async fn settle(&self) {
        let settled = tokio::time::timeout(PATIENCE, self.node().runtime().settle());
        settled.await.expect("the node becomes quiet");
    }

    /// Moves a manual clock on.
    pub fn advance(&self, by: Duration) {
        self.options.clock.advance(by);
    }

    pub fn now(&self) -> Time {
        self.options.clock.now()
    }

    /// Every event of this type in its topic, partition by partition in order; what a crash had published twice is
    /// there once.
    ///
    /// # Panics
    /// When the topic can't be read, or holds what is no `E`.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub async fn published<E: Event>(&self) -> Vec<E> {
        let records = read_all(self.node().bus().as_ref(), E::TOPIC).await;
        let mut seen = HashSet::new();
        let ours = records.into_iter().filter(|record| {
            Envelope::from_headers(&record.headers)
                .is_ok_and(|envelope| envelope.name == E::NAME && seen.insert(envelope.id))
        });
        let decode = |value: &[u8]| serde_json::from_slice(value).expect("a value of its type");
        ours.map(|record| decode(record.value.as_deref().unwrap_or_default())).collect()
    }

    /// Stops in order and starts again on the same folder.
    pub async fn restart(&mut self) -> Result<(), StartFailure> {
        if let Some(Running { node, tokio }) = self.running.take() {
            node.stop().await;
            tokio.shutdown_background();
        }
        self.running = Some(run(&self.options, self.folder.path()).await?);
        Ok(())
    }

    /// Drops every task where it stands, keeps the folder, and starts again on it.
    pub async fn crash(&mut self) -> Result<(), StartFailure> {
        self.kill().await;
        self.begin().await
    }

    /// Drops every task where it stands: nothing is finished, told or closed, as in a process that is killed. The folder is
    /// kept. Until [`begin`](Sandbox::begin) the node is down.
    pub async fn kill(&mut self) {
        if let Some(Running { node, tokio }) = self.running.take() {
            // Dropping tasks may wait for threads, which an async context must not.
            let ended = tokio::task::spawn_blocking(move || {
                tokio.shutdown_timeout(PATIENCE);
                drop(node);
            });
            let _ = ended.await;
        }
    }

    /// Starts what is down, on the folder it had.
    ///
    /// # Panics
    /// When it runs.
    pub async fn begin(&mut self) -> Result<(), StartFailure> {
        assert!(self.running.is_none(), "the node runs");
        self.running = Some(run_when_free(&self.options, self.folder.path()).await?);
        Ok(())
    }

    /// Stops in order; the folder goes away.
    pub async fn stop(mut self) {
        if let Some(Running { node, tokio }) = self.running.take() {
            node.stop().await;
            tokio.shutdown_background();
        }
    }
}

impl Drop for Sandbox {
    /// A test that ends early leaves nothing running.
    fn drop(&mut self) {
        if let Some(Running { node, tokio }) = self.running.take() {
            tokio.shutdown_background();
            drop(node);
        }
    }
}

async fn run(options: &SandboxOptions, folder: &Path) -> Result<Running, StartFailure> {
    let mut sources = Sources::new()
        .file(options.file.as_ref())
        .set("sandbox", "node.data_dir", folder.display().to_string())
        .set("sandbox", "http.listen", "127.0.0.1:0");
    // The services under test have sections of their own, which the defaults need not know.
    for service in (options.services)() {
        sources = sources.defaults("sandbox", &format!("[{}]\n", service.name()));
    }
    for (path, value) in &options.settings {
        sources = sources.setting("sandbox", path, value);
    }
    let built = Compiled::of_this_build();
    // A log that was handed over stands where Kafka would.
    let compiled = Compiled { kafka: built.kafka || options.log.is_some(), ..built };
    let config = Config::load(sources.compiled(compiled)).map_err(StartFailure::Config)?;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.map_err(|error| StartFailure::Folder {
        path: folder.to_owned(),
        reason: format!("no threads for a node: {error}"),
    })?;
    let overrides = Overrides {
        bus: options.log.clone().map(Kept::of),
        clock: options.clock.clone(),
        ids: options.ids.clone(),
        ..Overrides::default()
    };
    let (services, catalogue) = ((options.services)(), (options.catalogue)());
    let started = tokio.spawn(Node::start(config, services, catalogue, overrides)).await;
    match started {
        Ok(Ok(node)) => Ok(Running { node, tokio }),
        Ok(Err(failure)) => {
            tokio.shutdown_background();
            Err(failure)
        }
        Err(panic) => {
            tokio.shutdown_background();
            std::panic::resume_unwind(panic.into_panic())
        }
    }
}

/// After a crash the log's writer ends what it has, in a thread of its own, before it lets go of the folder.
async fn run_when_free(options: &SandboxOptions, folder: &Path) -> Result<Running, StartFailure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match run(options, folder).await {
            Err(failure) if failure.is_in_use() && Instant::now() < until => tokio::time::sleep(POLL).await,
            done => return done,
        }
    }
}

#[allow(clippy::expect_used, reason = "for tests")]
async fn read_all(bus: &dyn Bus, topic: &str) -> Vec<artel_bus::Received> {
    let partitions = bus.describe(topic).await.expect("the topic exists").partitions;
    let fetch = Fetch { max_records: 1_000, max_bytes: 1 << 20 };
    let mut all = Vec::new();
    for partition in 0..partitions {
        let mut from = bus.bounds(topic, partition).await.expect("bounds").begin;
        loop {
            let fetched = bus.read(topic, partition, from, fetch).await.expect("the topic can be read");
            if fetched.records.is_empty() {
                break;
            }
            from = fetched.next;
            all.extend(fetched.records);
        }
    }
    all
}
