//! Where the stream would begin, and whether the source serves it from there: dialled as `run` does,
//! under another name, up to the first event.

use std::time::Duration;

use tokio::time::timeout;

use super::Report;
use crate::app::plan::Plan;
use crate::app::source::{Opened, StartError, checked, wanted};
use crate::app::source_rollback::SourceRollback;
use crate::app::{echo, previous_run};
use crate::aws;
use crate::checkpoint::Checkpoint;
use crate::freshness::Received;
use crate::source::{self, Liveness, Recovery, Replica};

/// How long the first event is waited for: a server that seeks in its logs has refused nothing.
const FIRST_EVENT_MAX: Duration = Duration::from_secs(5);
/// Events that begin each log, and say nothing of what comes: rotate, format, GTIDs before.
const PREAMBLE: [u8; 4] = [4, 15, 35, 163];

/// Looks, and makes of the reports about servers what `run` makes of them: one that can be streamed
/// from is enough.
pub(super) async fn check(
    plan: &Plan,
    shared: Option<&aws::Shared>,
    saved: Option<&Checkpoint>,
    reports: &mut Vec<Report>,
) {
    const NEEDED: &str = "a server that has the binary log that comes next";
    let what = if saved.is_some() { "position of the checkpoint" } else { "source.start" };
    let wrong =
        |error: &source::Error| Report::wrong(what, error.to_string(), NEEDED, error.remedy());
    let canary = match saved.zip(shared) {
        Some((saved, shared)) => echo::newest(plan, shared, saved.epoch).await,
        None => None,
    };
    let rollback = SourceRollback::new(plan, Received::default(), saved).with_canary(plan, canary);
    let opened = match checked(plan, &wanted(plan, saved), &rollback).await {
        Ok(opened) => opened,
        // Told already, server by server.
        Err(StartError::Refused(_)) => return,
        Err(StartError::Source { error }) => {
            if error.needs_operator() || !reports.iter().any(|report| report.refuses) {
                reports.push(wrong(&error));
            }
            return;
        }
    };
    for report in reports.iter_mut() {
        report.refuses &= !report.what.starts_with(super::SERVER);
    }
    let asks = saved.is_none() && (plan.freshness.heartbeats || plan.checkpoint.file.is_none());
    if let Some(streamed) = plan.source.hosts.get(opened.host).filter(|_| asks) {
        // That the source can't be asked is told by what asks it first.
        let before = previous_run::ask(plan, streamed).await.ok().flatten();
        if let Some(Err(error)) = before.map(|before| before.permitted(plan)) {
            const NEEDED: &str = "the checkpoint of a stream that has run before";
            let remedy = "restore it, or start once with --new-epoch as described";
            reports.push(Report::wrong("checkpoint", error.to_string(), NEEDED, remedy));
        }
    }
    let host = plan.source.hosts.get(opened.host).map(ToString::to_string).unwrap_or_default();
    reports.push(match serves(plan, &opened).await {
        Ok(()) => Report::fine(what, format!("{host} has the binary log that comes next")),
        Err(error) => {
            let refuses = matches!(error.recovery(), Recovery::Halt(_));
            Report { refuses, ..wrong(&error) }
        }
    });
}

/// Reads up to the first event of its own, or for a while.
async fn serves(plan: &Plan, opened: &Opened) -> Result<(), source::Error> {
    let mut apart = plan.clone();
    // The server throws the elder of two replicas with one UUID out.
    apart.name_apart("check");
    let (start, liveness) = (&opened.resolved.start, Liveness::new());
    let mut replica = Replica::connect(&apart.source, opened.host, start, &liveness).await?;
    let first = async {
        while let Some(event) = replica.next().await? {
            // The type is the fifth byte of an event.
            if event.get(4).is_none_or(|kind| !PREAMBLE.contains(kind)) {
                break;
            }
        }
        Ok(())
    };
    timeout(FIRST_EVENT_MAX, first).await.unwrap_or(Ok(()))
}
