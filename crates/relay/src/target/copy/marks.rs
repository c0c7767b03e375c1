//! The copy's own tables: how far each lane is, keys of the chunk under way, the newest canaries, and what
//! is known to differ.

use binpulse_client::proto;

use super::dialect::Dialect;
use super::session::{Failure, Session, text};
use crate::lane::LaneKey;
use crate::state::LaneRecord;

/// Name, and what is made of it. MySQL compares these names as bytes, and so does PostgreSQL.
pub(super) fn own_tables(dialect: Dialect) -> [(&'static str, String); 5] {
    let (name, lane, number, word, suffix) = if dialect.is_postgres() {
        ("text", "text", "numeric(20)", "bytea", "")
    } else {
        ("VARBINARY(255)", "VARBINARY(1700)", "BIGINT UNSIGNED", "LONGBLOB", " ENGINE = InnoDB")
    };
    let lane_columns =
        format!("stream {name} NOT NULL, epoch {number} NOT NULL, lane {lane} NOT NULL");
    [
        (
            "binpulse_relay_lane",
            format!(
                "CREATE TABLE IF NOT EXISTS binpulse_relay_lane ({lane_columns}, \
                 next_number {number} NOT NULL, part_attempt {number} NOT NULL, \
                 part_next {number} NOT NULL, chunk {name} NOT NULL, \
                 PRIMARY KEY (stream, epoch, lane)){suffix}"
            ),
        ),
        (
            "binpulse_relay_suppressed",
            format!(
                "CREATE TABLE IF NOT EXISTS binpulse_relay_suppressed ({lane_columns}, \
                 first_number {number} NOT NULL, last_number {number} NOT NULL, \
                 PRIMARY KEY (stream, epoch, lane, first_number)){suffix}"
            ),
        ),
        (
            "binpulse_relay_chunk_key",
            format!(
                "CREATE TABLE IF NOT EXISTS binpulse_relay_chunk_key ({lane_columns}, \
                 number {number} NOT NULL, printed {word} NOT NULL, condition_sql {word} NOT NULL, \
                 PRIMARY KEY (stream, epoch, lane, number)){suffix}"
            ),
        ),
        (
            "binpulse_relay_canary",
            format!(
                "CREATE TABLE IF NOT EXISTS binpulse_relay_canary (stream {name} NOT NULL, \
                 path {name} NOT NULL, epoch {number} NOT NULL, number {number} NOT NULL, \
                 phase VARCHAR(8) NOT NULL, written_at_us BIGINT NOT NULL, \
                 applied_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
                 PRIMARY KEY (stream, path)){suffix}"
            ),
        ),
        (
            "binpulse_relay_differing",
            format!(
                "CREATE TABLE IF NOT EXISTS binpulse_relay_differing (table_name {lane} NOT NULL, \
                 found {word} NOT NULL, PRIMARY KEY (table_name)){suffix}"
            ),
        ),
    ]
}

/// How far a lane is.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    /// The smallest number that is not applied; 0 for a lane that is not known.
    pub(super) next: u64,
    attempt: u32,
    part_next: u64,
    /// The chunk of which parts were applied, but not the last.
    pub(super) chunk: String,
    /// Whether the part that was taken last need not be its chunk's first, although none of that chunk
    /// was applied: the lane begins with it.
    pub(super) joined_within: bool,
    is_there: bool,
}

/// Instead of a chunk: parts in front of the next one do not come, and may be of the same chunk.
const PASSED: &str = "?";

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartPlace {
    /// It comes next.
    Due,
    /// It was applied, or read again since.
    Applied,
    /// Parts or rows before it are missing.
    Behind,
}

impl Mark {
    pub(super) async fn read(
        session: &mut Session,
        lane: &LaneKey,
        lock: bool,
    ) -> Result<Self, Failure> {
        let sql = format!(
            "SELECT next_number, part_attempt, part_next, chunk FROM binpulse_relay_lane WHERE {}{}",
            condition(session.dialect, lane),
            if lock { " FOR UPDATE" } else { "" }
        );
        let rows = session.rows(sql.as_bytes()).await?;
        let Some([next, attempt, part_next, chunk]) = rows.first().map(Vec::as_slice) else {
            return Ok(Self::default());
        };
        let number = |value| number_in("binpulse_relay_lane", lane, &text(value));
        Ok(Self {
            next: number(next)?,
            attempt: u32::try_from(number(attempt)?).unwrap_or(u32::MAX),
            part_next: number(part_next)?,
            chunk: text(chunk),
            joined_within: false,
            is_there: true,
        })
    }

