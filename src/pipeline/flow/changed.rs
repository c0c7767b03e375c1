//! Statements that changed rows, where the log has no rows: skipped if no row of theirs would have
//! been published, an error or quarantined else.

use std::collections::HashSet;

use super::Flow;
use crate::decode::Statement;
use crate::pipeline::Error;
use crate::sql::{self, Name, Object, Written};

/// Views and triggers that are remembered, and tables that are told of; beyond that nothing passes, and
/// nothing is told.
const OBJECTS_MAX: usize = 10_000;

/// Tables of the source by which others change.
#[derive(Debug, Clone, Default)]
pub struct Indirect {
    /// Database and name of views, and of tables with triggers.
    pub names: Vec<(String, String)>,
    /// There are no others.
    pub is_complete: bool,
}

/// What is known of tables: from the source at the start, then from the statements that went by.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// Those that the source had at the start.
    before: Indirect,
    /// Names by which other tables change: views, and tables with triggers.
    indirect: Vec<(String, String)>,
    /// There were more.
    is_full: bool,
    /// Tables of which was told that their triggers are not known.
    told: HashSet<String>,
}

impl Objects {
    /// A statement went by, with `database` selected.
    pub(super) fn note(&mut self, database: &str, statement: &str) {
        let Some(Object::View(name) | Object::Trigger(name)) = sql::defined(statement) else {
            return;
        };
        if self.indirect.len() == OBJECTS_MAX {
            self.is_full = true;
            return;
        }
        let entry = (name.0.unwrap_or_else(|| database.to_owned()), name.1);
        if !self.indirect.contains(&entry) {
            self.indirect.push(entry);
        }
    }
}

impl Flow {
    /// The source has these; others may be made by statements that go by.
    pub fn know(&mut self, indirect: Indirect) {
        self.objects.before = indirect;
    }

    /// Rows were changed by a statement.
    #[cold]
    pub(super) fn changed(&mut self, statement: &Statement<'_>) -> Result<(), Error> {
        self.snapshots.statement(statement.database, &statement.text());
        if self.is_skipped {
            return Ok(());
        }
        let (about, table) = match self.passes(statement) {
            Ok(()) => {
                self.counts.passed_statement();
                return Ok(());
            }
            Err(refused) => refused,
        };
        let error = statement.refused(about);
        if !self.config.puts_undecoded_aside {
            return Err(error.into());
        }
        let table = table.as_deref().and_then(|table| table.split_once('.')).unwrap_or_default();
        // Nobody can tell which columns its values are of.
        let event: &[u8] = if self.filter.has_masks() { &[] } else { statement.event };
        self.quarantine(&error, table, statement.transaction, statement.position, event);
        Ok(())
    }

    /// Whether no row that it changed would have been published; else why not, and the table.
    fn passes(&mut self, statement: &Statement<'_>) -> Result<(), (String, Option<String>)> {
        let written = statement
            .written()
            .map_err(|unread| (format!("whose tables are not known: {unread}"), None))?;
        let (selected, changed) = (statement.database, statement.changed_databases());
        let is_ours = |database: &str| self.recogniser.is_own_database(database);
        self.filter.misses(selected, &written, changed, is_ours).map_err(|missed| {
            let table = match &missed {
                crate::filter::Missed::Table(table) => Some(table.clone()),
                crate::filter::Missed::Database(_) | crate::filter::Missed::Unknown(_) => None,
            };
            (missed.to_string(), table)
        })?;
        // Where the log tells of each database, and none of them is published, nothing else matters.
        if changed.is_some_and(|databases| self.filter.leaves_out_all(databases)) {
            return Ok(());
        }
        if let Some(name) = written.tables.iter().find(|name| self.is_indirect(selected, name)) {
            let table = format!("{}.{}", name.0.as_deref().unwrap_or(selected), name.1);
            let about =
                format!("of {table}, which is a view or has a trigger, and so may change others");
            return Err((about, Some(table)));
        }
        self.tell_of_triggers(selected, &written);
        Ok(())
    }

    fn is_indirect(&self, selected: &str, name: &Name) -> bool {
        let objects = &self.objects;
        let mut known = objects.before.names.iter().chain(&objects.indirect);
        objects.is_full || known.any(|it| self.filter.is_same_table(selected, name, it))
    }

    /// A trigger that was made before the stream began, and that the account does not see, could change a
    /// published table, and the log does not tell. Once for each table.
    fn tell_of_triggers(&mut self, selected: &str, written: &Written) {
        if self.objects.before.is_complete {
            return;
        }
        for (named, table) in &written.tables {
            let name = format!("{}.{table}", named.as_deref().unwrap_or(selected));
            if self.objects.told.len() < OBJECTS_MAX && !self.objects.told.contains(&name) {
                tracing::warn!(
                    table = name,
                    "a statement-based change of a table that the filters exclude was skipped; if \
                     the table has a trigger, or is a view, that changes a published table, these rows \
                     are missing: set binlog_format = ROW for the session that writes it"
                );
                self.objects.told.insert(name);
            }
        }
    }
}
