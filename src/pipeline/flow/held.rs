//! Tables that an operator holds back: their rows are numbered by the packer and go no further. Here is what
//! follows from that for the checkpoint and for consumers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Flow;
use crate::change::NameCase;
use crate::control::{
    Control, Order, ReadingStopped, Saved, SendRate, control_entry, control_name, lane_entry,
    lane_name, rates, tables, tables_alone,
};
use crate::pack::{Bucket, HeldLane};
use crate::pipeline::Error;
use crate::telemetry::status::ControlKind;

/// How often consumers are told how far a range has got.
const ANNOUNCE_INTERVAL: Duration = Duration::from_mins(1);
/// How often they are told although nothing has changed: a queue forgets its messages.
const RENEW_INTERVAL: Duration = Duration::from_hours(1);

/// Time of which a replay at a limited rate may send the rows at once.
const PACE_BURST: Duration = Duration::from_secs(1);

/// What is held back.
#[derive(Debug, Default)]
pub(super) struct Held {
    controls: Vec<Control>,
    case: NameCase,
    /// What was asked in the middle of a transaction and needs its end.
    orders: VecDeque<Order>,
    /// The number behind the last one that consumers were told of, by the lane's key.
    told: BTreeMap<Arc<str>, u64>,
    /// When they are told again.
    due: Option<Instant>,
    /// When they are told of everything again.
    renewed_at: Option<Instant>,
    /// Until when nothing more is read.
    reads_on_at: Option<Instant>,
    /// How fast rows are sent that were held back.
    pacing: Option<Pacing>,
}

/// Rows are sent at a limited rate.
#[derive(Debug)]
struct Pacing {
    pace: Arc<SendRate>,
    bucket: Option<Bucket>,
}

impl Held {
    pub(super) fn at(pace: Option<Arc<SendRate>>) -> Self {
        let pacing = pace.map(|pace| Pacing { pace, bucket: None });
        Self { pacing, ..Self::default() }
    }
}

impl Pacing {
    /// So many rows were sent: how long to wait before the next.
    fn wait(&mut self, rows: u64, now: Instant) -> Duration {
        let Some(rate) = self.pace.rows_per_second() else {
            self.bucket = None;
            return Duration::ZERO;
        };
        let bucket = self.bucket.get_or_insert_with(|| Bucket::new(rate, PACE_BURST, now));
        bucket.set(rate);
        bucket.take(rows, now)
    }
}

impl Flow {
    /// Continues to hold back what the checkpoint says.
    pub(crate) fn restore_held(&mut self, saved: Saved, now: Instant) -> Result<(), Error> {
        self.packer.restore_holds(saved.lanes);
        self.held.controls = saved.controls;
        // Who stopped in between may have told nobody.
        self.held.due = Some(now);
        self.hold_as_filtered()
    }

    /// The filters hold tables back too, or no longer.
    pub(super) fn hold_as_filtered(&mut self) -> Result<(), Error> {
        let ended = self.hold_tables();
        self.end_ranges(ended)
    }

    /// From here on names are compared like this.
    pub(super) fn compare_held_names(&mut self, case: NameCase) {
        if self.held.case != case {
            self.held.case = case;
            if !self.held.controls.is_empty() {
                self.hold_tables();
            }
        }
    }

    /// Whether nothing more is to be read for now.
    pub(in crate::pipeline) fn reads_nothing(&self) -> bool {
        self.held.reads_on_at.is_some() || self.awaits_filters()
    }

    /// Until when nothing more is read, if that is for a time.
    pub(in crate::pipeline) fn reads_on_at(&self) -> Option<Instant> {
        self.held.reads_on_at
    }

    /// Behind rows: reads no more until those that were sent may have been, at a limited rate.
    #[inline]
    pub(super) fn keep_pace(&mut self, now: Instant) {
        let Some(pacing) = &mut self.held.pacing else { return };
        let wait = pacing.wait(self.packer.take_sent_rows(), now);
        if !wait.is_zero() {
            self.held.reads_on_at = Some(now + wait);
        }
    }

    /// Whether it waits between two rows, at a limited rate.
    pub(in crate::pipeline) fn keeps_pace(&self) -> bool {
        self.held.pacing.is_some() && self.held.reads_on_at.is_some()
    }

