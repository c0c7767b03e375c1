//! `release --send`, and the end of each pause: rows that were held back are read again from the source's log
//! and sent, as if for the first time; then their tables are live again, in order.
//!
//! ```text
//! send      what the checkpoint says is held back, by a replay of these ranges; newer rows are held back
//!           meanwhile
//! again     what was held back meanwhile, until that is little
//! stop      the loop reads no further, for a moment
//! send      the rest
//! live      the control ends, and the loop reads on: the next row of each lane follows the last one sent
//! ```
//!
//! Of a table whose rate is limited, what came faster is sent in the same way, at its rate: in parts, so that
//! a crash repeats little. Then it is live again, and its limit stays.
//!
//! How far it has got is saved: after a crash the rest is sent, and at most one part twice, under the same
//! numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::controls::shown;
use super::plan::Plan;
use super::replay::{Error, ReplayRequest, Watch, bounded, peek, replay};
use crate::change::NameCase;
use crate::control::{Control, ControlRegistry, Saved, SendRate, Taken, tables_alone};
use crate::freshness::{FreshnessState, Observation};
use crate::pack::{HeldLane, RowRange};
use crate::platform;
use crate::sink::Permit;
use crate::telemetry::Metrics;
use crate::telemetry::status::ControlKind;

/// A part that was sent in less time leaves little behind: then the loop reads nothing while the rest is sent.
const SHORT: Duration = Duration::from_secs(3);
/// Parts with all that there was, after which it reads nothing all the same.
const PARTS_MAX: u32 = 20;
/// Controls whose rows are sent at a time.
const SENT_AT_ONCE: usize = 4;
/// Least and longest time for a part of which the rate is limited: after a crash it is sent again.
const PART: Duration = Duration::from_secs(30);
const PART_MAX: Duration = Duration::from_mins(10);
/// Longest time that the loop reads nothing, and every table waits.
const READING_STOPS_MAX: Duration = Duration::from_secs(10);
/// Between two looks at the checkpoint, which is saved behind what was delivered.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Between two words to the verdict.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Why rows could not be sent.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Replay(#[from] Error),
    #[error("the loop has ended")]
    NoLoop,
    #[error("the rest could not be sent while the stream stood: it is tried again")]
    TooSlow,
    #[error("the service stops")]
    Interrupted,
    #[error("an operator gave the rest up")]
    GivenUp,
}

/// Sends what is released, and tells the verdict what is held back, until told to stop.
pub(super) async fn run(
    plan: Arc<Plan>,
    registry: Arc<ControlRegistry>,
    metrics: Arc<Metrics>,
    freshness: Arc<FreshnessState>,
    permit: Permit,
    stop: CancellationToken,
) {
    let stopped = Arc::default();
    let sender = Sender { plan, registry: Arc::clone(&registry), metrics, permit, stop, stopped };
    tokio::join!(send_all(&sender), tell(&registry, &freshness, &sender.stop));
}

