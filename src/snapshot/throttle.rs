//! What keeps a snapshot from its next chunk: the changes, which go first, and the load of servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mysql::{ConnectOptions, HostPort, Session};
use crate::platform;
use crate::telemetry::snapshot::SnapshotWait;

/// Time between two looks at a server's load.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The limits.
#[derive(Clone)]
pub struct Limits {
    /// Most rows a second; `None`: as many as there are.
    pub rows_per_second: Option<u64>,
    /// Most threads that run statements on the server that chunks are read from; `None`: no limit.
    pub threads_running_max: Option<u64>,
    /// Longest lag of the replicas below.
    pub replica_lag_max: Duration,
    /// Replicas that must not fall behind.
    pub lag_hosts: Vec<HostPort>,
    /// Whether the sink is behind: then nothing is read.
    pub is_behind: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Holds a snapshot back.
pub(super) struct Throttle {
    limits: Limits,
    /// How to log in to a replica, without its address.
    options: ConnectOptions,
    replicas: HashMap<HostPort, Session>,
    looked_at: Option<Instant>,
    found: Option<SnapshotWait>,
    /// Rows a second, at most.
    rate: Option<u64>,
    /// When the rows that were read are paid for.
    paid_at: Instant,
}

impl Throttle {
    pub(super) fn new(limits: Limits, options: ConnectOptions) -> Self {
        Self {
            limits,
            options,
            replicas: HashMap::new(),
            looked_at: None,
            found: None,
            rate: None,
            paid_at: platform::now(),
        }
    }

    /// At most so many rows a second, if that was asked for with the snapshot, besides the setting.
    pub(super) fn limit(&mut self, asked: Option<u64>) {
        self.rate = [self.limits.rows_per_second, asked].into_iter().flatten().min();
    }

    /// Rows that may be read at once: those of a second.
    pub(super) fn rows_max(&self) -> u64 {
        self.rate.map_or(u64::MAX, |rate| rate.max(1))
    }

    /// So many rows were read.
    pub(super) fn read(&mut self, rows: u64, now: Instant) {
        if let Some(rate) = self.rate.filter(|rate| *rate > 0) {
            #[allow(clippy::cast_precision_loss, reason = "a chunk has far fewer than 2^53 rows")]
            let lasting = Duration::from_secs_f64(rows as f64 / rate as f64);
            self.paid_at = self.paid_at.max(now) + lasting;
        }
    }

    /// What there is to wait for; `None`: nothing. `reads_at` is where chunks are read.
    pub(super) async fn waits_for(&mut self, reads_at: &HostPort) -> Option<SnapshotWait> {
        if (self.limits.is_behind)() {
            return Some(SnapshotWait::Sink);
        }
        if platform::now() < self.paid_at {
            return Some(SnapshotWait::Rate);
        }
        if self.looked_at.is_none_or(|at| platform::since(at) >= LOOK_INTERVAL) {
            self.found = self.look(reads_at).await;
            self.looked_at = Some(platform::now());
        }
        self.found
    }

    async fn look(&mut self, reads_at: &HostPort) -> Option<SnapshotWait> {
        if let Some(most) = self.limits.threads_running_max {
            let running = match self.session(reads_at).await {
                Some(session) => threads_running(session).await,
                None => None,
            };
            match running {
                Some(running) if running <= most => {}
                Some(_) => return Some(SnapshotWait::ThreadsRunning),
                None => {
                    self.replicas.remove(reads_at);
                    return Some(SnapshotWait::Source);
                }
            }
        }
        for host in self.limits.lag_hosts.clone() {
            let lag = match self.session(&host).await {
                Some(session) => replica_lag(session).await,
                None => None,
            };
            // A lag that nobody tells may be any.
            if lag.is_none() {
                self.replicas.remove(&host);
            }
            if lag.is_none_or(|lag| lag > self.limits.replica_lag_max) {
                return Some(SnapshotWait::ReplicaLag);
            }
        }
        None
    }

    async fn session(&mut self, host: &HostPort) -> Option<&mut Session> {
        if !self.replicas.contains_key(host) {
            let options = ConnectOptions { host: host.clone(), ..self.options.clone() };
            match Session::connect(&options).await {
                Ok(session) => drop(self.replicas.insert(host.clone(), session)),
                Err(error) => {
                    tracing::warn!(%host, %error, "the load that a snapshot looks at can't be read");
                    return None;
                }
            }
        }
        self.replicas.get_mut(host)
    }
}

/// Threads that run a statement, this session's own among them.
async fn threads_running(session: &mut Session) -> Option<u64> {
    let row = session.query_first("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.ok()??;
    row.unsigned(1).ok()?
}

/// How far a replica is behind; `None`: it does not tell, or replicates nothing.
async fn replica_lag(session: &mut Session) -> Option<Duration> {
    for (sql, column) in [
        ("SHOW REPLICA STATUS", "Seconds_Behind_Source"),
        ("SHOW SLAVE STATUS", "Seconds_Behind_Master"),
    ] {
        let Ok(table) = session.query_named(sql).await else { continue };
        // MariaDB takes the first, and has the column's old name.
        let text = table.text(0, column).or_else(|| table.text(0, "Seconds_Behind_Master"));
        return text?.parse().ok().map(Duration::from_secs);
    }
    None
}
