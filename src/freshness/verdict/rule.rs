//! What the verdict's table is made of: predicates, rules of entry and exit, grades, hops and texts.

use std::borrow::Cow;

use super::reason::named;
use super::{Condition, Conditions, Reason, Status};
use crate::telemetry::words;
pub use crate::telemetry::words::Hop;

/// A predicate over conditions.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// There is evidence against it.
    False(Condition),
    /// There is evidence for it.
    True(Condition),
    /// There is no evidence for it.
    NotTrue(Condition),
    /// There is no evidence against it.
    NotFalse(Condition),
    /// All of them.
    All(&'static [When]),
    /// One of them at least.
    Any(&'static [When]),
    /// A condition that `live` and `quiet` need is not `True`.
    NeedMissing,
    /// Nothing above matched.
    Otherwise,
}

impl When {
    /// Whether it holds.
    pub fn holds(&self, conditions: &Conditions) -> bool {
        match self {
            Self::False(condition) => conditions.status(*condition) == Status::False,
            Self::True(condition) => conditions.status(*condition) == Status::True,
            Self::NotTrue(condition) => conditions.status(*condition) != Status::True,
            Self::NotFalse(condition) => conditions.status(*condition) != Status::False,
            Self::All(parts) => parts.iter().all(|part| part.holds(conditions)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(conditions)),
            Self::NeedMissing => Condition::ALL.iter().any(|condition| {
                conditions.is_needed(*condition) && conditions.status(*condition) != Status::True
            }),
            Self::Otherwise => true,
        }
    }
}

/// How a state is entered once its predicate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enter {
    /// With the next evaluation.
    AtOnce,
    /// At once from `live` or `quiet`, which are not kept without their evidence; from any other
    /// state when the predicate has held for `Parameters::indeterminate_after`.
    Missing,
}

/// What must be seen, with the predicate no longer holding, before a state is left for a better one.
/// A state with a predicate that holds is never hidden by one that only waits for its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing.
    AtOnce,
    /// That many heartbeat round trips; without heartbeat rows, as many answered probes with bytes
    /// on the stream behind them.
    RoundTrips(u64),
    /// That many committed heartbeat rows.
    Commits(u64),
    /// That many acknowledgements, or an empty sink after one.
    Acknowledgements(u64),
    /// That many canary echoes.
    Echoes(u64),
}

/// How bad a state is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grade {
    /// Something is broken, and there is evidence of it.
    Outage,
    /// Data comes late and the lag shrinks.
    Late,
    /// An outage is over by all evidence, but not for long enough to rely on it.
    Recovering,
    /// Nobody can say.
    Unknown,
    /// Nothing is wrong, and an operator has stopped what would otherwise flow.
    Intended,
    /// Nothing is wrong, and nothing proves it.
    Unproven,
    /// Proven to be well.
    Healthy,
}

impl Grade {
    /// As `/status` tells it.
    pub const fn told(self) -> words::Grade {
        match self {
            Self::Outage => words::Grade::Outage,
            Self::Late => words::Grade::Late,
            Self::Recovering => words::Grade::Recovering,
            Self::Unknown | Self::Unproven => words::Grade::Unknown,
            Self::Intended => words::Grade::Intended,
            Self::Healthy => words::Grade::Healthy,
        }
    }
}

/// Which hop a state is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Always this one.
    Hop(Hop),
    /// The publishing while what waits waits for SNS, else the stream.
    StreamOrPublish,
    /// The delivery when no consumer echoes, else those that do not.
    DeliveryOrConsumers,
}

impl At {
    /// The hop. `publish_behind`: what waits, waits for SNS; `all_lost`: no consumer echoes.
    pub const fn hop(self, publish_behind: bool, all_lost: bool) -> Hop {
        match self {
            Self::Hop(hop) => hop,
            Self::StreamOrPublish if publish_behind => Hop::Publish,
            Self::StreamOrPublish => Hop::Stream,
            Self::DeliveryOrConsumers if all_lost => Hop::Delivery,
            Self::DeliveryOrConsumers => Hop::Consumers,
        }
    }
}

/// Whose evidence says what a state is more exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonOf {
    /// There is no more to say.
    Nothing,
    /// What the source says of its history.
    History,
    /// The last probe; without one the stream.
    SqlElseStream,
    /// That nothing answers.
    Silence,
    /// The stream's last failure.
    Stream,
    /// What blocks writes.
    Writes,
    /// The sink's last failure.
    Sink,
    /// Consumers that echo nothing.
    Canaries,
    /// Echo queues that can't be read, where it is for them that evidence is missing.
    EchoQueues,
    /// What was written by the newest certificate.
    Certificate,
}

/// Words for people, which may depend on the reason.
#[derive(Debug, Clone, Copy)]
pub enum Text {
    /// Always these.
    Plain(&'static str),
    /// By the reason.
    ByReason(fn(Option<&Reason>) -> &'static str),
    /// With the names of the consumers that are lost; and without any.
    Naming(fn(&str) -> String, &'static str),
}

impl Text {
    /// The words.
    pub fn of(self, reason: Option<&Reason>) -> Cow<'static, str> {
        match (self, reason) {
            (Self::ByReason(text), _) => text(reason).into(),
            (Self::Naming(text, _), Some(Reason::Consumers(names))) if !names.is_empty() => {
                text(&named(names)).into()
            }
            (Self::Plain(text) | Self::Naming(_, text), _) => text.into(),
        }
    }
}
