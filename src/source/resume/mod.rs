//! Where a stream begins, and whether the server still has what comes behind.
//!
//! Every way in which a stored position does not fit a server ends in a named error here, before a
//! byte is streamed: purged, diverged, other server. The rules are pure ([`decide`]); only a point
//! in time and a set of GTIDs ([`locate`]) need to look into files.

mod locate;

use std::sync::Arc;
use std::time::Duration;

use super::error::quote_set;
use super::preflight::{self, BinlogFile, Facts};
use super::{Config, Error, Flavor, Liveness, Replica, Start, Step};
use crate::binlog::{Header, kind};
use crate::change::{GtidSet, MariaGtidSet, Position};
use crate::mysql::{self, Session};

/// Where the operator, or the last run, wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Where the last run stopped.
    Saved(Saved),
    /// With the next transaction.
    Now,
    /// With the oldest transaction that the server still has.
    Earliest,
    /// With everything that is not in the set.
    Gtid(GtidSet),
    /// Behind a position of MariaDB's.
    Maria(MariaGtidSet),
    /// At the event that starts there.
    Position(Position),
    /// With the first transaction that committed at or after this time, microseconds since 1970
    /// UTC.
    Time(i64),
}

/// What a checkpoint says about the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// The server's name: [`super::Identity::name`].
    pub server: String,
    /// Start of the first transaction that is not delivered.
    pub position: Position,
    /// Delivered transactions; empty without GTIDs.
    pub gtids: GtidSet,
    /// Delivered transactions of a MariaDB.
    pub maria: MariaGtidSet,
    /// How long ago that was so, where it is known.
    pub age: Option<Duration>,
}

/// A start that the server can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What to ask the server for.
    pub start: Start,
    /// Transactions that committed before this are to be passed over, microseconds since 1970 UTC.
    pub skip_until_us: Option<i64>,
    /// Transactions that start before this place are to be passed over: `start` is the front of the
    /// file, which tells which GTIDs lie before it.
    pub skip_until: Option<Position>,
    /// Transactions with GTIDs that lie before a start in the middle of a file.
    pub before: GtidSet,
    /// The server's name. A stream from a server of another name must not be used: behind a
    /// balancer the two connections may differ.
    pub server: String,
    /// What the server said of itself meanwhile.
    pub facts: Arc<Facts>,
}

/// Resolves the wish on one of the hosts.
pub async fn resolve(config: &Config, host: usize, wanted: &Wanted) -> Result<Resolved, Error> {
    let mut session = Session::connect(&config.session(host)?).await?;
    let facts = preflight::collect(&mut session).await?;
    let resolved = match wanted {
        Wanted::Time(wanted_us) => {
            let file = file_at(config, host, &facts, *wanted_us).await?;
            Ok(Resolved {
                start: Start::Position(Position::new(file, 4)),
                skip_until_us: Some(*wanted_us),
                skip_until: None,
                before: GtidSet::new(),
                server: facts.server_name(),
                facts: Arc::new(facts),
            })
        }
        Wanted::Now if !facts.has_gtids() && facts.flavor == Flavor::Mysql => {
            let (end, before) = end_of_binlog(&mut session, &facts).await?;
            Ok(Resolved { before, ..resolved(&facts, Start::Position(end)) })
        }
        Wanted::Saved(_) | Wanted::Gtid(_) => {
            let saved = if let Wanted::Saved(saved) = wanted { Some(saved) } else { None };
            match decide(wanted, &facts)? {
                Resolved { start: Start::Gtid(set), .. } => {
                    let start = locate::locate(&mut session, &facts, set, saved).await?;
                    Ok(resolved(&facts, start))
                }
                other => Ok(other),
            }
        }
        Wanted::Now | Wanted::Earliest | Wanted::Maria(_) | Wanted::Position(_) => {
            decide(wanted, &facts)
        }
    };
    session.close().await;
    resolved
}

/// Resolves the wish on the first host that can serve it, looked for from `first` on, round the
/// list. A host that lags behind what was delivered, or has purged what was not, is passed over.
pub async fn resolve_any(
    config: &Config,
    first: usize,
    wanted: &Wanted,
) -> Result<(usize, Resolved), Error> {
    let count = config.hosts.len();
    let mut failures = Vec::new();
    for step in 0..count {
        let index = (first + step) % count;
        match resolve(config, index, wanted).await {
            Ok(resolved) => return Ok((index, resolved)),
            Err(error) if count == 1 => return Err(error),
            Err(error) => failures.push((config.host(index)?.clone(), error)),
        }
    }
    Err(Error::NoHost { failures })
}

