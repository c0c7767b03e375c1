//! Which rows leave, and with which columns: nothing that is filtered or masked gets further.
//!
//! Pure. A table is judged once, when it is first seen in a given shape; after that a row costs a
//! comparison of two numbers, and only rows of masked tables are rewritten. It does not know where
//! the rows go.

mod pattern;
mod redact;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::change::Table;

pub use pattern::Pattern;
pub use redact::{Redaction, Space};

/// What is published.
#[derive(Clone, Default)]
pub struct Config {
    /// Tables to publish, patterns of two parts; empty: none.
    pub tables: Vec<Pattern>,
    /// Tables to leave out, patterns of two parts.
    pub exclude: Vec<Pattern>,
    /// Columns to leave out, patterns of three parts.
    pub drop_columns: Vec<Pattern>,
    /// Columns to replace by a keyed hash, patterns of three parts.
    pub hash_columns: Vec<Pattern>,
    /// Key of that hash.
    pub hash_key: Vec<u8>,
}

impl fmt::Debug for Config {
    /// All but the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, exclude, drop_columns, hash_columns, hash_key: _ } = self;
        let mut shown = f.debug_struct("Config");
        shown.field("tables", tables).field("exclude", exclude);
        shown.field("drop_columns", drop_columns).field("hash_columns", hash_columns);
        shown.finish_non_exhaustive()
    }
}

/// What becomes of a table's rows.
#[derive(Debug, Clone)]
pub enum Route {
    /// They are left out.
    Skip,
    /// They are published as they are.
    Publish,
    /// They are published with columns dropped or hashed.
    Redact(Arc<Redaction>),
}

/// Shapes remembered before the memory starts anew: bounds a server that makes tables without end.
const SHAPES_MAX: usize = 65_536;

/// Judges tables.
#[derive(Debug)]
pub struct Filter {
    config: Config,
    routes: HashMap<u64, Route>,
    /// The table that was asked for last: rows of a table come in runs.
    last: Option<(Arc<Table>, Route)>,
}

impl Filter {
    /// A filter that has seen no table yet.
    pub fn new(config: Config) -> Self {
        Self { config, routes: HashMap::new(), last: None }
    }

    /// Whether rows of a table of this name are published at all.
    pub fn wants(&self, database: &str, table: &str) -> bool {
        wants(&self.config, &[database, table])
    }

    /// What becomes of the rows of `table`, as of this shape of it.
    #[inline]
    pub fn route(&mut self, table: &Arc<Table>) -> Route {
        match &self.last {
            Some((last, route)) if Arc::ptr_eq(last, table) => route.clone(),
            _ => {
                let route = self.remembered(table).clone();
                self.last = Some((Arc::clone(table), route.clone()));
                route
            }
        }
    }

    fn remembered(&mut self, table: &Table) -> &Route {
        if self.routes.len() >= SHAPES_MAX && !self.routes.contains_key(&table.fingerprint) {
            self.routes.clear();
        }
        let config = &self.config;
        self.routes.entry(table.fingerprint).or_insert_with(|| judge(config, table))
    }
}

fn wants(config: &Config, names: &[&str; 2]) -> bool {
    let among = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(names));
    among(&config.tables) && !among(&config.exclude)
}

fn judge(config: &Config, table: &Table) -> Route {
    if !wants(config, &[&*table.database, &*table.name]) {
        return Route::Skip;
    }
    Redaction::of(config, table)
        .map_or(Route::Publish, |redaction| Route::Redact(Arc::new(redaction)))
}
