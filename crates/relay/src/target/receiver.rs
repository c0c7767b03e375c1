//! A receiver, whichever it is.

use super::{Outcome, Request};
use crate::target::webhook::Webhook;

/// Somewhere requests go.
pub trait Receive: Send + Sync + 'static {
    /// Requests in one call, at most.
    fn batch_max(&self) -> usize;

    /// Makes one attempt at each; an outcome for each, in their order.
    fn deliver(&self, requests: &[Request]) -> impl Future<Output = Vec<Outcome>> + Send;

    /// What it is, for people: no secret.
    fn place(&self) -> String;
}
impl Receive for Webhook {
    fn batch_max(&self) -> usize {
        1
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            outcomes.push(Webhook::deliver(self, request).await);
        }
        outcomes
    }

    fn place(&self) -> String {
        Webhook::place(self)
    }
}
