//! Faults: what there is, how each begins and ends.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each function takes the kinds of its place; all places are matched in full"
)]

mod checkpoint;
mod kind;
mod purge;
mod second;

use std::path::PathBuf;
use std::time::Duration;

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub(crate) use self::kind::Kind;
pub(crate) use self::purge::purge;
use crate::aws::faults::{Effect, Pick, When};
use crate::dice::Dice;
use crate::plan::Source;
use crate::proxy::{Fault, Way, Which};
use crate::service::session;
use crate::stage::Stage;
use crate::standby;

/// Where faults of a pair must differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Streamer,
    Source,
    Network,
    Topic,
    /// Never together with another.
    Alone,
}

/// Pause between two rotations of the binary log.
const ROTATE_EVERY: Duration = Duration::from_millis(100);

/// How often a streamer is killed that is killed often.
const KILLS: u32 = 10;

/// Injects faults, and remembers what some of them need.
#[derive(Default)]
pub(crate) struct Injector {
    /// A copy of the checkpoint of earlier.
    old_checkpoint: Option<Vec<u8>>,
    rotating: Option<JoinHandle<()>>,
    /// What a fault brought to light that is wrong whatever comes later.
    pub(crate) wrong: Vec<String>,
}

impl Injector {
    /// Begins a fault; [`Self::end`] takes it away.
    pub(crate) async fn begin(
        &mut self,
        kind: Kind,
        stage: &mut Stage,
        dice: &mut Dice,
    ) -> Result<(), Error> {
        match kind {
            Kind::StreamerKilled => stage.streamer.kill().await,
            Kind::StreamerKilledOften => {
                for _ in 1..KILLS {
                    stage.streamer.start_again().await?;
                    sleep(Duration::from_millis(dice.between(50, 900))).await;
                }
                stage.streamer.kill().await
            }
            Kind::StreamerFrozen => stage.streamer.freeze(),
            Kind::StreamerStopped => {
                let code = stage.streamer.stop().await?;
                if code != Some(0) {
                    self.note(&format!("SIGTERM: ended with {code:?}"), stage);
                }
                Ok(())
            }
            Kind::StreamerTwice => {
                let wrong = second::with_the_same_file(stage).await?;
                self.wrong.extend(wrong);
                Ok(())
            }
            Kind::StreamerTwiceApart => {
                let wrong = second::with_a_copy(stage).await?;
                self.wrong.extend(wrong);
                Ok(())
            }
            Kind::CheckpointFull => checkpoint::fill(stage, dice),
            Kind::CheckpointReadOnly => checkpoint::write_protect(stage, true),
            Kind::PurgedBehind => {
                stage.mysqld.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await
            }
            Kind::PurgedOften => {
                let wrong = purge::often(stage).await?;
                self.old_checkpoint = None;
                self.wrong.extend(wrong);
                Ok(())
            }
            Kind::CheckpointGone => {
                stage.streamer.kill().await?;
                let wrong = checkpoint::without(stage).await?;
                self.wrong.extend(wrong);
                Ok(())
            }
            Kind::FailedOver => fail_over(stage, dice).await,
            Kind::CheckpointOld => {
                stage.streamer.kill().await?;
                let path = stage.checkpoint();
                let now = std::fs::read(&path).map_err(file(&path))?;
                let old = self.old_checkpoint.replace(now).unwrap_or_default();
                if !old.is_empty() {
                    std::fs::write(&path, old).map_err(file(&path))?;
                }
                Ok(())
            }
            Kind::CheckpointTorn => {
                stage.streamer.kill().await?;
                checkpoint::tear(&stage.checkpoint(), dice)
            }
            Kind::SourceKilled => stage.mysqld.kill().await,
            Kind::SourceRestarted => stage.mysqld.stop().await,
            Kind::SourceFrozen => stage.mysqld.freeze(),
            Kind::DumpThreadKilled => kill_dump_threads(stage).await,
            Kind::BinlogsRotated => {
                self.rotating = Some(tokio::spawn(rotate(stage.mysqld.port())));
                Ok(())
            }
            outside => {
                match outside.place() {
                    Place::Network => wire(outside, stage, dice),
                    Place::Topic => topic(outside, stage),
                    Place::Streamer | Place::Source | Place::Alone => {}
                }
                Ok(())
            }
        }
    }

    /// Takes a fault away.
    pub(crate) async fn end(
        &mut self,
        kind: Kind,
        stage: &mut Stage,
        is_alone: bool,
    ) -> Result<(), Error> {
        match kind {
            Kind::CheckpointFull | Kind::CheckpointReadOnly => {
                if is_alone {
                    let wrong = checkpoint::until_a_save_failed(stage).await?;
                    self.wrong.extend(wrong.map(|wrong| format!("{}: {wrong}", kind.name())));
                }
                match kind {
                    Kind::CheckpointFull => checkpoint::make_room(stage),
                    _ => checkpoint::write_protect(stage, false),
                }
            }
            Kind::PurgedBehind => {
                if purge::behind(stage).await? {
                    // What is saved of before lies before what is purged.
                    self.old_checkpoint = None;
                    stage.proxy.reset(Which::Dump);
                }
                Ok(())
            }
            Kind::StreamerKilled
            | Kind::StreamerKilledOften
            | Kind::StreamerStopped
            | Kind::StreamerTwiceApart
            | Kind::CheckpointOld
            | Kind::CheckpointTorn
            | Kind::CheckpointGone => stage.streamer.start_again().await,
            Kind::StreamerFrozen => stage.streamer.thaw(),
            Kind::SourceKilled | Kind::SourceRestarted => stage.mysqld.start_again().await,
            Kind::SourceFrozen => stage.mysqld.thaw(),
            Kind::BinlogsRotated => {
                if let Some(rotating) = self.rotating.take() {
                    rotating.abort();
                }
                Ok(())
            }
            _ => {
                match kind.place() {
                    Place::Network => stage.proxy.heal(),
                    Place::Topic => stage.endpoint.heal(),
                    Place::Streamer | Place::Source | Place::Alone => {}
                }
                Ok(())
            }
        }
    }

