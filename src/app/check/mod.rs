//! What `run` would meet: every finding about address, server, account, checkpoint, position, files,
//! schema and topic, none of them fatal for the look at the others. Whether `run` would start is the
//! same question as whether a report refuses: a test compares the two.

mod echo;
mod files;
mod paths;
mod place;
mod snapshot;

use super::begin::table_config;
use super::catalog;
use super::lease;
use super::plan::{Plan, SinkPlan};
use super::primary::written_to;
use super::sink::{AnySink, aws_config};
use super::source::demands;
use super::unlogged;
use crate::aws;
use crate::change::NameCase;
use crate::checkpoint::{self, Checkpoint, TableStore};
use crate::freshness::schema::{
    CANARY, CANARY_COUNTER, CHECKPOINT, CHECKPOINT_LANE, HEARTBEAT, HISTORY, LEASE,
};
use crate::freshness::{SqlFailure, WriteSession};
use crate::mysql::{ConnectOptions, Session};
use crate::sink;
use crate::source::preflight::{self, Severity};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub what: String,
    /// What it is.
    pub found: String,
    /// What it should be; empty when it is fine.
    pub needed: String,
    /// What fixes it; empty when it is fine.
    pub remedy: String,
    /// Whether it is fine.
    pub ok: bool,
    /// Whether `run` would refuse to start.
    pub refuses: bool,
}

impl Report {
    pub(in crate::app) fn fine(what: &str, found: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            found: found.into(),
            needed: String::new(),
            remedy: String::new(),
            ok: true,
            refuses: false,
        }
    }

    pub(in crate::app) fn wrong(what: &str, found: String, needed: &str, remedy: &str) -> Self {
        Self {
            what: what.to_owned(),
            found,
            needed: needed.to_owned(),
            remedy: remedy.to_owned(),
            ok: false,
            refuses: true,
        }
    }

    /// The same, where it keeps nothing from starting.
    pub(in crate::app) fn warning(what: &str, found: String, needed: &str, remedy: &str) -> Self {
        Self { refuses: false, ..Self::wrong(what, found, needed, remedy) }
    }

    /// As one JSON document.
    pub fn json(&self) -> String {
        serde_json::json!({
            "what": self.what,
            "found": self.found,
            "needed": self.needed,
            "remedy": self.remedy,
            "ok": self.ok,
            "refuses": self.refuses,
        })
        .to_string()
    }
}

/// Of a server from which a snapshot is to be read.
const GTIDS_NEEDED: &str = "ON: without it no snapshot begins (snapshot.on_start), and positions hold on \
                            this one server only";

/// What reports about servers begin with.
const SERVER: &str = "server ";

/// Looks at everything.
pub async fn run(plan: &Plan) -> Vec<Report> {
    let mut reports = Vec::new();
    look(plan, &mut reports).await;
    reports
}

/// The same; what was found is there also if this is given up.
pub async fn look(plan: &Plan, reports: &mut Vec<Report>) {
    let shared = aws::Shared::load(&aws_config(plan)).await;
    let mut plan = plan.clone();
    files::listen(&plan, reports).await;
    let mut names = None;
    for host in 0..plan.source.hosts.len() {
        let case = source(&plan, host, reports).await;
        names = names.or(case);
    }
    // As the first that answers does, which is the one that is streamed from.
    plan.compare_names(names.unwrap_or_default());
    let plan = &plan;
    let saved = match &plan.checkpoint.file {
        Some(path) => files::checkpoint(plan, path, reports).await,
        None => checkpoint(plan, reports).await,
    };
    // It acts only without a checkpoint.
    if matches!(saved, Some(None)) {
        snapshot::check(plan, reports).await;
    }
    if let Some(saved) = saved {
        place::check(plan, shared.as_ref().ok(), saved.as_ref(), reports).await;
    }
    files::quarantine(plan, reports).await;
    if plan.freshness.heartbeats || plan.freshness.canaries {
        freshness(plan, reports).await;
    }
    match shared {
        Ok(shared) => {
            sink(plan, &shared, reports).await;
            echo::check(plan, &shared, reports).await;
        }
        Err(error) => {
            let (needed, remedy) = ("valid settings for AWS", "correct it where it is set");
            reports.push(Report::wrong("AWS", error.to_string(), needed, remedy));
        }
    }
}

