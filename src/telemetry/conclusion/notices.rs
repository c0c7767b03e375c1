//! What a verdict does not tell, and somebody must know.

use std::collections::BTreeSet;

use serde::Serialize;

use super::consumers::owner;
use super::next::{Command, quote, quoted};
use super::text::{duration, few, sentence};
use crate::telemetry::status::{
    Consumer, ControlKind, ControlState, ControlStatus, Finding, Path, Progress, ReloadState,
    ReloadStatus, Status,
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
    /// The whole address of the runbook.
    pub runbook_url: String,
    /// Commands that it asks for, complete.
    pub commands: Vec<Command>,
}

/// Paths, or queues, that are told one by one; more of them are told together.
const ALIKE_MAX: usize = 2;

/// The worst first. One line a cause: what many paths or queues share is told once.
pub(super) fn of(status: &Status) -> Vec<Notice> {
    let tables = status.config.get("filter.tables").and_then(serde_json::Value::as_str);
    let loss = loss(status.verdict.unaccounted_transactions, tables.unwrap_or("*.*"));
    let paths: Vec<_> = status.paths.iter().filter(|path| path.failing).collect();
    let paths = if paths.len() > ALIKE_MAX {
        vec![many_paths(&paths)]
    } else {
        paths.into_iter().map(path).collect()
    };
    // A consumer's queue brings the canaries of all its paths.
    let mut blind: Vec<&Consumer> =
        status.consumers.iter().filter(|one| one.unreadable.is_some()).collect();
    let mut seen = BTreeSet::new();
    blind.retain(|one| seen.insert(owner(&one.name)));
    let echoes = if blind.len() > ALIKE_MAX {
        vec![many_echoes(&blind)]
    } else {
        blind.into_iter().filter_map(echo).collect()
    };
    let findings = findings(&status.findings);
    let quarantined = quarantined(status.sink.quarantined);
    let all = loss.into_iter().chain(quarantined).chain(purge(&status.progress)).chain(findings);
    let controls = status.controls.iter().filter_map(control);
    let mut all: Vec<_> =
        all.chain(settings(&status.reload)).chain(paths).chain(echoes).chain(controls).collect();
    for notice in &mut all {
        notice.commands = quoted(&notice.next_step, &status.surroundings);
    }
    all
}

fn settings(reload: &ReloadStatus) -> Option<Notice> {
    (reload.state == ReloadState::Refused).then(|| Notice {
        kind: NoticeKind::Settings,
        headline: "the settings that were read last were refused".to_owned(),
        text: format!(
            "The settings before them are in force, and a restart may not begin with these: {}",
            reload.told.split_whitespace().collect::<Vec<_>>().join(" ")
        ),
        next_step: "See all of it with `binpulse reload --check`, correct the settings, then \
                    `binpulse reload`."
            .to_owned(),
        runbook: "/runbooks/BinpulseReloadRefused".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    })
}

fn quarantined(count: u64) -> Option<Notice> {
    let what = if count == 1 { "entry was" } else { "entries were" };
    (count > 0).then(|| Notice {
        kind: NoticeKind::Quarantine,
        headline: format!("{count} {what} put into quarantine"),
        text: format!(
            "{count} {what} put into the quarantine file since the start: consumers do not have these \
             rows."
        ),
        next_step: "`binpulse redrive --dry-run` lists them with the reasons; the runbook says how they \
                    are sent."
            .to_owned(),
        runbook: "/runbooks/BinpulseMessagesQuarantined".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    })
}

fn many_paths(all: &[&Path]) -> Notice {
    let names: Vec<&str> = all.iter().map(|path| &*path.name).collect();
    let (names, first) = (few(&names), all.first().map_or("", |path| &*path.canary.last_result));
    Notice {
        kind: NoticeKind::Path,
        of: String::new(),
        headline: format!("canaries of {} paths are not written", all.len()),
        text: format!(
            "Canaries of {} paths are not written: {names}. The first because: {first}.",
            all.len()
        ),
        next_step:
            "Fix what keeps these canaries out of their tables; `binpulse check` tries their \
                    SQL and says what is wrong."
                .to_owned(),
        runbook: "/runbooks/BinpulseCanaryPathFailing".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    }
}

fn many_echoes(all: &[&Consumer]) -> Notice {
    let names: Vec<&str> = all.iter().map(|one| owner(&one.name)).collect();
    let first = all.iter().find_map(|one| one.unreadable.as_deref()).unwrap_or_default();
    Notice {
        kind: NoticeKind::Echo,
        of: String::new(),
        headline: format!("{} echo queues can't be read", all.len()),
        text: format!(
            "The echo queues of {} consumers can't be read: {}. Whether messages reach them is not \
             known. The first because: {first}.",
            all.len(),
            few(&names)
        ),
        next_step: "Check the URLs in canary.echo, sqs:ReceiveMessage on these queues, and the \
                    network to SQS."
            .to_owned(),
        runbook: "/runbooks/BinpulseEchoUnreadable".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    }
}

