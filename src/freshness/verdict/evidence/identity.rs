//! Which servers the stream and the writer are connected to.

use std::time::Instant;

use super::seconds;
use crate::change::Uuid;
use crate::freshness::verdict::{Condition, Conditions, Parameters, Status, Topology};

/// A connection's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Server {
    /// Not connected yet.
    #[default]
    Unknown,
    /// It has no UUID: not a MySQL of 5.6 or newer.
    Nameless,
    Named(Uuid),
}

impl Server {
    fn new(server: Option<Uuid>) -> Self {
        server.map_or(Self::Nameless, Self::Named)
    }

    fn uuid(self) -> Option<Uuid> {
        match self {
            Self::Named(uuid) => Some(uuid),
            Self::Unknown | Self::Nameless => None,
        }
    }
}

#[derive(Debug, Default)]
pub(in super::super) struct IdentityEvidence {
    stream: Server,
    writer: Server,
    mismatch_since: Option<Instant>,
}

impl IdentityEvidence {
    pub(in super::super) fn stream(&mut self, server: Option<Uuid>) {
        self.stream = Server::new(server);
    }

    pub(in super::super) fn writer(&mut self, server: Option<Uuid>) {
        self.writer = Server::new(server);
    }

    /// Whether that is for certain the server of the stream.
    pub(in super::super) fn is_of_stream(&self, server: Option<Uuid>) -> bool {
        server.is_some() && self.stream.uuid() == server
    }

    /// Whether both are not known to differ.
    pub(in super::super) fn agrees(&self, parameters: &Parameters) -> bool {
        self.mismatch(parameters).is_none()
    }

    fn mismatch(&self, parameters: &Parameters) -> Option<String> {
        let (stream, writer) = (self.stream.uuid(), self.writer.uuid());
        match (stream?, writer?) {
            (stream, writer) if stream != writer && parameters.topology == Topology::Primary => {
                Some(format!("the stream comes from {stream}, heartbeats go to {writer}"))
            }
            _ => None,
        }
    }

    pub(in super::super) fn reset(&mut self, at: Instant) {
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
            // A failover may be under way; until it is over nothing is proven by either.
            let over = age >= parameters.identity_grace;
            let status = if over { Status::False } else { Status::Unknown };
            (status, format!("{what}, for {}", seconds(age)))
        } else {
            self.mismatch_since = None;
            match (self.stream, self.writer) {
                (Server::Named(server), Server::Named(_)) => {
                    (Status::True, format!("stream and heartbeats are at server {server}"))
                }
                (Server::Unknown, _) | (Server::Named(_), Server::Unknown) => {
                    (Status::Unknown, "the servers are not known yet".to_owned())
                }
                (Server::Nameless, _) | (_, Server::Nameless) => (
                    // The condition on heartbeats proves the rest: the rows come back.
                    Status::True,
                    "the server has no UUID; that its rows come back tells who it is".to_owned(),
                ),
            }
        };
        conditions.set(now, Condition::SourceMatches, status, because);
    }
}