/// Looks at a server; how it compares names, if it answers.
async fn source(plan: &Plan, host: usize, reports: &mut Vec<Report>) -> Option<NameCase> {
    let options = plan.source.session(host).ok()?;
    let what = format!("{SERVER}{}", options.host);
    let facts = async {
        let mut session = Session::connect(&options).await?;
        let facts = preflight::collect(&mut session).await?;
        let depends_on_cache = session.depends_on_cache();
        let mut plan = plan.clone();
        plan.compare_names(facts.name_case());
        let catalog = catalog::read(&mut session, &facts, &plan).await;
        session.close().await;
        Ok::<_, crate::mysql::Error>((facts, catalog, depends_on_cache))
    };
    let (facts, catalog, depends_on_cache) = match facts.await {
        Ok(looked) => looked,
        Err(error) => {
            let error = crate::source::Error::from(error);
            let needed = "a server that answers and accepts the account";
            reports.push(Report::wrong(&what, error.to_string(), needed, error.remedy()));
            return None;
        }
    };
    reports.push(Report::fine(&what, format!("{} {}", facts.flavor, facts.version)));
    if depends_on_cache {
        let found = "without TLS the login works only while the server has the account in its \
                     cache, which is empty after a restart of the server";
        let mut report = Report::wrong(
            &format!("{what}: login"),
            found.to_owned(),
            "TLS, or permission to request the server's public key",
            "set source.tls = \"required\" or stricter; or, on a trusted network, \
             source.get_server_public_key = true",
        );
        report.refuses = false;
        reports.push(report);
    }
    if let Some(unseen) = catalog.unseen {
        reports.push(Report::fine(&format!("{what}: SELECT"), unseen));
    }
    let own = plan.freshness.schema.as_str();
    let unlogged = unlogged::unlogged(&facts, &plan.filter, own).into_iter().map(|(_, it)| it);
    let evaluated = preflight::evaluate(&facts, &demands(plan)).into_iter();
    for finding in evaluated.chain(catalog.findings).chain(unlogged) {
        let is_of_snapshot = plan.snapshot.on_start && finding.what == "gtid_mode";
        let needed = if is_of_snapshot { GTIDS_NEEDED } else { finding.needed };
        reports.push(Report {
            what: format!("{what}: {}", finding.what),
            found: finding.found,
            needed: needed.to_owned(),
            remedy: finding.remedy,
            ok: false,
            refuses: finding.severity == Severity::Refuse,
        });
    }
    Some(facts.name_case())
}

/// The writer's account and our tables. Without them the stream runs, but can't be proven alive.
async fn freshness(plan: &Plan, reports: &mut Vec<Report>) {
    const WRITER: &str = "an account that can write to the schema and has no further privileges; \
                          without it the stream runs, but quiet can't be proven";
    let host = written_to(plan).await;
    let config = super::freshness::writer_config(plan, &host, String::new());
    let mut writer = match WriteSession::connect(&config).await {
        Ok(writer) => writer,
        Err(refusal) => {
            let remedy = remedy(plan, refusal.reason);
            let mut report = Report::wrong("heartbeat writer", refusal.message, WRITER, &remedy);
            report.refuses = false;
            reports.push(report);
            return;
        }
    };
    let history = plan.checkpoint.file.is_none().then_some(HISTORY);
    for table in [HEARTBEAT, CANARY, CANARY_COUNTER, LEASE].into_iter().chain(history) {
        table_of_ours(plan, &mut writer.session, table, reports).await;
    }
    if plan.freshness.heartbeats {
        // A table that is missing was told.
        if let Ok(Some(held)) = lease::look(plan, &host, &mut writer).await {
            let needed = "no other process of this stream";
            let remedy = "stop that one first; beside the running service this is as it should be";
            reports.push(Report::wrong("lease", held, needed, remedy));
        }
    }
    for route in &plan.freshness.routes {
        paths::check(plan, route, &mut writer, reports).await;
    }
}

