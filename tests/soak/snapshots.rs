//! Snapshots at random times, beside everything else.

use std::path::PathBuf;
use std::time::Duration;

use binpulse_demo::{Command, Error};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::plan::{Plan, Source};
use crate::run::{RECOVERY_MAX, Soak};
use crate::workload::DATABASE;

/// Longest run of the command. The service may be down, frozen or cut off: then nothing comes of it.
const COMMAND: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Whether snapshots are made in this run. They need GTIDs; and a run of which a message is thrown away
/// must lose rows of the stream.
pub(crate) fn are_for(plan: &Plan) -> bool {
    plan.source != Source::Position && !plan.is_sabotaged
}

/// Settings of the streamer for the snapshots of a seed.
pub(crate) fn settings(plan: &Plan) -> Vec<(&'static str, String)> {
    // Beside many writes there are to be many chunks.
    let sizes = ["64KiB", "256KiB", "4MiB"];
    let sizes = if plan.rate > 0 { &sizes[..2] } else { &sizes[..] };
    let bytes = *Dice::new(plan.seed ^ 0x5a).pick(sizes);
    let keyless = if plan.seed.is_multiple_of(2) { "lock" } else { "refuse" };
    // Tests run beside others: the threads of this machine say little.
    vec![
        ("snapshot.keyless", keyless.to_owned()),
        ("snapshot.chunk_bytes", bytes.to_owned()),
        ("snapshot.max_threads_running", "1000".to_owned()),
    ]
}

/// Who gives orders about snapshots.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) binary: PathBuf,
    /// Where the service is asked.
    pub(crate) address: String,
}

impl Operator {
    /// Gives an order; what came of it is for others to see.
    async fn order(&self, arguments: &[&str]) -> Result<(Option<i32>, String), Error> {
        let command = Command {
            binary: self.binary.clone(),
            command: "snapshot".to_owned(),
            settings: Vec::new(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: vec![("BINPULSE_HTTP_LISTEN", self.address.clone())],
        };
        command.run_to_end(COMMAND).await
    }

    /// Begins, pauses, resumes and stops snapshots for as long as it is let.
    pub(crate) async fn work(self, plan: Plan) {
        let mut dice = Dice::new(plan.seed ^ 0x0005_11a9);
        let mut tables =
            vec!["*", "*", "plain", "numbers", "composite", "bytes", "evolving_*", "texts"];
        if plan.rate > 0 {
            tables.extend(["busy"; 8]);
        }
        loop {
            sleep(Duration::from_millis(dice.between(100, 2_000))).await;
            let tables = format!("{DATABASE}.{}", dice.pick(&tables));
            let slow = dice.between(500, 5_000).to_string();
            let order: &[&str] = match dice.below(20) {
                0 => &["stop"],
                1 | 2 => &["pause"],
                3..=8 => &["resume"],
                9..=14 => &["start", "--tables", &tables, "--rows-per-second", &slow],
                _ => &["start", "--tables", &tables],
            };
            // Refused while another is under way, and lost while the service is down.
            self.order(order).await.ok();
        }
    }
}

impl Soak {
    /// A last snapshot of all tables, when nobody writes any more: it must come to its end.
    pub(crate) async fn last_snapshot(&mut self) -> Result<(), Error> {
        if !are_for(&self.plan) {
            return Ok(());
        }
        let operator = self.stage.operator();
        let give_up = Instant::now() + RECOVERY_MAX;
        let all = format!("{DATABASE}.*");
        let mut before = Value::Null;
        loop {
            self.stage.streamer.must_run()?;
            let snapshot = match self.stage.streamer.status().await {
                Ok(status) => status["snapshot"].clone(),
                Err(_) => Value::Null,
            };
            if !before.is_null() && snapshot["id"] != before && snapshot["state"] == "done" {
                self.must_be_whole(&snapshot);
                return Ok(());
            }
            if Instant::now() > give_up {
                let log = self.stage.streamer.log_tail();
                let what = format!("the last snapshot: {snapshot}; the log ends:\n{log}");
                return Err(Error::Deadline { what, seconds: RECOVERY_MAX.as_secs() });
            }
            if before.is_null() {
                if snapshot["state"] == "paused" {
                    operator.order(&["resume"]).await?;
                } else if snapshot["state"] != "running" {
                    let (code, _) = operator.order(&["start", "--tables", &all]).await?;
                    if code == Some(0) {
                        before = Value::from(snapshot["id"].as_str().unwrap_or("none"));
                    }
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Only tables without a key may have been left out.
    fn must_be_whole(&mut self, snapshot: &Value) {
        for table in snapshot["tables"].as_array().into_iter().flatten() {
            let reason = table["reason"].as_str().unwrap_or_default();
            if table["state"] != "done" && !reason.contains("it has no key") {
                self.wrong(format!("the last snapshot has given up {table}"));
            }
        }
    }
}
