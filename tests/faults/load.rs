//! What the database does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::service::session;

/// Kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Load {
    /// Nobody writes.
    Quiet,
    /// Users write rows that are published.
    Busy,
    /// Users write rows that the filters leave out.
    Filtered,
}

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Quiet, Self::Busy, Self::Filtered];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Busy => "busy",
            Self::Filtered => "filtered",
        }
    }

    /// The verdict that proves the bed to be well.
    pub(crate) fn well(self) -> &'static str {
        match self {
            Self::Quiet | Self::Filtered => "quiet",
            Self::Busy => "live",
        }
    }

    fn table(self) -> Option<&'static str> {
        match self {
            Self::Quiet => None,
            Self::Busy => Some("shop.orders"),
            Self::Filtered => Some("noise.log"),
        }
    }
}

/// Database that the filters leave out.
pub(crate) const FILTERED: &str = "noise.*";
/// Column that the filters leave out.
pub(crate) const MASKED: &str = "shop.orders.secret";
/// Canaries through a table of the users'.
pub(crate) const PATH: [(&str, &str); 4] = [
    ("canary.paths", "orders=shop.marked.reference"),
    ("canary.insert", "orders=INSERT INTO shop.marked (reference) VALUES ('{mark}')"),
    ("canary.update", "orders=UPDATE shop.marked SET total = total + 1 WHERE reference = '{mark}'"),
    ("canary.delete", "orders=DELETE FROM shop.marked WHERE reference = '{mark}'"),
];
/// Transactions each second.
const RATE: u32 = 20;
/// An account without privileges beyond the tables: read-only binds it.
const ACCOUNT: &str = "app";
/// After it a connection that hangs is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the tables and the account of the writers.
pub(crate) async fn prepare(port: u16) -> Result<(), Error> {
    let mut root = session(port).await?;
    for statement in [
        "CREATE DATABASE shop",
        "CREATE DATABASE noise",
        "CREATE TABLE shop.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(200), \
         secret VARCHAR(20))",
        "CREATE TABLE shop.marked (id BIGINT AUTO_INCREMENT PRIMARY KEY, reference VARCHAR(64) \
         NOT NULL UNIQUE, total INT NOT NULL DEFAULT 0)",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.marked TO 'binpulse'@'%'",
        "CREATE TABLE noise.log (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(200))",
        "CREATE USER 'app'@'%' IDENTIFIED BY ''",
        "GRANT ALL ON shop.* TO 'app'@'%'",
        "GRANT ALL ON noise.* TO 'app'@'%'",
    ] {
        root.query_drop(statement).await?;
    }
    root.disconnect().await?;
    Ok(())
}

/// A session of the users.
pub(crate) async fn user(port: u16) -> Result<Conn, mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(ACCOUNT))
        .prefer_socket(false);
    Conn::new(options).await
}

/// Traffic, until dropped.
pub(crate) struct Traffic {
    task: Option<JoinHandle<()>>,
    /// Where they write: users follow the database's address.
    port: Arc<AtomicU16>,
}

impl Traffic {
    pub(crate) fn start(load: Load, port: u16) -> Self {
        let port = Arc::new(AtomicU16::new(port));
        let task = load.table().map(|table| tokio::spawn(write(table, Arc::clone(&port))));
        Self { task, port }
    }

    /// New connections go there.
    pub(crate) fn move_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Writes for ever; what fails is tried again on a new connection, as users do.
async fn write(table: &'static str, port: Arc<AtomicU16>) {
    let insert = format!("INSERT INTO {table} (note) VALUES (REPEAT('x', 100))");
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    loop {
        let to = port.load(Ordering::Relaxed);
        if let Ok(Ok(mut session)) = timeout(PATIENCE, user(to)).await {
            while port.load(Ordering::Relaxed) == to {
                ticks.tick().await;
                if !matches!(timeout(PATIENCE, session.query_drop(&insert)).await, Ok(Ok(()))) {
                    break;
                }
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}
