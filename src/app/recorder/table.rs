//! A history in a table of the source database, where the checkpoint is one.
//!
//! A session for each load and each save: verdicts change seldom, and a session that is kept would have to
//! be looked after. Bounded by the deadlines of a question, so that a source that hangs holds up nothing.

use std::collections::BTreeSet;

use crate::app::freshness::writer_config;
use crate::app::plan::Plan;
use crate::freshness::schema::HISTORY;
use crate::freshness::{SqlFailure, WriteRefused, WriteSession, WriterConfig};
use crate::mysql::{Row, SharedHost, Value};
use crate::telemetry::verdict_history::{CHANGES_MAX, Change};

/// Rows of one statement: it stays far below the smallest `max_allowed_packet` in use.
const ROWS_PER_STATEMENT: usize = 20;

/// The rows of one stream.
#[derive(Clone)]
pub(super) struct Table {
    writer: WriterConfig,
    /// Quoted and qualified.
    name: String,
    /// Times of the changes that are in it as far as this process knows.
    saved: BTreeSet<i64>,
}

impl Table {
    /// On the server that takes writes.
    pub(super) fn new(plan: &Plan, host: &SharedHost) -> Self {
        let name = plan.freshness.schema.table(HISTORY);
        Self { writer: writer_config(plan, host, String::new()), name, saved: BTreeSet::new() }
    }

    pub(super) fn place(&self) -> String {
        self.name.replace('`', "")
    }

    /// What other processes of the stream have saved, the oldest first. A row that is no change of this
    /// version's form is left out.
    pub(super) async fn load(&mut self) -> Result<Vec<Change>, String> {
        let sql = format!("SELECT at_us, document FROM {} WHERE stream = ?", self.name);
        let mut writer = self.connected().await?;
        let stream = self.writer.stream.clone().into();
        let read = writer.session.exec(&sql, vec![stream]).await;
        writer.session.close().await;
        let rows = read.map_err(|error| told(&error.into()))?;
        self.saved = rows.iter().filter_map(|row| row.signed(0).ok().flatten()).collect();
        let change = |row: &Row| {
            let change: Change = serde_json::from_str(&row.text(1)?).ok()?;
            Some(Change { at_us: row.signed(0).ok()??, ..change })
        };
        let mut changes: Vec<_> = rows.iter().filter_map(change).collect();
        changes.sort_by_key(|change| change.at_us);
        Ok(changes.split_off(changes.len().saturating_sub(CHANGES_MAX)))
    }

    /// Adds those that are not there, and takes out what is older than all of them, in one transaction.
    pub(super) async fn save(&mut self, changes: &[Change]) -> Result<(), String> {
        let mut writer = self.connected().await?;
        let done = self.write(&mut writer, changes).await;
        writer.session.close().await;
        done.map_err(|error| told(&error.into()))?;
        self.saved = changes.iter().map(|change| change.at_us).collect();
        Ok(())
    }

    async fn write(
        &self,
        writer: &mut WriteSession,
        changes: &[Change],
    ) -> Result<(), crate::mysql::Error> {
        let session = &mut writer.session;
        let stream = || Value::from(self.writer.stream.clone());
        let new: Vec<_> = changes.iter().filter(|it| !self.saved.contains(&it.at_us)).collect();
        session.query("START TRANSACTION").await?;
        for part in new.chunks(ROWS_PER_STATEMENT) {
            let places = vec!["(?, ?, ?)"; part.len()].join(", ");
            let sql = format!(
                "INSERT INTO {} (stream, at_us, document) VALUES {places} \
                 ON DUPLICATE KEY UPDATE document = VALUES(document)",
                self.name
            );
            let row = |change: &&Change| {
                let document = serde_json::to_string(change).unwrap_or_default();
                [stream(), change.at_us.into(), document.into()]
            };
            session.exec(&sql, part.iter().flat_map(row).collect()).await?;
        }
        if let Some(oldest) = changes.first() {
            let sql = format!("DELETE FROM {} WHERE stream = ? AND at_us < ?", self.name);
            session.exec(&sql, vec![stream(), oldest.at_us.into()]).await?;
        }
        session.query("COMMIT").await?;
        Ok(())
    }

    async fn connected(&self) -> Result<WriteSession, String> {
        WriteSession::connect(&self.writer).await.map_err(|refusal| told(&refusal))
    }
}

/// Why not, and what helps.
fn told(refusal: &WriteRefused) -> String {
    if refusal.reason == SqlFailure::SchemaMissing {
        return format!("{}; run `binpulse init`", refusal.message);
    }
    refusal.message.clone()
}