    /// Whether more rows came than the rate of their table allows.
    #[inline]
    pub(in crate::pipeline) fn has_exceeded(&self) -> bool {
        self.packer.has_exceeded()
    }

    /// The controls whose rates were exceeded.
    pub(in crate::pipeline) fn take_exceeded(&mut self) -> Vec<i64> {
        self.packer.take_exceeded()
    }

    /// Whether something follows at the end of a transaction.
    #[inline]
    pub(super) fn holds_news(&self) -> bool {
        self.packer.has_begun() || !self.held.orders.is_empty()
    }

    /// Does what an operator asked for: at once what stops rows, and behind the open transaction what lets
    /// them go.
    pub(in crate::pipeline) fn order(&mut self, order: Order, now: Instant) -> Result<(), Error> {
        match order {
            Order::Hold(control) => {
                let (name, text) = control_entry(&control);
                self.tracker.annotate(name, text);
                self.held.controls.push(control);
                self.held.due.get_or_insert(now + ANNOUNCE_INTERVAL);
                self.hold_tables();
            }
            Order::Note(control) => {
                let (name, text) = control_entry(&control);
                self.tracker.annotate(name, text);
                let mut known = self.held.controls.iter_mut();
                if let Some(known) = known.find(|known| known.at_us == control.at_us) {
                    *known = control;
                }
                self.held.due.get_or_insert(now + ANNOUNCE_INTERVAL);
                // A rate may hold rows back now that it did not: no range ends by that.
                self.hold_tables();
            }
            order @ (Order::Release(_)
            | Order::Sent(..)
            | Order::StopReading(..)
            | Order::ContinueReading
            | Order::GoLive(..)
            | Order::Filter(_)) => {
                self.held.orders.push_back(order);
                self.serve_held(now)?;
            }
        }
        Ok(())
    }

    /// Between two transactions: lanes of which the first row was held back are saved and told, and what
    /// was asked is done.
    pub(in crate::pipeline) fn serve_held(&mut self, now: Instant) -> Result<(), Error> {
        if self.passed_on.is_inside() {
            return Ok(());
        }
        for lane in self.packer.take_begun() {
            let (name, text) = lane_entry(&lane.lane.key, &lane.range);
            self.tracker.annotate_when_delivered(name, text);
            self.announce(&lane)?;
        }
        while let Some(order) = self.held.orders.pop_front() {
            self.serve_order(order, now)?;
        }
        Ok(())
    }

    fn serve_order(&mut self, order: Order, now: Instant) -> Result<(), Error> {
        match order {
            Order::Release(control) => self.release_control(control)?,
            Order::Sent(lanes, since_us) => {
                for (lane, last) in lanes {
                    self.packer.sent(&lane, last, since_us);
                    let mut held = self.packer.held();
                    held.retain(|held| held.lane.key == lane);
                    for HeldLane { range, .. } in held {
                        let (name, text) = lane_entry(&lane, &range);
                        self.tracker.annotate(name, text);
                    }
                }
            }
            Order::StopReading(lasting, reply) => {
                self.flush_all();
                self.held.reads_on_at = Some(now + lasting);
                if reply.send(ReadingStopped { lanes: self.packer.held() }).is_err() {
                    self.held.reads_on_at = None;
                }
            }
            Order::ContinueReading => self.held.reads_on_at = None,
            Order::GoLive(control, reply) => {
                let is_sent = self.held.reads_on_at.is_some() && self.is_sent(control);
                if is_sent {
                    self.go_live(control)?;
                }
                self.held.reads_on_at = None;
                let _nobody = reply.send(is_sent);
            }
            Order::Filter(change) => self.change_filters(*change),
            // Done when they were asked for.
            Order::Hold(_) | Order::Note(_) => {}
        }
        Ok(())
    }

    /// Whether nothing is left of what would be released with the control.
    fn is_sent(&mut self, control: i64) -> bool {
        let controls = &self.held.controls;
        let Some(own) = controls.iter().find(|it| it.at_us == control) else { return true };
        let alone = tables_alone(own, controls, self.held.case);
        let held = self.packer.held();
        let mut left = held.iter().filter(|it| alone.has(&it.range.database, &it.range.table));
        left.all(|lane| lane.rows() == 0)
    }