/// The rules for every wish that facts alone can answer; of a set of GTIDs all but its place in the
/// server's files.
pub fn decide(wanted: &Wanted, facts: &Facts) -> Result<Resolved, Error> {
    let start = match wanted {
        Wanted::Saved(saved) => resume(saved, facts)?,
        Wanted::Now if facts.flavor == Flavor::Maria => Start::Maria(facts.maria_position.clone()),
        Wanted::Now => Start::Gtid(facts.gtid_executed.clone()),
        // By the set alone a server passes by what has no GTID at the front of its logs.
        Wanted::Earliest if facts.has_gtids() => match files(facts)?.first() {
            Some(file) => Start::GtidFrom {
                set: facts.gtid_purged.clone(),
                from: Position::new(file.name.as_str(), 4),
            },
            None => Start::Gtid(facts.gtid_purged.clone()),
        },
        Wanted::Earliest | Wanted::Time(_) => match files(facts)?.first() {
            Some(file) => Start::Position(Position::new(file.name.as_str(), 4)),
            None => return Err(Error::Purged { missing: "there is no binlog file".to_owned() }),
        },
        Wanted::Gtid(set) => Start::Gtid(checked_set(set, facts)?),
        Wanted::Maria(position) => Start::Maria(checked_maria(position, facts)?),
        Wanted::Position(position) => {
            let position = checked_position(position, facts)?;
            return Ok(at_position(facts, position));
        }
    };
    Ok(resolved(facts, start))
}

fn resolved(facts: &Facts, start: Start) -> Resolved {
    Resolved {
        start,
        skip_until_us: None,
        skip_until: None,
        before: GtidSet::new(),
        server: facts.server_name(),
        facts: Arc::new(facts.clone()),
    }
}

/// Where transactions have GTIDs, or had, the file is read from its front: only there it is said
/// which of them lie before, and a later connection continues by all of them.
fn at_position(facts: &Facts, position: Position) -> Resolved {
    let has_had_gtids = facts.has_gtids() || !facts.gtid_executed.is_empty();
    if !has_had_gtids && facts.flavor == Flavor::Mysql {
        return resolved(facts, Start::Position(position));
    }
    let front = Position { offset: 4, ..position.clone() };
    Resolved { skip_until: Some(position), ..resolved(facts, Start::Position(front)) }
}

fn resume(saved: &Saved, facts: &Facts) -> Result<Start, Error> {
    let name = facts.server_name();
    match facts.flavor {
        // GTIDs hold on every server.
        // One that has no place at all began with the first transaction, and saved nothing since.
        Flavor::Mysql
            if facts.has_gtids() && (!saved.gtids.is_empty() || saved.position.file.is_empty()) =>
        {
            checked_set(&saved.gtids, facts).map(Start::Gtid)
        }
        Flavor::Maria if !saved.maria.is_empty() || saved.position.file.is_empty() => {
            checked_maria(&saved.maria, facts).map(Start::Maria)
        }
        Flavor::Mysql | Flavor::Maria if saved.server != name => Err(Error::OtherServer {
            position: saved.position.clone(),
            stored: saved.server.clone(),
            found: name,
        }),
        // Whatever the mode is now: a server that lacks what it had has lost its tail, or is older.
        Flavor::Mysql if !lacking(&saved.gtids, facts).is_empty() => {
            Err(Error::Diverged { extra: quote_set(&lacking(&saved.gtids, facts)) })
        }
        Flavor::Mysql | Flavor::Maria => {
            checked_position(&saved.position, facts).map(Start::Position)
        }
    }
}

/// What the server has not, not even in a transaction that has not ended.
fn lacking(set: &GtidSet, facts: &Facts) -> GtidSet {
    set.subtract(&facts.gtid_executed).subtract(&facts.gtid_owned)
}

/// The server must have everything that we have, and must not have purged anything that we have
/// not.
fn checked_set(set: &GtidSet, facts: &Facts) -> Result<GtidSet, Error> {
    if !facts.has_gtids() {
        let mode = facts.variable("gtid_mode").unwrap_or("unknown");
        let found = format!("the server is {} with gtid_mode={mode}", facts.flavor);
        return Err(Error::StartMisfit { found, start: "a set of GTIDs" });
    }
    let extra = lacking(set, facts);
    if !extra.is_empty() {
        return Err(Error::Diverged { extra: quote_set(&extra) });
    }
    let missing = facts.gtid_purged.subtract(set);
    if !missing.is_empty() {
        return Err(Error::Purged { missing: quote_set(&missing) });
    }
    Ok(set.clone())
}

/// What a MariaDB has purged only shows when it is asked for the stream.
fn checked_maria(position: &MariaGtidSet, facts: &Facts) -> Result<MariaGtidSet, Error> {
    if facts.flavor != Flavor::Maria {
        let found = format!("the server is {}", facts.flavor);
        return Err(Error::StartMisfit { found, start: "a GTID position of MariaDB's" });
    }
    let mut extra = MariaGtidSet::new();
    for gtid in position.iter().filter(|gtid| !facts.maria_position.contains(gtid)) {
        extra.advance(*gtid);
    }
    if extra.is_empty() {
        Ok(position.clone())
    } else {
        Err(Error::Diverged { extra: extra.to_string() })
    }
}

