//! The relay: reads one queue of binpulse's messages and delivers their rows to one target, in
//! order and once, as far as the target makes that possible.
//!
//! ```text
//! queue -> open -> lanes -> format -> target
//!                     \               /
//!                      +--- state ---+
//! ```
//!
//! * `queue`: an SQS queue, and how long a message stays hidden from others.
//! * `open`: from a body to rows, canaries and the other contents.
//! * `lanes`: which rows come next, which came already, which are missing. Pure.
//! * [`target`]: where rows go, and what an answer means.
//! * [`state`]: what a route must not forget: numbers delivered, requests under way, parked rows.
//!
//! The relay knows nothing of binary logs and topics: only messages.

mod body;
mod clock;
mod hash;
pub mod lane;
mod lanes;
pub mod metrics;
pub mod open;
mod outbox;
pub mod queue;
pub mod route;
pub mod state;
pub mod target;

pub use lanes::{Order, Share};
