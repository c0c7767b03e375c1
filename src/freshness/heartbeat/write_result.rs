//! Looks from a second session at what a write that owes its answer does.
//!
//! An account sees its own account's sessions in the process list without any grant (measured on
//! 9.7), and their STATE has the words that name the cause.

use crate::freshness::WriterConfig;
use crate::freshness::schema::{HEARTBEAT, literal};
use crate::mysql::{self, ConnectOptions, Session};

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// It runs still.
    Running {
        /// What the process list says that it does.
        state: Option<String>,
    },
    /// Its number, or a greater one, is in the table.
    Committed,
    /// Its session is not on the server any more, and its number not in the table.
    Gone,
    /// The server could not be asked.
    Unknown,
}

/// Columns of SHOW PROCESSLIST, the same in all versions.
const ID: usize = 0;
const STATE: usize = 6;

pub(super) async fn fate(
    config: &WriterConfig,
    session_id: Option<u32>,
    number: u64,
) -> WriteResult {
    match ask(&config.probing(), config, session_id, number).await {
        Ok(fate) => fate,
        Err(_) => WriteResult::Unknown,
    }
}

async fn ask(
    connect: &ConnectOptions,
    config: &WriterConfig,
    session_id: Option<u32>,
    number: u64,
) -> Result<WriteResult, mysql::Error> {
    let mut session = Session::connect(connect).await?;
    // The list first: a write that ends between the two questions is then found in the table.
    let processes = session.query("SHOW PROCESSLIST").await?;
    let found = processes.iter().find(
        |row| matches!(row.unsigned(ID), Ok(Some(id)) if session_id.map(u64::from) == Some(id)),
    );
    let (table, stream) = (config.schema.table(HEARTBEAT), literal(&config.stream));
    let sql = format!("SELECT n FROM {table} WHERE stream = {stream}");
    let row = session.query_first(&sql).await?;
    let stored = row.and_then(|row| row.unsigned(0).ok().flatten()).unwrap_or(0);
    session.close().await;
    Ok(match found {
        // With semi-sync's AFTER_COMMIT the row is visible while its writer still waits.
        Some(row) => {
            WriteResult::Running { state: row.text(STATE).filter(|state| !state.is_empty()) }
        }
        None if stored >= number => WriteResult::Committed,
        None => WriteResult::Gone,
    })
}
