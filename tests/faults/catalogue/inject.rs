//! How faults begin and end.

use std::time::Instant;

use binpulse::demo::Error;

use super::{Kind, source, topic};
use crate::aws::faults::Effect;
use crate::proxy::{Fault, Way, Which};
use crate::stage::Stage;

/// Begins a fault; the instant at which it struck.
pub(crate) async fn begin(kind: Kind, stage: &mut Stage) -> Result<Instant, Error> {
    let before = Instant::now();
    match kind {
        Kind::SourceKilled => stage.mysqld.kill().await.map(|()| before),
        Kind::SourceFrozen => stage.mysqld.freeze().map(|()| before),
        Kind::BlackHole => {
            stage.proxy.put(Way::ToClient, Which::All, Fault::Hold);
            stage.proxy.put(Way::ToServer, Which::All, Fault::Hold);
            Ok(before)
        }
        Kind::HalfOpen => {
            stage.proxy.half_open(Which::Dump);
            Ok(before)
        }
        Kind::DumpKilledOnce => source::kill_dump_threads(stage.mysqld.port()).await,
        Kind::ReadOnly => source::root(stage, &["SET GLOBAL read_only = ON"]).await,
        Kind::GlobalReadLock => source::hold(stage, &["FLUSH TABLES WITH READ LOCK"]).await,
        Kind::TablesLocked => {
            source::hold(stage, &["LOCK TABLES binpulse.heartbeat WRITE"]).await
        }
        Kind::RowLocked => {
            let lock = "SELECT * FROM binpulse.heartbeat FOR UPDATE";
            source::hold(stage, &["BEGIN", lock]).await
        }
        Kind::SnsErrors => Ok(topic::fails(stage, &Effect::INTERNAL)),
        Kind::SnsSwallows => Ok(topic::fails(stage, &Effect::Swallow)),
    }
}

/// Takes a fault away.
pub(crate) async fn end(kind: Kind, stage: &mut Stage) -> Result<(), Error> {
    stage.held.clear();
    match kind {
        Kind::SourceKilled => stage.mysqld.start_again().await,
        Kind::SourceFrozen => stage.mysqld.thaw(),
        Kind::BlackHole => {
            stage.proxy.heal();
            Ok(())
        }
        Kind::ReadOnly => source::root(stage, &["SET GLOBAL read_only = OFF"]).await.map(drop),
        Kind::SnsErrors | Kind::SnsSwallows => {
            stage.endpoint.heal();
            Ok(())
        }
        Kind::HalfOpen
        | Kind::DumpKilledOnce
        | Kind::GlobalReadLock
        | Kind::TablesLocked
        | Kind::RowLocked => Ok(()),
    }
}