fn loss(missing: u64, tables: &str) -> Option<Notice> {
    let what = if missing == 1 { "transaction" } else { "transactions" };
    (missing > 0).then(|| Notice {
        kind: NoticeKind::Loss,
        of: String::new(),
        headline: format!("{missing} {what} did not come through the stream"),
        text: format!(
            "LOSS: {missing} {what} of the source did not come through the stream since the start. \
             Their rows are missing at every consumer: the certificate and the log name them."
        ),
        next_step: format!(
            "Find out which rows are missing, and tell the consumers: rows flow again, but these do not \
             come by themselves. `binpulse verify --tables {}` finds them in copies of the relay.",
            quote(tables)
        ),
        runbook: "/runbooks/BinpulseUnaccountedTransactions".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
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
        runbook_url: String::new(),
        ..Notice::default()
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
        runbook_url: String::new(),
        ..Notice::default()
    })
}

/// Intended, and so the last: but whoever sees that rows are missing must see why.
fn control(control: &ControlStatus) -> Option<Notice> {
    let ControlStatus { pattern, by, reason, rows, .. } = control;
    let quoted = quote(pattern);
    let (state, next) = match control.state {
        // A limit that is not exceeded keeps nothing from anybody.
        ControlState::Live => return None,
        ControlState::Holding if control.kind == ControlKind::Pause => (
            "are paused",
            format!(
                "Nothing, as long as that is wanted; `binpulse release {quoted}` ends it, and sends them."
            ),
        ),
        ControlState::Holding => (
            "are held back",
            format!("Nothing, as long as that is wanted; `binpulse release {quoted}` ends it."),
        ),
        ControlState::Sending if control.kind == ControlKind::Rate => {
            return Some(exceeded(control));
        }
        ControlState::Sending => (
            "that were held back are being sent",
            "Wait; `binpulse controls` shows how far it is.".to_owned(),
        ),
        ControlState::Releasing => ("are being released", "Wait.".to_owned()),
    };
    let left = kept(control);
    Some(Notice {
        kind: NoticeKind::Control,
        of: pattern.clone(),
        headline: format!("rows of {pattern} {state} by an operator"),
        text: format!("Rows of {pattern} {state} by {by}: {reason}. {rows} are held back.{left}"),
        next_step: next,
        runbook: "/runbooks/BinpulseSuppressed".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    })
}

/// Rows come faster than an operator lets them go.
fn exceeded(control: &ControlStatus) -> Notice {
    let ControlStatus { pattern, by, reason, rows, .. } = control;
    let rate = control.rows_per_second.unwrap_or_default();
    let quoted = quote(pattern);
    Notice {
        kind: NoticeKind::Control,
        of: pattern.clone(),
        headline: format!("rows of {pattern} come faster than their rate"),
        text: format!(
            "More rows of {pattern} come than the {rate} a second that {by} allowed: {reason}. {rows} \
             wait, and are sent at that rate.{}",
            kept(control)
        ),
        next_step: format!(
            "Nothing, if that is wanted; `binpulse release {quoted}` sends them as fast as can be, and \
             `binpulse rate {quoted} ROWS --reason TEXT` sets another rate."
        ),
        runbook: "/runbooks/BinpulseSuppressed".to_owned(),
        ..Notice::default()
    }
}

/// For how long the source keeps rows that are held back.
fn kept(control: &ControlStatus) -> String {
    control.purge_margin_seconds.map_or_else(String::new, |margin| {
        format!(" The source keeps them for {} more, at least.", duration(margin))
    })
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
        runbook_url: String::new(),
        ..Notice::default()
    }
}

fn echo(consumer: &Consumer) -> Option<Notice> {
    let name = owner(&consumer.name);
    consumer.unreadable.as_ref().map(|why| Notice {
        kind: NoticeKind::Echo,
        of: name.to_owned(),
        headline: format!("the echo queue of {name} can't be read"),
        text: format!(
            "The echo queue of {name} can't be read ({why}): whether messages reach this consumer is \
             not known."
        ),
        next_step: format!(
            "Check the URL of the echo queue of {name}, sqs:ReceiveMessage on it, and the network."
        ),
        runbook: "/runbooks/BinpulseEchoUnreadable".to_owned(),
        runbook_url: String::new(),
        ..Notice::default()
    })
}
