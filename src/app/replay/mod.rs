//! Rows of a stretch of the log, published again under the numbers that they had.
//!
//! ```text
//! peek      the service's checkpoint: a place, and each lane's next number there
//! count     the log from the time to that place, to nowhere: rows of each lane
//! publish   the same stretch again, each lane's numbers beginning that many before its next
//! ```
//!
//! Of a range of one lane's rows, the second reading publishes only these, and ends behind the last of
//! them. Where the time of the first is not known, it is looked for: `range`.
//!
//! So nothing has to be kept for it: wherever the source still has its log, and whichever store the
//! checkpoint is in. The service continues meanwhile, and what it does is not touched.

mod job;
mod numbers;
mod pass;
mod range;
mod read_again;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::begin::table_config;
use super::plan::{Plan, SinkPlan};
use super::primary::written_to;
use crate::change::Position;
use crate::checkpoint::{self, Checkpoint, FileStore, TableStore};
use crate::control::{self, Control as Hold, Saved, SendRate};
use crate::encode::Lane;
use crate::filter::{Pattern, UnreadableVersion, Versions};
use crate::pack::RowRange;
use crate::pipeline::{self, SurplusRows, Window};
use crate::sink::topic::Template;
use crate::sink::{self, Permit};
use crate::source;
use crate::source::resume::{self, Resolved, Wanted};

pub(super) use job::{Command, ReplayHandle, bounded, metric_outcomes, run_jobs};
use numbers::Numbers;
pub(super) use numbers::RowCountMismatch;
use pass::{Pass, PassSink, Passed};
pub(super) use read_again::ReadAgain;
pub use watch::{ReplayProgress, Watch};

/// What is to be published again.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// From the first transaction on that committed then or later, microseconds since 1970 UTC. With
    /// `rows`, where to look for them first; `None`: near `until_us`, or now.
    pub since_us: Option<i64>,
    /// Up to the first that committed then or later, microseconds since 1970 UTC; `None`: as far as
    /// the service has delivered. With `rows`, when a row behind them was committed.
    pub until_us: Option<i64>,
    /// Only these rows, one range of each lane; empty: no such limit.
    pub rows: Vec<RowRange>,
    /// Only rows of tables that match; empty: of all that the filters let pass, and statements.
    pub tables: Vec<Pattern>,
    /// To this topic; `None`: to those of the service.
    pub topic: Option<String>,
    /// Value of the attribute `replay`; `None`: the rows were held back, and are sent for the first time.
    pub audience: Option<String>,
    /// Only count.
    pub dry_run: bool,
    /// Whether it may publish now: of a process that may lose the stream to another.
    pub permit: Permit,
    /// How fast; `None`: as fast as can be.
    pub pace: Option<Arc<SendRate>>,
    /// Who is told how far it is, instead of the log.
    pub watch: Watch,
}

/// What was published, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Rows and statements.
    pub rows: u64,
    /// Messages accepted, by nobody if it was only counted.
    pub messages: u64,
    /// Lanes that they are of: first and last number.
    pub lanes: Vec<(Arc<str>, u64, u64)>,
    /// Epoch of the numbers.
    pub epoch: u64,
    /// Up to here.
    pub until: Position,
    /// Commit time of the last transaction that was read, microseconds since 1970 UTC.
    pub until_us: i64,
    /// It was told to stop before the end.
    pub is_interrupted: bool,
}

