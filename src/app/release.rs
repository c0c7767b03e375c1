//! `release --send`, and the end of each pause: rows that were held back are read again from the source's log
//! and sent, as if for the first time; then their tables are live again, in order.
//!
//! ```text
//! send      what the checkpoint says is held back, by a replay of these ranges; newer rows are held back
//!           meanwhile
//! again     what was held back meanwhile, until that is little
//! stand     the loop reads no further, for a moment
//! send      the rest
//! live      the control ends, and the loop reads on: the next row of each lane follows the last one sent
//! ```
//!
//! How far it has got is saved: after a crash the rest is sent, and at most one part twice, under the same
//! numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::controls::shown;
use super::plan::Plan;
use super::replay::{Error, ReplayRequest, bounded, peek, replay};
use crate::change::NameCase;
use crate::control::{Control, Desk, Saved, tables};
use crate::freshness::{FreshnessState, Observation};
use crate::pack::{HeldLane, RowRange};
use crate::platform;
use crate::sink::Permit;
use crate::telemetry::Metrics;
use crate::telemetry::status::ControlKind;

/// A part that was sent in less time leaves little behind: then the loop stands for the rest.
const SHORT: Duration = Duration::from_secs(3);
/// Parts after which it stands all the same.
const PARTS_MAX: u32 = 20;
/// Longest time that the loop stands, and every table waits.
const STANDS_MAX: Duration = Duration::from_secs(10);
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

/// Sends what is released, one control after the other, and tells the verdict what is held back, until told
/// to stop.
pub(super) async fn run(
    plan: Arc<Plan>,
    desk: Arc<Desk>,
    metrics: Arc<Metrics>,
    freshness: Arc<FreshnessState>,
    permit: Permit,
    stop: CancellationToken,
) {
    let sending = send_all(&plan, &desk, &metrics, &permit, &stop);
    tokio::join!(sending, tell(&desk, &freshness, &stop));
}

async fn send_all(
    plan: &Arc<Plan>,
    desk: &Desk,
    metrics: &Metrics,
    permit: &Permit,
    stop: &CancellationToken,
) {
    let mut tried_us = i64::MIN;
    while let Some(control) = stop.run_until_cancelled(desk.next_sending(tried_us)).await {
        tried_us = control.at_us;
        let mut release = Release { plan, desk, metrics, permit, stop, sent: BTreeMap::new() };
        let sent = release.send(&control).await;
        let pattern = &control.pattern;
        match sent {
            Ok(rows) => tracing::warn!(pattern, rows, "control: what was held back is sent"),
            Err(Failure::Interrupted) => {}
            Err(Failure::GivenUp) => {
                tracing::warn!(pattern, "control: the rest of what was held back is given up");
            }
            Err(error) => {
                tracing::warn!(pattern, %error, "control: what was held back can't be sent");
                desk.could_not_send(control.at_us, &error.to_string());
                stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
            }
        }
    }
}

/// Tells the verdict when an operator holds everything back, and ends pauses in time.
async fn tell(desk: &Desk, freshness: &FreshnessState, stop: &CancellationToken) {
    let mut told = (None, None);
    loop {
        let now = platform::now();
        let by = (desk.holds_all(ControlKind::Suppress), desk.holds_all(ControlKind::Pause));
        if by.0 != told.0 {
            freshness.observe(Observation::Suppressed(by.0.clone()), now);
        }
        if by.1 != told.1 {
            freshness.observe(Observation::Paused(by.1.clone()), now);
        }
        told = by;
        desk.keeps_logs(freshness.purge().expiry());
        desk.end_pauses(&shown(desk, freshness), platform::wall_us());
        if stop.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_none() {
            return;
        }
    }
}

/// One release.
struct Release<'a> {
    plan: &'a Arc<Plan>,
    desk: &'a Desk,
    metrics: &'a Metrics,
    /// Whether it may publish now.
    permit: &'a Permit,
    stop: &'a CancellationToken,
    /// The last number of each lane that was sent: the saved checkpoint learns of it a moment later.
    sent: BTreeMap<Arc<str>, u64>,
}

