//! Whether the source was put back to an older state, as by restoring a backup.

use std::time::Duration;

use super::plan::Plan;
use crate::checkpoint::Checkpoint;
use crate::freshness::schema::{CANARY_COUNTER, HEARTBEAT};
use crate::freshness::{Received, SqlFailure, received};
use crate::mysql::{ConnectOptions, HostPort, Session};
use crate::source::{self, Error};

/// Looks for the newest heartbeat that was received, with the account that writes heartbeats.
#[derive(Debug, Clone)]
pub(super) struct SourceRollback {
    connect: ConnectOptions,
    table: String,
    stream: String,
    received: Received,
    /// The newest canary that is in an echo queue, and the table that counts them.
    canary: Option<(received::Newest, String)>,
}

impl SourceRollback {
    /// What was `received` in this process, and what a checkpoint `saved` tells of those before.
    pub(super) fn new(plan: &Plan, received: Received, saved: Option<&Checkpoint>) -> Self {
        if let Some((saved, number)) = saved.and_then(|saved| Some((saved, saved.heartbeat?))) {
            received.note(number, saved.saved_at_us);
        }
        let timeout = plan.freshness.periods.probe_timeout;
        let connect = ConnectOptions {
            connect_timeout: timeout,
            // A wait for a lock is shorter, and ends first.
            query_timeout: timeout + Duration::from_secs(2),
            ..plan.freshness.connect.clone()
        };
        let table = plan.freshness.schema.table(HEARTBEAT);
        Self { connect, table, stream: plan.stream.clone(), received, canary: None }
    }

    /// Also looks for this canary, which had left the source.
    pub(super) fn with_canary(self, plan: &Plan, canary: Option<received::Newest>) -> Self {
        let counter = plan.freshness.schema.table(CANARY_COUNTER);
        Self { canary: canary.map(|canary| (canary, counter)), ..self }
    }

    /// Refuses a server that was put back to an older state. To be asked on a connection that was made
    /// after the stream's, whose server was not restarted in between or the stream would have ended.
    pub(super) async fn refuse(&self, host: &HostPort) -> Result<(), Error> {
        let heartbeat = self.received.newest().map(|it| ("heartbeat", it, &self.table));
        let canary = self.canary.as_ref().map(|(it, table)| ("canary", *it, table));
        let mut session = None;
        for (what, newest, table) in heartbeat.into_iter().chain(canary) {
            match self.check(&mut session, host, newest, table).await {
                Ok(None) => {}
                Ok(Some(lacking)) => {
                    return Err(Error::PutBack { what: lacking.words(what, table) });
                }
                Err(error) if not_ours(SqlFailure::of(&error)) => tracing::warn!(
                    %host, %error,
                    "{table} can't be read there: a source restored from an older backup would not \
                     be detected"
                ),
                Err(error) => return Err(source::Error::from(error)),
            }
        }
        if let Some(session) = session {
            session.close().await;
        }
        Ok(())
    }

    /// Looks on `session`, which is made where there is none.
    async fn check(
        &self,
        session: &mut Option<Session>,
        host: &HostPort,
        newest: received::Newest,
        table: &str,
    ) -> Result<Option<received::Lacking>, crate::mysql::Error> {
        let session = match session {
            Some(session) => session,
            none => {
                let connect = ConnectOptions { host: host.clone(), ..self.connect.clone() };
                let made = none.insert(Session::connect(&connect).await?);
                let bounds =
                    "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1";
                made.query(bounds).await?;
                made
            }
        };
        received::check(session, table, &self.stream, newest).await
    }
}

/// Whether the account is not meant to ask there, so that the look will never succeed.
fn not_ours(reason: SqlFailure) -> bool {
    matches!(reason, SqlFailure::Login | SqlFailure::Denied)
}
