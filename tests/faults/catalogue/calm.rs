//! What is no fault, and must not look like one.

use std::time::{Duration, Instant};

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::{Kind, source};
use crate::load::{Load, user};
use crate::proxy::{Fault, Way, Which};
use crate::service::{SOON, command, session};
use crate::shim::Control;
use crate::stage::{Held, Stage};

const HOUR_NS: i64 = 3_600_000_000_000;
const FIVE_MINUTES_NS: i64 = 300_000_000_000;
/// Sessions that write filtered tables as fast as they can.
const FLOOD: usize = 4;
const LATENCY: Duration = Duration::from_millis(100);
/// The settings are wrong.
const EXIT_USAGE: i32 = 64;

/// Begins it; the instant at which it began.
#[allow(clippy::too_many_lines, reason = "one arm for each")]
pub(super) async fn begin(kind: Kind, stage: &mut Stage) -> Result<Instant, Error> {
    let before = Instant::now();
    match kind {
        Kind::ConnectionsReset => stage.proxy.reset(Which::All),
        Kind::WritersKilled => return source::kill_writers(stage.mysqld.port()).await,
        Kind::SourceFrozenBriefly => {
            stage.mysqld.freeze()?;
            sleep(Duration::from_secs(3)).await;
            stage.mysqld.thaw()?;
        }
        Kind::SourceRestarted => {
            stage.mysqld.stop().await?;
            stage.mysqld.start_again().await?;
        }
        Kind::StreamerRestarted => {
            stage.streamer.stop().await?;
            stage.streamer.start_again().await?;
        }
        Kind::StreamerFrozen => {
            stage.streamer.freeze()?;
            sleep(Duration::from_secs(40)).await;
            stage.streamer.thaw()?;
        }
        Kind::WritesFreed => {
            let mut lock = session(stage.mysqld.port()).await?;
            lock.query_drop("LOCK TABLES binpulse.heartbeat WRITE").await?;
            sleep(Duration::from_secs(20)).await;
            lock.disconnect().await?;
        }
        Kind::StatementOutside => return source::statement(stage, "noise.log").await,
        Kind::NamesMissing => {
            source::root(stage, &["CREATE TABLE shop.cities (name VARCHAR(20))"]).await?;
            return source::without_names(stage, "shop.cities").await;
        }
        Kind::PathFails => {
            let revoke = "REVOKE INSERT ON shop.marked FROM 'binpulse'@'%'";
            return source::root(stage, &[revoke]).await;
        }
        Kind::ConnectionsExhausted => exhaust(stage).await?,
        Kind::SourceClockAhead => stage.source_shim()?.set(clock(HOUR_NS))?,
        Kind::SourceClockBehind => stage.source_shim()?.set(clock(-HOUR_NS))?,
        Kind::OwnClockAhead => stage.streamer_shim()?.set(clock(FIVE_MINUTES_NS))?,
        Kind::OwnClockBehind => stage.streamer_shim()?.set(clock(-FIVE_MINUTES_NS))?,
        Kind::FilteredFlood => flood(stage).await?,
        Kind::TransactionOpen => {
            let insert = "INSERT INTO shop.orders (note) VALUES ('open')";
            return source::hold(stage, &["BEGIN", insert]).await;
        }
        Kind::XaPrepared => {
            let insert = "INSERT INTO shop.orders (note) VALUES ('prepared')";
            let statements = ["XA START 'left'", insert, "XA END 'left'", "XA PREPARE 'left'"];
            source::root(stage, &statements).await?;
        }
        Kind::HugeTransaction => huge(stage).await?,
        Kind::OnlineAlter => alter(stage).await?,
        Kind::LogsFlushed => {
            let each = Duration::from_secs(1);
            source::again_and_again(stage, each, source::Chore::FlushLogs);
        }
        Kind::LogsPurged => {
            let each = Duration::from_secs(1);
            source::again_and_again(stage, each, source::Chore::PurgeLogs);
        }
        Kind::Dumped => dump(stage).await?,
        Kind::BackupLock => return source::hold(stage, &["LOCK INSTANCE FOR BACKUP"]).await,
        Kind::SlowSyncs => {
            source::root(stage, &["SET GLOBAL sync_binlog = 1"]).await?;
            stage.source_shim()?.set(Control { sync_ms: 1_500, ..Control::default() })?;
        }
        Kind::GroupCommitDelayed => {
            let delay = "SET GLOBAL binlog_group_commit_sync_delay = 500000";
            source::root(stage, &[delay]).await?;
        }
        Kind::Latency => {
            for way in [Way::ToClient, Way::ToServer] {
                stage.proxy.put(way, Which::All, Fault::Delay(LATENCY));
            }
        }
        Kind::ContradictingPeriods => contradict(stage).await?,
        // Nobody writes for minutes: nothing has to be done.
        _ => {}
    }
    Ok(before)
}

