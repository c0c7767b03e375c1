//! Nowhere: everything counts as delivered. For measurements, and to see what a route would do.

use super::{Outcome, Request};

/// See the head of this file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Null;

impl Null {
    /// Takes them.
    #[expect(clippy::unused_async, reason = "the same call as of the other receivers")]
    pub async fn deliver_batch(&self, requests: &[Request]) -> Vec<Outcome> {
        vec![Outcome::Delivered; requests.len()]
    }
}
