//! The document that `/status` shows. Field names are an interface.

use serde::{Deserialize, Serialize};

use super::snapshot::SnapshotStatus;
use super::words::{
    CanaryState, ConditionStatus, FindingLevel, Grade, HaltReason, Hop, Role, StationKey,
    StreamState,
};
use super::{Aid, Conclusion, NextSteps, StateKind, Surroundings};

/// Everything that a person, or `binpulse status`, wants to know at once.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Status {
    /// Name of the stream.
    pub stream: String,
    /// Address of the page: `http.public_url`, or else where it listens.
    pub url: String,
    /// Version of binpulse.
    pub version: String,
    /// What the stream is doing.
    pub state: StreamState,
    /// Seconds in this state.
    pub state_age_seconds: f64,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// Present when the stream has halted.
    pub halted: Option<Halted>,
    /// What freshness concludes.
    pub verdict: Verdict,
    /// The server that is read.
    pub source: Source,
    /// What is not as it should be at the source, worst first.
    pub findings: Vec<Finding>,
    /// How far it has got.
    pub progress: Progress,
    /// The last heartbeat.
    pub heartbeat: Probe,
    /// The last canary.
    pub canary: Probe,
    /// Canaries through tables of the operator's, by path.
    pub paths: Vec<Path>,
    /// Canaries that came back, by consumer; those of paths as `consumer/path`.
    pub consumers: Vec<Consumer>,
    /// The far side.
    pub sink: Sink,
    /// The durable place to resume from.
    pub checkpoint: Checkpoint,
    /// The lease on the stream: which process runs it.
    pub lease: Lease,
    /// The newest snapshot; `null` if there was none.
    pub snapshot: Option<SnapshotStatus>,
    /// The newest replay that a relay asked for; `null` if there was none.
    pub replay: Option<ReplayStatus>,
    /// Tables that an operator holds back, the oldest first.
    pub controls: Vec<ControlStatus>,
    /// How often the settings were read again, and how the last time went.
    pub reload: ReloadStatus,
    /// The configuration that is in force, without secrets.
    pub config: serde_json::Value,
    /// What follows from all of it, ready to be shown: see [`Status::concluded`].
    pub conclusion: Conclusion,
    /// What goes with the next step: commands, what to check, links.
    pub next: NextSteps,
    /// What these are made from.
    #[serde(skip)]
    pub surroundings: Surroundings,
}

/// The lease on the stream, as this process knows it.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Lease {
    /// What this process is to the stream.
    pub role: Role,
    /// Whether it waits as a standby while another runs the stream (`ha.enabled`).
    pub ha: bool,
    /// Machine of the process that has the lease; empty if none is known.
    pub host: String,
    /// Where that process listens.
    pub address: String,
    /// Its version.
    pub version: String,
    /// When it took the lease, by the source's clock.
    pub since: String,
    /// Seconds since the lease was renewed, by this process's clock.
    pub age_seconds: Option<f64>,
    /// How long a renewal holds, seconds.
    pub lifetime_seconds: f64,
    /// Rises with each taking; the number of the checkpoint's owner.
    pub fence: u64,
    /// Times that this process took the stream from another, or after one.
    pub takeovers: u64,
}

/// Settings that are read again while the service runs.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct ReloadStatus {
    /// 1 for the settings of the start, and 1 more for each change of them since.
    pub generation: u64,
    /// Whether those that were read last are in force.
    pub state: ReloadState,
    /// Seconds in this state.
    pub age_seconds: f64,
    /// In words, line by line, what changed, or why nothing did; empty: never read again.
    pub told: String,
}

/// Where a reload stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum ReloadState {
    /// The settings that were read last are in force.
    #[default]
    InForce,
    /// They hold as soon as their place in the log is saved.
    Pending,
    /// They were refused: those before them are in force.
    Refused,
}

/// Rows that are published again because they were asked for by `POST /replay`.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct ReplayStatus {
    /// Key of the lane.
    pub lane: String,
    /// Epoch of the numbers.
    pub epoch: u64,
    /// Number of the first row.
    pub from: u64,
    /// Number of the last row.
    pub to: u64,
    /// Who it is for: value of the attribute `replay`.
    pub audience: String,
    /// Whether it is over, and how it ended.
    pub state: ReplayState,
    /// Seconds since it was asked for, or is over.
    pub age_seconds: f64,
    /// Rows that were published.
    pub rows: u64,
    /// Why not all of them were, where that is so.
    pub told: String,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It waits to begin, or is under way.
    #[default]
    Running,
    /// The topic has accepted all rows.
    Done,
    /// The rows were never published, or the log does not have them any more.
    Refused,
    /// Source, checkpoint or topic could not be used; it can be asked for again.
    Failed,
    /// The service stopped.
    Interrupted,
}