impl Release<'_> {
    /// Until all is sent; how many rows that were.
    async fn send(&mut self, control: &Control) -> Result<u64, Failure> {
        let mut rows = 0;
        for _ in 0..PARTS_MAX {
            let began = platform::now();
            let part = self.part(control, None).await?;
            rows += part;
            if !self.desk.is_sending(control.at_us) {
                return Ok(rows);
            }
            if part == 0 || platform::since(began) < SHORT {
                break;
            }
        }
        let until = platform::now() + STANDS_MAX;
        let standing = self.desk.stand(STANDS_MAX).await.ok_or(Failure::NoLoop)?;
        let rest = tokio::time::timeout_at(until.into(), self.part(control, Some(&standing.lanes)));
        let is_live = match rest.await {
            Ok(Ok(part)) => {
                rows += part;
                self.desk.go_live(control.at_us).await
            }
            Ok(Err(error)) => {
                self.desk.go_on();
                return Err(error);
            }
            Err(_) => false,
        };
        if !is_live {
            self.desk.go_on();
            return Err(Failure::TooSlow);
        }
        Ok(rows)
    }

    /// Sends what the checkpoint says is held back: with `standing`, all that is, once it is saved.
    async fn part(
        &mut self,
        control: &Control,
        standing: Option<&[HeldLane]>,
    ) -> Result<u64, Failure> {
        let case = self.plan.filter.names;
        let (mut ranges, since_us) = loop {
            let saved = peek(self.plan).await?;
            let held = Saved::read(&saved.snapshot).map_err(Error::from)?;
            let is_saved = |lane: &HeldLane| saved.lanes.get(&lane.lane.key) >= Some(&lane.next);
            if standing.is_none_or(|lanes| lanes.iter().all(is_saved)) {
                break ranges(&held, control, &saved.lanes, case);
            }
            let pause = tokio::time::sleep(LOOK_PAUSE);
            self.stop.run_until_cancelled(pause).await.ok_or(Failure::Interrupted)?;
        };
        for range in &mut ranges {
            let sent = self.sent.get(&range.lane).copied().unwrap_or_default();
            range.first = range.first.max(sent.saturating_add(1));
        }
        ranges.retain(|range| range.first <= range.last);
        if ranges.is_empty() {
            return Ok(0);
        }
        let sent: Vec<_> = ranges.iter().map(|it| (Arc::clone(&it.lane), it.last)).collect();
        let request = ReplayRequest {
            // The rest is young: it is looked for from now on back.
            since_us: self.sent.is_empty().then_some(since_us),
            until_us: None,
            rows: ranges,
            tables: Vec::new(),
            topic: None,
            audience: None,
            dry_run: false,
            permit: self.permit.clone(),
            watch: super::replay::Watch::default(),
        };
        // On a thread of its own, as replays that are asked for.
        let (runtime, of) = (Handle::current(), (bounded(self.plan), self.stop.child_token()));
        let guard = of.1.clone().drop_guard();
        let sends = self.desk.sends(control.at_us);
        let mut running = tokio::task::spawn_blocking(move || {
            let (plan, stop) = of;
            runtime.block_on(Box::pin(replay(plan, request, &stop)))
        });
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = self.desk.given_up(control.at_us) => {
                drop(guard);
                running.await
            }
        };
        let report = ended.map_err(|_| Failure::NoLoop)??;
        drop(sends);
        if !self.desk.is_sending(control.at_us) {
            return Err(Failure::GivenUp);
        }
        if report.is_interrupted {
            return Err(Failure::Interrupted);
        }
        self.metrics.released_rows_total.inc_by(report.rows);
        self.sent.extend(sent.iter().cloned());
        self.desk.sent(control.at_us, sent, report.rows, report.until_us);
        Ok(report.rows)
    }
}

/// Of each lane that is held back by this control alone the rows that are to be sent, and when the first of
/// all was committed. Pure.
fn ranges(
    saved: &Saved,
    control: &Control,
    next: &BTreeMap<Arc<str>, u64>,
    case: NameCase,
) -> (Vec<RowRange>, i64) {
    let own = tables([control], case);
    let others = saved.controls.iter().filter(|other| other.at_us != control.at_us);
    let others = tables(others, case);
    let (mut ranges, mut since_us) = (Vec::new(), i64::MAX);
    for (lane, range) in &saved.lanes {
        let names = (&*range.database, &*range.table);
        let last = next.get(lane).map_or(0, |next| next.saturating_sub(1));
        let is_ours = own.has(names.0, names.1) && !others.has(names.0, names.1);
        if is_ours && range.first <= last {
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
        }
    }

    proptest! {
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