/// The tables that the checkpoint is kept in, and what they say. Without them nothing starts: `None`.
async fn checkpoint(plan: &Plan, reports: &mut Vec<Report>) -> Option<Option<Checkpoint>> {
    let host = written_to(plan).await;
    let connect = ConnectOptions { host: host.now(), ..plan.freshness.connect.clone() };
    let mut session = match Session::connect(&connect).await {
        Ok(session) => session,
        Err(error) => {
            let needed = "an account that can write to the schema";
            let remedy = remedy(plan, SqlFailure::of(&error));
            reports.push(Report::wrong("checkpoint store", error.to_string(), needed, &remedy));
            return None;
        }
    };
    nothing_outside(plan, reports);
    let before = reports.len();
    for table in [CHECKPOINT, CHECKPOINT_LANE] {
        table_of_ours(plan, &mut session, table, reports).await;
        if let Some(report) = reports.last_mut() {
            report.refuses = !report.ok;
        }
    }
    session.close().await;
    if reports.iter().skip(before).any(|report| report.refuses) {
        return None;
    }
    match TableStore::rehearse(table_config(plan, &host, String::new())).await {
        Ok(saved) => {
            reports.push(Report::fine("checkpoint store", files::found(saved.as_ref())));
            Some(saved)
        }
        Err(error) => {
            let (needed, remedy) = if let checkpoint::Error::Database { code, .. } = &error {
                (TABLE_NEEDED, remedy(plan, SqlFailure::of_code(*code)))
            } else {
                let (needed, remedy) = files::of_checkpoint(&error);
                (needed, remedy.to_owned())
            };
            reports.push(Report::wrong("checkpoint store", error.to_string(), needed, &remedy));
            None
        }
    }
}

/// A checkpoint in the source is put back together with it: what left the source has to tell.
fn nothing_outside(plan: &Plan, reports: &mut Vec<Report>) {
    const NEEDED: &str = "canaries and an echo queue that is not FIFO: it keeps the newest canary";
    let mut queues = plan.freshness.echoes.iter();
    if queues.any(|(_, url)| crate::app::echo::keeps_newest(plan, url)) {
        return;
    }
    let found = "in a table, and nothing outside the source records what was read from it: a \
                 source restored from an older backup would not be detected at start";
    let remedy = "name a queue in canary.echo and set canary.enabled = true, or set checkpoint.store = \
                \"file\"";
    let report = Report::wrong("checkpoint.store", found.to_owned(), NEEDED, remedy);
    reports.push(Report { refuses: false, ..report });
}

const TABLE_NEEDED: &str = "the table, and SELECT, INSERT, UPDATE, DELETE on it";

async fn table_of_ours(plan: &Plan, session: &mut Session, table: &str, reports: &mut Vec<Report>) {
    let name = plan.freshness.schema.table(table);
    reports.push(match session.query(&format!("SELECT 1 FROM {name} LIMIT 1")).await {
        Ok(_) => Report::fine("table", name),
        Err(error) => {
            let remedy = remedy(plan, SqlFailure::of(&error));
            let what = format!("table {name}");
            Report {
                refuses: false,
                ..Report::wrong(&what, error.to_string(), TABLE_NEEDED, &remedy)
            }
        }
    });
}

/// What fixes a writer's account or tables.
fn remedy(plan: &Plan, reason: SqlFailure) -> String {
    let freshness = &plan.freshness;
    reason.remedy(&freshness.connect.user, freshness.schema.as_str())
}

async fn sink(plan: &Plan, shared: &aws::Shared, reports: &mut Vec<Report>) {
    if !matches!(plan.sink, SinkPlan::Sns { .. }) {
        return;
    }
    match AnySink::open(plan, shared, &sink::Health::new()).await {
        Ok((_, topics)) => {
            for topic in topics.known.values() {
                let kind = if topic.fifo { "FIFO" } else { "standard" };
                let found = format!("{kind}, messages up to {} bytes", topic.message_bytes_max);
                reports.push(Report::fine(&format!("topic {}", topic.arn), found));
            }
        }
        Err(error) => reports.push(topic(error)),
    }
}

/// What is wrong with the topic.
fn topic(error: sink::Error) -> Report {
    const NEEDED: &str = "a topic that exists and allows sns:Publish";
    match error {
        sink::Error::Topic { arn, code, text, remedy, .. } => {
            Report::wrong(&format!("topic {arn}"), format!("{code}: {text}"), NEEDED, remedy)
        }
        sink::Error::OtherRegion { arn, found, configured } => Report::wrong(
            &format!("topic {arn}"),
            format!("it is in region {found}, but sns.region is {configured}"),
            NEEDED,
            &format!("set sns.region = \"{found}\", or leave it out"),
        ),
        other @ (sink::Error::NotATopic { .. }
        | sink::Error::Output(_)
        | sink::Error::Halted(_)
        | sink::Error::Unfinished { .. }
        | sink::Error::Abandoned
        | sink::Error::Task(_)) => {
            let remedy = "name a topic's ARN in sns.topic, such as \
                        arn:aws:sns:eu-central-1:123456789012:shop-changes";
            Report::wrong("topic", other.to_string(), NEEDED, remedy)
        }
    }
}