impl ReplayState {
    /// How it can end.
    pub const ENDS: [Self; 4] = [Self::Done, Self::Refused, Self::Failed, Self::Interrupted];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Tables that an operator holds back, or whose rate is limited.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Default)]
pub struct ControlStatus {
    /// The tables, as the operator named them.
    pub pattern: String,
    /// What becomes of their rows.
    pub kind: ControlKind,
    /// Where it stands.
    pub state: ControlState,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When, microseconds since 1970 UTC.
    pub at_us: i64,
    /// Whether it is in the saved checkpoint as it is.
    pub saved: bool,
    /// Lanes of which rows are held back.
    pub lanes: u64,
    /// Rows that are held back.
    pub rows: u64,
    /// When the first of them was committed, microseconds since 1970 UTC; `null` while there is none.
    pub first_row_us: Option<i64>,
    /// Rows of those that were held back that were sent so far.
    pub sent_rows: u64,
    /// Why they could not be sent the last time; empty otherwise.
    pub told: String,
    /// Seconds until the source may purge the first of these rows, at least; `null` while it is not known,
    /// and where the source purges nothing by itself.
    pub purge_margin_seconds: Option<f64>,
    /// When a pause ends by itself, microseconds since 1970 UTC; `null` for what does not.
    pub until_us: Option<i64>,
    /// Of a rate: rows a second that are sent; `null` for what has none.
    pub rows_per_second: Option<u64>,
}

/// What becomes of the rows of these tables.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    /// They are numbered and not sent.
    #[default]
    Suppress,
    /// They wait in the source's log, and are sent when the pause ends.
    Pause,
    /// So many a second are sent; what comes faster waits in the source's log.
    Rate,
}

impl ControlKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Pause => "pause",
            Self::Rate => "rate",
        }
    }
}

/// Where a control stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum ControlState {
    /// Rows are held back.
    #[default]
    Holding,
    /// Rows are sent as they come: no more than their rate.
    Live,
    /// Rows that were held back are sent; newer ones are held back until these are.
    Sending,
    /// Rows are sent again; that is not in the saved checkpoint yet.
    Releasing,
}

/// Quiet or outage: the conclusion and its evidence.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Verdict {
    /// The state, one word.
    pub state: String,
    /// How good or bad it is.
    pub grade: Grade,
    /// What it is more exactly, where there is more to say.
    pub reason: Option<String>,
    /// Seconds in this state.
    pub since_seconds: f64,
    /// Seconds since it was evaluated. It is evaluated each second, so more means that its loop is stuck.
    pub evaluated_age_seconds: f64,
    /// What is so, in a few words.
    pub headline: String,
    /// One sentence with its evidence, which begins with the headline.
    pub sentence: String,
    /// Further facts.
    pub facts: Vec<String>,
    /// The first broken hop.
    pub hop: Hop,
    /// What to do next.
    pub next_step: String,
    /// Path of the runbook that goes with the state, on this server; absent when there is nothing to do.
    pub runbook: Option<String>,
    /// The whole address of that runbook.
    pub runbook_url: Option<String>,
    /// The newest quiet certificate.
    pub certificate: Option<Certificate>,
    /// Transactions that the source has and the stream did not bring, since the start: loss.
    pub unaccounted_transactions: u64,
    /// Everything that the verdict depends on.
    pub conditions: Vec<Condition>,
    /// What more is concluded from its state.
    #[serde(skip)]
    pub kind: StateKind,
    /// What its next step asks for.
    #[serde(skip)]
    pub aids: &'static [Aid],
}

/// What is known about one thing that the verdict depends on.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Condition {
    /// Its name, as in the metrics.
    pub name: String,
    /// `true` is well.
    pub status: ConditionStatus,
    /// Seconds since it became that.
    pub since_seconds: f64,
    /// The observation that says so, in words.
    pub because: String,
    /// Whether `live` and `quiet` need it.
    pub needed: bool,
    /// The key of the station that it speaks for, if any.
    #[serde(skip)]
    pub speaks_for: Option<StationKey>,
}

/// Proof of what stood between two heartbeats.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Certificate {
    /// Number of the first heartbeat.
    pub from_heartbeat: u64,
    /// Number of the last.
    pub to_heartbeat: u64,
    /// GTID, or place, of the first.
    pub from: String,
    /// GTID, or place, of the last.
    pub to: String,
    /// Transactions with rows that were published.
    pub user: u64,
    /// Transactions without.
    pub filtered: u64,
    /// Our heartbeats.
    pub heartbeat: u64,
    /// Our canaries.
    pub canary: u64,
    /// What is missing, in words.
    pub unaccounted: String,
    /// Whether nothing is missing.
    pub complete: bool,
}

/// One thing that is not as it should be at the source.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Finding {
    /// How urgent it is.
    pub level: FindingLevel,
    /// What was looked at: a setting, a privilege.
    pub what: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub needed: String,
    /// What fixes it.
    pub remedy: String,
    /// Whether `run` would refuse to start with it.
    pub refuses: bool,
}

