//! The real HTTP server with a status of our choice.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use binpulse::telemetry::http::{Access, Endpoints, ReplayRefused, Switch};
use binpulse::telemetry::metrics::{Durations, LabelValues, ScrapeSources, SourceLabels};
use binpulse::telemetry::verdict_history;
use binpulse::telemetry::{Hidden, Http, Loops, Metrics, Readiness, Status};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What the server says.
#[derive(Default)]
struct ControlRegistry {
    status: Mutex<Status>,
    history: Mutex<verdict_history::Document>,
    hangs: Mutex<bool>,
    freed: Condvar,
}

/// A server that can be stopped and started again at the same address.
pub(crate) struct Site {
    registry: Arc<ControlRegistry>,
    runtime: Runtime,
    address: SocketAddr,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl Site {
    /// Starts on a free port.
    pub(crate) fn start(status: Status) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("a runtime");
        let registry =
            Arc::new(ControlRegistry { status: Mutex::new(status), ..ControlRegistry::default() });
        let mut site =
            Self { registry, runtime, address: ([127, 0, 0, 1], 0).into(), running: None };
        site.resume();
        site
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Says this from now on.
    pub(crate) fn say(&self, status: Status) {
        *self.registry.status.lock().expect("not poisoned") = status;
    }

    /// Has this history from now on.
    pub(crate) fn remember(&self, history: verdict_history::Document) {
        *self.registry.history.lock().expect("not poisoned") = history;
    }

    /// Takes questions and answers none, or answers them again.
    pub(crate) fn hang(&self, hangs: bool) {
        *self.registry.hangs.lock().expect("not poisoned") = hangs;
        self.registry.freed.notify_all();
    }

    /// Ends the server: nobody listens.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            self.runtime.block_on(task).expect("it ends");
        }
    }

    /// Listens again where it did.
    pub(crate) fn resume(&mut self) {
        let registry = Arc::clone(&self.registry);
        let told = Arc::clone(&self.registry);
        let pages = Endpoints {
            metrics: Arc::new(metrics()),
            loops: Loops::default(),
            readiness: Readiness::default(),
            switch: Arc::new(Nobody),
            digests: None,
            history: Box::new(move || told.history.lock().expect("not poisoned").clone()),
            hidden: Hidden::default(),
            status: Box::new(move || {
                let mut hangs = registry.hangs.lock().expect("not poisoned");
                while *hangs {
                    hangs = registry.freed.wait(hangs).expect("not poisoned");
                }
                registry.status.lock().expect("not poisoned").clone()
            }),
        };
        let bound = self
            .runtime
            .block_on(Http::bind(self.address, pages, Access::default()))
            .expect("a free port");
        self.address = bound.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let task = self.runtime.spawn(bound.run(stop.clone()));
        self.running = Some((stop, task));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.hang(false);
        self.stop();
    }
}

/// There is no consumer.
struct Nobody;

impl Switch for Nobody {
    fn maintenance(&self, consumer: &str, _: Duration) -> Result<String, String> {
        Err(format!("no consumer {consumer}"))
    }

    fn snapshot(&self, _: &str) -> Result<String, String> {
        Err("no snapshots here".to_owned())
    }

    fn yields(&self) -> Result<String, String> {
        Err("no standby here".to_owned())
    }

    fn replay(&self, _: &str) -> Result<String, ReplayRefused> {
        Err(ReplayRefused::Wrong("no replays here".to_owned()))
    }

    fn control(&self, _: &str) -> Result<String, String> {
        Err("no controls here".to_owned())
    }

    fn reload(&self, _: bool) -> Result<String, String> {
        Err("no settings here".to_owned())
    }
}

fn metrics() -> Metrics {
    let scrape_sources = ScrapeSources {
        stage: Arc::new(Vec::new),
        stream_last_receive: Arc::new(|| Some(Instant::now())),
        stream_bytes: Arc::new(|| 0),
        reader_armed: Arc::new(|| true),
        queue_bytes: Arc::new(|| 0),
        queue_capacity_bytes: Arc::new(|| 0),
        publish_duration: Arc::new(Durations::default),
        source: Arc::new(SourceLabels::default),
        more: Vec::new(),
    };
    Metrics::new(&LabelValues::default(), scrape_sources).expect("valid names")
}