/// Some controls at a time, each by a task of its own.
async fn send_all(sender: &Sender) {
    let (mut tasks, mut tried_us) = (JoinSet::new(), i64::MIN);
    loop {
        tokio::select! {
            biased;
            () = sender.stop.cancelled() => break,
            Some(_ended) = tasks.join_next() => {}
            taken = sender.registry.next_sending(tried_us), if tasks.len() < SENT_AT_ONCE => {
                tried_us = taken.control.at_us;
                tasks.spawn(platform::part(sender.clone().send_one(taken)));
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Tells the verdict when an operator holds everything back, and ends pauses in time.
async fn tell(registry: &ControlRegistry, freshness: &FreshnessState, stop: &CancellationToken) {
    let mut told = (None, None);
    loop {
        let now = platform::now();
        let by =
            (registry.holds_all(ControlKind::Suppress), registry.holds_all(ControlKind::Pause));
        if by.0 != told.0 {
            freshness.observe(Observation::Suppressed(by.0.clone()), now);
        }
        if by.1 != told.1 {
            freshness.observe(Observation::Paused(by.1.clone()), now);
        }
        told = by;
        registry.keeps_logs(freshness.purge().expiry());
        registry.end_pauses(&shown(registry, freshness), platform::wall_us());
        if stop.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_none() {
            return;
        }
    }
}

/// Who sends what was held back.
#[derive(Clone)]
struct Sender {
    plan: Arc<Plan>,
    registry: Arc<ControlRegistry>,
    metrics: Arc<Metrics>,
    /// Whether it may publish now.
    permit: Permit,
    stop: CancellationToken,
    /// Locked by whom the loop reads nothing for.
    stopped: Arc<tokio::sync::Mutex<()>>,
}

/// What a part came to.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    rows: u64,
    /// Nothing was left but what came meanwhile.
    is_all: bool,
    lasted: Duration,
}

impl Sender {
    async fn send_one(self, taken: Taken) {
        let sent = self.send(&taken).await;
        let pattern = &taken.control.pattern;
        match sent {
            Ok(None) | Err(Failure::Interrupted) => {}
            Ok(Some(rows)) if taken.control.kind == ControlKind::Rate => {
                tracing::info!(pattern, rows, "control: what came too fast is sent");
            }
            Ok(Some(rows)) => {
                tracing::warn!(pattern, rows, "control: what was held back is sent");
            }
            Err(Failure::GivenUp) => {
                tracing::warn!(pattern, "control: the rest of what was held back is given up");
            }
            Err(error) => {
                tracing::warn!(pattern, %error, "control: what was held back can't be sent");
                self.registry.could_not_send(taken.control.at_us, &error.to_string());
                self.stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
            }
        }
    }

    /// Until all is sent; how many rows that were. `None`: others have waited, and it is their turn.
    async fn send(&self, taken: &Taken) -> Result<Option<u64>, Failure> {
        let (control, is_rate) = (&taken.control, taken.control.kind == ControlKind::Rate);
        let (mut rows, mut wholes) = (0, 0);
        let mut part = Part::default();
        let (stopped, _alone) = loop {
            let most = taken.pace.rows_per_second().map(|rate| part_rows(rate, part));
            part = self.part(taken, most, part.is_all, None).await?;
            rows += part.rows;
            wholes += u32::from(part.is_all);
            if !self.registry.is_sending(control.at_us) {
                return Ok(Some(rows));
            }
            let rate = taken.pace.rows_per_second();
            // The saved checkpoint may not know yet what the loop holds back.
            let is_more = |rows| rate.is_some_and(|rate| rows > at_once(rate));
            if is_little(part, wholes, rate)
                && !is_more(self.registry.rows_held(control.at_us, None))
            {
                let alone = self.stopped.lock().await;
                let stopped =
                    self.registry.stop_reading(READING_STOPS_MAX).await.ok_or(Failure::NoLoop)?;
                if !is_more(self.registry.rows_held(control.at_us, Some(&stopped.lanes))) {
                    break (stopped, alone);
                }
                self.registry.continue_reading();
            }
            if is_rate && self.registry.some_wait() {
                return Ok(None);
            }
            if part.rows == 0 {
                let pause = tokio::time::sleep(LOOK_PAUSE);
                self.stop.run_until_cancelled(pause).await.ok_or(Failure::Interrupted)?;
            }
        };
        let until = platform::now() + READING_STOPS_MAX;
        let rest = self.part(taken, None, part.is_all, Some(&stopped.lanes));
        let is_live = match tokio::time::timeout_at(until.into(), rest).await {
            Ok(Ok(part)) => {
                rows += part.rows;
                self.registry.go_live(control.at_us).await
            }
            Ok(Err(error)) => {
                self.registry.continue_reading();
                return Err(error);
            }
            Err(_) => false,
        };
        if !is_live {
            self.registry.continue_reading();
            return Err(Failure::TooSlow);
        }
        Ok(Some(rows))
    }

    /// Sends what the checkpoint says is held back, but no more than `most` rows: with `stopped`, all that
    /// is, once it is saved, and as fast as can be.
    async fn part(
        &self,
        Taken { control, pace, .. }: &Taken,
        most: Option<u64>,
        is_young: bool,
        stopped: Option<&[HeldLane]>,
    ) -> Result<Part, Failure> {
        let began = platform::now();
        let case = self.plan.filter.names;
        let (mut ranges, since_us) = loop {
            let saved = peek(&self.plan).await?;
            let held = Saved::read(&saved.annotations).map_err(Error::from)?;
            let is_saved = |lane: &HeldLane| saved.lanes.get(&lane.lane.key) >= Some(&lane.next);
            if stopped.is_none_or(|lanes| lanes.iter().all(is_saved)) {
                break ranges(&held, control, &saved.lanes, case);
            }
            let pause = tokio::time::sleep(LOOK_PAUSE);
            self.stop.run_until_cancelled(pause).await.ok_or(Failure::Interrupted)?;
        };
        let before = self.registry.sent_so_far(control.at_us);
        for range in &mut ranges {
            let sent = before.get(&range.lane).copied().unwrap_or_default();
            range.first = range.first.max(sent.saturating_add(1));
        }
        ranges.retain(|range| range.first <= range.last);
        let is_all = most.is_none_or(|most| bound(&mut ranges, most));
        if ranges.is_empty() {
            return Ok(Part { is_all, lasted: platform::since(began), rows: 0 });
        }
        let sent: Vec<_> = ranges.iter().map(|it| (Arc::clone(&it.lane), it.last)).collect();
        let request = ReplayRequest {
            // The rest is young: it is looked for from now on back.
            since_us: (!is_young).then_some(since_us),
            until_us: None,
            rows: ranges,
            tables: Vec::new(),
            topic: None,
            audience: None,
            dry_run: false,
            permit: self.permit.clone(),
            pace: stopped.is_none().then(|| Arc::clone(pace)),
            watch: Watch::default(),
        };
        // On a thread of its own, as replays that are asked for.
        let (plan, stop) = (bounded(&self.plan), self.stop.child_token());
        let guard = stop.clone().drop_guard();
        let sends = self.registry.sends(control.at_us);
        let mut running =
            Box::pin(platform::computing(
                async move { Box::pin(replay(plan, request, &stop)).await },
            ));
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = self.registry.given_up(control.at_us) => {
                drop(guard);
                running.await
            }
        };
        let report = ended.map_err(|_| Failure::NoLoop)??;
        drop(sends);
        if !self.registry.is_sending(control.at_us) {
            return Err(Failure::GivenUp);
        }
        if report.is_interrupted {
            return Err(Failure::Interrupted);
        }
        self.metrics.released_rows_total.inc_by(report.rows);
        self.registry.sent(control.at_us, sent, report.rows, report.until_us);
        if stopped.is_none() {
            self.wait_out(pace, report.rows, began).await?;
        }
        Ok(Part { rows: report.rows, is_all, lasted: platform::since(began) })
    }

    /// Waits until so many rows may have been sent since then: the last event may have had many.
    async fn wait_out(&self, pace: &SendRate, rows: u64, began: Instant) -> Result<(), Failure> {
        // Asked anew each time: the rate may be set meanwhile.
        let owed = || pace.rows_per_second().map(|rate| Duration::from_secs(rows / rate));
        while owed().is_some_and(|owed| platform::since(began) < owed) {
            let pause = tokio::time::sleep(LOOK_PAUSE);
            self.stop.run_until_cancelled(pause).await.ok_or(Failure::Interrupted)?;
        }
        Ok(())
    }
}

/// Rows of the next part at this rate: for half a minute, or longer where looking for the rows took long
/// the last time. Pure.
fn part_rows(rows_per_second: u64, last: Part) -> u64 {
    let looked = last.lasted.as_secs().saturating_sub(last.rows / rows_per_second.max(1));
    let seconds = (looked.saturating_mul(20)).clamp(PART.as_secs(), PART_MAX.as_secs());
    rows_per_second.saturating_mul(seconds)
}

/// Whether so little came while the part was sent that the loop may read nothing for the rest. Pure.
fn is_little(part: Part, wholes: u32, rows_per_second: Option<u64>) -> bool {
    if !part.is_all {
        return false;
    }
    // With a rate that is too low for what is written, stopping would let all of it go at once.
    let burst = rows_per_second.map(at_once);
    let is_late = wholes >= PARTS_MAX && burst.is_none_or(|most| part.rows <= most);
    part.rows == 0 || part.lasted < SHORT || is_late
}

/// Rows that may be sent at once for which the loop reads nothing. Pure.
const fn at_once(rows_per_second: u64) -> u64 {
    rows_per_second.saturating_mul(READING_STOPS_MAX.as_secs())
}

/// Leaves no more than about `most` rows in the ranges, in proportion; whether that is all of them. Pure.
fn bound(ranges: &mut [RowRange], most: u64) -> bool {
    let rows = |it: &RowRange| u128::from(it.last - it.first) + 1;
    let all: u128 = ranges.iter().map(rows).sum();
    if all <= u128::from(most) {
        return true;
    }
    for range in ranges {
        // At least one, so that each lane gets on.
        let part = (rows(range) * u128::from(most) / all).max(1);
        range.last = range.first + u64::try_from(part - 1).unwrap_or(u64::MAX);
    }
    false
}

/// Of each lane that is held back by this control alone the rows that are to be sent, and when the first of
/// all was committed. Pure.
fn ranges(
    saved: &Saved,
    control: &Control,
    next: &BTreeMap<Arc<str>, u64>,
    case: NameCase,
) -> (Vec<RowRange>, i64) {
    let alone = tables_alone(control, &saved.controls, case);
    let (mut ranges, mut since_us) = (Vec::new(), i64::MAX);
    for (lane, range) in &saved.lanes {
        let last = next.get(lane).map_or(0, |next| next.saturating_sub(1));
        if alone.has(&range.database, &range.table) && range.first <= last {
            ranges.push(RowRange { lane: Arc::clone(lane), first: range.first, last });
            since_us = since_us.min(range.since_us);
        }
    }
    (ranges, since_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::Lane;
    use crate::pack::HeldRange;

    fn control(at_us: i64, pattern: &str) -> Control {
        Control {
            at_us,
            kind: ControlKind::Suppress,
            pattern: pattern.to_owned(),
            reason: "why".to_owned(),
            by: "who".to_owned(),
            is_sending: true,
            until_us: None,
            rows_per_second: None,
        }
    }

    #[test]
    fn a_part_lasts_half_a_minute_or_twenty_times_as_long_as_its_rows_were_looked_for() {
        let lasted =
            |seconds, rows| Part { rows, is_all: false, lasted: Duration::from_secs(seconds) };
        assert_eq!(part_rows(500, Part::default()), 15_000);
        // One second of 31 was for looking.
        assert_eq!(part_rows(500, lasted(31, 15_000)), 15_000);
        assert_eq!(part_rows(500, lasted(35, 15_000)), 50_000);
        assert_eq!(part_rows(500, lasted(3_600, 15_000)), 300_000);
    }

    #[test]
    fn the_loop_stands_only_for_little() {
        let part =
            |rows, is_all, seconds| Part { rows, is_all, lasted: Duration::from_secs(seconds) };
        assert!(
            is_little(part(0, true, 9), 1, None) && is_little(part(900, true, 2), 1, Some(500))
        );
        assert!(!is_little(part(900, true, 3), 1, None) && is_little(part(900, true, 3), 20, None));
        assert!(!is_little(part(900, false, 2), 1, Some(500)));
        // Who writes more than the rate for long does not get past it by a stop.
        assert!(is_little(part(5_000, true, 9), 20, Some(500)));
        assert!(!is_little(part(5_001, true, 9), 20, Some(500)));
    }

    proptest! {
        /// A part has about as many rows as it may, some of each lane, and all of them if these are few.
        #[test]
        fn a_part_is_bounded_and_every_lane_gets_on(
            lanes in prop::collection::vec((1_u64..1 << 40, 0_u64..1 << 40), 0..20),
            most in 1_u64..1 << 30,
        ) {
            let range = |(at, (first, more)): (usize, &(u64, u64))| {
                RowRange { lane: at.to_string().into(), first: *first, last: first + more }
            };
            let all: Vec<_> = lanes.iter().enumerate().map(range).collect();
            let mut part = all.clone();
            let is_all = bound(&mut part, most);
            let rows = |ranges: &[RowRange]| -> u64 { ranges.iter().map(|it| it.last - it.first + 1).sum() };
            prop_assert_eq!(is_all, rows(&all) <= most);
            prop_assert_eq!(is_all, part == all);
            prop_assert!(is_all || rows(&part) <= most + lanes.len() as u64);
            prop_assert!(is_all || rows(&part) + lanes.len() as u64 >= most);
            for (part, all) in part.iter().zip(&all) {
                prop_assert!(part.first == all.first && (part.first..=all.last).contains(&part.last));
            }
        }

        /// Exactly the rows between a lane's first one that was held back and its next are sent, of the lanes
        /// that nobody else holds back.
        #[test]
        fn what_is_held_back_by_this_control_alone_is_sent(
            lanes in prop::collection::btree_map((0_u8..4, 0_u32..3), (1_u64..50, 1_u64..50, 1_i64..99), 0..9),
            others in prop::collection::vec(0_u8..4, 0..2),
        ) {
            let own = control(1, "d.*");
            let mut controls = vec![own.clone()];
            controls.extend(others.iter().map(|it| control(i64::from(*it) + 2, &format!("d.t{it}"))));
            let (mut saved, mut next) = (Saved { controls, ..Saved::default() }, BTreeMap::new());
            let mut wanted = BTreeMap::new();
            for ((table, number), (first, after, since_us)) in &lanes {
                let name = format!("t{table}");
                let key: Arc<str> = Lane::key_of("d", &name, *number).into();
                let range = HeldRange {
                    database: "d".into(), table: name.as_str().into(), number: *number,
                    first: *first, since_us: *since_us, gtid: String::new(),
                };
                saved.lanes.insert(Arc::clone(&key), range);
                next.insert(Arc::clone(&key), *after);
                if !others.contains(table) && first < after {
                    wanted.insert(key, (*first, after - 1, *since_us));
                }
            }
            let (found, since_us) = ranges(&saved, &own, &next, NameCase::Sensitive);
            prop_assert_eq!(since_us, wanted.values().map(|it| it.2).min().unwrap_or(i64::MAX));
            let found: BTreeMap<_, _> = found.into_iter().map(|it| (it.lane, (it.first, it.last))).collect();
            let wanted: BTreeMap<_, _> = wanted.into_iter().map(|(key, it)| (key, (it.0, it.1))).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