/// Why the stream stands, and what to do.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Halted {
    /// One word for programs.
    pub reason: HaltReason,
    /// What happened, for people.
    pub message: String,
    /// What fixes it.
    pub remedy: String,
}

/// The server that is read.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, Default)]
pub struct Source {
    /// Address of the connection.
    pub host: String,
    /// `server_uuid`.
    pub server_uuid: String,
    /// `server_id`.
    pub server_id: u32,
    /// Version as the server prints it.
    pub version: String,
    /// `mysql` or `mariadb`.
    pub flavor: String,
    /// Whether the replica connection is established.
    pub connected: bool,
}

/// How far the stream has got.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Progress {
    /// End of the last transaction read, `file:offset`.
    pub read: String,
    /// Everything before it is delivered, `file:offset`.
    pub delivered: String,
    /// GTIDs that are delivered; empty without GTIDs.
    pub gtid_set: String,
    /// How late the stream is, seconds: the age of the newest commit that was read, and 0 while the
    /// source has nothing more to send. The verdict evaluates this one.
    pub lag_seconds: Option<f64>,
    /// Age of the newest commit that was read, seconds, by the source's own clock. It grows while the
    /// database is idle.
    pub newest_commit_age_seconds: Option<f64>,
    /// Seconds until the source may purge a binary log that is still needed, at least; absent when it
    /// purges none by itself, and while nothing is known.
    pub purge_margin_seconds: Option<f64>,
    /// For how long the source keeps a binary log, seconds; absent likewise.
    pub log_expiry_seconds: Option<f64>,
    /// Lanes that have carried a row.
    pub lanes: u64,
    /// Rows read from the log and taken for publishing since the start of the process.
    pub changes_read: u64,
    /// Rows published since the start of the process.
    pub changes_published: u64,
    /// Messages published since the start of the process.
    pub messages_published: u64,
}

/// A heartbeat's or a canary's last round trip.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Probe {
    /// Number of the last that was written.
    pub written: Option<u64>,
    /// Seconds since it was written.
    pub written_age_seconds: Option<f64>,
    /// Number of the last that was seen on the stream.
    pub seen: Option<u64>,
    /// Seconds since that was written.
    pub seen_age_seconds: Option<f64>,
    /// Its round trip, from the begin of the write to the sight on the stream, seconds.
    pub roundtrip_seconds: Option<f64>,
    /// How the last write went: `ok`, or the reason why not.
    pub last_result: String,
}

/// A path of canaries through a table of the operator's.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Path {
    /// Its name.
    pub name: String,
    /// The table, `database.table`.
    pub table: String,
    /// The column that carries the mark.
    pub column: String,
    /// Its last canary.
    pub canary: Probe,
    /// The last canary could not be written, or filters keep the table out.
    pub failing: bool,
}

/// What one consumer echoed.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Number of the last canary that came back whole.
    pub last: Option<u64>,
    /// Seconds since then.
    pub last_age_seconds: Option<f64>,
    /// Its round trip, seconds.
    pub roundtrip_seconds: Option<f64>,
    /// Canaries that did not come back in time, since the start of the process.
    pub lost: u64,
    /// Why its echo queue can't be read; absent when it can.
    pub unreadable: Option<String>,
    /// Seconds of maintenance left, during which its canaries are not evaluated; absent without maintenance.
    pub maintenance_seconds_left: Option<f64>,
    /// The last canaries, newest first.
    pub recent: Vec<Canary>,
}

/// One canary on its way to one consumer.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Canary {
    /// Its number.
    pub number: u64,
    /// What became of it.
    pub state: CanaryState,
    /// Seconds since the topic accepted its last message.
    pub age_seconds: Option<f64>,
    /// From then until all of it was back, seconds.
    pub took_seconds: Option<f64>,
}

/// The sink's health.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Sink {
    /// What it is: `sns`, `stdout`, `null`.
    pub kind: String,
    /// Whether it accepts messages.
    pub up: bool,
    /// Seconds since it last accepted one.
    pub last_accept_age_seconds: Option<f64>,
    /// Age of the oldest message that is not accepted yet, seconds.
    pub oldest_pending_age_seconds: Option<f64>,
    /// Bytes waiting.
    pub queue_bytes: u64,
    /// Bytes that may wait.
    pub queue_capacity_bytes: u64,
    /// The last error's words, if there was one.
    pub last_error: Option<String>,
    /// Messages and events that were put into the quarantine file since the start of the process.
    pub quarantined: u64,
}

/// The saved checkpoint.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct Checkpoint {
    /// Where it is kept: a path, or a table.
    pub place: String,
    /// Seconds since it was saved.
    pub age_seconds: Option<f64>,
    /// Attempts that failed since.
    pub failures: u32,
    /// Row numbers' epoch.
    pub epoch: u64,
}
