//! Faults that SQL makes, or signals to the source.

use std::time::{Duration, Instant};

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::Kind;
use crate::proxy::Which;
use crate::service::session;
use crate::stage::{Held, Stage};

/// Runs statements as `root`; the instant at which the last one was answered.
pub(super) async fn root(stage: &Stage, statements: &[&str]) -> Result<Instant, Error> {
    stage.mysqld.execute(statements).await?;
    Ok(Instant::now())
}

/// The same, in a session that is kept open until the fault ends.
pub(super) async fn hold(stage: &mut Stage, statements: &[&str]) -> Result<Instant, Error> {
    let mut session = session(stage.mysqld.port()).await?;
    for statement in statements {
        session.query_drop(*statement).await?;
    }
    let at = Instant::now();
    stage.held.push(Held::Session(Box::new(session)));
    Ok(at)
}

/// What takes a fault away that SQL made.
pub(super) fn undo(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TlsFails => &["SET GLOBAL ssl_cert = 'server-cert.pem'", "ALTER INSTANCE RELOAD TLS"],
        Kind::ReplicationRevoked => &["GRANT REPLICATION SLAVE ON *.* TO 'binpulse'@'%'"],
        Kind::ReadOnly | Kind::SuperReadOnly => &["SET GLOBAL read_only = OFF"],
        Kind::SemisyncAfterSync | Kind::SemisyncAfterCommit => {
            &["SET GLOBAL rpl_semi_sync_source_enabled = OFF"]
        }
        Kind::AccountLocked => &["ALTER USER 'binpulse'@'%' ACCOUNT UNLOCK"],
        Kind::PasswordChanged => &["ALTER USER 'binpulse'@'%' IDENTIFIED BY 'pulse-of-the-demo'"],
        Kind::OfflineMode => &["SET GLOBAL offline_mode = OFF"],
        Kind::ConnectionsExhausted => &["SET GLOBAL max_connections = 151"],
        Kind::GroupCommitDelayed => &["SET GLOBAL binlog_group_commit_sync_delay = 0"],
        Kind::XaPrepared => &["XA ROLLBACK 'left'"],
        Kind::PathFails => &["GRANT INSERT ON shop.marked TO 'binpulse'@'%'"],
        Kind::SlowSyncs => &["SET GLOBAL sync_binlog = 0"],
        _ => &[],
    }
}

/// Begins an orderly shutdown, and does not wait for its end.
pub(super) async fn shut_down(stage: &Stage) -> Result<Instant, Error> {
    root(stage, &["SHUTDOWN"]).await
}

/// Semi-sync replication that waits for a replica that does not exist.
pub(super) async fn wait_for_replica(stage: &Stage, point: &str) -> Result<Instant, Error> {
    let mut session = session(stage.mysqld.port()).await?;
    // It may be there from the fault before.
    let install = "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'";
    session.query_drop(install).await.ok();
    for statement in [
        format!("SET GLOBAL rpl_semi_sync_source_wait_point = {point}"),
        "SET GLOBAL rpl_semi_sync_source_timeout = 4294967295".to_owned(),
        "SET GLOBAL rpl_semi_sync_source_enabled = ON".to_owned(),
    ] {
        session.query_drop(statement).await?;
    }
    Ok(Instant::now())
}

/// A reader keeps a metadata lock, and DDL waits behind it: all writers wait behind the DDL.
pub(super) async fn queue_ddl(stage: &mut Stage) -> Result<Instant, Error> {
    hold(stage, &["BEGIN", "SELECT * FROM binpulse.heartbeat"]).await?;
    let mut altering = session(stage.mysqld.port()).await?;
    stage.held.push(Held::Task(tokio::spawn(async move {
        // Ends when the reader does.
        altering.query_drop("ALTER TABLE binpulse.heartbeat COMMENT 'altered'").await.ok();
    })));
    Ok(Instant::now())
}

/// The account is no longer admitted, and has to come again.
pub(super) async fn shut_out(stage: &Stage, how: &str) -> Result<Instant, Error> {
    root(stage, &[&format!("ALTER USER 'binpulse'@'%' {how}")]).await?;
    stage.proxy.reset(Which::All);
    Ok(Instant::now())
}

/// Ends all replication connections.
pub(crate) async fn kill_dump_threads(port: u16) -> Result<Instant, Error> {
    kill(port, "command LIKE 'Binlog Dump%'").await
}

/// Ends connections of our account.
pub(super) async fn kill_writers(port: u16) -> Result<Instant, Error> {
    kill(port, "user = 'binpulse' AND command NOT LIKE 'Binlog Dump%'").await
}

async fn kill(port: u16, which: &str) -> Result<Instant, Error> {
    let mut session = session(port).await?;
    let query = format!("SELECT id FROM performance_schema.processlist WHERE {which}");
    let ids: Vec<u64> = session.query(query).await?;
    let at = Instant::now();
    for id in ids {
        // It may have gone by itself.
        session.query_drop(format!("KILL {id}")).await.ok();
    }
    session.disconnect().await?;
    Ok(at)
}

/// A statement in the format STATEMENT about this table.
pub(super) async fn statement(stage: &Stage, table: &str) -> Result<Instant, Error> {
    let insert = format!("INSERT INTO {table} (note) VALUES ('a statement')");
    root(stage, &["SET SESSION binlog_format = STATEMENT", &insert]).await
}

/// The source names columns no more, and this table is written.
pub(super) async fn without_names(stage: &Stage, table: &str) -> Result<Instant, Error> {
    let insert = format!("INSERT INTO {table} () VALUES ()");
    root(stage, &["SET GLOBAL binlog_row_metadata = MINIMAL", &insert]).await
}

/// All that is written to the log so far is removed from it, but for what is still being read.
async fn purge_logs(port: u16) -> Result<(), Error> {
    let mut session = session(port).await?;
    session.query_drop("FLUSH BINARY LOGS").await?;
    let row: Option<mysql_async::Row> = session.query_first("SHOW BINARY LOG STATUS").await?;
    let file: String = row.and_then(|row| row.get(0)).unwrap_or_default();
    session.query_drop(format!("PURGE BINARY LOGS TO '{file}'")).await?;
    session.disconnect().await?;
    Ok(())
}

/// Something that is done again and again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chore {
    KillDumps,
    FlushLogs,
    PurgeLogs,
}

/// Does it until the fault ends.
pub(super) fn again_and_again(stage: &mut Stage, pause: Duration, chore: Chore) {
    let port = stage.mysqld.port();
    stage.held.push(Held::Task(tokio::spawn(async move {
        loop {
            // The next time will do, if this one fails.
            match chore {
                Chore::KillDumps => drop(kill_dump_threads(port).await),
                Chore::PurgeLogs => drop(purge_logs(port).await),
                Chore::FlushLogs => {
                    if let Ok(mut session) = session(port).await {
                        session.query_drop("FLUSH BINARY LOGS").await.ok();
                    }
                }
            }
            sleep(pause).await;
        }
    })));
}
