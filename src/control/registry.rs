//! Where commands arrive, and the status is shown: between HTTP, the loop, and who sends what was held
//! back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::entry::{Entry, Work};
use super::order::{FilterChange, Order, ReadingStopped};
use super::saved::control_of;
use super::{Command, Control, SendRate, check, tables_alone, words};
use crate::change::NameCase;
use crate::filter::{self, Version};
use crate::pack::HeldLane;
use crate::telemetry::status::{ControlKind, ControlStatus};

/// Commands that wait for the loop: a person gives few.
const ORDERS_MAX: usize = 256;
/// Longest pause where it is not known how long the source keeps its logs, and of all.
pub const PAUSE_MAX: Duration = Duration::from_hours(7 * 24);
/// Part of the logs' expiry that must be left when a pause ends: its rows are read and sent in that time.
const PURGE_MARGIN_MIN: f64 = 0.25;

#[derive(Debug, Default)]
struct Inner {
    /// The checkpoint was read: commands are taken.
    is_open: bool,
    entries: Vec<Entry>,
    orders: VecDeque<Order>,
    held: Vec<HeldLane>,
    case: NameCase,
    /// How long the source keeps its logs.
    expiry: Option<Duration>,
}

/// Shared by HTTP, the loop and who sends.
#[derive(Debug, Default)]
pub struct ControlRegistry {
    inner: Mutex<Inner>,
    arrived: Notify,
    sending: Notify,
    given_up: Notify,
}

/// See [`ControlRegistry::sends`].
#[derive(Debug)]
pub struct Sends<'a> {
    registry: &'a ControlRegistry,
    at_us: i64,
}

impl Drop for Sends<'_> {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        let Some(entry) = inner.of(self.at_us) else { return };
        entry.work = Work::Taken;
        if entry.is_ending {
            inner.orders.push_back(Order::Release(self.at_us));
            drop(inner);
            self.registry.arrived.notify_one();
        }
    }
}

/// A control whose rows are to be sent, taken by who does it.
#[derive(Debug)]
pub struct Taken {
    registry: Arc<ControlRegistry>,
    /// As it was when it was taken.
    pub control: Control,
    /// How fast.
    pub pace: Arc<SendRate>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(entry) = self.registry.lock().of(self.control.at_us) {
            entry.work = Work::None;
        }
        self.registry.sending.notify_one();
    }
}

impl ControlRegistry {
    /// Begins with the controls of the checkpoint, and takes commands from here on.
    pub fn open(&self, controls: &[Control]) {
        let mut inner = self.lock();
        inner.is_open = true;
        inner.entries = controls.iter().cloned().map(|it| Entry::new(it, true)).collect();
        drop(inner);
        self.sending.notify_one();
    }

    /// Takes a command. What is done, or why nothing is, in words.
    pub fn command(&self, command: &Command, now_us: i64) -> Result<String, String> {
        let mut inner = self.lock();
        if !inner.is_open {
            return Err("the stream has not begun yet, and sends nothing: ask again".to_owned());
        }
        if inner.orders.len() >= ORDERS_MAX {
            return Err("earlier commands still wait: ask again".to_owned());
        }
        let in_force: Vec<_> = inner.in_force().map(|entry| entry.control.clone()).collect();
        check(command, &in_force)?;
        let words = match command {
            Command::Suppress { pattern, reason, by } => {
                let kind = ControlKind::Suppress;
                inner.begin_or_change(kind, pattern, [reason, by], now_us, |_| {})?;
                words::suppressed(pattern)
            }
            Command::Pause { pattern, seconds, reason, by } => {
                let (kind, until_us) = (ControlKind::Pause, inner.pause_ends(*seconds, now_us)?);
                let until = |it: &mut Control| it.until_us = Some(until_us);
                inner.begin_or_change(kind, pattern, [reason, by], now_us, until)?;
                words::paused(pattern, *seconds, inner.expiry)
            }
            Command::Rate { pattern, rows_per_second, reason, by } => {
                let kind = ControlKind::Rate;
                let rate = |it: &mut Control| it.rows_per_second = Some(*rows_per_second);
                inner.begin_or_change(kind, pattern, [reason, by], now_us, rate)?;
                words::limited(pattern, *rows_per_second, inner.expiry)
            }
            Command::Release { pattern, send, give_up, by } => {
                inner.release(pattern, (*send, *give_up), by)?
            }
        };
        drop(inner);
        self.arrived.notify_one();
        self.sending.notify_one();
        self.given_up.notify_waiters();
        Ok(words)
    }

