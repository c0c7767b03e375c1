//! Second looks: before silence becomes an outage, somebody asks.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Reporter;
use crate::freshness::{Connection, Observation, Probe, SqlFailure, StatePoll};
use crate::mysql::{ConnectOptions, Error, Session, SharedHost};
use crate::platform;

/// Looks for a waiting writer, and the pause between them: together as long as a wait of a second,
/// the rest after it, and the way to the next.
const STATE_LOOKS_MAX: u32 = 15;
const STATE_LOOK_EVERY: Duration = Duration::from_millis(150);

/// A look that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// Because something is suspected.
    pub(crate) on_suspicion: bool,
}

/// Asks the server when the verdict's loop wants it.
pub(crate) struct ActiveProbe {
    connect: ConnectOptions,
    /// The server that heartbeats are written to.
    host: SharedHost,
    /// B: deadline of each question.
    deadline: Duration,
    reporter: Reporter,
    asked: watch::Receiver<Asked>,
    /// The connection that stands already.
    existing: Option<Session>,
}

impl ActiveProbe {
    pub(crate) fn new(
        connect: ConnectOptions,
        host: SharedHost,
        deadline: Duration,
        reporter: Reporter,
        asked: watch::Receiver<Asked>,
    ) -> Self {
        let connect =
            ConnectOptions { connect_timeout: deadline, query_timeout: deadline, ..connect };
        Self { connect, host, deadline, reporter, asked, existing: None }
    }

    /// Looks whenever asked, until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = self.asked.changed() => if changed.is_err() { return },
            }
            let asked = *self.asked.borrow_and_update();
            self.probe(asked).await;
        }
    }

    /// All at the same time, each with its deadline.
    async fn probe(&mut self, asked: Asked) {
        let started = platform::now();
        let host = self.host.now();
        let mut existing = self.existing.take().filter(|session| *session.host() == host);
        let (standing, fresh) = tokio::join!(
            async {
                let session = existing.as_mut()?;
                Some(session.query_within("SELECT 1", self.deadline).await.map(drop))
            },
            self.fresh(),
        );
        if let Some(result) = standing {
            if result.is_err() {
                existing = None;
            }
            self.probed(Connection::Existing, started, result);
        }
        match fresh {
            Ok((mut session, poll)) => {
                self.probed(Connection::Fresh, started, Ok(()));
                self.reporter.report(Observation::StatePoll(Box::new(poll.clone())));
                if asked.on_suspicion && poll.writer_state.is_none() {
                    self.await_writer(&mut session).await;
                }
                match existing {
                    // One whose answer was given up is of no further use.
                    None => existing = Some(session).filter(|session| session.id().is_some()),
                    Some(_) => session.close().await,
                }
            }
            Err(error) => self.probed(Connection::Fresh, started, Err(error)),
        }
        self.existing = existing;
    }

    /// A write that meets a lock waits for a second of two, and only then can be seen waiting: looks
    /// until it is.
    async fn await_writer(&self, session: &mut Session) {
        for _ in 0..STATE_LOOKS_MAX {
            tokio::time::sleep(STATE_LOOK_EVERY).await;
            let Ok(state) = blocked_writer(session).await else { return };
            if state.is_some() {
                // The rest was reported: the same answers are no second evidence.
                let poll = StatePoll { writer_state: state, ..StatePoll::default() };
                self.reporter.report(Observation::StatePoll(Box::new(poll)));
                return;
            }
        }
    }

    fn probed(&self, connection: Connection, started: Instant, result: Result<(), Error>) {
        let result = result.map_err(|error| SqlFailure::of(&error));
        self.reporter.report(Observation::Probe(Probe { connection, started, result }));
    }

    async fn fresh(&self) -> Result<(Session, StatePoll), Error> {
        let mut session =
            Session::connect(&ConnectOptions { host: self.host.now(), ..self.connect.clone() })
                .await?;
        // A connection that falls silent behind its login is no newcomer that was admitted.
        let flag = text(&mut session, "SELECT @@global.read_only").await?;
        let read_only = flag.map(|text| text == "1" || text == "ON");
        let mut poll =
            StatePoll { asked: Some(platform::now()), read_only, ..StatePoll::default() };
        // What is slow to say for the server tells nothing about its admission.
        if let Err(error) = fill(&mut session, &mut poll).await {
            tracing::debug!(%error, "the server's state could not be read completely");
        }
        Ok((session, poll))
    }
}

/// The rest of the state, up to the first question that is not answered.
async fn fill(session: &mut Session, poll: &mut StatePoll) -> Result<(), Error> {
    poll.server = parsed(text(session, "SELECT @@server_uuid").await?);
    poll.executed = parsed(text(session, "SELECT @@global.gtid_executed").await?);
    poll.purged = parsed(text(session, "SELECT @@global.gtid_purged").await?);
    poll.writer_state = blocked_writer(session).await?;
    Ok(())
}

fn parsed<T: std::str::FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}

/// The answer's first cell. A variable that this server has not, or a privilege that is missing,
/// leaves it unknown; the error is one of the connection.
async fn text(session: &mut Session, sql: &str) -> Result<Option<String>, Error> {
    match session.query_first(sql).await {
        Ok(row) => Ok(row.and_then(|row| row.text(0))),
        Err(error) if error.is_fatal() => Err(error),
        Err(_) => Ok(None),
    }
}

/// STATE of the blocked statement of our own account: it needs no privilege. The statement's lock
/// time-out is short, so it may have run for less than a second. What only reads is no writer: another
/// look at the same time, a observer, a question for the source's logs.
async fn blocked_writer(session: &mut Session) -> Result<Option<String>, Error> {
    let sql = "SELECT STATE FROM information_schema.PROCESSLIST \
               WHERE COMMAND = 'Query' AND ID <> CONNECTION_ID() \
               AND INFO NOT LIKE 'SELECT%' AND INFO NOT LIKE 'SHOW%' \
               ORDER BY STATE LIKE 'Waiting%' DESC, TIME DESC LIMIT 1";
    Ok(text(session, sql).await?.filter(|state| !state.is_empty()))
}
