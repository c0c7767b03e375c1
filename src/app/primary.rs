//! Which of several hosts takes writes: the one to stream from, to write heartbeats to, and to keep a
//! checkpoint in. A server that was the primary and is back as a replica is passed over.

use super::plan::Plan;
use crate::freshness::verdict::Topology;
use crate::mysql::{ConnectOptions, Error, HostPort, Session, SharedHost};

/// What the hosts say, looked at in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// This one takes writes.
    Primary(usize),
    /// None takes writes; this is the first that answers.
    ReadOnly(usize),
    /// None answers.
    Nobody,
}

impl Found {
    /// The host to begin with.
    pub(super) fn first(self) -> usize {
        match self {
            Self::Primary(host) | Self::ReadOnly(host) => host,
            Self::Nobody => 0,
        }
    }
}

/// Whether it matters: the primary is one of several, no setting names it, and something is written.
pub(super) fn is_sought(plan: &Plan) -> bool {
    let writes =
        plan.freshness.heartbeats || plan.freshness.canaries || plan.checkpoint.file.is_none();
    let is_primary = plan.freshness.topology == Topology::Primary;
    plan.freshness.follows_stream && plan.source.hosts.len() > 1 && is_primary && writes
}

/// Asks the hosts, one after the other. Where it does not matter the first is as good as any.
pub(super) async fn find(plan: &Plan) -> Found {
    if !is_sought(plan) {
        return Found::Primary(0);
    }
    let mut found = Found::Nobody;
    for (index, host) in plan.source.hosts.iter().enumerate() {
        match takes_writes(&plan.freshness.connect, host).await {
            Ok(true) => return Found::Primary(index),
            Ok(false) if found == Found::Nobody => found = Found::ReadOnly(index),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%host, %error, "cannot query whether it accepts writes");
            }
        }
    }
    found
}

/// The host that is written to, by whoever only looks.
pub(super) async fn written_to(plan: &Plan) -> SharedHost {
    let named = plan.freshness.connect.host.clone();
    let found = plan.source.hosts.get(find(plan).await.first()).cloned();
    SharedHost::new(found.filter(|_| plan.freshness.follows_stream).unwrap_or(named))
}

async fn takes_writes(connect: &ConnectOptions, host: &HostPort) -> Result<bool, Error> {
    let options = ConnectOptions { host: host.clone(), ..connect.clone() };
    let mut session = Session::connect(&options).await?;
    let row = session.query_first("SELECT @@global.read_only, @@global.innodb_read_only").await?;
    session.close().await;
    let is_off = |column| {
        let text = row.as_ref().and_then(|row| row.text(column));
        text.is_some_and(|text| text == "0" || text == "OFF")
    };
    Ok(is_off(0) && is_off(1))
}