    /// Who holds everything back like this, and why; `None`: nobody does.
    pub fn holds_all(&self, kind: ControlKind) -> Option<String> {
        let inner = self.lock();
        let mut all = inner.in_force().map(|entry| &entry.control).filter(|it| it.kind == kind);
        let found = all.find(|it| it.tables().is_some_and(|it| it.is_any()))?;
        Some(format!("{}: {}", found.by, found.reason))
    }

    /// How long the source keeps its logs: no pause is to last longer than they do.
    pub fn keeps_logs(&self, expiry: Option<Duration>) {
        self.lock().expiry = expiry;
    }

    /// Ends the pauses whose time is over, or whose rows the source would soon purge: they are sent. Those
    /// of a rate are sent as fast as can be then.
    pub fn end_pauses(&self, shown: &[ControlStatus], now_us: i64) {
        let mut inner = self.lock();
        let expiry = inner.expiry;
        let mut ended = Vec::new();
        for entry in inner.entries.iter().filter(|it| it.ends_by_itself() || it.is_paced()) {
            let status = shown.iter().find(|it| it.at_us == entry.control.at_us);
            let margin = status.and_then(|status| status.purge_margin_seconds);
            let is_short = margin
                .zip(expiry)
                .is_some_and(|(margin, expiry)| margin < expiry.as_secs_f64() * PURGE_MARGIN_MIN);
            if is_short && entry.is_paced() {
                if entry.pace.rows_per_second().is_some() {
                    tracing::warn!(
                        pattern = entry.control.pattern,
                        "control: the source purges these rows soon: they are sent as fast as can be"
                    );
                }
                entry.pace.set(None);
            } else if is_short {
                ended.push((entry.control.at_us, "the source purges its rows soon"));
            } else if entry.control.until_us.is_some_and(|until| until <= now_us) {
                ended.push((entry.control.at_us, "its time is over"));
            }
        }
        for (at_us, why) in &ended {
            inner.send(*at_us, "binpulse", why);
        }
        drop(inner);
        if !ended.is_empty() {
            self.arrived.notify_one();
            self.sending.notify_one();
        }
    }

    /// How each control stands, the oldest first.
    pub fn status(&self) -> Vec<ControlStatus> {
        let inner = self.lock();
        inner.entries.iter().map(|entry| entry.status(&inner.held, inner.case)).collect()
    }

    /// The loop tells what is held back.
    pub fn show(&self, held: Vec<HeldLane>, case: NameCase) {
        let mut inner = self.lock();
        (inner.held, inner.case) = (held, case);
    }

