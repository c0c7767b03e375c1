//! Where in the log a range of a lane's rows lies.
//!
//! Only counting from a place to the checkpoint tells which number a row there has. So a time is tried;
//! where the lane's rows since then begin behind the first one that is wanted, an earlier one is,
//! each step twice as far back, up to the oldest log.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Counted, Error, ReplayRequest, count, table_of};
use crate::app::plan::Plan;
use crate::checkpoint::Checkpoint;
use crate::pack::RowRange;
use crate::platform;
use crate::source::{self, Start};

/// How far back the first step goes.
const FIRST_STEP: Duration = Duration::from_mins(1);
/// Some servers log whole seconds only.
const SLACK: Duration = Duration::from_secs(1);

/// A stretch that begins in front of the rows; `None`: it was told to stop.
pub(super) async fn find(
    plan: &mut Plan,
    saved: &Checkpoint,
    request: &ReplayRequest,
    stop: &CancellationToken,
) -> Result<Option<Counted>, Error> {
    for rows in &request.rows {
        published(saved, rows)?;
    }
    let now_us = platform::wall_us();
    let mut times = LookBack::new(request.since_us, request.until_us.unwrap_or(now_us));
    loop {
        let earlier = match Box::pin(count(plan, saved, times.since_us, &request.watch, stop)).await
        {
            Ok(None) => return Ok(None),
            Ok(Some(counted)) => {
                let found = |lane: &Arc<str>| counted.firsts.get(lane).copied();
                let has = |rows: &&RowRange| found(&rows.lane).is_some_and(|it| it <= rows.first);
                let Some(rows) = request.rows.iter().find(|rows| !has(rows)) else {
                    return Ok(Some(counted));
                };
                let is_earlier = times.step_back(begins_in_oldest(&counted));
                let (lane, first, found) = (Arc::clone(&rows.lane), rows.first, found(&rows.lane));
                is_earlier.then_some(()).ok_or(Error::NotInLog { lane, first, found })
            }
            Err(error) => {
                let is_later = earliest_us(&error).is_some_and(|earliest| times.limit(earliest));
                is_later.then_some(()).ok_or(error)
            }
        };
        earlier?;
        tracing::info!(
            lanes = request.rows.len(), since = %source::time_text(times.since_us),
            "the rows are looked for since another time"
        );
    }
}

/// The earliest time to begin at, where it was too early.
fn earliest_us(error: &Error) -> Option<i64> {
    if let Error::RowCountMismatch { earliest_us, .. } = error {
        return *earliest_us;
    }
    let Error::Source { error: source::Error::TooOld { earliest, .. } } = error else {
        return None;
    };
    Some(*earliest)
}

/// Refuses what the checkpoint does not know as delivered.
fn published(saved: &Checkpoint, rows: &RowRange) -> Result<(), Error> {
    let (lane, last) = (Arc::clone(&rows.lane), rows.last);
    if table_of(&lane).is_none() || rows.first == 0 || rows.first > last {
        return Err(Error::NoLane { lane });
    }
    let published = saved.lanes.get(&lane).map_or(0, |next| next.saturating_sub(1));
    if last > published {
        return Err(Error::NotPublished { lane, published, last, epoch: saved.epoch });
    }
    Ok(())
}

/// Whether the stretch begins in the oldest log that the server has.
fn begins_in_oldest(counted: &Counted) -> bool {
    let oldest = counted.resolved.facts.binlogs.as_ref().ok().and_then(|files| files.first());
    match (&counted.resolved.start, oldest) {
        (Start::Position(position), Some(oldest)) => *position.file == *oldest.name,
        (_, _) => false,
    }
}

/// Times to begin at, each earlier than the one before. Pure.
#[derive(Debug)]
struct LookBack {
    /// The one to try, microseconds since 1970 UTC.
    since_us: i64,
    near_us: i64,
    step_us: i64,
    /// The log does not reach further back than the time to try, or was not published before it.
    is_limited: bool,
    /// All of the log is tried.
    is_all: bool,
}

