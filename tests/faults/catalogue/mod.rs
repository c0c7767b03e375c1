//! The faults: what each is, what has to be said of it, and by when. Data; how they are staged
//! stands beside.

mod calm;
mod inject;
mod kinds;
mod move_address;
mod position;
mod restart;
mod source;
mod topic;

pub(crate) use inject::{begin, end};
pub(crate) use kinds::Kind;

use std::time::Duration;

use crate::load::Load;
use crate::pace::Budget;
use crate::stage::Variant;

/// What has to be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One of these verdicts, `state` or `state(reason)`, within the budget: on a database whose
    /// users write, and on any other.
    Verdict(&'static [&'static str], Budget, Budget),
    /// No verdict but live and quiet; of those who can't say, only that we ourselves stood still.
    Calm,
    /// The same, and this condition is no longer true, as a warning.
    Warning(&'static str, Budget),
    /// The same, and a control message of this kind stands on the page.
    ControlMessage(&'static str, Budget),
    /// A verdict may be shown for a moment, and nobody is paged.
    NoPage,
    /// Nothing is shown, for the service itself is struck: this alert pages.
    Page(&'static str),
    /// Lost transactions are counted.
    Unaccounted(Budget),
}

/// An entry of the catalogue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) expect: Expect,
    pub(crate) variant: Variant,
    pub(crate) loads: &'static [Load],
    /// The stage can't be used after it.
    pub(crate) spends: bool,
    /// It fixes itself, so that nobody is to be paged.
    pub(crate) heals: bool,
    /// How long it lasts at least.
    pub(crate) lasts: Duration,
    /// Other verdicts that are true as well, of what comes with it: a failover begins with a server
    /// that takes no writes, a restored backup with one that is down.
    pub(crate) also: &'static [&'static str],
}

impl Fault {
    fn new(kind: Kind, name: &'static str, expect: Expect) -> Self {
        Self {
            kind,
            name,
            expect,
            variant: Variant::Plain,
            loads: &Load::ALL,
            spends: false,
            heals: false,
            lasts: Duration::ZERO,
            also: &[],
        }
    }

    fn loads(self, loads: &'static [Load]) -> Self {
        Self { loads, ..self }
    }

    fn on(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    fn spends(self) -> Self {
        Self { spends: true, ..self }
    }

    fn heals(self) -> Self {
        Self { heals: true, ..self }
    }

    fn lasts(self, seconds: u64) -> Self {
        Self { lasts: Duration::from_secs(seconds), ..self }
    }

    fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// Whether it is one that must be told, and not one that must not look like one.
    pub(crate) fn is_fault(&self) -> bool {
        match self.expect {
            Expect::Verdict(..) | Expect::Page(_) | Expect::Unaccounted(_) => true,
            Expect::Calm | Expect::Warning(..) | Expect::ControlMessage(..) | Expect::NoPage => {
                false
            }
        }
    }

    /// The alert that pages for it, if one has to.
    pub(crate) fn page(&self) -> Option<&'static str> {
        match self.expect {
            Expect::Verdict(any, ..) if !self.heals => any.first().and_then(|label| page_of(label)),
            Expect::Page(alert) => Some(alert),
            Expect::Unaccounted(_) => Some("BinpulseUnaccountedTransactions"),
            Expect::Verdict(..)
            | Expect::Calm
            | Expect::Warning(..)
            | Expect::ControlMessage(..)
            | Expect::NoPage => None,
        }
    }
}

/// Alerts that fire as well and that Alertmanager hides behind this one, as
/// `alerts/alertmanager/alertmanager.yml` has it and `tests/alerts.rs` holds it to.
pub(crate) fn hidden_by(alert: &str) -> &'static [&'static str] {
    match alert {
        "BinpulsePositionLost" => &["BinpulseHalted", "BinpulseStreamStalled"],
        "BinpulseHalted" => &["BinpulseStreamStalled", "BinpulseEndToEndStale"],
        _ => &[],
    }
}

/// The alert of a verdict.
fn page_of(label: &str) -> Option<&'static str> {
    match label.split('(').next().unwrap_or_default() {
        "stream_down" if label == "stream_down(halted)" => Some("BinpulseHalted"),
        "position_lost" => Some("BinpulsePositionLost"),
        "source_unreachable" | "source_hung" | "upstream_replication_broken" => {
            Some("BinpulseSourceDown")
        }
        "wrong_source" => Some("BinpulseWrongSource"),
        "source_read_only" | "writes_blocked" => Some("BinpulseSourceWritesBlocked"),
        "stream_down" | "stream_silent" | "heartbeat_lost" => Some("BinpulseStreamStalled"),
        "sink_stalled" => Some("BinpulseSinkStalled"),
        "lagging" => Some("BinpulseLagging"),
        "canary_lost" => Some("BinpulseCanaryLost"),
        // Checkpoints warn: nothing is lost, and nothing is late.
        _ => None,
    }
}
