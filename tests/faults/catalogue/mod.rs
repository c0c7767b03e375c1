//! The faults: what each is, what has to be said of it, and by when. Data; how they are staged
//! stands beside.

mod inject;
mod source;
mod topic;

pub(crate) use inject::{begin, end};

use crate::load::Load;
use crate::pace::Budget;
use crate::stage::Variant;

/// Lists the faults.
macro_rules! kinds {
    ($($kind:ident;)*) => {
        /// A fault, or something that is none and must not look like one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];
        }
    };
}

kinds! {
    SourceKilled;
    SourceFrozen;
    BlackHole;
    HalfOpen;
    DumpKilledOnce;
    ReadOnly;
    GlobalReadLock;
    TablesLocked;
    RowLocked;
    SnsErrors;
    SnsSwallows;
}

/// What has to be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One of these verdicts, `state` or `state(reason)`, within the budget: on a database whose
    /// users write, and on any other.
    Verdict(&'static [&'static str], Budget, Budget),
    /// No verdict but live and quiet.
    Calm,
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
}

impl Fault {
    const fn new(kind: Kind, name: &'static str, expect: Expect) -> Self {
        Self { kind, name, expect, variant: Variant::Plain, loads: &Load::ALL, spends: false }
    }

    const fn on(self, loads: &'static [Load]) -> Self {
        Self { loads, ..self }
    }
}

const fn verdict(any: &'static [&'static str], budget: Budget) -> Expect {
    Expect::Verdict(any, budget, budget)
}

const fn sink(any: &'static [&'static str]) -> Expect {
    Expect::Verdict(any, Budget::SinkBusy, Budget::SinkQuiet)
}

impl Kind {
    /// Its entry.
    pub(crate) fn fault(self) -> Fault {
        use Budget as B;
        let new = |name, expect| Fault::new(self, name, expect);
        match self {
            Self::SourceKilled => {
                new("mysqld: kill -9", verdict(&["source_unreachable"], B::Refused))
            }
            Self::SourceFrozen => new("mysqld: SIGSTOP", verdict(&["source_hung"], B::Hung)),
            Self::BlackHole => new("network: black hole", verdict(&["source_hung"], B::Hung)),
            Self::HalfOpen => {
                new("stream: half-open connection", verdict(&["stream_silent"], B::Silent))
            }
            Self::DumpKilledOnce => new("stream: KILL of the dump thread, once", Expect::Calm),
            Self::ReadOnly => {
                new("source: read_only", verdict(&["source_read_only"], B::ReadOnly))
            }
            Self::GlobalReadLock => {
                new("writes: global read lock", verdict(&["writes_blocked(ftwrl)"], B::Blocked))
            }
            Self::TablesLocked => {
                new("writes: LOCK TABLES", verdict(&["writes_blocked(mdl)"], B::Blocked))
            }
            Self::RowLocked => {
                new("writes: row lock", verdict(&["writes_blocked(row_lock)"], B::Blocked))
            }
            Self::SnsErrors => new("SNS: 500", sink(&["sink_stalled(server_error)"])),
            Self::SnsSwallows => {
                new("SNS: accepts and drops", verdict(&["canary_lost"], B::Canary))
            }
        }
    }
}
