//! Messages out into the world, and word of which have arrived.
//!
//! # Contract of every sink
//!
//! A sink is `run(self, intake, settlements, stop)`: messages come in through an [`Intake`], one
//! [`Settlement`] goes out for each message that has an outcome.
//!
//! * **Durability.** [`Settlement::Settled`] means that the far side has taken the message for good
//!   (SNS answered with success; standard output was flushed), nothing less. Settlements come in any
//!   order; the checkpoint's tracker puts them in line.
//! * **No loss.** A message ends in exactly one settlement, or the sink ends with an error or at the
//!   end of its grace, in which case it was not settled and will be produced again from the
//!   checkpoint. Nothing is ever dropped otherwise: throttling, outages, denials, a missing topic
//!   are waited out for as long as they last, and shown in [`Health`].
//! * **Duplicates.** After a time-out or a broken connection a message may have arrived although
//!   nobody said so; it is sent again, the very same bytes and deduplication id. Consumers must
//!   tolerate it, and a FIFO topic removes it within 5 minutes.
//! * **Order.** With a FIFO topic, messages of one lane are accepted in the order in which they came
//!   in: one in flight per lane, and nothing newer before its predecessor has settled. With a
//!   standard topic the order within a lane is best effort. Lanes are independent of one another.
//! * **Refused for good.** [`Settlement::Failed`] gives the message back: the far side will never
//!   take it as it is. With [`OnRefusal::GoOn`] the lane continues with its next message and the owner
//!   puts the refused one into quarantine *before* it lets the checkpoint pass; with
//!   [`OnRefusal::Halt`] nothing more is started and `run` returns [`Error::Halted`].
//! * **Back-pressure.** The intake is bounded in bytes, counted until a message is settled. Whoever
//!   feeds must take settlements meanwhile, else both wait for each other.
//! * **Stopping.** When every [`Feed`] is gone, the sink delivers what it holds, however long that
//!   takes, and returns `Ok`. When `stop` is cancelled, it closes the intake and has its grace to
//!   deliver what it holds; what is left then is abandoned unsettled ([`Error::Unfinished`]).
//! * **Cancellation.** Dropping the future of `run` abandons what is unsettled and corrupts nothing.
//!
//! A sink does not know what a checkpoint or a binlog is, and decides nothing about a refused
//! message but whether to continue.

pub mod claim_check;
pub mod health;
pub mod intake;
pub mod null;
pub mod permit;
pub mod quarantine;
pub mod redrive;
pub mod sns;
pub mod stdout;
pub mod topic;

use std::time::Instant;

pub use health::{FailureClass, Health};
pub use intake::{Feed, Intake, intake};
pub use permit::Permit;

use crate::encode::Message;

/// The outcome of one message.
#[derive(Debug)]
pub enum Settlement {
    /// The far side has taken it for good.
    Settled {
        /// Number of the message.
        id: u64,
        /// Its delivery unit.
        ack_group: u64,
        /// When the acknowledgement came.
        at: Instant,
    },
    /// The far side will never take it as it is.
    Failed {
        /// The message, unchanged.
        message: Box<Message>,
        /// Why.
        error: MessageRejected,
    },
}

/// Why a message was refused for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageRejected {
    /// Larger than the topic takes.
    #[error("message of {bytes} bytes is over the limit of {limit} bytes of {destination}")]
    TooLarge {
        /// Its size as SNS counts it, bytes.
        bytes: usize,
        /// The topic's `MaximumMessageSize`, bytes.
        limit: usize,
        /// The topic.
        destination: String,
    },
    /// The service named a fault of the message itself.
    #[error("{destination} refused the message: {code}: {text}")]
    Refused {
        /// The service's error code.
        code: String,
        /// Its words.
        text: String,
        /// The topic.
        destination: String,
    },
}

/// What happens to a lane after one of its messages was refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefusal {
    /// Start nothing more; `run` returns an error.
    #[default]
    Halt,
    /// Continue with the next message: the owner quarantines the refused one.
    GoOn,
}

/// Why a sink could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination is no topic ARN.
    #[error("{arn:?} is not an SNS topic ARN: {why}")]
    NotATopic {
        /// What was given.
        arn: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A topic's attributes could not be read at start.
    #[error("topic {arn}: {code}: {text}; {remedy}")]
    Topic {
        /// The topic.
        arn: String,
        /// Class of the failure.
        class: FailureClass,
        /// The service's error code, or the kind of failure.
        code: String,
        /// Its words.
        text: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The topic lies in another region than the one that was configured.
    #[error("topic {arn} is in region {found}, but region {configured} is configured")]
    OtherRegion {
        /// The topic.
        arn: String,
        /// Region in the ARN.
        found: String,
        /// Region that was configured.
        configured: String,
    },
    /// Writing to the output failed.
    #[error("cannot write to the output")]
    Output(#[from] std::io::Error),
    /// A message was refused for good, and the policy is to halt.
    #[error("halted: {0}")]
    Halted(MessageRejected),
    /// The grace of a stop ended first.
    #[error(
        "stopped with {messages} messages ({bytes} bytes) undelivered; they will be sent again"
    )]
    Unfinished {
        /// Messages not settled.
        messages: usize,
        /// Their size, bytes.
        bytes: usize,
    },
    /// The receiver of the settlements is gone.
    #[error("the receiver of the settlements has ended")]
    Abandoned,
    /// A request's task ended without an answer: a bug of ours.
    #[error("a publishing task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether opening the sink may work later, without anybody doing something about it.
    pub fn passes(&self) -> bool {
        match self {
            Self::Topic { class, .. } => class.passes(),
            Self::NotATopic { .. }
            | Self::OtherRegion { .. }
            | Self::Output(_)
            | Self::Halted(_)
            | Self::Unfinished { .. }
            | Self::Abandoned
            | Self::Task(_) => false,
        }
    }
}
