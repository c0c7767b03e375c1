//! Binary logs that the source purges behind us. They are quarantined first: the comparison reads them.

use std::path::Path;
use std::time::Duration;

use binpulse_demo::{Error, Mysqld};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use crate::plan::Source;
use crate::stage::{Stage, binlogs_in};
use crate::standby;

/// Rotations and purges in a row.
const ROTATIONS: u32 = 8;
/// Pause between a rotation and the purge, in which the streamer may save.
const PAUSE: Duration = Duration::from_millis(700);

/// What a checkpoint file says is done, as far as purging goes.
struct Saved {
    /// All GTIDs, as a set that MySQL reads.
    gtids: String,
    /// File in which the stream would continue.
    file: String,
}

impl Saved {
    /// Reads each record's part; damage is for the streamer to find.
    fn read(path: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let records = text.lines().filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line.get(9..).unwrap_or_default()).ok()
        });
        let (mut gtids, mut file) = (Vec::new(), String::new());
        for record in records {
            gtids.extend(record["gtids"].as_str().map(str::to_owned));
            let place = record.get("resume").unwrap_or(&record["settled"]);
            place["file"].as_str().unwrap_or_default().clone_into(&mut file);
        }
        gtids.retain(|part| !part.is_empty());
        Ok(Self { gtids: gtids.join(","), file })
    }
}

/// The source rotates its log and purges what is done, some times in a row, under a stream that is well:
/// none of it may be called a loss. What was wrong.
pub(super) async fn often(stage: &mut Stage) -> Result<Option<String>, Error> {
    for _ in 0..ROTATIONS {
        stage.mysqld.execute(&["FLUSH BINARY LOGS"]).await?;
        sleep(PAUSE).await;
        behind(stage).await?;
        if let Ok(said) = stage.streamer.status().await {
            let verdict = said["verdict"]["state"].as_str().unwrap_or_default();
            if matches!(verdict, "position_lost" | "halted" | "diverged") {
                return Ok(Some(format!("purged on a healthy stream: {verdict}")));
            }
        }
    }
    Ok(None)
}

/// Purges all files that neither a restart of the streamer nor the standby needs. Whether there were
/// any.
pub(super) async fn behind(stage: &Stage) -> Result<bool, Error> {
    if stage.source == Source::Mariadb
        && let Some(standby) = &stage.standby
    {
        // Which of its files that one still needs is not to be asked.
        standby::until_equal(&stage.mysqld, standby).await?;
    }
    let path = stage.checkpoint();
    let saved = Saved::read(&path).map_err(super::file(&path))?;
    let mut session = stage.mysqld.connect().await?;
    let rows: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
    let names: Vec<String> = rows.iter().filter_map(|row| row.get(0)).collect();
    let mut keep_from = None;
    for name in names.iter().rev() {
        let is_done = if saved.gtids.is_empty() {
            *name <= saved.file
        } else {
            holds_all_before(&mut session, name, &saved.gtids, stage.standby.as_ref()).await?
        };
        if is_done {
            keep_from = Some(name);
            break;
        }
    }
    let Some(keep_from) = keep_from.filter(|name| Some(*name) != names.first()) else {
        return Ok(false);
    };
    purge(stage, &mut session, keep_from).await?;
    session.disconnect().await?;
    Ok(true)
}

/// Purges all files before this one.
pub(crate) async fn purge(stage: &Stage, session: &mut Conn, before: &str) -> Result<(), Error> {
    put_aside(stage, before).map_err(super::file(&stage.archive()))?;
    session.query_drop(format!("PURGE BINARY LOGS TO '{before}'")).await?;
    // A file that somebody reads stays: then it is there twice, and one is enough.
    let left = binlogs_in(&stage.mysqld.data()).map_err(super::file(&stage.mysqld.data()))?;
    for path in left {
        let twin = stage.archive().join(path.file_name().unwrap_or_default());
        if twin.exists() {
            std::fs::remove_file(&twin).map_err(super::file(&twin))?;
        }
    }
    Ok(())
}

fn put_aside(stage: &Stage, before: &str) -> std::io::Result<()> {
    let archive = stage.archive();
    std::fs::create_dir_all(&archive)?;
    for path in binlogs_in(&stage.mysqld.data())? {
        let name = path.file_name().unwrap_or_default();
        let copy = archive.join(name);
        if name.to_string_lossy().as_ref() < before && !copy.exists() {
            std::fs::hard_link(&path, copy)?;
        }
    }
    Ok(())
}

/// Whether the transactions in files before this one are all saved, and on the standby.
async fn holds_all_before(
    session: &mut Conn,
    file: &str,
    saved: &str,
    standby: Option<&Mysqld>,
) -> Result<bool, Error> {
    let events = format!("SHOW BINLOG EVENTS IN '{file}' LIMIT 2");
    let rows: Vec<mysql_async::Row> = session.query(events).await?;
    let previous: String = rows.get(1).and_then(|row| row.get("Info")).unwrap_or_default();
    let mut sets = vec![saved.to_owned()];
    if let Some(standby) = standby {
        sets.push(standby::executed(standby).await?);
    }
    for set in sets {
        let query = "SELECT GTID_SUBSET(?, ?)";
        let holds: Option<bool> = session.exec_first(query, (&previous, set)).await?;
        if holds != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}
