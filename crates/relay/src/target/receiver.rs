//! A receiver, whichever it is.

use std::io::Write;

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

/// Lines on standard output.
#[derive(Debug, Default)]
pub struct Stdout;

impl Receive for Stdout {
    fn batch_max(&self) -> usize {
        100
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        let mut out = std::io::stdout().lock();
        let written = requests.iter().try_for_each(|request| {
            out.write_all(&request.body)?;
            out.write_all(b"\n")
        });
        let outcome = match written.and_then(|()| out.flush()) {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::Gone { answer: format!("standard output: {error}") },
        };
        vec![outcome; requests.len()]
    }

    fn place(&self) -> String {
        String::from("standard output")
    }
}

/// Nowhere, for measurements.
#[derive(Debug)]
pub struct Null;

impl Receive for Null {
    fn batch_max(&self) -> usize {
        100
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        vec![Outcome::Delivered; requests.len()]
    }

    fn place(&self) -> String {
        String::from("nowhere")
    }
}
