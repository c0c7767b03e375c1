//! A session with at most one write outstanding, whose fate is never forgotten.
//!
//! A deadline on our side does not end a statement on the server: it may commit minutes later. So a
//! write that is overdue keeps its session, and nothing else is written until it is known what
//! became of it. Nothing is ever killed: with a full binlog volume that makes the server abort.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::time::Duration;

use crate::mysql::{self, HostPort};

use super::SqlFailure;
use super::write_session::{WriteRefused, WriteSession};

/// The session's own deadline on a write. It only bounds how long a session that is silent for ever
/// is kept; the one that counts is the caller's.
const FATE_MAX: Duration = Duration::from_hours(24);

type Outcome = (WriteSession, Result<u64, Failure>);

/// Why a write ended.
struct Failure {
    refusal: WriteRefused,
    /// The session is of no more use.
    is_fatal: bool,
}

impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Self {
        Self { is_fatal: error.is_fatal(), refusal: WriteRefused::from(error) }
    }
}

/// One statement of a write, and how many rows it must change; otherwise the transaction that it is in
/// is rolled back.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) rows: Option<RangeInclusive<u64>>,
}

impl Statement {
    /// A statement that must change so many rows.
    pub(super) fn changing(sql: String, rows: RangeInclusive<u64>) -> Self {
        Self { sql, rows: Some(rows) }
    }
}

impl From<String> for Statement {
    fn from(sql: String) -> Self {
        Self { sql, rows: None }
    }
}

/// A write whose end is not known yet.
pub(super) struct Outstanding {
    fate: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    /// The server's number for the session.
    pub(super) session_id: Option<u32>,
}

/// At most one session with at most one write outstanding.
#[derive(Default)]
pub(super) struct PendingWrite {
    writer: Option<WriteSession>,
    outstanding: Option<Outstanding>,
    /// The server of the session, also while a write is out on it.
    host: Option<HostPort>,
}

/// How a write ended: rows changed by its last statement, or why it failed.
pub(super) type Ended = Result<u64, WriteRefused>;

impl PendingWrite {
    /// The session, if there is one and nothing is outstanding on it.
    pub(super) fn writer(&mut self) -> Option<&mut WriteSession> {
        self.writer.as_mut()
    }

    pub(super) fn put(&mut self, writer: WriteSession) {
        self.host = Some(writer.session.host().clone());
        self.writer = Some(writer);
    }

    /// Gives the session up if it is with another server than `host`. The number of a write that was
    /// out on it is of no more use: what becomes of it there is that server's history.
    pub(super) fn leave_unless(&mut self, host: &HostPort) -> bool {
        let leaves = self.host.as_ref().is_some_and(|at| at != host);
        if leaves {
            self.drop_session();
        }
        leaves
    }

    /// Gives the session up, and with it the answer to what is outstanding.
    pub(super) fn drop_session(&mut self) {
        self.writer = None;
        self.outstanding = None;
        self.host = None;
    }

    /// The write that owes an answer, if one does.
    pub(super) fn outstanding(&self) -> Option<&Outstanding> {
        self.outstanding.as_ref()
    }

    /// Runs `statements` one after the other and waits up to `deadline` for the end. `None`: still
    /// outstanding, ask [`PendingWrite::fate`].
    pub(super) async fn write(
        &mut self,
        statements: Vec<impl Into<Statement>>,
        deadline: Duration,
    ) -> Option<Ended> {
        let statements: Vec<Statement> = statements.into_iter().map(Into::into).collect();
        let Some(mut writer) = self.writer.take() else {
            let refusal = WriteRefused::from(mysql::Error::Abandoned);
            return Some(Err(refusal));
        };
        let session_id = writer.session.id();
        let fate = Box::pin(async move {
            let mut result = Ok(0);
            for statement in &statements {
                result = run(&mut writer, statement).await;
                if result.is_err() {
                    break;
                }
            }
            (writer, result)
        });
        self.outstanding = Some(Outstanding { fate, session_id });
        tokio::time::timeout(deadline, self.fate()).await.ok()
    }

    /// Waits for the end of what is outstanding; for ever if nothing is. Dropping the future
    /// forgets nothing.
    pub(super) async fn fate(&mut self) -> Ended {
        let Some(outstanding) = &mut self.outstanding else { return std::future::pending().await };
        let (writer, result) = outstanding.fate.as_mut().await;
        self.outstanding = None;
        if !result.as_ref().is_err_and(|failure| failure.is_fatal) {
            self.writer = Some(writer);
        }
        result.map_err(|failure| failure.refusal)
    }
}

async fn run(writer: &mut WriteSession, statement: &Statement) -> Result<u64, Failure> {
    let session = &mut writer.session;
    session.query_within(&statement.sql, FATE_MAX).await?;
    let changed = session.affected_rows();
    let Some(allowed) = statement.rows.as_ref().filter(|allowed| !allowed.contains(&changed))
    else {
        return Ok(changed);
    };
    session.query_within("ROLLBACK", FATE_MAX).await?;
    let (least, most) = (allowed.start(), allowed.end());
    let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let message = format!(
        "rolled back: it changed {changed} rows, expected {expected}: `{}`",
        statement.sql.chars().take(SHOWN_MAX).collect::<String>()
    );
    Err(Failure {
        refusal: WriteRefused { reason: SqlFailure::Other(0), message },
        is_fatal: false,
    })
}

/// Characters of a statement that a message shows.
const SHOWN_MAX: usize = 200;