    fn note(&mut self, what: &str, stage: &Stage) {
        self.wrong.push(format!("{what}; its log ends:\n{}", stage.streamer.log_tail()));
    }
}

pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::File { path, source }
}

/// The standby takes over with everything that the source had; the former source follows it, whether
/// it was shut down or killed.
async fn fail_over(stage: &mut Stage, dice: &mut Dice) -> Result<(), Error> {
    let Some(standby) = &stage.standby else { return Ok(()) };
    stage.hide();
    standby::hand_over(&stage.mysqld, standby).await?;
    if dice.one_in(2) {
        stage.mysqld.kill().await?;
    } else {
        stage.mysqld.stop().await?;
    }
    standby::promote(standby).await?;
    stage.switch();
    stage.proxy.reset(Which::All);
    if let Some(former) = &mut stage.standby {
        former.start_again().await?;
        standby::follow(former, &stage.mysqld).await?;
    }
    Ok(())
}

/// Ends the server's side of all replication streams.
pub(crate) async fn kill_dump_threads(stage: &Stage) -> Result<(), Error> {
    let mut session = stage.mysqld.connect().await?;
    let query = match stage.source {
        Source::Gtid | Source::Position => {
            "SELECT processlist_id FROM performance_schema.threads \
             WHERE processlist_command LIKE 'Binlog Dump%'"
        }
        Source::Mariadb => {
            "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"
        }
    };
    let ids: Vec<u64> = session.query(query).await?;
    for id in ids {
        // It may have gone by itself.
        session.query_drop(format!("KILL {id}")).await.ok();
    }
    session.disconnect().await?;
    Ok(())
}

async fn rotate(port: u16) {
    loop {
        // The server may be down just now: another fault.
        if let Ok(mut session) = session(port).await {
            while session.query_drop("FLUSH BINARY LOGS").await.is_ok() {
                sleep(ROTATE_EVERY).await;
            }
        }
        sleep(ROTATE_EVERY).await;
    }
}

fn wire(kind: Kind, stage: &Stage, dice: &mut Dice) {
    let proxy = &stage.proxy;
    let bytes = dice.below(60_000);
    let to_client = |fault| proxy.put(Way::ToClient, Which::All, fault);
    match kind {
        Kind::DumpReset => proxy.reset(Which::Dump),
        Kind::AllReset => proxy.reset(Which::All),
        Kind::HalfOpen => proxy.half_open(Which::Dump),
        Kind::Refused => {
            proxy.refuse();
            proxy.reset(Which::All);
        }
        Kind::BlackHoleToClient => to_client(Fault::Hold),
        Kind::BlackHoleToServer => proxy.put(Way::ToServer, Which::All, Fault::Hold),
        Kind::BlackHole => {
            to_client(Fault::Hold);
            proxy.put(Way::ToServer, Which::All, Fault::Hold);
        }
        Kind::Latency => {
            to_client(Fault::Delay(Duration::from_millis(250)));
            proxy.put(Way::ToServer, Which::All, Fault::Delay(Duration::from_millis(250)));
        }
        Kind::Trickle => to_client(Fault::Trickle(Duration::from_micros(20))),
        Kind::Corruption => proxy.put(Way::ToClient, Which::Dump, Fault::CorruptAfter(bytes)),
        Kind::Cut => proxy.put(Way::ToClient, Which::Dump, Fault::CutAfter(bytes)),
        _ => {}
    }
}

fn topic(kind: Kind, stage: &Stage) {
    let some = When::Probability(0.5);
    let (when, effect) = match kind {
        Kind::TopicErrors => (When::Always, Effect::INTERNAL),
        Kind::TopicThrottles => (When::Always, Effect::ThrottleAbove(20.0)),
        Kind::TopicKmsThrottles => (some, Effect::KMS_THROTTLING),
        Kind::TopicExpired => (When::Always, Effect::EXPIRED),
        Kind::TopicAcceptsThenHangs => (some, Effect::AcceptThenHang),
        Kind::TopicAcceptsThenResets => (some, Effect::AcceptThenReset),
        Kind::TopicAcceptsThenGibberish => (some, Effect::AcceptThenGibberish),
        Kind::TopicHangs => (some, Effect::Hang),
        Kind::TopicResets => (some, Effect::Reset),
        Kind::TopicSlow => (When::Always, Effect::Slow(Duration::from_millis(700))),
        Kind::TopicVerySlow => (some, Effect::Slow(Duration::from_secs(30))),
        Kind::TopicFailsEntries => {
            (When::Always, Effect::FailEntries(Pick::Probability(0.4), "InternalFailure", false))
        }
        Kind::TopicLosesEntries => (When::Always, Effect::LoseEntries(Pick::Probability(0.4))),
        _ => return,
    };
    for operation in ["Publish", "PublishBatch"] {
        stage.endpoint.fault(operation, when.clone(), effect.clone());
    }
}
