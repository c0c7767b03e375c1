//! The source at start: waited for, checked, and where the stream begins on it.

use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use super::catalog::{self, Catalog};
use super::patience::Patience;
use super::plan::Plan;
use super::primary::find;
use super::source_rollback::SourceRollback;
use crate::checkpoint::Checkpoint;
use crate::freshness::watch::Reporter;
use crate::freshness::{Observation, StreamFailure};
use crate::mysql::Session;
use crate::platform;
use crate::source::preflight::{self, Demands, Facts, Severity};
use crate::source::resume::{self, Resolved, Saved, Wanted};
use crate::source::{self, Recovery, Start};

/// Offset of a file's first event.
const FIRST: u64 = 4;

/// What was learnt about the source at start.
pub(super) struct Opened {
    /// The configuration with our server id chosen.
    pub(super) source: source::Config,
    /// Whether `information_schema` is asked for what the log does not tell of tables.
    pub(super) schema_fallback: bool,
    /// The host to dial first.
    pub(super) host: usize,
    /// Where the stream begins.
    pub(super) resolved: Resolved,
    /// What was asked for.
    pub(super) wanted: Wanted,
    /// `server_id` of the server.
    pub(super) server_id: u32,
    /// The filters against its tables.
    pub(super) catalog: Catalog,
    /// The file's own list of GTIDs is needed.
    pub(super) begins_by_position: bool,
}

impl Opened {
    /// The plan, with names compared as the server does.
    pub(super) fn plan(&self, plan: &Plan) -> Arc<Plan> {
        let mut plan = plan.clone();
        plan.compare_names(self.resolved.facts.name_case());
        Arc::new(plan)
    }
}

/// Waits for the source, judges it, and resolves where to begin. What is in the way is reported.
///
/// # Errors
///
/// What waiting does not fix, and a source that stays away for longer than the plan's patience.
pub(super) async fn open_source(
    plan: &Plan,
    saved: Option<&Checkpoint>,
    rollback: &SourceRollback,
    reporter: &Reporter,
) -> Result<Opened, StartError> {
    let wanted = wanted(plan, saved);
    let mut patience = Patience::new(plan.start_patience, "the source is not available yet");
    loop {
        let error = match checked(plan, &wanted, rollback).await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let passes = match &error {
            StartError::Source { error } => {
                reporter.report(Observation::StreamFailed(StreamFailure::of(error)));
                !matches!(error.recovery(), Recovery::Halt(_))
            }
            StartError::Refused(_) => false,
        };
        patience.after(error, passes).await?;
    }
}

/// Reports why no host of the source lets us in, if none does.
pub(super) async fn reach(plan: &Plan, reporter: &Reporter) {
    let mut failures = Vec::new();
    for host in &plan.source.hosts {
        let Ok(options) = plan.source.session(failures.len()) else { return };
        match Session::connect(&options).await {
            Ok(session) => return session.close().await,
            Err(error) => failures.push((host.clone(), error.into())),
        }
    }
    let error = source::Error::NoHost { failures };
    reporter.report(Observation::StreamFailed(StreamFailure::of(&error)));
}

/// Why the source can't be streamed from the start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The source's own words, with what to do.
    #[error("source: {error}; {}", .error.remedy())]
    Source {
        /// What happened.
        error: source::Error,
    },
    /// What `check` would say.
    #[error("the source is not set up for streaming:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
}

impl StartError {
    /// What the process ends with.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Source { error } if error.needs_operator() => Outcome::NeedsOperator,
            Self::Source { .. } | Self::Refused(_) => Outcome::Unavailable,
        }
    }
}

impl From<source::Error> for StartError {
    fn from(error: source::Error) -> Self {
        Self::Source { error }
    }
}

/// Where to begin: at the checkpoint, or where the plan says.
pub(super) fn wanted(plan: &Plan, saved: Option<&Checkpoint>) -> Wanted {
    saved.map_or_else(|| plan.start.clone(), |saved| Wanted::Saved(saved_place(saved)))
}

/// Where a checkpoint says to continue.
pub(super) fn saved_place(checkpoint: &Checkpoint) -> Saved {
    Saved {
        server: checkpoint.server_uuid.clone(),
        position: checkpoint.resume.position.clone(),
        gtids: checkpoint.gtid_set.clone(),
        maria: checkpoint.resume.maria.clone(),
        age: age_of(checkpoint.saved_at_us),
    }
}

/// How long ago a time was, microseconds since 1970 UTC; `None` if that lies ahead.
fn age_of(saved_at_us: i64) -> Option<Duration> {
    let age_us = platform::wall_us().checked_sub(saved_at_us)?;
    u64::try_from(age_us).ok().map(Duration::from_micros)
}

/// What the source must fulfil for this plan.
pub(super) fn demands(plan: &Plan) -> Demands {
    Demands {
        replica_uuid: plan
            .source
            .replica_uuid
            .unwrap_or_else(|| source::derive_replica_uuid(&plan.source.stream)),
        server_id: plan.source.server_id,
        several_hosts: plan.source.hosts.len() > 1,
        schema_fallback: plan.schema_fallback,
        full_images: !plan.freshness.routes.is_empty(),
    }
}

/// What a server says of itself, and of the tables that the filters name.
pub(super) async fn look(plan: &Plan, host: usize) -> Result<(Facts, Catalog), source::Error> {
    let mut session = Session::connect(&plan.source.session(host)?).await?;
    let facts = preflight::collect(&mut session).await?;
    let mut own = plan.clone();
    own.compare_names(facts.name_case());
    let catalog = catalog::read(&mut session, &facts, &own).await;
    session.close().await;
    Ok((facts, catalog))
}

/// Judges the source and resolves where to begin, once: on the primary, or else on the first host that
/// has what comes next.
pub(super) async fn checked(
    plan: &Plan,
    wanted: &Wanted,
    rollback: &SourceRollback,
) -> Result<Opened, StartError> {
    let (host, resolved) =
        resume::resolve_any(&plan.source, find(plan).await.first(), wanted).await?;
    rollback.refuse(plan.source.host(host)?).await?;
    let (facts, catalog) = look(plan, host).await?;
    let demands = demands(plan);
    let mut refused = Vec::new();
    for finding in preflight::evaluate(&facts, &demands).iter().chain(&catalog.findings) {
        match finding.severity {
            Severity::Refuse => refused.push(format!("  {finding}")),
            // Logged with the first connection.
            Severity::Note | Severity::Warn => {}
        }
    }
    if !refused.is_empty() {
        return Err(StartError::Refused(refused));
    }
    let mut source = plan.source.clone();
    source.server_id = Some(source.server_id.unwrap_or_else(|| {
        preflight::choose_server_id(&plan.source.stream, &facts, demands.replica_uuid)
    }));
    // Whatever the mode is now: it may be ON later, and then the set has to be whole.
    let begins_by_position =
        matches!(&resolved.start, Start::Position(position) if position.offset <= FIRST);
    Ok(Opened {
        source,
        schema_fallback: plan.schema_fallback,
        host,
        resolved,
        wanted: wanted.clone(),
        server_id: facts.server_id(),
        begins_by_position,
        catalog,
    })
}