impl LookBack {
    /// Begins a little before `since_us`, or a step before a time near the rows.
    fn new(since_us: Option<i64>, near_us: i64) -> Self {
        let step_us = micros(FIRST_STEP);
        let since_us = since_us.map_or(near_us - step_us, |since| since - micros(SLACK));
        let since_us = since_us.max(1);
        Self { since_us, near_us: since_us, step_us, is_limited: false, is_all: false }
    }

    /// The rows lie further back; in the oldest log, all of it is tried. Whether there is more to try.
    fn step_back(&mut self, is_in_oldest: bool) -> bool {
        if self.is_limited || self.is_all {
            return false;
        }
        self.since_us = self.near_us.saturating_sub(self.step_us);
        self.step_us = self.step_us.saturating_mul(2);
        if is_in_oldest || self.since_us < 1 {
            (self.since_us, self.is_all) = (1, true);
        }
        true
    }

    /// It can't begin before this time. Whether that is another one to try.
    fn limit(&mut self, earliest_us: i64) -> bool {
        let is_new = !self.is_limited && earliest_us > self.since_us;
        (self.since_us, self.is_limited) = (earliest_us, true);
        is_new
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn each_step_goes_twice_as_far_back_up_to_what_the_log_has() {
        let near = 1_000 * MINUTE;
        let mut times = LookBack::new(None, near);
        let mut tried = vec![times.since_us];
        while times.step_back(false) && tried.len() < 5 {
            tried.push(times.since_us);
        }
        assert_eq!(
            tried.iter().map(|us| (near - us) / MINUTE).collect::<Vec<_>>(),
            [1, 2, 3, 5, 9]
        );
        // The log ends: the earliest time is tried, and nothing after it.
        assert!(times.limit(990 * MINUTE) && times.since_us == 990 * MINUTE);
        assert!(!times.step_back(false) && !times.limit(995 * MINUTE));

        // A time that is known is tried first, with a second for logs of whole seconds.
        assert_eq!(LookBack::new(Some(near), 0).since_us, near - 1_000_000);
        // In the oldest log, everything is tried once; then only what was published.
        let mut times = LookBack::new(None, near);
        assert!(times.step_back(true) && times.since_us == 1);
        assert!(!times.step_back(true));
        assert!(times.limit(5) && times.since_us == 5 && !times.step_back(true));
        // However far back it goes, it ends.
        let mut times = LookBack::new(None, 1 << 60);
        let steps = (0..200).take_while(|_| times.step_back(false)).count();
        assert!(steps < 60, "{steps}");
    }

    #[test]
    fn rows_that_were_never_published_are_refused() {
        let lanes = [(Arc::from("shop.orders#0"), 10)].into();
        let saved = Checkpoint { epoch: 3, lanes, ..Checkpoint::default() };
        let told = |lane: &str, first, last| {
            let rows = RowRange { lane: lane.into(), first, last };
            published(&saved, &rows).err().map(|error| error.to_string())
        };
        assert_eq!(told("shop.orders#0", 1, 9), None);
        let of_epoch = "in the checkpoint of epoch 3, and 10 was asked for";
        let expected = format!("lane shop.orders#0 has rows up to 9 {of_epoch}");
        assert_eq!(told("shop.orders#0", 9, 10), Some(expected));
        assert!(told("shop.other#0", 1, 1).is_some_and(|words| words.contains("rows up to 0")));
        for wrong in ["shop.orders", "!schema", "shop.orders#01", "a.b.c#0", "shop.%6Frders#0"] {
            let words = told(wrong, 1, 1).unwrap_or_default();
            assert!(words.contains("no lane of a table"), "{wrong}: {words}");
        }
        assert!(told("shop.orders#0", 0, 1).is_some() && told("shop.orders#0", 5, 4).is_some());
    }
}