/// Why nothing, or not all, was published again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no checkpoint, or it can't be read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The service has not delivered anything yet.
    #[error(
        "the stream `{stream}` has no checkpoint with a position yet: there is nothing to repeat"
    )]
    NotBegun {
        /// The stream.
        stream: String,
    },
    /// The settings would number rows otherwise than the service does.
    #[error(
        "message.lanes is {found}, and the service's checkpoint has {saved}: rows would get other \
         numbers; use the service's settings"
    )]
    OtherLanes {
        /// As set here.
        found: u64,
        /// As in the checkpoint.
        saved: u64,
    },
    /// Only on the server that the checkpoint speaks of rows have the order that they had.
    #[error(
        "no host of source.hosts is the server {wanted} that the checkpoint names (found: {}); \
         another server's log may have another order",
        .found.join(", ")
    )]
    OtherServer {
        /// The checkpoint's server.
        wanted: String,
        /// The servers that answered.
        found: Vec<String>,
    },
    /// The source, or the log.
    #[error("source: {error}; {}", .error.remedy())]
    Source {
        /// What happened.
        error: source::Error,
    },
    /// More rows than were published.
    #[error("{beyond}; {}", earliest_text(*.earliest_us))]
    RowCountMismatch {
        /// Of which lane, and how many.
        beyond: RowCountMismatch,
        /// The earliest time since which there are no more, microseconds since 1970 UTC; `None`: it was
        /// not found out.
        earliest_us: Option<i64>,
    },
    /// The lane that is named is none.
    #[error("`{lane}` is no lane of a table: expected the form `database.table#0`")]
    NoLane {
        /// As given.
        lane: Arc<str>,
    },
    /// Rows that the checkpoint does not know as delivered.
    #[error(
        "lane {lane} has rows up to {} in the checkpoint of epoch {epoch}, and {last} was asked for",
        published
    )]
    NotPublished {
        /// The lane.
        lane: Arc<str>,
        /// Number of its last row; 0: it has none.
        published: u64,
        /// The last number that was asked for.
        last: u64,
        /// The checkpoint's epoch.
        epoch: u64,
    },
    /// Rows that an operator holds back.
    #[error(
        "lane {lane} is held back ({pattern}) by {by}: {reason}; `binpulse release --send` sends what \
         was held back"
    )]
    Suppressed {
        /// The lane.
        lane: Arc<str>,
        /// The control's pattern.
        pattern: String,
        /// Who asked for it.
        by: String,
        /// Why.
        reason: String,
    },
    /// What is held back can't be told.
    #[error(transparent)]
    Controls(#[from] control::Unreadable),
    /// Which filters were in force can't be told.
    #[error(transparent)]
    Filters(#[from] UnreadableVersion),
    /// Nobody knows any more which filters were in force.
    #[error(
        "the filters that were in force before {} are forgotten: rows from before would get other numbers",
        source::time_text(*.since_us)
    )]
    FiltersForgotten {
        /// Since when they are known, microseconds since 1970 UTC.
        since_us: i64,
    },
    /// Rows that the log has no more.
    #[error(
        "row {first} of lane {lane} lies before the binary logs that are left{}; read the rows that \
         are in the table with `binpulse snapshot start`",
        .found.map_or_else(String::new, |found| format!(", in which the lane begins with row {found}"))
    )]
    NotInLog {
        /// The lane.
        lane: Arc<str>,
        /// The number that was asked for.
        first: u64,
        /// The first number that the log has; `None`: the log has no row of the lane.
        found: Option<u64>,
    },
    /// The topic can't be used.
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// The topic's name.
    #[error("{0}")]
    Topic(String),
    /// What broke on the way. What was published before stays published.
    #[error("{0}; run it again: it repeats the same numbers")]
    Broken(pipeline::Error),
    /// A part could not be started.
    #[error("{0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self::Source { error }
    }
}

