//! Faults that nothing can be compared after, for rows are gone from the source for good. Each must end
//! in a halt that has a name, and the way on that is documented must lead on.

use std::time::Duration;

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::faults::{kill_dump_threads, purge};
use crate::proxy::Which;
use crate::run::Soak;
use crate::service::{SOON, session};
use crate::{check, standby};

/// Time in which it must have halted.
const HALT: Duration = Duration::from_mins(1);
/// Pause before something is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What it ends with, asked to stop, while it is halted.
const NEEDS_OPERATOR: i32 = 75;

impl Soak {
    /// All that fit the source. The streamer is stopped before and after.
    pub(crate) async fn endings(&mut self) -> Result<Vec<String>, Error> {
        self.set("shutdown.on_halt", "stay");
        let mut wrong = Vec::new();
        if self.stage.standby.is_some() {
            wrong.extend(self.failover_without_our_last().await?);
        }
        wrong.extend(self.purged_past().await?);
        Ok(wrong)
    }

    /// The source dies with transactions that were published and that the standby never got.
    async fn failover_without_our_last(&mut self) -> Result<Vec<String>, Error> {
        self.stage.streamer.start_again().await?;
        self.until_marker().await?;
        if let Some(standby) = &self.stage.standby {
            standby.execute(&["STOP REPLICA"]).await?;
        }
        self.until_marker().await?;
        self.stage.mysqld.kill().await?;
        if let Some(standby) = &self.stage.standby {
            standby::promote(standby).await?;
        }
        self.stage.switch();
        self.stage.proxy.reset(Which::All);
        // The former source has what nobody else has: it is out for good.
        self.stage.standby = None;
        let mut wrong = self.must_halt("diverged", &["position_lost"]).await?;
        println!("          a failover without our last transactions halts as diverged");
        wrong.extend(self.new_epoch().await?);
        Ok(wrong)
    }

    /// The source purges what was not read, while we cannot reach it.
    async fn purged_past(&mut self) -> Result<Vec<String>, Error> {
        self.stage.streamer.start_again().await?;
        self.until_marker().await?;
        self.stage.proxy.refuse();
        self.stage.proxy.reset(Which::All);
        let mut source = session(self.stage.mysqld.port()).await?;
        for _ in 0..3 {
            self.write_marker(&mut source).await?;
            source.query_drop("FLUSH BINARY LOGS").await?;
        }
        let give_up = Instant::now() + HALT;
        loop {
            kill_dump_threads(&self.stage).await?;
            let rows: Vec<mysql_async::Row> = source.query("SHOW BINARY LOGS").await?;
            let newest: String = rows.last().and_then(|row| row.get(0)).unwrap_or_default();
            purge(&self.stage, &mut source, &newest).await?;
            // A file that a dump thread still reads stays, without a word.
            let left: Vec<mysql_async::Row> = source.query("SHOW BINARY LOGS").await?;
            if left.len() == 1 {
                break;
            }
            if Instant::now() > give_up {
                return Err(Error::Message("the source does not purge".to_owned()));
            }
            sleep(PAUSE).await;
        }
        source.disconnect().await?;
        self.stage.proxy.heal();
        let mut wrong = self.must_halt("position_lost", &["position_lost"]).await?;
        println!("          binlogs purged past us halt as position_lost");
        wrong.extend(self.new_epoch().await?);
        Ok(wrong)
    }

    /// It stands, alive, and says why, in all the places where it should.
    async fn must_halt(&mut self, reason: &str, verdicts: &[&str]) -> Result<Vec<String>, Error> {
        let said = |status: &Value| status["halted"]["reason"] == reason;
        let judged = |status: &Value| {
            let verdict = status["verdict"]["state"].as_str().unwrap_or_default();
            verdicts.contains(&verdict)
        };
        let what = format!("the halt `{reason}` and a verdict of {verdicts:?}");
        let streamer = &mut self.stage.streamer;
        let status = streamer.until(&what, HALT, |status| said(status) && judged(status)).await?;
        let mut wrong = Vec::new();
        for word in ["message", "remedy"] {
            if status["halted"][word].as_str().unwrap_or_default().is_empty() {
                wrong.push(format!("{reason}: no {word}: {}", status["halted"]));
            }
        }
        let code = streamer.stop().await?;
        if code != Some(NEEDS_OPERATOR) {
            wrong.push(format!("{reason}: ended with {code:?}"));
        }
        Ok(wrong)
    }

    /// As `docs/operate/new-epoch.md` says it: the checkpoint is moved away, and the stream begins with the
    /// oldest that there is. A new epoch, and in it everything that the source still has, and no more.
    async fn new_epoch(&mut self) -> Result<Vec<String>, Error> {
        self.collect();
        let epoch = self.epoch();
        self.forget();
        let checkpoint = self.stage.checkpoint();
        let away = checkpoint.with_extension("away");
        std::fs::rename(&checkpoint, &away).map_err(crate::faults::file(&away))?;
        // It refuses, and says with which flag it would.
        let mut refused = self.stage.another(&checkpoint);
        refused.settings.push(("http.listen", "127.0.0.1:0".to_owned()));
        let (code, log) = refused.run_to_end(SOON).await?;
        let flag = log.rfind("--new-epoch=").map(|at| &log[at..]).unwrap_or_default();
        let is_flag =
            |character: char| character.is_ascii_alphanumeric() || "-=".contains(character);
        let flag: String = flag.chars().take_while(|character| is_flag(*character)).collect();
        if code != Some(NEEDS_OPERATOR) || flag.is_empty() {
            return Ok(vec![format!("without its checkpoint it ended with {code:?}: {log}")]);
        }
        self.stage.streamer.command_mut().arguments = vec![flag];
        self.stage.streamer.start_again().await?;
        self.stage.streamer.until_ready(SOON).await?;
        self.until_marker().await?;
        self.settle().await;
        self.stage.streamer.stop().await?;
        self.collect();
        let (received, truth) = (self.received(), self.truth_of_what_is_left()?);
        let mut findings = check::identities(&received, &truth);
        if !findings.is_clean() && findings.wrong.is_empty() {
            findings.wrong.push("lost, invented, misplaced, or a gap".to_owned());
        }
        let mut wrong = findings.wrong;
        if received.lanes.keys().any(|(other, _)| *other <= epoch) {
            wrong.push(format!("an epoch that is not above {epoch}"));
        }
        println!("          started anew: {} rows, all of what is left", findings.received);
        Ok(wrong.into_iter().map(|wrong| format!("started anew: {wrong}")).collect())
    }
}
