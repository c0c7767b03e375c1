//! The newest heartbeat that came from the source, against the row that the source has.
//!
//! A server that was put back to an older state gives the numbers of the transactions that it lost to
//! new ones: after some writes its GTID set, or its file and offset, look as if nothing had happened.
//! A heartbeat's number only ever rises, so a row with a smaller one tells.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::SqlFailure;
use super::schema::literal;
use crate::mysql::{Error, Session};
use crate::platform::wall_us;

/// What a server's uptime must exceed the age of a heartbeat by to have run since.
const UPTIME_SLACK: Duration = Duration::from_secs(10);

/// A heartbeat that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// When it had come at the latest, by our own clock, microseconds since 1970 UTC.
    pub at_us: i64,
}

/// The newest heartbeat that came from the source, in this process or one before. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<Mutex<Option<Newest>>>);

impl Received {
    /// Heartbeat `number` had come by `at_us`.
    pub fn note(&self, number: u64, at_us: i64) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|newest| newest.number < number) {
            *newest = Some(Newest { number, at_us });
        }
    }

    /// The same, just now.
    pub fn note_now(&self, number: u64) {
        self.note(number, wall_us());
    }

    /// The newest of them.
    pub fn newest(&self) -> Option<Newest> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source lacks a heartbeat that came from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// The heartbeat that came.
    pub received: u64,
    /// The number that the source has; `None` without a row.
    pub found: Option<u64>,
}

impl Lacking {
    /// In words, for people.
    pub fn words(&self, what: &str, table: &str) -> String {
        let received = self.received;
        match self.found {
            Some(found) => {
                format!(
                    "{what} {received} was received from it, but the newest in {table} is {found}"
                )
            }
            None => format!("{what} {received} was received from it, but {table} has none"),
        }
    }
}

/// Asks a server for the row in `table`, and judges. The session's wait for a lock is bounded.
pub async fn check(
    session: &mut Session,
    table: &str,
    stream: &str,
    newest: Newest,
) -> Result<Option<Lacking>, Error> {
    let sql = format!("SELECT n FROM {table} WHERE stream = {}", literal(stream));
    let mut found = number(session.query_first(&sql).await)?;
    if found < Some(newest.number) {
        // It may be on the stream while its commit still waits, for a semi-synchronous replica say:
        // then it holds the row.
        match number(session.query_first(&format!("{sql} FOR UPDATE")).await) {
            Ok(committed) => found = committed,
            Err(error) if SqlFailure::of(&error) == SqlFailure::Lock => return Ok(None),
            Err(error) if error.is_fatal() => return Err(error),
            // A server that takes no locking reads: what it showed has to do.
            Err(_) => {}
        }
    }
    if found >= Some(newest.number) {
        return Ok(None);
    }
    let uptime = session.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
    let uptime = uptime.and_then(|row| row.text(1)).and_then(|text| text.parse().ok());
    Ok(lacking(newest, found, uptime.map(Duration::from_secs), wall_us()))
}

/// The number in the answer; none without a row, table or schema.
fn number(answer: Result<Option<crate::mysql::Row>, Error>) -> Result<Option<u64>, Error> {
    match answer {
        Ok(None) => Ok(None),
        Ok(Some(row)) => row.unsigned(0),
        Err(error) if SqlFailure::of(&error) == SqlFailure::SchemaMissing => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the source lacks it. Somebody may also have cleared the table: that is excused on a server
/// that has run since the heartbeat came, which was not put back.
fn lacking(
    newest: Newest,
    found: Option<u64>,
    uptime: Option<Duration>,
    now_us: i64,
) -> Option<Lacking> {
    let age = Duration::from_micros(u64::try_from(now_us - newest.at_us).unwrap_or(0));
    let ran_since = uptime.is_some_and(|uptime| uptime > age + UPTIME_SLACK);
    let holds = match found {
        Some(found) => found >= newest.number,
        None => ran_since,
    };
    (!holds).then_some(Lacking { received: newest.number, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_number_tells_always_and_no_row_only_of_a_server_that_was_restarted() {
        let newest = Newest { number: 50, at_us: 1_000_000_000 };
        let (now_us, hour) = (1_060_000_000, Duration::from_hours(1));
        let lacks = |found, uptime| lacking(newest, found, uptime, now_us).map(|it| it.found);
        for uptime in [None, Some(Duration::from_secs(5)), Some(hour)] {
            assert_eq!(lacks(Some(50), uptime), None);
            assert_eq!(lacks(Some(51), uptime), None);
            assert_eq!(lacks(Some(49), uptime), Some(Some(49)), "{uptime:?}");
        }
        assert_eq!(lacks(None, Some(hour)), None, "somebody cleared the table");
        for seconds in [0, 59, 65] {
            assert_eq!(lacks(None, Some(Duration::from_secs(seconds))), Some(None), "{seconds}");
        }
        assert_eq!(lacks(None, None), Some(None));
    }

    #[test]
    fn the_newest_is_kept() {
        let received = Received::default();
        assert_eq!(received.newest(), None);
        received.note(7, 70);
        received.note(5, 90);
        assert_eq!(received.newest(), Some(Newest { number: 7, at_us: 70 }));
    }
}
