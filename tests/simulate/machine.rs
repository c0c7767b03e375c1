//! The network between processes and servers, and what a process runs on.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use binpulse::platform::{Admission, Commands, Connecting, Machine, StatusDocument};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::server::Server;
use crate::session;
use crate::sns::{Http, Sns};

/// Bytes that a connection takes in before the writer waits.
const WINDOW_BYTES: usize = 1 << 18;

/// The way from a machine to a server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Route {
    /// Packets are dropped.
    pub(crate) hung: bool,
    /// Rises when all its connections break.
    pub(crate) breaks: u64,
}

/// Every way, by machine and server.
#[derive(Default)]
pub(crate) struct Network {
    routes: Mutex<BTreeMap<(usize, u32), Route>>,
    changed: Notify,
    dice: Mutex<Option<Dice>>,
}

impl Network {
    pub(crate) fn new(dice: Dice) -> Arc<Self> {
        Arc::new(Self { dice: Mutex::new(Some(dice)), ..Self::default() })
    }

    pub(crate) fn change(&self, machine: usize, server: u32, change: impl FnOnce(&mut Route)) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        change(routes.entry((machine, server)).or_default());
        drop(routes);
        self.changed.notify_waiters();
    }

    fn route(&self, machine: usize, server: u32) -> Route {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(&(machine, server)).copied().unwrap_or_default()
    }

    fn delay(&self) -> Duration {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        // Never none: what is asked is answered later, also where time stands still meanwhile.
        Duration::from_millis(dice.as_mut().map_or(1, |dice| dice.between(1, 3)))
    }

    /// Whoever waits for something looks again.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }
}

/// The way of one connection.
#[derive(Clone)]
pub(crate) struct Link {
    process: Arc<Process>,
    server: u32,
    breaks: u64,
}

impl Link {
    fn route(&self) -> Route {
        self.process.network.route(self.process.machine, self.server)
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.process.network.changed.notified();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    /// The connection is over: broken on the way, or its process is gone.
    pub(crate) async fn broken(&self) {
        self.until(|link| link.process.is_dead() || link.route().breaks != link.breaks).await;
    }

    /// What is sent arrives.
    pub(crate) async fn passes(&self) {
        self.until(|link| !link.route().hung).await;
    }

    pub(crate) fn delay(&self) -> Duration {
        self.process.network.delay()
    }

    /// Whose it is.
    pub(crate) fn process(&self) -> u64 {
        self.process.number
    }
}

struct Inside {
    stands: bool,
    /// What wakes each of its futures.
    parts: BTreeMap<u64, Waker>,
    dice: Dice,
    status: Option<StatusDocument>,
    commands: Option<Arc<Commands>>,
    wall_ahead_us: i64,
}

/// A process, from its start to its end.
pub(crate) struct Process {
    /// Which machine it runs on.
    pub(crate) machine: usize,
    /// Counts all processes of the run.
    pub(crate) number: u64,
    network: Arc<Network>,
    servers: Vec<Arc<Server>>,
    sns: Arc<Sns>,
    is_dead: AtomicBool,
    inside: Mutex<Inside>,
    wall: Arc<dyn Fn() -> i64 + Send + Sync>,
    began: Instant,
}

impl Process {
    pub(crate) fn new(
        (machine, number): (usize, u64),
        network: &Arc<Network>,
        servers: &[Arc<Server>],
        sns: &Arc<Sns>,
        wall: &Arc<dyn Fn() -> i64 + Send + Sync>,
        dice: Dice,
    ) -> Arc<Self> {
        let inside = Inside {
            stands: false,
            parts: BTreeMap::new(),
            dice,
            status: None,
            commands: None,
            wall_ahead_us: 0,
        };
        Arc::new(Self {
            machine,
            number,
            network: Arc::clone(network),
            servers: servers.to_vec(),
            sns: Arc::clone(sns),
            is_dead: AtomicBool::new(false),
            inside: Mutex::new(inside),
            wall: Arc::clone(wall),
            began: Instant::now(),
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// As SIGKILL: each of its futures is dropped where it waits.
    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        // What it shows holds much of it.
        let mut inside = self.inside();
        (inside.status, inside.commands) = (None, None);
        drop(inside);
        self.wake();
        self.network.wake();
    }

    /// As SIGSTOP, and SIGCONT.
    pub(crate) fn stand(&self, stands: bool) {
        self.inside().stands = stands;
        self.wake();
    }

    fn wake(&self) {
        let parts = std::mem::take(&mut self.inside().parts);
        parts.into_values().for_each(Waker::wake);
    }

    /// Its wall clock is set.
    pub(crate) fn step_clock(&self, by_us: i64) {
        self.inside().wall_ahead_us += by_us;
    }

    /// The document of its `/status`; `None`: it does not answer.
    pub(crate) fn status(&self) -> Option<serde_json::Value> {
        let inside = self.inside();
        if inside.stands {
            return None;
        }
        inside.status.as_ref().map(|document| document())
    }
}

impl Process {
    /// Posts to its `/control`; `None`: it does not answer. To be called on its machine.
    pub(crate) fn command(&self, command: &serde_json::Value) -> Option<Result<String, String>> {
        let commands = self.inside().commands.clone()?;
        Some(commands(&command.to_string()))
    }
}

/// The machine of a process, as it sees it.
pub(crate) struct Host(pub(crate) Arc<Process>);

impl Machine for Host {
    fn admits(&self, part: u64, waker: &Waker) -> Admission {
        if self.0.is_dead() {
            return Admission::Dead;
        }
        let mut inside = self.0.inside();
        inside.parts.insert(part, waker.clone());
        if inside.stands { Admission::Stands } else { Admission::Runs }
    }

    fn leaves(&self, part: u64) {
        self.0.inside().parts.remove(&part);
    }

    fn wall(&self) -> SystemTime {
        let us = (self.0.wall)() + self.0.inside().wall_ahead_us;
        UNIX_EPOCH + Duration::from_micros(u64::try_from(us).expect("of this age"))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_hours(1) + self.0.began.elapsed()
    }

    fn random(&self) -> u64 {
        self.0.inside().dice.next()
    }

    fn disk_delay(&self) -> Duration {
        Duration::from_millis(self.0.inside().dice.below(4))
    }

    fn connect(&self, host: &str, _port: u16) -> Connecting {
        let process = Arc::clone(&self.0);
        let server = process.servers.iter().find(|server| server.name == host).cloned();
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let server = server.ok_or_else(refused)?;
            let breaks = process.network.route(process.machine, server.id).breaks;
            let link = Link { process: Arc::clone(&process), server: server.id, breaks };
            tokio::time::sleep(link.delay()).await;
            link.passes().await;
            if server.state().ailments.down {
                return Err(refused());
            }
            let (ours, theirs) = tokio::io::duplex(WINDOW_BYTES);
            tokio::spawn(session::serve(server, link, theirs));
            Ok(ours)
        })
    }

    fn http(&self) -> SharedHttpClient {
        SharedHttpClient::new(Http { sns: Arc::clone(&self.0.sns), process: Arc::clone(&self.0) })
    }

    fn shows(&self, status: StatusDocument) {
        self.0.inside().status = Some(status);
    }

    fn takes(&self, commands: Commands) {
        self.0.inside().commands = Some(Arc::new(commands));
    }
}