impl From<super::Unavailable> for Error {
    fn from(error: super::Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// Publishes again, or counts.
pub async fn replay(
    plan: Plan,
    request: ReplayRequest,
    stop: &CancellationToken,
) -> Result<Report, Error> {
    let saved = peek(&plan).await?;
    let mut plan = narrowed(plan, &request, &saved)?;
    let counted = if request.rows.is_empty() {
        let since_us = request.since_us.unwrap_or_default();
        Box::pin(count(&mut plan, &saved, since_us, &request.watch, stop)).await?
    } else {
        Box::pin(range::find(&mut plan, &saved, &request, stop)).await?
    };
    let Some(Counted { host, resolved, firsts, passed }) = counted else {
        return Ok(Report { is_interrupted: true, ..Report::default() });
    };
    let until_us = request.until_us.filter(|_| request.rows.is_empty());
    if request.dry_run && until_us.is_none() {
        // A second reading would end where the first did.
        let passed = Passed { lanes: saved.lanes.clone(), ..passed };
        return Ok(report(&saved, &firsts, passed, &request.rows));
    }
    let way =
        if request.dry_run { PassSink::nowhere() } else { PassSink::open(&plan, &request).await? };
    tracing::info!(lanes = firsts.len(), "the rows are counted");
    let watch = &request.watch;
    let stretch = ReplayRange { plan: &plan, host, resolved: &resolved, saved: &saved, watch };
    let mut pass = stretch.pass(firsts.clone(), until_us);
    pass.pace.clone_from(&request.pace);
    if !request.rows.is_empty() {
        // Behind the last of them nothing is left to do.
        let last = request.rows.iter().map(|rows| (Arc::clone(&rows.lane), rows.last));
        pass.surplus_rows = Some(Arc::new(SurplusRows::of(last.collect())));
    }
    let passed = Box::pin(pass.run(way, stop)).await?;
    Ok(report(&saved, &firsts, passed, &request.rows))
}

/// A stretch of the log whose rows are counted.
struct Counted {
    host: usize,
    resolved: Resolved,
    /// The number of each lane's first row in it.
    firsts: Numbers,
    passed: Passed,
}

/// Counts the rows since a time; `None`: it was told to stop.
async fn count(
    plan: &mut Plan,
    saved: &Checkpoint,
    since_us: i64,
    watch: &Watch,
    stop: &CancellationToken,
) -> Result<Option<Counted>, Error> {
    if let Some(since_us) = plan.filter_versions.known_since_us().filter(|it| since_us < *it) {
        return Err(Error::FiltersForgotten { since_us });
    }
    let (host, resolved) = resolve(plan, saved, since_us).await?;
    plan.compare_names(resolved.facts.name_case());
    let stretch = ReplayRange { plan, host, resolved: &resolved, saved, watch };
    let pass = stretch.pass(Numbers::new(), None);
    let passed = Box::pin(pass.run(PassSink::nowhere(), stop)).await?;
    if passed.is_interrupted {
        return Ok(None);
    }
    match numbers::firsts(&saved.lanes, &passed.lanes) {
        Ok(firsts) => Ok(Some(Counted { host, resolved, firsts, passed })),
        Err(beyond) => {
            let rows = numbers::surplus(&saved.lanes, &passed.lanes);
            let earliest_us = Box::pin(stretch.earliest_us(rows, stop)).await?;
            Err(Error::RowCountMismatch { beyond, earliest_us })
        }
    }
}

/// The service's checkpoint, looked at.
pub(super) async fn peek(plan: &Plan) -> Result<Checkpoint, Error> {
    let saved = match &plan.checkpoint.file {
        Some(path) => FileStore::peek(path.clone(), &plan.stream).await?,
        None => {
            TableStore::peek(table_config(plan, &written_to(plan).await, String::new())).await?
        }
    };
    let not_begun = || Error::NotBegun { stream: plan.stream.clone() };
    let mut saved =
        saved.filter(|saved| !saved.settled.position.file.is_empty()).ok_or_else(not_begun)?;
    let layout = Lane::notice_key_of("lanes");
    let (found, lanes) = (u64::from(plan.pack.lanes), saved.lanes.remove(layout.as_str()));
    let lanes = lanes.unwrap_or(1);
    if lanes != found {
        return Err(Error::OtherLanes { found, saved: lanes });
    }
    Ok(saved)
}

/// The service's plan, made to do this and nothing else.
fn narrowed(mut plan: Plan, request: &ReplayRequest, saved: &Checkpoint) -> Result<Plan, Error> {
    plan.filter_versions = Versions::read(&saved.annotations)?;
    let is_release = request.audience.is_none();
    plan.name_apart(if is_release { "release" } else { "replay" });
    // Nothing may be quarantined a second time.
    plan.quarantine.file = None;
    plan.quarantine.refused = false;
    plan.quarantine.undecoded = false;
    if !request.tables.is_empty() {
        plan.filter.only.clone_from(&request.tables);
        plan.schema_changes = false;
    }
    for rows in &request.rows {
        let no_lane = || Error::NoLane { lane: Arc::clone(&rows.lane) };
        let (database, table, _) = table_of(&rows.lane).ok_or_else(no_lane)?;
        plan.filter.only.push(Pattern::exactly(&[&database, &table]));
    }
    if !request.rows.is_empty() {
        plan.schema_changes = false;
        plan.pack.only.clone_from(&request.rows);
    }
    if !is_release {
        leave_out_held(&mut plan, &request.rows, saved)?;
    }
    if let (Some(topic), SinkPlan::Sns { template, control_messages, outbox, .. }) =
        (&request.topic, &mut plan.sink)
    {
        *template = Template::parse(topic).map_err(|error| Error::Topic(error.to_string()))?;
        *control_messages = topic.as_str().into();
        *outbox = None;
    }
    Ok(plan)
}

/// Database, table and number of a lane, also of one of an outbox table.
fn table_of(lane: &str) -> Option<(String, String, u32)> {
    Lane::table_of(lane).or_else(|| Lane::table_of(&Lane::table_key_of_outbox(lane)?))
}

/// Rows that an operator holds back are not published by a replay either.
fn leave_out_held(plan: &mut Plan, rows: &[RowRange], saved: &Checkpoint) -> Result<(), Error> {
    let controls = Saved::read(&saved.annotations)?.controls;
    for control in controls.into_iter().filter(Hold::holds) {
        let Some(tables) = control.tables() else { continue };
        let held = rows.iter().find(|rows| {
            table_of(&rows.lane).is_some_and(|(database, table, _)| {
                tables.matches(&[&database, &table], plan.filter.names)
            })
        });
        if let Some(rows) = held {
            let Hold { pattern, by, reason, .. } = control;
            return Err(Error::Suppressed { lane: Arc::clone(&rows.lane), pattern, by, reason });
        }
        // None of its lanes is counted or numbered then, and no other lane is concerned.
        plan.filter.except.push(tables);
    }
    Ok(())
}

/// The host that is the checkpoint's server, and where its log has the time.
async fn resolve(
    plan: &Plan,
    saved: &Checkpoint,
    since_us: i64,
) -> Result<(usize, Resolved), Error> {
    let (mut found, mut failed) = (Vec::new(), None);
    for host in 0..plan.source.hosts.len() {
        match resume::resolve(&plan.source, host, &Wanted::Time(since_us)).await {
            Ok(resolved) if resolved.server == saved.server_uuid => return Ok((host, resolved)),
            Ok(resolved) => found.push(resolved.server),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Err(Error::OtherServer { wanted: saved.server_uuid.clone(), found }),
    }
}

fn earliest_text(us: Option<i64>) -> String {
    us.map_or_else(
        || "begin later".to_owned(),
        |us| format!("the earliest time for --since is {}", source::time_text(us)),
    )
}

/// What both passes have in common.
#[derive(Clone, Copy)]
struct ReplayRange<'a> {
    plan: &'a Plan,
    host: usize,
    resolved: &'a Resolved,
    saved: &'a Checkpoint,
    watch: &'a Watch,
}

impl<'a> ReplayRange<'a> {
    /// From the stretch's begin with these row numbers.
    fn pass(self, lanes: Numbers, until_us: Option<i64>) -> Pass<'a> {
        let Self { plan, host, resolved, saved, watch } = self;
        let mut window = Window::from(resolved.skip_until_us, resolved.skip_until.clone());
        window.until = Some(saved.settled.position.clone());
        window.until_us = until_us;
        let begin = Checkpoint {
            stream: plan.stream.clone(),
            server_uuid: saved.server_uuid.clone(),
            epoch: saved.epoch,
            lanes,
            ..Checkpoint::default()
        };
        let binlogs = resolved.facts.binlogs.as_deref().unwrap_or_default();
        let watch = watch.over(binlogs, &resolved.start.place(), &saved.settled.position);
        let start = resolved.start.clone();
        Pass { plan, host, start, begin, window, surplus_rows: None, pace: None, watch }
    }

    /// From when on the stretch has these rows no more.
    async fn earliest_us(
        self,
        rows: Numbers,
        stop: &CancellationToken,
    ) -> Result<Option<i64>, Error> {
        let surplus_rows = Arc::new(SurplusRows::of(rows));
        let pass = self.pass(Numbers::new(), None);
        let pass = Pass { surplus_rows: Some(Arc::clone(&surplus_rows)), ..pass };
        Box::pin(pass.run(PassSink::nowhere(), stop)).await?;
        Ok(surplus_rows.earliest_us())
    }
}

fn report(saved: &Checkpoint, firsts: &Numbers, passed: Passed, only: &[RowRange]) -> Report {
    let lanes = firsts.iter().filter_map(|(lane, first)| {
        let next = *passed.lanes.get(lane)?;
        let (first, next) = if only.is_empty() {
            (*first, next)
        } else {
            let only = only.iter().find(|only| only.lane == *lane)?;
            (only.first, next.min(only.last.saturating_add(1)))
        };
        (next > first).then(|| (Arc::clone(lane), first, next - 1))
    });
    let lanes: Vec<_> = lanes.collect();
    Report {
        rows: lanes.iter().map(|(_, first, last)| last - first + 1).sum(),
        messages: passed.messages,
        lanes,
        epoch: saved.epoch,
        until: passed.until,
        until_us: passed.until_us,
        is_interrupted: passed.is_interrupted,
    }
}
