//! How far something is that takes longer than two seconds: one line on standard error with rate and time
//! left, for people on a terminal. Elsewhere nothing is written.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::snapshot::picture::{bar, grouped};
use super::style::{columns, cut, erase_progress, is_dumb, show_progress};
use crate::telemetry::duration;

/// Why writing to a string can't fail.
const FITS: &str = "a string has room";

/// Most of what is done ends sooner: nothing is shown of it.
const AFTER: Duration = Duration::from_secs(2);
/// Between two lines.
const EVERY: Duration = Duration::from_millis(200);
/// The rate is that of so many lines: 15 s.
const SAMPLES: usize = 75;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes.
    Bytes,
    /// Things of this name.
    Things(&'static str),
    /// Seconds of a log that goes on meanwhile.
    Log,
}

/// Shows how far it is until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    unit: Unit,
    began: Instant,
    /// When the next line is due; `None`: nobody sees it.
    due: Option<Instant>,
    /// When how much was done.
    samples: VecDeque<(Instant, u64)>,
    what: &'static str,
}

impl Progress {
    /// For who looks at standard error, unless `is_seen` otherwise: rows that go by tell enough.
    pub(super) fn new(unit: Unit, is_seen: bool) -> Self {
        let is_wanted = !is_seen && io::stderr().is_terminal() && !is_dumb();
        let began = Instant::now();
        let due = is_wanted.then(|| began + AFTER);
        Self { unit, began, due, samples: VecDeque::new(), what: "" }
    }

    /// Whether anybody sees it.
    pub(super) fn is_wanted(&self) -> bool {
        self.due.is_some()
    }

    /// So much is done of `all`, which may not be known; `more` stands behind it.
    pub(super) fn at(&mut self, what: &'static str, done: u64, all: Option<u64>, more: &str) {
        let Some(due) = self.due else { return };
        if self.what != what {
            self.what = what;
            self.samples.clear();
        }
        let now = Instant::now();
        let is_first = self.samples.is_empty();
        if !is_first && now < due {
            return;
        }
        self.samples.push_back((now, done));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        if now.duration_since(self.began) < AFTER {
            return;
        }
        self.due = Some(now + EVERY);
        let width = terminal_size::terminal_size_of(io::stderr());
        let width = width.map_or(80, |(width, _)| usize::from(width.0));
        let line = line(what, self.unit, (done, all), self.rate(), more, width.saturating_sub(1));
        show_progress(&line);
    }

    /// Done each second, of late.
    fn rate(&self) -> Option<f64> {
        let ((from, before), (to, done)) = self.samples.front().zip(self.samples.back())?;
        let seconds = to.duration_since(*from).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let done = done.saturating_sub(*before) as f64;
        (seconds > 0.5).then(|| done / seconds)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        erase_progress();
    }
}

/// The line, no wider than `width`. What matters least is left out first: the bar, then the end. Pure.
fn line(
    what: &str,
    unit: Unit,
    (done, all): (u64, Option<u64>),
    rate: Option<f64>,
    more: &str,
    width: usize,
) -> String {
    let all = all.filter(|all| *all > 0);
    let percent = all.map(|all| (u128::from(done) * 100 / u128::from(all)).min(100));
    let percent = percent.and_then(|percent| u64::try_from(percent).ok());
    let mut facts = match (unit, all) {
        (Unit::Bytes, Some(all)) => format!("{} of {}", bytes(done), bytes(all)),
        (Unit::Bytes, None) => bytes(done),
        (Unit::Things(name), Some(all)) => format!("{} of {} {name}", grouped(done), grouped(all)),
        (Unit::Things(name), None) => format!("{} {name}", grouped(done)),
        (Unit::Log, _) => {
            let [done, all] = [done, all.unwrap_or(done)].map(Duration::from_secs);
            let behind = duration(all.saturating_sub(done).as_secs_f64());
            format!("{behind} behind")
        }
    };
    if let Some(rate) = rate.filter(|rate| *rate >= 0.05) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let whole = rate as u64;
        let speed = match unit {
            Unit::Bytes => bytes(whole) + "/s",
            Unit::Things(_) if rate < 10.0 => format!("{rate:.1}/s"),
            Unit::Things(_) => grouped(whole) + "/s",
            Unit::Log => format!("{rate:.1} times as fast"),
        };
        facts += &[", ", &speed].concat();
        // A second of the log comes with each second.
        let gains = if unit == Unit::Log { rate - 1.0 } else { rate };
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = all.map(|all| all.saturating_sub(done) as f64 / gains);
        if let Some(left) = left.filter(|left| (0.0..1e9).contains(left)) {
            write!(facts, ", about {} left", estimate(left)).expect(FITS);
        }
    }
    if !more.is_empty() {
        facts += &[", ", more].concat();
    }
    let whole = match percent {
        Some(percent) => format!("{what}  [{}] {percent:>3} %  {facts}", bar(percent)),
        None => format!("{what}  {facts}"),
    };
    if columns(&whole) <= width {
        return whole;
    }
    let short = match percent {
        Some(percent) => format!("{what} {percent} %  {facts}"),
        None => whole,
    };
    cut(&short, width).to_owned()
}

