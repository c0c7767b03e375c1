//! Faults that SQL makes.

use std::time::Instant;

use binpulse::demo::Error;
use mysql_async::prelude::Queryable;

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
    stage.held.push(Held::Session(session));
    Ok(at)
}

/// Ends all replication connections.
pub(crate) async fn kill_dump_threads(port: u16) -> Result<Instant, Error> {
    let mut session = session(port).await?;
    let query = "SELECT processlist_id FROM performance_schema.threads \
                 WHERE processlist_command LIKE 'Binlog Dump%'";
    let ids: Vec<u64> = session.query(query).await?;
    let at = Instant::now();
    for id in ids {
        // It may have gone by itself.
        session.query_drop(format!("KILL {id}")).await.ok();
    }
    session.disconnect().await?;
    Ok(at)
}
