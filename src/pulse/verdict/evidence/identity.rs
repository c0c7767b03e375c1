//! Which servers the stream and the writer are connected to.

use std::time::Instant;

use super::seconds;
use crate::change::Uuid;
use crate::pulse::verdict::{Condition, Conditions, Parameters, Status, Topology};

#[derive(Debug, Default)]
pub(in super::super) struct IdentityEvidence {
    /// `Some(None)`: connected, to a server without a UUID.
    stream: Option<Option<Uuid>>,
    writer: Option<Option<Uuid>>,
    mismatch_since: Option<Instant>,
}

impl IdentityEvidence {
    pub(in super::super) fn stream(&mut self, server: Option<Uuid>) {
        self.stream = Some(server);
    }

    pub(in super::super) fn writer(&mut self, server: Option<Uuid>) {
        self.writer = Some(server);
    }

    /// Whether both are not known to differ.
    pub(in super::super) fn agrees(&self, parameters: &Parameters) -> bool {
        self.mismatch(parameters).is_none()
    }

    fn mismatch(&self, parameters: &Parameters) -> Option<String> {
        let (stream, writer) = (self.stream.flatten(), self.writer.flatten());
        let allowed = &parameters.allowed_servers;
        let stranger =
            [stream, writer].into_iter().flatten().find(|server| !allowed.contains(server));
        if let Some(stranger) = stranger.filter(|_| !allowed.is_empty()) {
            return Some(format!("server {stranger} is not among those allowed"));
        }
        match (stream?, writer?) {
            (stream, writer) if stream != writer && parameters.topology == Topology::Primary => {
                Some(format!("the stream comes from {stream}, heartbeats go to {writer}"))
            }
            _ => None,
        }
    }

    pub(in super::super) fn forgive(&mut self, at: Instant) {
        self.mismatch_since = self.mismatch_since.map(|_| at);
    }

    pub(in super::super) fn apply(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        conditions: &mut Conditions,
    ) {
        let (status, because) = if let Some(what) = self.mismatch(parameters) {
            let since = *self.mismatch_since.get_or_insert(now);
            let age = now.saturating_duration_since(since);
            let was = conditions.status(Condition::SourceMatches);
            let status = if age >= parameters.identity_grace { Status::False } else { was };
            (status, format!("{what}, for {}", seconds(age)))
        } else {
            self.mismatch_since = None;
            match (self.stream, self.writer) {
                (Some(Some(server)), Some(Some(_))) => {
                    (Status::True, format!("stream and heartbeats are at server {server}"))
                }
                (Some(_), Some(_)) => (
                    // The condition on heartbeats proves the rest: the rows come back.
                    Status::True,
                    "the server has no UUID; that its rows come back tells who it is".to_owned(),
                ),
                _ => (Status::Unknown, "the servers are not known yet".to_owned()),
            }
        };
        conditions.set(now, Condition::SourceMatches, status, because);
    }
}