    pub(super) fn record(&self) -> LaneRecord {
        LaneRecord {
            next: self.next,
            part_attempt: self.attempt,
            part_next: self.part_next,
            ..LaneRecord::default()
        }
    }

    /// Whether a part comes next; if so, the mark stands behind it.
    pub(super) fn take_part(&mut self, part: &proto::SnapshotPart, rows: u64) -> PartPlace {
        let place = (part.attempt, part.part);
        let known = self.part_next > 0;
        if known && place < (self.attempt, self.part_next) {
            return PartPlace::Applied;
        }
        // A later attempt begins where it says; within one, parts follow one another.
        let is_next = !known
            || if part.attempt == self.attempt {
                part.part == self.part_next
            } else {
                part.part == part.attempt_part && part.attempt_part <= self.part_next
            };
        let anchor = part.anchor.as_ref().map_or(0, |anchor| anchor.sequence_next);
        if !is_next || self.next > 0 && self.next < anchor {
            return PartPlace::Behind;
        }
        self.joined_within = self.chunk == PASSED || !known && part.part != 1;
        self.attempt = part.attempt;
        self.part_next = part.part.saturating_add(rows.max(1));
        // Rows before the anchor are older than the part: for a lane that begins with one, not needed.
        self.next = self.next.max(anchor);
        PartPlace::Due
    }

    /// Parts do not come: this one is next behind them.
    pub(super) fn pass_parts(&mut self, attempt: u32, next: u64) {
        if (attempt, next) > (self.attempt, self.part_next) {
            (self.attempt, self.part_next) = (attempt, next);
            PASSED.clone_into(&mut self.chunk);
        }
    }

    pub(super) async fn write(&self, session: &mut Session, lane: &LaneKey) -> Result<(), Failure> {
        if self.next == 0 && self.part_next == 0 {
            return Ok(());
        }
        let dialect = session.dialect;
        let chunk = dialect.text(&self.chunk);
        let (next, attempt, part_next) = (self.next, self.attempt, self.part_next);
        if self.is_there {
            let sql = format!(
                "UPDATE binpulse_relay_lane SET next_number = {next}, part_attempt = {attempt}, \
                 part_next = {part_next}, chunk = {chunk} WHERE {}",
                condition(dialect, lane)
            );
            session.run(sql.as_bytes()).await?;
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO binpulse_relay_lane \
             (stream, epoch, lane, next_number, part_attempt, part_next, chunk) \
             VALUES ({}, {next}, {attempt}, {part_next}, {chunk})",
            values(dialect, lane)
        );
        // Another process was first: its mark is read then.
        match session.run(sql.as_bytes()).await {
            Err(Failure::Refused { found, .. }) => Err(Failure::Conflict(found)),
            other => other.map(drop),
        }
    }
}

/// All lanes, with their next numbers.
pub(super) async fn lanes(session: &mut Session) -> Result<Vec<(LaneKey, u64)>, Failure> {
    let sql = "SELECT stream, epoch, lane, next_number FROM binpulse_relay_lane";
    let rows = session.rows(sql.as_bytes()).await?;
    let lanes = rows.iter().filter_map(|row| {
        let [stream, epoch, lane, next] = row.as_slice() else { return None };
        let (stream, lane) = (text(stream).into(), text(lane).into());
        let key = LaneKey { stream, epoch: text(epoch).parse().ok()?, lane };
        Some((key, text(next).parse().ok()?))
    });
    Ok(lanes.collect())
}

fn number_in(table: &str, lane: &LaneKey, text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        let found = format!("`{text}` as a number of lane {lane} in {table}");
        Failure::unfit(found, "a number", "repair the row")
    })
}

/// Rows from `next` on that the source holds back, as far as that was told.
pub(super) async fn suppressed(
    session: &mut Session,
    lane: &LaneKey,
    next: u64,
) -> Result<Vec<(u64, u64)>, Failure> {
    let table = "binpulse_relay_suppressed";
    let sql = format!(
        "SELECT first_number, last_number FROM {table} WHERE {} AND last_number >= {next} \
         ORDER BY first_number",
        condition(session.dialect, lane)
    );
    let mut ranges = Vec::new();
    for row in session.rows(sql.as_bytes()).await? {
        if let [first, last] = row.as_slice() {
            let number = |value| number_in(table, lane, &text(value));
            ranges.push((number(first)?, number(last)?));
        }
    }
    Ok(ranges)
}

