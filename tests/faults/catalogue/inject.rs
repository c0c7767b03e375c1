//! How faults begin and end.

use std::time::{Duration, Instant};

use binpulse_demo::Error;

use super::{Kind, calm, move_address, position, restart, source, topic};
use crate::aws::faults::Effect;
use crate::proxy::{Fault, Way, Which};
use crate::shim::Control;
use crate::stage::Stage;

/// Begins a fault; the instant at which it struck.
#[allow(clippy::too_many_lines, reason = "one arm for each")]
pub(crate) async fn begin(kind: Kind, stage: &mut Stage) -> Result<Instant, Error> {
    let before = Instant::now();
    let done = |result: Result<(), Error>| result.map(|()| before);
    match kind {
        Kind::SourceKilled => done(stage.mysqld.kill().await),
        Kind::SourceShutDown => source::shut_down(stage).await,
        Kind::SourceFrozen => done(stage.mysqld.freeze()),
        Kind::BlackHole => {
            hold(stage, Way::ToClient, Which::All);
            hold(stage, Way::ToServer, Which::All);
            Ok(before)
        }
        Kind::BlackHoleToClient => Ok(hold(stage, Way::ToClient, Which::All)),
        Kind::DumpHeld => Ok(hold(stage, Way::ToClient, Which::Dump)),
        Kind::ConnectionsRefused => {
            stage.proxy.refuse();
            stage.proxy.reset(Which::All);
            Ok(before)
        }
        Kind::NamesFail => {
            stage.streamer_shim()?.set(Control { nameless: true, ..Control::default() })?;
            stage.proxy.reset(Which::All);
            Ok(before)
        }
        Kind::TlsFails => {
            let off = [
                "SET GLOBAL ssl_cert = '/no/such/file'",
                "ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR",
            ];
            source::root(stage, &off).await?;
            stage.proxy.reset(Which::All);
            Ok(Instant::now())
        }
        Kind::HalfOpen => {
            stage.proxy.half_open(Which::Dump);
            Ok(before)
        }
        Kind::DumpKilledOnce => source::kill_dump_threads(stage.mysqld.port()).await,
        Kind::DumpKilledOften => {
            source::again_and_again(stage, Duration::from_millis(300), source::Chore::KillDumps);
            Ok(before)
        }
        Kind::SecondReplica => done(stage.start_second().await),
        Kind::ReplicationRevoked => {
            source::root(stage, &["REVOKE REPLICATION SLAVE ON *.* FROM 'binpulse'@'%'"]).await?;
            source::kill_dump_threads(stage.mysqld.port()).await
        }
        Kind::StreamSlow => {
            let slow = Fault::Trickle(Duration::from_millis(1));
            stage.proxy.put(Way::ToClient, Which::Dump, slow);
            Ok(before)
        }
        Kind::TransactionLost => position::lose_transaction(stage).await,
        Kind::HeartbeatsHidden => position::hide_heartbeats(stage).await,
        Kind::ReadOnly => source::root(stage, &["SET GLOBAL read_only = ON"]).await,
        Kind::SuperReadOnly => source::root(stage, &["SET GLOBAL super_read_only = ON"]).await,
        Kind::GlobalReadLock => source::hold(stage, &["FLUSH TABLES WITH READ LOCK"]).await,
        Kind::TablesLocked => source::hold(stage, &["LOCK TABLES binpulse.heartbeat WRITE"]).await,
        Kind::DdlQueued => source::queue_ddl(stage).await,
        Kind::RowLocked => {
            let lock = "SELECT * FROM binpulse.heartbeat FOR UPDATE";
            source::hold(stage, &["BEGIN", lock]).await
        }
        Kind::DiskFull => {
            let full = Control { full: Some("binlog."), ..Control::default() };
            done(stage.source_shim()?.set(full))
        }
        Kind::SemisyncAfterSync => source::wait_for_replica(stage, "AFTER_SYNC").await,
        Kind::SemisyncAfterCommit => source::wait_for_replica(stage, "AFTER_COMMIT").await,
        Kind::AccountLocked => source::shut_out(stage, "ACCOUNT LOCK").await,
        Kind::PasswordChanged => source::shut_out(stage, "IDENTIFIED BY 'another one'").await,
        Kind::OfflineMode => source::root(stage, &["SET GLOBAL offline_mode = ON"]).await,
        Kind::Purged => position::purge(stage).await,
        Kind::Reset => source::root(stage, &["RESET BINARY LOGS AND GTIDS"]).await,
        Kind::BackupRestored => position::restore_backup(stage).await,
        Kind::RestoredWhileAway => restart::on_an_older_backup(stage).await,
        Kind::GtidsOffWhileAway => position::gtids_off_and_on(stage, true).await,
        Kind::GtidsOff => position::gtids_off_and_on(stage, false).await,
        Kind::CheckpointGone => restart::without_checkpoint(stage).await,
        Kind::SourceDownAtStart => restart::before_the_source(stage).await,
        Kind::SnsHangsRestart => restart::under_a_stalled_sink(stage).await,
        Kind::StatementInside => source::statement(stage, "shop.orders").await,
        Kind::MaskWithoutNames => source::without_names(stage, "shop.orders").await,
        Kind::UpstreamStopped => {
            stage.other()?.execute(&["STOP REPLICA SQL_THREAD"]).await?;
            Ok(Instant::now())
        }
        Kind::AddressMoved => move_address::and_stay(stage).await,
        Kind::FailoverBehind => move_address::too_early(stage).await,
        Kind::FailoverPlanned => move_address::as_planned(stage).await,
        Kind::SourceAndSinkDead => {
            topic::fails(stage, &Effect::INTERNAL);
            done(stage.mysqld.kill().await)
        }
        Kind::CheckpointFull => {
            let full = Control { full: Some("checkpoint"), ..Control::default() };
            done(stage.streamer_shim()?.set(full))
        }
        Kind::StreamerKilled => done(stage.streamer.kill().await),
        Kind::VerdictAsleep => {
            let asleep = Control { asleep: Some("verdict"), ..Control::default() };
            done(stage.streamer_shim()?.set(asleep))
        }
        other => match topic::begin(other, stage) {
            Some(at) => Ok(at),
            None => calm::begin(other, stage).await,
        },
    }
}

fn hold(stage: &Stage, way: Way, which: Which) -> Instant {
    stage.proxy.put(way, which, Fault::Hold);
    Instant::now()
}

/// Takes a fault away.
pub(crate) async fn end(kind: Kind, stage: &mut Stage) -> Result<(), Error> {
    stage.held.clear();
    stage.proxy.heal();
    stage.endpoint.heal();
    if let Some(shims) = &stage.shims {
        shims.source.set(Control::default())?;
        shims.streamer.set(Control::default())?;
    }
    match kind {
        Kind::SourceKilled
        | Kind::SourceShutDown
        | Kind::SourceAndSinkDead
        | Kind::SourceDownAtStart => stage.mysqld.start_again().await,
        Kind::SourceFrozen => stage.mysqld.thaw(),
        Kind::StreamerKilled => stage.streamer.start_again().await,
        Kind::UpstreamStopped => stage.other()?.execute(&["START REPLICA SQL_THREAD"]).await,
        Kind::StreamerRestarted => restart::has_lost_no_canary(stage),
        Kind::TopicDeleted | Kind::CanariesFiltered | Kind::ConsumerStops | Kind::EchoGone => {
            topic::end(stage);
            Ok(())
        }
        other => match source::undo(other) {
            [] => Ok(()),
            statements => source::root(stage, statements).await.map(drop),
        },
    }
}
