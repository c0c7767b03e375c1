//! Which rows leave, and with which columns: nothing that is filtered or masked gets further.
//!
//! Pure. A table is judged once, when it is first seen in a given shape; after that a row costs a
//! comparison of two numbers, and only rows of masked tables are rewritten. It does not know where
//! the rows go.

mod pattern;
mod redact;
mod statement;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::change::Table;

pub use pattern::Pattern;
pub use redact::{Redaction, Space};
use statement::Subjects;

/// What is published.
#[derive(Clone, Default)]
pub struct Config {
    /// Tables to publish, patterns of two parts; empty: none.
    pub tables: Vec<Pattern>,
    /// Tables to leave out, patterns of two parts.
    pub exclude: Vec<Pattern>,
    /// Only tables that match one of these too; empty: no such limit.
    pub only: Vec<Pattern>,
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
        let Self { tables, exclude, only, drop_columns, hash_columns, hash_key: _ } = self;
        let mut shown = f.debug_struct("Config");
        shown.field("tables", tables).field("exclude", exclude).field("only", only);
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

    /// Whether columns of any table are left out or hashed.
    pub fn redacts(&self) -> bool {
        !self.config.drop_columns.is_empty() || !self.config.hash_columns.is_empty()
    }

    /// Whether rows of a table of this name are published at all.
    pub fn wants(&self, database: &str, table: &str) -> bool {
        wants(&self.config, &[database, table])
    }

    /// Whether a statement is published: one about tables if any of them is, one about a database if
    /// rows of any table in it could be. `database` is the one that was selected.
    ///
    /// Goes by the names in the statement's text, see [`statement`]; where it can't tell, by
    /// `database`. Names count in small letters too, as servers may keep them.
    pub fn wants_statement(&self, database: &str, statement: &str) -> bool {
        match statement::subjects(statement) {
            Subjects::Tables(names) => names.iter().any(|(named, table)| {
                let database = named.as_deref().unwrap_or(database);
                let small = [database.to_lowercase(), table.to_lowercase()];
                let names = [[database, table], [&*small[0], &*small[1]]];
                let among = |patterns: &[Pattern]| {
                    patterns.iter().any(|pattern| names.iter().any(|names| pattern.matches(names)))
                };
                among(&self.config.tables) && !among(&self.config.exclude)
            }),
            Subjects::Database(named) => {
                let database = named.as_deref().unwrap_or(database);
                let small = database.to_lowercase();
                let has_some = |pattern: &Pattern| {
                    pattern.matches_first(database) || pattern.matches_first(&small)
                };
                let has_all = |pattern: &Pattern| has_some(pattern) && pattern.ends_in_any();
                self.config.tables.iter().any(has_some) && !self.config.exclude.iter().any(has_all)
            }
        }
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
    among(&config.tables)
        && !among(&config.exclude)
        && (config.only.is_empty() || among(&config.only))
}

fn judge(config: &Config, table: &Table) -> Route {
    if !wants(config, &[&*table.database, &*table.name]) {
        return Route::Skip;
    }
    Redaction::of(config, table)
        .map_or(Route::Publish, |redaction| Route::Redact(Arc::new(redaction)))
}

#[cfg(test)]
mod tests {
    use super::{Config, Filter, Pattern};

    fn filter(tables: &[&str], exclude: &[&str]) -> Filter {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::parse(text, 2).expect("a pattern")).collect()
        };
        Filter::new(Config {
            tables: patterns(tables),
            exclude: patterns(exclude),
            ..Config::default()
        })
    }

    #[test]
    fn statements_about_tables_that_are_not_published_stay() {
        let filter = filter(&["shop.*", "stock.items"], &["shop.secret_*"]);
        for (database, statement, wanted) in [
            ("", "CREATE TABLE shop.orders (id INT)", true),
            ("shop", "CREATE TABLE orders (id INT)", true),
            ("shop", "CREATE TABLE hr.people (id INT)", false),
            ("hr", "ALTER TABLE Shop.Orders ADD c INT", true),
            ("shop", "ALTER TABLE SECRET_keys ADD c INT", false),
            ("shop", "DROP TABLE secret_keys, orders", true),
            ("", "RENAME TABLE hr.people TO shop.people", true),
            ("", "CREATE DATABASE shop", true),
            ("", "CREATE DATABASE hr", false),
            ("stock", "DROP PROCEDURE p", true),
            ("stock", "DROP TABLE items", true),
            ("stock", "DROP TABLE other", false),
            ("hr", "SOMETHING NEW", false),
            ("", "SOMETHING NEW", false),
        ] {
            assert_eq!(filter.wants_statement(database, statement), wanted, "{statement}");
        }
    }

    #[test]
    fn a_filter_that_lets_all_pass_lets_all_statements_pass() {
        let filter = filter(&["*.*"], &[]);
        for statement in ["DROP TABLE a.b", "SOMETHING NEW", "", "CREATE DATABASE a"] {
            assert!(filter.wants_statement("", statement), "{statement}");
        }
        let filter = self::filter(&["*.*"], &["hr.*"]);
        assert!(!filter.wants_statement("", "CREATE DATABASE hr"));
        assert!(!filter.wants_statement("hr", "DROP PROCEDURE p"));
        assert!(filter.wants_statement("", "CREATE DATABASE shop"));
    }
}