    /// What the control holds back is sent: it is over, or the tables of its rate are live again.
    fn go_live(&mut self, control: i64) -> Result<(), Error> {
        let mut known = self.held.controls.iter_mut();
        let is_rate = |it: &&mut Control| it.at_us == control && it.kind == ControlKind::Rate;
        let Some(rate) = known.find(is_rate) else { return self.release_control(control) };
        rate.is_sending = false;
        let (name, text) = control_entry(rate);
        // At once, as when it is exceeded again: the later text is the one that is saved. Until the ends of
        // the ranges are saved too, these have no rows.
        self.tracker.annotate(name, text);
        let ended = self.hold_tables();
        self.end_ranges(ended)?;
        self.close_ack_group();
        Ok(())
    }

    fn release_control(&mut self, control: i64) -> Result<(), Error> {
        self.held.controls.retain(|it| it.at_us != control);
        let ended = self.hold_tables();
        self.end_ranges(ended)?;
        self.tracker.annotate_when_delivered(control_name(control), "".into());
        self.close_ack_group();
        Ok(())
    }

    /// Rows of these lanes are held back no longer.
    fn end_ranges(&mut self, ended: Vec<HeldLane>) -> Result<(), Error> {
        for lane in ended {
            // Told whatever was told before: the last message is what holds.
            self.held.told.remove(&lane.lane.key);
            self.announce(&lane)?;
            self.held.told.remove(&lane.lane.key);
            self.tracker.annotate_when_delivered(lane_name(&lane.lane.key), "".into());
        }
        Ok(())
    }

    /// Gives the packer the tables that are held back, by an operator or by filters that only number their
    /// rows; the lanes that are not any more.
    fn hold_tables(&mut self) -> Vec<HeldLane> {
        let mut tables = tables(&self.held.controls, self.held.case);
        if let Some(numbers_only) = self.filter.numbers_only() {
            tables = tables.and(numbers_only);
        }
        self.packer.limit(rates(&self.held.controls, self.held.case));
        self.packer.hold(tables, &mut self.batches)
    }

    /// Tells what is due, and reads on when it has stood for long enough.
    pub(in crate::pipeline) fn held_due(&mut self, now: Instant) -> Result<(), Error> {
        self.serve_held(now)?;
        if self.held.reads_on_at.is_some_and(|until| until <= now) {
            self.held.reads_on_at = None;
        }
        if self.held.due.is_some_and(|due| due <= now) {
            let renewed_at = *self.held.renewed_at.get_or_insert(now + RENEW_INTERVAL);
            if renewed_at <= now {
                self.held.told.clear();
                self.held.renewed_at = Some(now + RENEW_INTERVAL);
            }
            self.announce_held()?;
            let is_held = !self.held.controls.is_empty();
            self.held.due = is_held.then_some(now + ANNOUNCE_INTERVAL);
            if !is_held {
                self.held.renewed_at = None;
            }
        }
        Ok(())
    }

    /// Tells consumers of everything that is held back and of which they were not told.
    pub(in crate::pipeline) fn announce_held(&mut self) -> Result<(), Error> {
        for lane in self.packer.held() {
            self.announce(&lane)?;
        }
        Ok(())
    }

    /// All lanes of which rows are held back, to be shown.
    pub(in crate::pipeline) fn held(&mut self) -> Option<(Vec<HeldLane>, NameCase)> {
        let is_held = !self.held.controls.is_empty() || !self.held.told.is_empty();
        is_held.then(|| (self.packer.held(), self.held.case))
    }

    fn announce(&mut self, lane: &HeldLane) -> Result<(), Error> {
        if lane.rows() == 0 || !lane.has_numbers() {
            return Ok(());
        }
        if self.held.told.insert(Arc::clone(&lane.lane.key), lane.next) == Some(lane.next) {
            return Ok(());
        }
        let (range, case) = (&lane.range, self.held.case);
        let names = [&*range.database, &*range.table];
        let by =
            self.held.controls.iter().filter(|it| it.holds()).find(|control| {
                control.tables().is_some_and(|tables| tables.matches(&names, case))
            });
        let ack_group = self.tracker.ack_group();
        self.batches.push(self.control_messages.suppressed(lane, by, ack_group));
        self.tracker.opened(ack_group)?;
        Ok(())
    }
}
