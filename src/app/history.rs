//! Whether the source still has the history that came from it.

use std::time::Duration;

use super::plan::Plan;
use crate::checkpoint::Checkpoint;
use crate::mysql::{ConnectOptions, HostPort, Session};
use crate::pulse::schema::HEARTBEAT;
use crate::pulse::{Reason, Received, received};
use crate::source::{self, Error};

/// Looks for the newest heartbeat that was received, with the account that writes heartbeats.
#[derive(Debug, Clone)]
pub(super) struct History {
    connect: ConnectOptions,
    table: String,
    stream: String,
    received: Received,
}

impl History {
    /// What was `received` in this process, and what a checkpoint `saved` tells of those before.
    pub(super) fn new(plan: &Plan, received: Received, saved: Option<&Checkpoint>) -> Self {
        if let Some((saved, number)) = saved.and_then(|saved| Some((saved, saved.heartbeat?))) {
            received.note(number, saved.saved_at_us);
        }
        let timeout = plan.pulse.periods.probe_timeout;
        let connect = ConnectOptions {
            connect_timeout: timeout,
            // A wait for a lock is shorter, and ends first.
            query_timeout: timeout + Duration::from_secs(2),
            ..plan.pulse.connect.clone()
        };
        let table = plan.pulse.schema.table(HEARTBEAT);
        Self { connect, table, stream: plan.stream.clone(), received }
    }

    /// Refuses a server that was put back to an older state. To be asked on a connection that was made
    /// after the stream's, whose server was not restarted in between or the stream would have ended.
    pub(super) async fn is_held_by(&self, host: &HostPort) -> Result<(), Error> {
        let Some(newest) = self.received.newest() else { return Ok(()) };
        let connect = ConnectOptions { host: host.clone(), ..self.connect.clone() };
        let looked = async {
            let mut session = Session::connect(&connect).await?;
            let bounds = "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1";
            session.query(bounds).await?;
            let lacking = received::look(&mut session, &self.table, &self.stream, newest).await?;
            session.close().await;
            Ok::<_, crate::mysql::Error>(lacking)
        };
        match looked.await {
            Ok(None) => Ok(()),
            Ok(Some(lacking)) => Err(Error::PutBack { what: lacking.words(&self.table) }),
            Err(error) if not_ours(Reason::of(&error)) => {
                tracing::warn!(
                    %host, %error,
                    "the heartbeat table can't be read there: a source that was put back would not be \
                     noticed"
                );
                Ok(())
            }
            Err(error) => Err(source::Error::from(error)),
        }
    }
}

/// Whether the account is not meant to ask there, so that the look will never succeed.
fn not_ours(reason: Reason) -> bool {
    matches!(reason, Reason::Login | Reason::Denied)
}
