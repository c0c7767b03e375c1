//! Columns that were hidden, and are not any more, since they or their table got another name.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Config, Pattern};
use crate::change::Table;
use crate::sql;

/// A column's pattern that matched a table, and matches no column of it any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Uncovered {
    /// The table, `database.table`.
    pub table: String,
    /// The pattern's setting.
    pub key: &'static str,
    /// The pattern.
    pub pattern: String,
}

/// Tables that are remembered, and losses that are kept until they are asked for.
const TABLES_MAX: usize = 65_536;
const UNCOVERED_MAX: usize = 1_000;

/// What hides columns of each table that was seen.
#[derive(Debug, Default)]
pub(super) struct Covers {
    of: HashMap<(Arc<str>, Arc<str>), Vec<u32>>,
    lost: Vec<Uncovered>,
}

impl Covers {
    /// A published table has a shape that was not seen before, which patterns of these numbers match.
    pub(super) fn note(&mut self, config: &Config, table: &Table, matched: &[u32]) {
        let pattern = |number: u32| config.patterns().nth(number as usize);
        let covers = |number: &u32| pattern(*number).is_some_and(|(_, it)| it.parts() == COLUMN);
        let now: Vec<u32> = matched.iter().copied().filter(covers).collect();
        let name = (Arc::clone(&table.database), Arc::clone(&table.name));
        let before = self.of.get(&name).map(Vec::as_slice).unwrap_or_default();
        for number in before.iter().filter(|number| !now.contains(number)) {
            if let Some((key, pattern)) = pattern(*number)
                && self.lost.len() < UNCOVERED_MAX
            {
                let table = format!("{}.{}", name.0, name.1);
                let pattern = pattern.as_str().to_owned();
                self.lost.push(Uncovered { table, key, pattern });
            }
        }
        if before.is_empty() && now.is_empty() {
            return;
        }
        if self.of.len() >= TABLES_MAX {
            self.of.clear();
        }
        self.of.insert(name, now);
    }

    /// The losses since the last call.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Uncovered> {
        self.lost.drain(..)
    }
}

/// Parts of a pattern of columns.
const COLUMN: usize = 3;

impl Config {
    /// Old and new name of a table that a statement renames, if columns of the old one are hidden, and
    /// not by the same patterns of the new one, which is published. `database` is the selected one.
    pub(super) fn renamed(&self, database: &str, statement: &str) -> Option<(String, String)> {
        let hides = |pattern: &Pattern, table: &[&str; 2]| pattern.matches_front(table, self.names);
        sql::renamed(statement).into_iter().find_map(|(old, new)| {
            let old = [old.0.as_deref().unwrap_or(database), old.1.as_str()];
            let new = [new.0.as_deref().unwrap_or(database), new.1.as_str()];
            let mut hidden = self.drop_columns.iter().chain(&self.hash_columns);
            let is_less = hidden.any(|it| hides(it, &old) && !hides(it, &new));
            (is_less && self.wants(new[0], new[1])).then(|| (old.join("."), new.join(".")))
        })
    }
}