/// A time that is not known better than to the second.
fn estimate(seconds: f64) -> String {
    if seconds < 60.0 { format!("{:.0} s", seconds.ceil()) } else { duration(seconds) }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "a size, for people")]
    let mut size = count as f64;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == UNITS[0] { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_told_where_they_are_known() {
        let told = |done, all, rate| line("Decoding", Unit::Bytes, (done, all), rate, "", 120);
        let (mib, gib) = (1 << 20, 1 << 30);
        assert_eq!(
            told(gib, Some(4 * gib), Some(f64::from(1 << 26))),
            "Decoding  [#####...............]  25 %  1.0 GiB of 4.0 GiB, 64.0 MiB/s, about 48 s left"
        );
        assert_eq!(told(5 * mib, None, Some(1e6)), "Decoding  5.0 MiB, 976.6 KiB/s");
        assert_eq!(told(0, Some(0), None), "Decoding  0 B");
        // It has grown meanwhile: there is no time left, and no more than all of it.
        assert!(
            told(3 * mib, Some(mib), Some(1e6)).contains("100 %"),
            "{}",
            told(3, Some(1), None)
        );
        let things = |done, all, rate, more| {
            line("Publishing", Unit::Things("rows"), (done, all), rate, more, 120)
        };
        assert_eq!(
            things(1_500, Some(3_000), Some(2.5), "at 12:00"),
            "Publishing  [##########..........]  50 %  1,500 of 3,000 rows, 2.5/s, about 10 min 00 \
             s left, at 12:00"
        );
    }

    #[test]
    fn a_log_that_goes_on_is_caught_up_with_later() {
        let told = |rate| line("Catching up", Unit::Log, (3_600, Some(7_200)), Some(rate), "", 120);
        assert_eq!(
            told(61.0),
            "Catching up  [##########..........]  50 %  1 h 00 min behind, 61.0 times as fast, about \
             1 min 00 s left"
        );
        assert!(!told(0.9).contains("left"), "{}", told(0.9));
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        for width in 0..130 {
            for all in [None, Some(9_000_000_000_000)] {
                let rate = Some(123_456.7);
                let what = "Publishing";
                let text = line(what, Unit::Bytes, (8_000_000_000_000, all), rate, "more", width);
                assert!(columns(&text) <= width, "{width}: {text}");
            }
        }
    }

    #[test]
    fn the_rate_is_that_of_late() {
        let began = Instant::now();
        let mut progress = Progress::new(Unit::Bytes, true);
        assert!(!progress.is_wanted());
        progress.at("Reading", 5, None, "");
        assert!(progress.samples.is_empty(), "nobody looks");
        progress.samples = [(began, 100), (began + Duration::from_secs(10), 600)].into();
        assert_eq!(progress.rate(), Some(50.0));
        progress.samples.truncate(1);
        assert_eq!(progress.rate(), None);
    }
}
