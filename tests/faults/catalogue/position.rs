//! Faults of the source's history.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use crate::load::user;
use crate::proxy::{Fault, Way, Which};
use crate::service::session;
use crate::stage::Stage;

const WRITE: &str = "INSERT INTO shop.orders (note) VALUES ('lost')";

/// Takes the next transaction of users out of the stream, unseen.
pub(super) async fn lose_transaction(stage: &Stage) -> Result<Instant, Error> {
    stage.proxy.put(Way::ToClient, Which::Dump, Fault::LoseTransaction("orders"));
    let mut session = user(stage.mysqld.port()).await?;
    session.query_drop(WRITE).await?;
    let at = Instant::now();
    session.disconnect().await?;
    Ok(at)
}

/// Restarts the source so that writes to our schema are not logged.
pub(super) async fn hide_heartbeats(stage: &mut Stage) -> Result<Instant, Error> {
    let hide = "--binlog-ignore-db=binpulse".to_owned();
    stage.mysqld.options_mut().extra.push(hide);
    stage.mysqld.kill().await?;
    stage.mysqld.start_again().await?;
    Ok(Instant::now())
}

/// Cuts the network, writes, and purges what was written; strikes when the network is back.
pub(super) async fn purge(stage: &Stage) -> Result<Instant, Error> {
    stage.proxy.refuse();
    stage.proxy.reset(Which::All);
    let mut root = session(stage.mysqld.port()).await?;
    for _ in 0..3 {
        root.query_drop(WRITE).await?;
        root.query_drop("FLUSH BINARY LOGS").await?;
    }
    let row: Option<mysql_async::Row> = root.query_first("SHOW BINARY LOG STATUS").await?;
    let file: String = row.and_then(|row| row.get(0)).unwrap_or_default();
    // The dump thread of the cut connection may still hold a file.
    let mut left = 2_u32;
    for _ in 0..50 {
        root.query_drop(format!("PURGE BINARY LOGS TO '{file}'")).await?;
        left = u32::try_from(root.query::<mysql_async::Row, _>("SHOW BINARY LOGS").await?.len())
            .unwrap_or(u32::MAX);
        if left == 1 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    root.disconnect().await?;
    if left > 1 {
        return Err(Error::Message(format!("{left} binary logs are left")));
    }
    stage.proxy.heal();
    Ok(Instant::now())
}

/// Writes transactions without GTIDs and switches GTIDs on again, `away` without a network. The server
/// sends them to nobody then, so nothing may continue behind them.
pub(super) async fn gtids_off_and_on(stage: &Stage, away: bool) -> Result<Instant, Error> {
    if away {
        stage.proxy.refuse();
        stage.proxy.reset(Which::All);
    }
    let mut root = session(stage.mysqld.port()).await?;
    set_gtid_mode(&mut root, &["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"]).await?;
    let begun = Instant::now();
    for _ in 0..3 {
        root.query_drop(WRITE).await?;
    }
    set_gtid_mode(&mut root, &["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"]).await?;
    root.disconnect().await?;
    if !away {
        return Ok(begun);
    }
    stage.proxy.heal();
    Ok(Instant::now())
}

/// Each step waits until no transaction is under way that it does not allow.
async fn set_gtid_mode(root: &mut mysql_async::Conn, modes: &[&str]) -> Result<(), Error> {
    for mode in modes {
        let set = format!("SET GLOBAL gtid_mode = {mode}");
        for attempt in 0.. {
            match root.query_drop(&set).await {
                Ok(()) => break,
                Err(error) if attempt == 50 => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
    Ok(())
}

/// Puts the data back to what they were some transactions ago; strikes when the source is up again.
pub(super) async fn restore_backup(stage: &mut Stage) -> Result<Instant, Error> {
    let backup = back_up(stage).await?;
    until_later_heartbeats(stage).await;
    restore(stage, &backup).await?;
    Ok(Instant::now())
}

/// Keeps a copy of the data.
pub(super) async fn back_up(stage: &mut Stage) -> Result<PathBuf, Error> {
    let data = stage.mysqld.data();
    let backup = data.with_file_name("backup");
    stage.mysqld.kill().await?;
    copy(&data, &backup)?;
    stage.mysqld.start_again().await?;
    Ok(backup)
}

/// Heartbeats of the time after the backup have to be seen, or nobody could know of it.
pub(super) async fn until_later_heartbeats(stage: &Stage) {
    let before = stage.watch.seen().last.clone().map(|(_, status)| heartbeat(&status));
    for _ in 0..600 {
        let now = stage.watch.seen().last.clone().map(|(_, status)| heartbeat(&status));
        if now.zip(before).is_some_and(|(now, before)| now > before + 1) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The source begins again on that copy.
pub(super) async fn restore(stage: &mut Stage, backup: &Path) -> Result<(), Error> {
    let data = stage.mysqld.data();
    stage.mysqld.kill().await?;
    std::fs::remove_dir_all(&data).map_err(file(&data))?;
    copy(backup, &data)?;
    stage.mysqld.start_again().await
}

fn heartbeat(status: &serde_json::Value) -> u64 {
    status["heartbeat"]["seen"].as_u64().unwrap_or_default()
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(file(to))?;
    for entry in std::fs::read_dir(from).map_err(file(from))? {
        let entry = entry.map_err(file(from))?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type().map_err(file(&target))?;
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target).map_err(file(&target))?;
        }
    }
    Ok(())
}