/// Notes rows that the source holds back, and forgets those that the lane has passed.
pub(super) async fn write_suppressed(
    session: &mut Session,
    lane: &LaneKey,
    (first, last): (u64, u64),
    next: u64,
) -> Result<(), Failure> {
    let (of_lane, values) = (condition(session.dialect, lane), values(session.dialect, lane));
    let gone = format!(
        "DELETE FROM binpulse_relay_suppressed WHERE {of_lane} \
         AND (last_number < {next} OR first_number = {first} AND last_number <= {last})"
    );
    session.run(gone.as_bytes()).await?;
    // A longer range from the same number may be there: then it stays.
    let known = format!(
        "SELECT 1 FROM binpulse_relay_suppressed WHERE {of_lane} AND first_number = {first}"
    );
    if last < next || !session.rows(known.as_bytes()).await?.is_empty() {
        return Ok(());
    }
    let new = format!(
        "INSERT INTO binpulse_relay_suppressed (stream, epoch, lane, first_number, last_number) \
         VALUES ({values}, {first}, {last})"
    );
    match session.run(new.as_bytes()).await {
        // Another process was first.
        Err(Failure::Refused { found, .. }) => Err(Failure::Conflict(found)),
        other => other.map(drop),
    }
}

/// A lane's row.
pub(super) fn condition(dialect: Dialect, lane: &LaneKey) -> String {
    let (stream, name) = (dialect.text(&lane.stream), dialect.text(&lane.lane));
    format!("stream = {stream} AND epoch = {} AND lane = {name}", lane.epoch)
}

/// The same as values.
pub(super) fn values(dialect: Dialect, lane: &LaneKey) -> String {
    format!("{}, {}, {}", dialect.text(&lane.stream), lane.epoch, dialect.text(&lane.lane))
}

/// The newest canary of a stream's path that a copy has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyCanary {
    /// Name of the stream.
    pub stream: String,
    /// The path; empty for the built-in canary.
    pub path: String,
    /// The stream's epoch.
    pub epoch: u64,
    /// Number of the canary.
    pub number: u64,
    /// `insert`, `update` or `delete`: the step that came first.
    pub phase: String,
    /// When it was written, microseconds since 1970 UTC.
    pub written_at_us: i64,
}

/// All of them.
pub(super) async fn canaries(session: &mut Session) -> Result<Vec<CopyCanary>, Failure> {
    let sql = "SELECT stream, path, epoch, number, phase, written_at_us FROM binpulse_relay_canary";
    let rows = session.rows(sql.as_bytes()).await?;
    let canaries = rows.iter().filter_map(|row| {
        let [stream, path, epoch, number, phase, written_at_us] = row.as_slice() else {
            return None;
        };
        Some(CopyCanary {
            stream: text(stream),
            path: text(path),
            epoch: text(epoch).parse().ok()?,
            number: text(number).parse().ok()?,
            phase: text(phase),
            written_at_us: text(written_at_us).parse().ok()?,
        })
    });
    Ok(canaries.collect())
}

/// Notes a canary, unless a newer one is there.
pub(super) async fn write_canary(
    session: &mut Session,
    stream: &str,
    epoch: u64,
    canary: &proto::Canary,
) -> Result<(), Failure> {
    let dialect = session.dialect;
    let (stream, path) = (dialect.text(stream), dialect.text(&canary.path));
    let (number, written_at_us) = (canary.number, canary.written_at_us);
    let phase = match canary.phase() {
        proto::CanaryPhase::Unspecified => "''",
        proto::CanaryPhase::Insert => "'insert'",
        proto::CanaryPhase::Update => "'update'",
        proto::CanaryPhase::Delete => "'delete'",
    };
    let values = format!("{stream}, {path}, {epoch}, {number}, {phase}, {written_at_us}");
    let columns = "stream, path, epoch, number, phase, written_at_us";
    let insert = if dialect.is_postgres() {
        format!(
            "INSERT INTO binpulse_relay_canary ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"
        )
    } else {
        format!("INSERT IGNORE INTO binpulse_relay_canary ({columns}) VALUES ({values})")
    };
    let update = format!(
        "UPDATE binpulse_relay_canary SET epoch = {epoch}, number = {number}, phase = {phase}, \
         written_at_us = {written_at_us}, applied_at = CURRENT_TIMESTAMP(6) \
         WHERE stream = {stream} AND path = {path} \
         AND (epoch < {epoch} OR epoch = {epoch} AND number < {number})"
    );
    if session.run(insert.as_bytes()).await? == 0 {
        session.run(update.as_bytes()).await?;
    }
    Ok(())
}