fn checked_position(position: &Position, facts: &Facts) -> Result<Position, Error> {
    let Some(file) = files(facts)?.iter().find(|file| *file.name == *position.file) else {
        return Err(Error::Purged { missing: format!("binlog file {}", position.file) });
    };
    if position.offset > file.bytes {
        let extra = format!("bytes {} to {} of {}", file.bytes, position.offset, file.name);
        return Err(Error::Diverged { extra });
    }
    Ok(Position { offset: position.offset.max(4), ..position.clone() })
}

fn files(facts: &Facts) -> Result<&[BinlogFile], Error> {
    facts.binlogs.as_deref().map_err(|reason| {
        Error::Sql(mysql::Error::Server {
            code: 1227,
            state: "42000".to_owned(),
            message: format!(
                "SHOW BINARY LOGS: {}",
                reason.split(" (error ").next().unwrap_or(reason)
            ),
        })
    })
}

/// Where the server writes now, and the transactions with GTIDs before. The statement has had three
/// names, and hangs while the binlog's disk is full; then the list of files, which is a moment older,
/// must do.
async fn end_of_binlog(session: &mut Session, facts: &Facts) -> Result<(Position, GtidSet), Error> {
    /// Looks until no transaction ended between the two parts of an answer.
    const LOOKS_MAX: usize = 20;
    for sql in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        let mut last: Option<(Position, GtidSet)> = None;
        for _ in 0..LOOKS_MAX {
            match session.query_first(sql).await {
                Ok(Some(row)) => {
                    let (Some(file), Ok(Some(offset))) = (row.text(0), row.unsigned(1)) else {
                        break;
                    };
                    // MySQL 5.5 and MariaDB do not say.
                    let set: GtidSet =
                        row.text(4).and_then(|text| text.parse().ok()).unwrap_or_default();
                    // The set is read first, the place after it.
                    match last {
                        Some((place, before)) if before == set => return Ok((place, before)),
                        None if set.is_empty() => return Ok((Position::new(file, offset), set)),
                        Some(_) | None => last = Some((Position::new(file, offset), set)),
                    }
                }
                Err(mysql::Error::TimedOut { .. }) => return end_of_files(facts),
                Err(error) if error.is_fatal() => return Err(error.into()),
                // No binlog, or another version's name for it.
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(last) = last {
            return Ok(last);
        }
    }
    end_of_files(facts)
}

fn end_of_files(facts: &Facts) -> Result<(Position, GtidSet), Error> {
    match files(facts)?.last() {
        Some(file) => {
            Ok((Position::new(file.name.as_str(), file.bytes), facts.gtid_executed.clone()))
        }
        None => Err(Error::Purged { missing: "there is no binlog file".to_owned() }),
    }
}

/// The last file that was begun before the time; found by halving, as each look is a connection.
async fn file_at(
    config: &Config,
    host: usize,
    facts: &Facts,
    wanted_us: i64,
) -> Result<String, Error> {
    // A file's time is whole seconds, and a transaction gets its own before it gets its file.
    const SLACK_US: i64 = 2_000_000;
    let files = files(facts)?;
    let (mut begun, mut later) = (0, files.len());
    let mut earliest = None;
    while begun < later {
        let middle = usize::midpoint(begun, later);
        let Some(file) = files.get(middle) else { break };
        let started_us = started_at(config, host, &file.name).await?;
        if middle == 0 {
            earliest = Some(started_us + SLACK_US);
        }
        if started_us + SLACK_US <= wanted_us { begun = middle + 1 } else { later = middle }
    }
    match (begun.checked_sub(1).and_then(|at| files.get(at)), files.first()) {
        (Some(file), _) => Ok(file.name.clone()),
        // Nothing was ever purged: the first file has everything that there ever was. An empty
        // `gtid_purged` does not say so: what was purged may have had no GTIDs.
        (None, Some(first)) if is_first(&first.name) => Ok(first.name.clone()),
        (None, _) => {
            Err(Error::TooOld { asked: wanted_us, earliest: earliest.unwrap_or_default() })
        }
    }
}

/// Whether it is the file that a server's first log is written to.
fn is_first(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, number)| number.parse() == Ok(1))
}

/// When a file was begun, microseconds since 1970 UTC: the time of its format description.
async fn started_at(config: &Config, host: usize, file: &str) -> Result<i64, Error> {
    let start = Start::Position(Position::new(file, 4));
    let mut replica = Replica::connect(config, host, &start, &Liveness::new()).await?;
    while let Some(event) = replica.next().await? {
        let header = Header::parse(event);
        if let Some(begun) = header.filter(|it| it.event_type == kind::FORMAT_DESCRIPTION) {
            return Ok(i64::from(begun.timestamp) * 1_000_000);
        }
    }
    Err(Error::Closed { step: Step::FirstEvent })
}

#[cfg(test)]
mod tests;