    /// These entries are in the saved checkpoint now, or are gone from it.
    pub fn saved<'a>(&self, names: impl IntoIterator<Item = (&'a str, bool)>) {
        let mut inner = self.lock();
        for (name, is_gone) in names {
            let Some(at_us) = control_of(name) else { continue };
            if is_gone {
                inner.entries.retain(|entry| entry.control.at_us != at_us);
            } else if let Some(entry) = inner.of(at_us) {
                entry.is_saved = true;
            }
        }
    }

    /// Whether somebody waits for the checkpoint: it is saved soon then, whatever its interval.
    pub fn waits_for_saves(&self) -> bool {
        let inner = self.lock();
        // What is read and sent at a limited rate takes its time.
        let waits =
            |it: &Entry| it.control.is_sending && !(it.is_paced() && it.work == Work::Reads);
        inner.entries.iter().any(|it| !it.is_saved || it.is_ending || waits(it))
    }

    /// More rows came of these than their rates allow: they are held back, and sent at their rates.
    pub fn exceeded(&self, limits: &[i64]) {
        let mut inner = self.lock();
        for at_us in limits {
            let Some(entry) = inner.of(*at_us).filter(|it| it.is_live()) else { continue };
            entry.control.is_sending = true;
            entry.is_saved = false;
            entry.pace.set(entry.control.rows_per_second);
            let control = entry.control.clone();
            tracing::info!(
                pattern = control.pattern,
                rows_per_second = control.rows_per_second,
                "control: more rows come than the rate allows: they are held back, and sent at it"
            );
            inner.orders.push_back(Order::Note(control));
        }
        drop(inner);
        self.arrived.notify_one();
        self.sending.notify_one();
    }

    /// What the loop is to do next.
    pub fn take(&self) -> Option<Order> {
        self.lock().orders.pop_front()
    }

    /// Waits until there is something to do. Cancel safe.
    pub async fn arrived(&self) {
        loop {
            let notified = self.arrived.notified();
            if !self.lock().orders.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// The control whose rows are to be sent: the first behind the one that was tried last that nobody has
    /// taken, so that one whose rows can't be sent holds up no other. Cancel safe.
    pub async fn next_sending(self: &Arc<Self>, tried_us: i64) -> Taken {
        loop {
            let notified = self.sending.notified();
            if let Some((control, pace)) = self.lock().take_sending_behind(tried_us) {
                return Taken { registry: Arc::clone(self), control, pace };
            }
            notified.await;
        }
    }

    /// Rows that this control alone holds back: of these lanes, or as the loop last said.
    pub fn rows_held(&self, at_us: i64, lanes: Option<&[HeldLane]>) -> u64 {
        let inner = self.lock();
        let controls = || inner.entries.iter().map(|entry| &entry.control);
        let Some(own) = controls().find(|it| it.at_us == at_us) else { return 0 };
        let alone = tables_alone(own, controls(), inner.case);
        let lanes = lanes.unwrap_or(&inner.held).iter();
        lanes.filter(|it| alone.has(&it.range.database, &it.range.table)).map(HeldLane::rows).sum()
    }

    /// Whether rows are to be sent that nobody sends.
    pub fn some_wait(&self) -> bool {
        self.lock().in_force().any(|it| it.control.is_sending && it.work == Work::None)
    }

    /// The last number of each lane that was sent of what a control holds back.
    pub fn sent_so_far(&self, at_us: i64) -> BTreeMap<Arc<str>, u64> {
        self.lock().of(at_us).map(|entry| entry.sent.clone()).unwrap_or_default()
    }

    /// Ends when the operator has given up that its rows are sent. Cancel safe.
    pub async fn given_up(&self, at_us: i64) {
        loop {
            let notified = self.given_up.notified();
            if !self.is_sending(at_us) {
                return;
            }
            notified.await;
        }
    }

    /// Rows of a control are being read and sent, until what is returned is dropped: until then it does not
    /// end, or older rows would come behind newer ones.
    pub fn sends(&self, at_us: i64) -> Sends<'_> {
        if let Some(entry) = self.lock().of(at_us) {
            entry.work = Work::Reads;
        }
        Sends { registry: self, at_us }
    }

    /// Whether its rows are still to be sent: the operator may have given that up.
    pub fn is_sending(&self, at_us: i64) -> bool {
        let mut inner = self.lock();
        inner.of(at_us).is_some_and(|entry| entry.control.is_sending && !entry.is_ending)
    }

    /// Rows of these lanes up to these numbers were sent, so many in all, the last of which committed at
    /// this time.
    pub fn sent(&self, at_us: i64, lanes: Vec<(Arc<str>, u64)>, rows: u64, until_us: i64) {
        let mut inner = self.lock();
        if let Some(entry) = inner.of(at_us) {
            entry.sent_rows += rows;
            entry.sent.extend(lanes.iter().cloned());
            entry.told.clear();
        }
        inner.orders.push_back(Order::Sent(lanes, until_us));
        drop(inner);
        self.arrived.notify_one();
    }

    /// They could not be sent.
    pub fn could_not_send(&self, at_us: i64, why: &str) {
        if let Some(entry) = self.lock().of(at_us) {
            why.clone_into(&mut entry.told);
        }
    }

    /// Asks the loop to stand, between two transactions, for at most this long. `None`: there is none any
    /// more.
    pub async fn stop_reading(&self, lasting: Duration) -> Option<ReadingStopped> {
        let (reply, stopped) = oneshot::channel();
        self.order(Order::StopReading(lasting, reply));
        stopped.await.ok()
    }

    /// The loop reads on.
    pub fn continue_reading(&self) {
        self.order(Order::ContinueReading);
    }

    /// Ends the control where the loop reads no further; whether it could be.
    pub async fn go_live(&self, at_us: i64) -> bool {
        let (reply, live) = oneshot::channel();
        {
            // What it is must not change any more until the loop has answered.
            let mut inner = self.lock();
            if let Some(entry) = inner.of(at_us) {
                entry.work = Work::GoesLive;
            }
            inner.orders.push_back(Order::GoLive(at_us, reply));
        }
        self.arrived.notify_one();
        let is_live = live.await.unwrap_or(false);
        if let Some(entry) = self.lock().of(at_us) {
            entry.work = Work::Taken;
            if is_live && entry.control.kind == ControlKind::Rate {
                // The loop may have saved it by now.
                entry.control.is_sending = false;
                (entry.sent, entry.sent_rows) = (BTreeMap::new(), 0);
            } else if is_live {
                entry.is_ending = true;
            }
        }
        is_live
    }

    /// Changes the filters at the end of a transaction; the version of them that then holds. `None`: there is
    /// no loop any more.
    pub async fn filter(&self, config: filter::Config, at_us: i64) -> Option<Version> {
        let (reply, holds) = oneshot::channel();
        self.order(Order::Filter(Box::new(FilterChange { config, at_us, reply })));
        holds.await.ok()
    }

    fn order(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.arrived.notify_one();
    }

    /// A panic elsewhere leaves it readable: each entry is complete on its own.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn in_force(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.is_ending)
    }

    fn take_sending_behind(&mut self, tried_us: i64) -> Option<(Control, Arc<SendRate>)> {
        let waits = |it: &Entry| it.control.is_sending && !it.is_ending && it.work == Work::None;
        let waiting = || self.entries.iter().filter(|it| waits(it)).map(|it| it.control.at_us);
        let at_us = waiting().find(|at_us| *at_us > tried_us).or_else(|| waiting().next())?;
        let entry = self.of(at_us)?;
        entry.work = Work::Taken;
        Some((entry.control.clone(), Arc::clone(&entry.pace)))
    }

    fn of(&mut self, at_us: i64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.control.at_us == at_us)
    }

    /// A control is in force from here on; or the one with this pattern is another one from here on.
    fn begin_or_change(
        &mut self,
        kind: ControlKind,
        pattern: &str,
        [reason, by]: [&str; 2],
        now_us: i64,
        set: impl FnOnce(&mut Control),
    ) -> Result<(), String> {
        let mut known = self.entries.iter_mut().filter(|entry| !entry.is_ending);
        if let Some(entry) = known.find(|entry| entry.control.pattern == pattern) {
            if entry.work == Work::GoesLive {
                return Err(words::goes_live(pattern));
            }
            set(&mut entry.control);
            reason.clone_into(&mut entry.control.reason);
            by.clone_into(&mut entry.control.by);
            entry.is_saved = false;
            entry.pace.set(entry.control.rows_per_second);
            words::changes(&entry.control);
            self.orders.push_back(Order::Note(entry.control.clone()));
            return Ok(());
        }
        let newest = self.entries.iter().map(|entry| entry.control.at_us).max();
        let mut control = Control {
            at_us: newest.map_or(now_us, |newest| now_us.max(newest + 1)),
            kind,
            pattern: pattern.to_owned(),
            reason: reason.to_owned(),
            by: by.to_owned(),
            is_sending: false,
            until_us: None,
            rows_per_second: None,
        };
        set(&mut control);
        words::begins(&control);
        self.orders.push_back(Order::Hold(control.clone()));
        self.entries.push(Entry::new(control, false));
        Ok(())
    }

    /// When a pause of so many seconds ends; why it can't be one, in words.
    fn pause_ends(&self, seconds: u64, now_us: i64) -> Result<i64, String> {
        let bound = self
            .expiry
            .map_or(PAUSE_MAX, |expiry| expiry.mul_f64(1.0 - PURGE_MARGIN_MIN).min(PAUSE_MAX));
        if seconds == 0 || seconds > bound.as_secs() {
            return Err(words::no_pause(seconds, bound, self.expiry));
        }
        let micros = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        Ok(now_us.saturating_add(micros))
    }

    /// The rows that are held back are sent; then the control ends.
    fn send(&mut self, at_us: i64, by: &str, why: &str) {
        let Some(entry) = self.of(at_us) else { return };
        entry.control.is_sending = true;
        entry.is_saved = false;
        let control = entry.control.clone();
        let pattern = &control.pattern;
        tracing::warn!(pattern, by, why, control = at_us, "control: what is held back is sent");
        self.orders.push_back(Order::Note(control));
    }

    fn release(
        &mut self,
        given: &str,
        (send, gives_up): (bool, bool),
        by: &str,
    ) -> Result<String, String> {
        let Some(entry) = self.in_force().find(|entry| entry.control.pattern == given) else {
            return Ok(String::new());
        };
        let at_us = entry.control.at_us;
        if entry.work == Work::GoesLive {
            return Err(words::goes_live(given));
        }
        let holds = entry.control.holds();
        let is_sent = holds && !gives_up && (send || entry.control.keeps_rows());
        if holds
            && !is_sent
            && let Some(other) = self.also_pauses(entry)
        {
            return Err(format!(
                "{other} holds rows of these tables back too, and sends them at its end: release it first"
            ));
        }
        if is_sent {
            if let Some(entry) = self.of(at_us) {
                // Of a rate: its rows are sent as fast as can be, and then it is over.
                if entry.control.kind == ControlKind::Rate {
                    (entry.control.kind, entry.control.rows_per_second) =
                        (ControlKind::Pause, None);
                }
                entry.pace.set(None);
            }
            self.send(at_us, by, "it is released");
            return Ok(format!(
                "the rows of {given} that were held back are sent; then it is live again"
            ));
        }
        tracing::warn!(pattern = given, by, control = at_us, "control: the tables are released");
        if let Some(entry) = self.of(at_us) {
            entry.is_ending = true;
            if entry.work != Work::Reads {
                self.orders.push_back(Order::Release(at_us));
            }
        }
        if !holds {
            return Ok(format!("the rate of {given} is not limited any more"));
        }
        Ok(format!(
            "rows of {given} are sent again from here on; those that were held back are not"
        ))
    }

    /// The pattern of another control that holds rows back which this one does too, and sends them.
    fn also_pauses(&self, of: &Entry) -> Option<&str> {
        let own = of.control.tables()?;
        let others = self.in_force().filter(|it| {
            it.control.keeps_rows() && it.control.holds() && it.control.at_us != of.control.at_us
        });
        others.filter_map(|it| Some((it, it.control.tables()?))).find_map(|(it, tables)| {
            let mut held = self.held.iter().filter(|held| held.rows() > 0);
            let is_both = held.any(|held| {
                let names = [&*held.range.database, &*held.range.table];
                own.matches(&names, self.case) && tables.matches(&names, self.case)
            });
            is_both.then_some(it.control.pattern.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::control_name;
    use crate::encode::{Lane, LaneId};
    use crate::pack::HeldRange;
    use crate::telemetry::status::ControlState;

    fn suppress(pattern: &str) -> Command {
        let (reason, by) = ("a test".to_owned(), "ada".to_owned());
        Command::Suppress { pattern: pattern.to_owned(), reason, by }
    }

    fn release(pattern: &str, send: bool) -> Command {
        let (pattern, by) = (pattern.to_owned(), "ada".to_owned());
        Command::Release { pattern, send, give_up: false, by }
    }

    fn pause(pattern: &str, seconds: u64) -> Command {
        let (reason, by) = ("a move".to_owned(), "ada".to_owned());
        Command::Pause { pattern: pattern.to_owned(), seconds, reason, by }
    }

    fn held(table: &str, rows: u64) -> HeldLane {
        let key: Arc<str> = Lane::key_of("d", table, 0).into();
        let range = HeldRange {
            database: "d".into(),
            table: table.into(),
            number: 0,
            first: 1,
            since_us: 0,
            gtid: String::new(),
        };
        HeldLane { lane: Lane { id: LaneId(0), key, number: 0, count: 1 }, range, next: 1 + rows }
    }

    /// Pattern, state, and whether it is saved, of each control.
    fn shown(registry: &ControlRegistry) -> Vec<(String, ControlState, bool)> {
        registry.status().into_iter().map(|it| (it.pattern, it.state, it.saved)).collect()
    }

    #[test]
    fn a_control_is_shown_from_the_command_until_its_end_is_saved() {
        let registry = Arc::new(ControlRegistry::default());
        assert!(registry.command(&suppress("a.b"), 5).is_err_and(|why| why.contains("not begun")));
        registry.open(&[]);
        assert!(registry.command(&suppress("a.b"), 5).is_ok());
        assert!(registry.command(&suppress("all"), 5).is_ok(), "the same microsecond");
        assert_eq!(registry.holds_all(ControlKind::Suppress).as_deref(), Some("ada: a test"));
        assert_eq!(registry.holds_all(ControlKind::Pause), None);
        assert!(registry.waits_for_saves());
        let taken = [registry.take(), registry.take(), registry.take()];
        assert!(matches!(&taken, [Some(Order::Hold(one)), Some(Order::Hold(two)), None]
            if (one.at_us, two.at_us) == (5, 6)));
        let holding = |is_saved| ("a.b".to_owned(), ControlState::Holding, is_saved);
        assert_eq!(shown(&registry)[0], holding(false));
        registry.saved([(&*control_name(5), false), ("snapshot", false)]);
        assert_eq!(shown(&registry)[0], holding(true));

        assert!(registry.command(&release("a.b", false), 9).is_ok());
        assert!(registry.command(&release("a.b", false), 9).is_err());
        assert!(matches!(registry.take(), Some(Order::Release(5))));
        assert_eq!(shown(&registry)[0].1, ControlState::Releasing);
        registry.saved([(&*control_name(5), true), (&*control_name(6), false)]);
        assert!(!registry.waits_for_saves());
        assert_eq!(shown(&registry), [("all".to_owned(), ControlState::Holding, true)]);
    }

    #[test]
    fn a_pause_ends_when_its_time_is_over_or_the_source_purges_its_rows() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        registry.keeps_logs(Some(Duration::from_secs(100)));
        assert!(registry.command(&pause("d.a", 0), 1).is_err());
        let refused = registry.command(&pause("d.a", 76), 1);
        assert!(
            refused
                .is_err_and(|why| why.contains("to 1 min 15 s") && why.contains("for 1 min 40 s"))
        );
        let words = registry.command(&pause("d.a", 75), 1).expect("not longer than that");
        assert!(
            words.contains("for 1 min 15 s at most") && words.contains("for 1 min 40 s"),
            "{words}"
        );
        registry.command(&pause("d.b", 60), 1).expect("another");
        // Longer, and for another reason, in one entry.
        registry.command(&pause("d.a", 75), 1_000_000).expect("it goes on");
        let ends: Vec<_> = registry.status().iter().map(|it| it.until_us).collect();
        assert_eq!(ends, [Some(76_000_000), Some(60_000_001)]);
        while registry.take().is_some() {}
        let after = |margin: Option<f64>, now_us| {
            let shown = registry.status().into_iter();
            let shown = shown.map(|it| ControlStatus { purge_margin_seconds: margin, ..it });
            registry.end_pauses(&shown.collect::<Vec<_>>(), now_us);
            std::iter::from_fn(|| registry.take()).count()
        };
        assert_eq!(after(Some(26.0), 60_000_000), 0);
        assert_eq!(after(None, 60_000_001), 1, "the time of one is over");
        assert_eq!(after(Some(24.0), 60_000_001), 1, "the rows of the other are purged soon");
        assert_eq!(after(Some(24.0), 90_000_000), 0, "both are being sent");
        assert!(registry.status().iter().all(|it| it.state == ControlState::Sending));
    }

    #[test]
    fn rows_that_must_not_be_sent_are_not_left_to_the_end_of_a_pause() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        registry.command(&suppress("d.a"), 1).expect("it is new");
        registry.command(&pause("d.*", 60), 2).expect("it is new");
        assert!(registry.command(&release("d.a", true), 3).is_ok());
        registry.show(vec![held("b", 5)], NameCase::Sensitive);
        assert!(registry.command(&release("d.a", false), 4).is_ok(), "no row of it is held back");
        registry.command(&suppress("d.b"), 5).expect("it is new");
        let refused = registry.command(&release("d.b", false), 6);
        assert!(refused.is_err_and(|why| why.starts_with("d.* holds rows")));
        assert!(registry.command(&release("d.*", false), 7).is_ok());
        assert!(registry.status().iter().any(|it| it.state == ControlState::Sending));
    }

    #[tokio::test]
    async fn what_is_to_be_sent_is_known_after_a_restart_and_can_be_given_up() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        registry.command(&suppress("a.b"), 5).expect("it is new");
        registry.command(&release("a.b", true), 6).expect("it is in force");
        assert_eq!(registry.next_sending(i64::MIN).await.control.at_us, 5);
        let orders: Vec<_> = std::iter::from_fn(|| registry.take()).collect();
        let [Order::Hold(_), Order::Note(control)] = &orders[..] else { panic!("{orders:?}") };
        assert!(control.is_sending);

        let again = Arc::new(ControlRegistry::default());
        again.open(std::slice::from_ref(control));
        assert_eq!(again.next_sending(i64::MIN).await.control, *control);
        again.sent(5, vec![("a.b#0".into(), 7)], 3, 1);
        again.could_not_send(5, "no source");
        let [status] = &again.status()[..] else { panic!("one is in force") };
        assert_eq!((status.sent_rows, status.told.as_str(), status.saved), (3, "no source", true));
        assert!(again.is_sending(5));
        again.command(&release("a.b", false), 9).expect("it can be given up");
        assert!(!again.is_sending(5));
    }

    #[tokio::test]
    async fn a_rate_is_sent_at_its_pace_and_as_fast_as_can_be_before_its_rows_are_purged() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        registry.keeps_logs(Some(Duration::from_secs(100)));
        let (pattern, reason, by) = ("d.*".to_owned(), "a test".to_owned(), "nobody".to_owned());
        let rate = Command::Rate { pattern, rows_per_second: 50, reason, by };
        registry.command(&rate, 1).expect("it is new");
        registry.saved([("control:1", false)]);
        registry.exceeded(&[1, 99]);
        assert!(registry.waits_for_saves());
        registry.saved([("control:1", false)]);
        let taken = registry.next_sending(i64::MIN).await;
        assert_eq!(taken.pace.rows_per_second(), Some(50));
        assert!(!registry.some_wait(), "it is taken");

        // Saves are as usual while it is read for long.
        assert!(registry.waits_for_saves());
        let sends = registry.sends(1);
        assert!(!registry.waits_for_saves());
        drop(sends);
        assert!(registry.waits_for_saves());

        // What another holds back too is left to it.
        registry.show(vec![held("a", 7), held("b", 5)], NameCase::Sensitive);
        assert_eq!(registry.rows_held(1, None), 12);
        registry.command(&pause("d.b", 60), 2).expect("it is new");
        assert_eq!((registry.rows_held(1, None), registry.rows_held(2, None)), (7, 0));
        assert_eq!(registry.rows_held(1, Some(&[held("a", 3)])), 3);

        // A quarter of the expiry is left.
        let after = |seconds| {
            let mut shown = registry.status();
            shown[0].purge_margin_seconds = Some(seconds);
            registry.end_pauses(&shown, 0);
            taken.pace.rows_per_second()
        };
        assert_eq!(after(26.0), Some(50));
        assert_eq!(after(24.0), None);
        assert_eq!(registry.status()[0].state, ControlState::Sending);
        drop(taken);
        assert!(registry.some_wait());
        let again = registry.next_sending(i64::MIN).await;
        assert_eq!((again.control.at_us, again.pace.rows_per_second()), (1, None));
    }

    #[tokio::test]
    async fn a_control_whose_rows_are_being_sent_ends_behind_them() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        registry.command(&suppress("a.b"), 5).expect("it is new");
        registry.command(&release("a.b", true), 6).expect("it is in force");
        while registry.take().is_some() {}
        let sends = registry.sends(5);
        registry.command(&release("a.b", false), 7).expect("it can be given up");
        registry.given_up(5).await;
        assert!(registry.take().is_none(), "newer rows would go in front of those that are sent");
        drop(sends);
        assert!(matches!(registry.take(), Some(Order::Release(5))));
        // Sent to its end, it ends otherwise.
        registry.command(&suppress("c.d"), 8).expect("it is new");
        registry.command(&release("c.d", true), 9).expect("it is in force");
        while registry.take().is_some() {}
        drop(registry.sends(8));
        assert!(registry.take().is_none());
    }

    #[tokio::test]
    async fn a_control_whose_rows_cannot_be_sent_holds_up_no_other() {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        for (pattern, at_us) in [("a.b", 1), ("c.d", 2), ("e.f", 3)] {
            registry.command(&suppress(pattern), at_us).expect("it is new");
        }
        registry.command(&release("a.b", true), 4).expect("it is in force");
        registry.command(&release("e.f", true), 5).expect("it is in force");
        let mut tried = Vec::new();
        for _ in 0..3 {
            let last = tried.last().copied().unwrap_or(i64::MIN);
            tried.push(registry.next_sending(last).await.control.at_us);
        }
        assert_eq!(tried, [1, 3, 1]);
    }
}
