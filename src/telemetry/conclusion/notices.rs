//! What a verdict does not tell, and somebody must know.

use serde::Serialize;

use super::text::{duration, sentence};
use crate::telemetry::status::{
    Consumer, ControlState, ControlStatus, Finding, Path, Progress, Status,
};
use crate::telemetry::words::{FindingLevel, NoticeKind};

/// The part of the source's expiry below which somebody must act, as the alert has it.
const MARGIN_LEAST: f64 = 0.25;

/// Most findings that are told one by one.
const FINDINGS_MAX: usize = 5;

/// Something that needs attention whatever the verdict is.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// Whose it is: a path, a consumer, what was found; else empty.
    pub of: String,
    /// What is so, in a few words.
    pub headline: String,
    /// What is so.
    pub text: String,
    /// What to do.
    pub next_step: String,
    /// Path of the runbook on this server.
    pub runbook: String,
}

/// The worst first.
pub(super) fn of(status: &Status) -> Vec<Notice> {
    let loss = loss(status.verdict.unaccounted_transactions);
    let paths = status.paths.iter().filter(|path| path.failing).map(path);
    let echoes = status.consumers.iter().filter_map(echo);
    let findings = findings(&status.findings);
    let all = loss.into_iter().chain(purge(&status.progress)).chain(findings);
    all.chain(paths).chain(echoes).chain(status.controls.iter().map(control)).collect()
}

fn loss(missing: u64) -> Option<Notice> {
    let what = if missing == 1 { "transaction" } else { "transactions" };
    (missing > 0).then(|| Notice {
        kind: NoticeKind::Loss,
        of: String::new(),
        headline: format!("{missing} {what} did not come through the stream"),
        text: format!(
            "LOSS: {missing} {what} of the source did not come through the stream since the start. \
             Their rows are missing at every consumer: the certificate and the log name them."
        ),
        next_step: "Find out which rows are missing, and tell the consumers: rows flow again, but \
                    these do not come by themselves."
            .to_owned(),
        runbook: "/runbooks/BinpulseUnaccountedTransactions".to_owned(),
    })
}

fn purge(progress: &Progress) -> Option<Notice> {
    let (margin, expiry) = progress.purge_margin_seconds.zip(progress.log_expiry_seconds)?;
    let when =
        if margin > 0.0 { format!("In {}", duration(margin)) } else { "At any time".to_owned() };
    (margin < MARGIN_LEAST * expiry).then(|| Notice {
        kind: NoticeKind::Purge,
        of: String::new(),
        headline: "the source will soon purge logs that are still needed".to_owned(),
        text: format!(
            "{when} the source may purge binary logs that are not delivered yet: then rows are lost. \
             It keeps logs for {}.",
            duration(expiry)
        ),
        next_step: "Lengthen binlog_expire_logs_seconds on the source now, and fix what holds \
                    delivery up."
            .to_owned(),
        runbook: "/runbooks/BinpulsePurgeMarginLow".to_owned(),
    })
}

/// Those that somebody must act on. What many patterns or databases share is told of the first few: all
/// are in the list of findings.
fn findings(all: &[Finding]) -> impl Iterator<Item = Notice> {
    let urgent = all.iter().filter(|finding| finding.level != FindingLevel::Note);
    urgent.take(FINDINGS_MAX).map(|Finding { what, found, needed, remedy, .. }| Notice {
        kind: NoticeKind::Finding,
        of: what.clone(),
        headline: format!("{what} is not as it should be"),
        text: format!("{what}: found {found}, needed {needed}."),
        next_step: sentence(remedy.trim_end_matches(';')),
        runbook: "/runbooks/BinpulseSourceFinding".to_owned(),
    })
}

/// Intended, and so the last: but whoever sees that rows are missing must see why.
fn control(control: &ControlStatus) -> Notice {
    let ControlStatus { pattern, by, reason, rows, .. } = control;
    let (state, next) = match control.state {
        ControlState::Holding => (
            "are held back",
            format!("Nothing, as long as that is wanted; `binpulse release '{pattern}'` ends it."),
        ),
        ControlState::Sending => (
            "that were held back are being sent",
            "Wait; `binpulse controls` shows how far it is.".to_owned(),
        ),
        ControlState::Releasing => ("are being released", "Wait.".to_owned()),
    };
    let left = control.purge_margin_seconds.map_or_else(String::new, |margin| {
        format!(" The source keeps them for {} more, at least.", duration(margin))
    });
    Notice {
        kind: NoticeKind::Control,
        of: pattern.clone(),
        headline: format!("rows of {pattern} {state} by an operator"),
        text: format!("Rows of {pattern} {state} by {by}: {reason}. {rows} are held back.{left}"),
        next_step: next,
        runbook: "/runbooks/BinpulseSuppressed".to_owned(),
    }
}

fn path(path: &Path) -> Notice {
    let Path { name, table, canary, .. } = path;
    Notice {
        kind: NoticeKind::Path,
        of: name.clone(),
        headline: format!("canaries of the path {name} are not written"),
        text: format!(
            "Canaries of the path {name} are not written into {table} ({}): whether rows of this \
             table reach their consumers is not watched.",
            canary.last_result
        ),
        next_step: format!(
            "Fix what keeps the canary of {name} out of {table}; `binpulse check` tries its SQL and \
             says what is wrong."
        ),
        runbook: "/runbooks/BinpulseCanaryPathFailing".to_owned(),
    }
}

fn echo(consumer: &Consumer) -> Option<Notice> {
    let Consumer { name, .. } = consumer;
    consumer.unreadable.as_ref().map(|why| Notice {
        kind: NoticeKind::Echo,
        of: name.clone(),
        headline: format!("the echo queue of {name} can't be read"),
        text: format!(
            "The echo queue of {name} can't be read ({why}): whether messages reach this consumer is \
             not known."
        ),
        next_step: format!(
            "Check the URL of the echo queue of {name}, sqs:ReceiveMessage on it, and the network."
        ),
        runbook: "/runbooks/BinpulseEchoUnreadable".to_owned(),
    })
}