fn clock(clock_ns: i64) -> Control {
    Control { clock_ns, ..Control::default() }
}

/// As many connections are allowed as there are, so that nobody else is admitted.
async fn exhaust(stage: &Stage) -> Result<(), Error> {
    let mut root = session(stage.mysqld.port()).await?;
    let query = "SELECT COUNT(*) FROM performance_schema.processlist WHERE user = 'binpulse' \
                 OR user = 'app'";
    let open: Option<u64> = root.query_first(query).await?;
    let limit = open.unwrap_or(1).max(1);
    root.query_drop(format!("SET GLOBAL max_connections = {limit}")).await?;
    root.disconnect().await?;
    Ok(())
}

async fn flood(stage: &mut Stage) -> Result<(), Error> {
    for _ in 0..FLOOD {
        let mut session = user(stage.mysqld.port()).await?;
        stage.held.push(Held::Task(tokio::spawn(async move {
            let insert = "INSERT INTO noise.log (note) VALUES ('flood')";
            while session.query_drop(insert).await.is_ok() {}
        })));
    }
    Ok(())
}

/// A hundred megabytes that are left out, or a quarter of that, published.
async fn huge(stage: &Stage) -> Result<(), Error> {
    let (table, doublings) = match stage.load {
        Load::Busy => ("shop.orders", 17),
        Load::Quiet | Load::Filtered => ("noise.log", 19),
    };
    let mut session = user(stage.mysqld.port()).await?;
    let note = "REPEAT(CHAR(97 + RAND() * 26), 200)";
    session.query_drop("BEGIN").await?;
    session.query_drop(format!("INSERT INTO {table} (note) VALUES ({note})")).await?;
    for power in 0..doublings {
        let rows = 1_u64 << power;
        let double = format!(
            "INSERT INTO {table} (note) SELECT {note} FROM {table} ORDER BY id DESC LIMIT {rows}"
        );
        session.query_drop(double).await?;
    }
    session.query_drop("COMMIT").await?;
    session.disconnect().await?;
    Ok(())
}

async fn alter(stage: &Stage) -> Result<(), Error> {
    let mut root = session(stage.mysqld.port()).await?;
    for statement in [
        "DROP TABLE IF EXISTS noise.big",
        "CREATE TABLE noise.big (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(200))",
        "INSERT INTO noise.big (note) VALUES (REPEAT('x', 150))",
    ] {
        root.query_drop(statement).await?;
    }
    for _ in 0..16 {
        root.query_drop("INSERT INTO noise.big (note) SELECT note FROM noise.big").await?;
    }
    for algorithm in ["INPLACE", "COPY"] {
        let alter = format!("ALTER TABLE noise.big FORCE, ALGORITHM = {algorithm}");
        root.query_drop(alter).await?;
    }
    root.disconnect().await?;
    Ok(())
}

/// The statements of a dump with `--single-transaction`, over all that there is.
async fn dump(stage: &Stage) -> Result<(), Error> {
    let mut root = session(stage.mysqld.port()).await?;
    for statement in [
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "SAVEPOINT sp",
        "SELECT * FROM binpulse.heartbeat",
        "SELECT * FROM binpulse.canary",
        "SELECT * FROM shop.orders",
        "SELECT * FROM noise.log",
        "ROLLBACK TO SAVEPOINT sp",
        "RELEASE SAVEPOINT sp",
    ] {
        root.query_drop(statement).await?;
    }
    root.disconnect().await?;
    Ok(())
}

/// Periods that would make the conclusions wrong are refused at the start.
async fn contradict(stage: &Stage) -> Result<(), Error> {
    let mut settings = stage.settings.clone();
    settings.retain(|(key, _)| *key != "source.heartbeat_period");
    settings.push(("source.heartbeat_period", "20s".to_owned()));
    settings.push(("http.listen", "127.0.0.1:0".to_owned()));
    match command(settings).run_to_end(SOON).await? {
        (Some(EXIT_USAGE), log) if log.contains("source.heartbeat_period") => Ok(()),
        (code, log) => Err(Error::Ended { program: "binpulse run".to_owned(), code, log }),
    }
}
