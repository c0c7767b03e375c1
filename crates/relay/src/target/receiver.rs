//! A receiver, whichever it is.

use super::{Outcome, Request};

/// Somewhere requests go.
pub trait Receive: Send + Sync + 'static {
    /// Requests in one call, at most.
    fn batch_max(&self) -> usize;

    /// Makes one attempt at each; an outcome for each, in their order.
    fn deliver(&self, requests: &[Request]) -> impl Future<Output = Vec<Outcome>> + Send;

    /// What it is, for people: no secret.
    fn place(&self) -> String;
}
