//! Which rows leave, and with which columns: nothing that is filtered or masked gets further.
//!
//! Pure. A table is evaluated once, when it is first seen in a given shape; after that a row costs a
//! comparison of two numbers, and only rows of masked tables are rewritten. It does not know where
//! the rows go.

mod changed;
mod mask;
mod outbox;
mod pattern;
mod uncovered;
mod versions;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use crate::change::{NameCase, Table};
use crate::sql::{self, Subjects};
use uncovered::Covers;

pub use changed::Missed;
pub use mask::{Mask, MaskBuffer};
pub use outbox::{OutboxConfig, OutboxTable};
pub use pattern::Pattern;
pub use uncovered::Uncovered;
pub use versions::{Since, UnreadableVersion, Version, Versions};

/// What is published.
#[derive(Clone, Default)]
pub struct Config {
    /// Tables to publish, patterns of two parts; empty: none.
    pub tables: Vec<Pattern>,
    /// Tables to leave out, patterns of two parts.
    pub exclude: Vec<Pattern>,
    /// Only tables that match one of these too; empty: no such limit.
    pub only: Vec<Pattern>,
    /// Tables to leave out whatever the settings say, patterns of two parts.
    pub except: Vec<Pattern>,
    /// Rows of tables that these filters want too are numbered, and not sent.
    pub before: Option<Arc<Config>>,
    /// Columns to leave out, patterns of three parts.
    pub drop_columns: Vec<Pattern>,
    /// Columns to replace by a keyed hash, patterns of three parts.
    pub hash_columns: Vec<Pattern>,
    /// Key of that hash.
    pub hash_key: Vec<u8>,
    /// Tables whose rows are messages.
    pub outbox: Arc<OutboxConfig>,
    /// The server's own databases, which hold its accounts, are published only if a pattern names them.
    pub leaves_system_out: bool,
    /// Whether a pattern that matches nothing on the server is a mistake.
    pub must_match: bool,
    /// How the server compares names.
    pub names: NameCase,
}

impl fmt::Debug for Config {
    /// All but the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, exclude, only, except, drop_columns, hash_columns, hash_key: _, .. } =
            self;
        let mut shown = f.debug_struct("Config");
        shown.field("tables", tables).field("exclude", exclude);
        shown.field("only", only).field("except", except).field("before", &self.before);
        shown.field("drop_columns", drop_columns).field("hash_columns", hash_columns);
        shown.field("outbox", &self.outbox);
        shown.field("leaves_system_out", &self.leaves_system_out);
        shown.field("must_match", &self.must_match).field("names", &self.names);
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
    Mask(Arc<Mask>),
    /// They are messages of an application.
    Outbox(Arc<OutboxTable>),
    /// They are to be messages of an application, but the table lacks this column.
    NoOutbox(Arc<str>),
    /// Columns may have to be dropped or hashed, and the log does not tell which they are: none of the
    /// rows may leave.
    Unnamed,
}

/// Shapes remembered before the memory starts anew: bounds a server that makes tables without end.
const SHAPES_MAX: usize = 65_536;

/// Judges tables.
#[derive(Debug)]
pub struct Filter {
    config: Config,
    routes: HashMap<u64, TableDecision>,
    /// The table that was asked for last: rows of a table come in runs.
    last: Option<(Arc<Table>, TableDecision)>,
    /// How often each pattern matched, in the order of [`Config::patterns`].
    matches: Vec<u64>,
    covers: Covers,
}

/// What was decided about a table.
#[derive(Debug, Clone)]
struct TableDecision {
    route: Route,
    /// Numbers of the patterns that match it.
    matched: Arc<[u32]>,
}

impl Filter {
    /// A filter that has seen no table yet.
    pub fn new(config: Config) -> Self {
        let matches = vec![0; config.patterns().count()];
        Self { config, routes: HashMap::new(), last: None, matches, covers: Covers::default() }
    }

    /// From here on names are compared as this server does.
    pub fn compare_names(&mut self, case: NameCase) {
        if self.config.names != case {
            self.config.compare_names(case);
            self.routes.clear();
            self.last = None;
        }
    }

    /// From here on these filters hold; names are compared as before.
    pub fn replace(&mut self, mut config: Config) {
        config.compare_names(self.config.names);
        *self = Self::new(config);
    }

    /// The filters whose rows are numbered where these do not want them.
    pub fn numbers_only(&self) -> Option<impl Fn(&str, &str) -> bool + Send + Sync + 'static> {
        let config = self.config.clone();
        let before = config.before.clone()?;
        Some(move |database: &str, table: &str| {
            !config.wants(database, table) && before.wants_or_numbers(database, table)
        })
    }

    /// Whether others, which compare names alike, treat a table of this name otherwise: whether it is
    /// published, and which of its columns are hidden.
    pub fn differs(&self, other: &Config, database: &str, table: &str) -> bool {
        let (own, names) = (&self.config, [database, table]);
        let is_about_it = |pattern: &&Pattern| pattern.matches_front(&names, own.names);
        let is_alike = |one: &[Pattern], two: &[Pattern]| {
            one.iter().filter(is_about_it).eq(two.iter().filter(is_about_it))
        };
        wants(own, &names) != wants(other, &names)
            || !is_alike(&own.drop_columns, &other.drop_columns)
            || !is_alike(&own.hash_columns, &other.hash_columns)
    }

    /// Whether columns of any table are left out or hashed.
    pub fn has_masks(&self) -> bool {
        !self.config.drop_columns.is_empty() || !self.config.hash_columns.is_empty()
    }

    /// Whether a column of a table of this name could be left out or hashed: then its columns' names
    /// must be known.
    pub fn masks(&self, database: &str, table: &str) -> bool {
        self.config.masks(database, table)
    }

    /// Whether rows of a table of this name are published at all.
    pub fn wants(&self, database: &str, table: &str) -> bool {
        wants(&self.config, &[database, table])
    }

    /// Whether rows of a table of this name are messages of an application.
    pub fn is_outbox(&self, database: &str, table: &str) -> bool {
        self.config.is_outbox(database, table)
    }

    /// Whether a statement is published: one about tables if any of them is, one about a database if
    /// rows of any table in it could be. `database` is the one that was selected.
    ///
    /// Goes by the names in the statement's text, see [`sql::subjects`]; where it can't tell, by
    /// `database`.
    pub fn wants_statement(&self, database: &str, statement: &str) -> bool {
        wants_statement(&self.config, database, &sql::subjects(statement))
    }

    /// Whether rows of any table of a database of this name could be published.
    pub fn wants_database(&self, database: &str) -> bool {
        wants_database(&self.config, database)
    }

    /// What becomes of the rows of `table`, as of this shape of it.
    #[inline]
    pub fn route(&mut self, table: &Arc<Table>) -> Route {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, table));
        if !is_last {
            let decision = self.remembered(table).clone();
            self.last = Some((Arc::clone(table), decision));
        }
        let Some((_, decision)) = &self.last else { return Route::Skip };
        for number in &*decision.matched {
            if let Some(matches) = self.matches.get_mut(*number as usize) {
                *matches += 1;
            }
        }
        decision.route.clone()
    }

    /// Tells of each pattern that matched the table, or a column of the table, that a route was asked for:
    /// its setting, itself, and how often since the last call.
    pub fn take_matches(&mut self, mut tell: impl FnMut(&'static str, &Pattern, u64)) {
        for ((key, pattern), matches) in self.config.patterns().zip(&mut self.matches) {
            let matches = std::mem::take(matches);
            if matches > 0 {
                tell(key, pattern, matches);
            }
        }
    }

    /// Columns that were hidden and are not any more, since the last call.
    pub fn take_uncovered(&mut self) -> impl Iterator<Item = Uncovered> {
        self.covers.take()
    }

    /// Old and new name of a table that a statement renames so that columns that were hidden are not.
    pub fn renamed(&self, database: &str, statement: &str) -> Option<(String, String)> {
        self.has_masks().then(|| self.config.renamed(database, statement))?
    }

    fn remembered(&mut self, table: &Table) -> &TableDecision {
        if self.routes.len() >= SHAPES_MAX && !self.routes.contains_key(&table.fingerprint) {
            self.routes.clear();
        }
        match self.routes.entry(table.fingerprint) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let route = decide(&self.config, table);
                let matched = self.config.matched(table);
                if !matches!(route, Route::Skip | Route::Unnamed) {
                    self.covers.note(&self.config, table, &matched);
                }
                new.insert(TableDecision { route, matched })
            }
        }
    }
}

impl Config {
    fn compare_names(&mut self, case: NameCase) {
        self.names = case;
        if let Some(before) = &mut self.before {
            Arc::make_mut(before).compare_names(case);
        }
    }

    /// Whether these are the patterns of others too, which a reload changes.
    pub fn has_patterns_of(&self, other: &Self) -> bool {
        self.tables == other.tables
            && self.exclude == other.exclude
            && self.drop_columns == other.drop_columns
            && self.hash_columns == other.hash_columns
    }

    /// All patterns of the settings, each with its key.
    pub fn patterns(&self) -> impl Iterator<Item = (&'static str, &Pattern)> {
        self.lists().into_iter().flat_map(|(key, list)| list.iter().map(move |it| (key, it)))
    }

    fn lists(&self) -> [(&'static str, &[Pattern]); 5] {
        [
            ("filter.tables", &self.tables),
            ("filter.exclude", &self.exclude),
            ("filter.drop_columns", &self.drop_columns),
            ("filter.hash_columns", &self.hash_columns),
            ("outbox.tables", &self.outbox.tables),
        ]
    }

    /// Numbers, in the order of [`Config::patterns`], of those that match the table or a column of it.
    fn matched(&self, table: &Table) -> Arc<[u32]> {
        let names = [&*table.database, &*table.name];
        let is_matched = |pattern: &Pattern| {
            if pattern.parts() == names.len() {
                return pattern.matches(&names, self.names);
            }
            let mut columns = table.columns.iter();
            columns.any(|column| pattern.matches(&[names[0], names[1], &column.name], self.names))
        };
        let numbered = (0..).zip(self.patterns());
        numbered.filter(|(_, (_, it))| is_matched(it)).map(|(number, _)| number).collect()
    }

    /// Whether rows of a table of this name are published at all.
    pub fn wants(&self, database: &str, table: &str) -> bool {
        wants(self, &[database, table])
    }

    /// Whether rows of a table of this name are published, or only numbered.
    pub fn wants_or_numbers(&self, database: &str, table: &str) -> bool {
        let before = self.before.as_ref();
        self.wants(database, table)
            || before.is_some_and(|before| before.wants_or_numbers(database, table))
    }

    /// Whether rows of a table of this name are messages of an application.
    pub fn is_outbox(&self, database: &str, table: &str) -> bool {
        let mut patterns = self.outbox.tables.iter();
        patterns.any(|pattern| pattern.matches(&[database, table], self.names))
    }

    /// Whether it is a database of the server's own that no pattern names.
    fn leaves_out(&self, database: &str) -> bool {
        let is_named = || {
            let mut named = self.tables.iter().filter_map(Pattern::database);
            named.any(|named| named == database)
        };
        self.leaves_system_out && changed::SYSTEM.contains(&database) && !is_named()
    }

    fn masks(&self, database: &str, table: &str) -> bool {
        let mut all = self.drop_columns.iter().chain(&self.hash_columns);
        self.is_outbox(database, table)
            || all.any(|pattern| pattern.matches_front(&[database, table], self.names))
    }
}

fn wants(config: &Config, names: &[&str; 2]) -> bool {
    let among =
        |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(names, config.names));
    among(&config.tables)
        && !config.leaves_out(names[0])
        && !among(&config.exclude)
        && !among(&config.except)
        && (config.only.is_empty() || among(&config.only))
}

fn wants_database(config: &Config, database: &str) -> bool {
    let names = [database];
    let has_some = |pattern: &Pattern| pattern.matches_front(&names, config.names);
    let has_all = |pattern: &Pattern| has_some(pattern) && pattern.ends_in_any();
    config.tables.iter().any(has_some)
        && !config.leaves_out(database)
        && !config.exclude.iter().any(has_all)
}

/// The lane of statements is one for all tables: where rows are only numbered, their statements are sent.
fn wants_statement(config: &Config, database: &str, subjects: &Subjects) -> bool {
    let is_wanted = match subjects {
        Subjects::Tables(names) => names.iter().any(|(named, table)| {
            let names = [named.as_deref().unwrap_or(database), table];
            let among = |patterns: &[Pattern]| {
                patterns.iter().any(|pattern| pattern.matches(&names, config.names))
            };
            among(&config.tables) && !config.leaves_out(names[0]) && !among(&config.exclude)
        }),
        Subjects::Database(named) => wants_database(config, named.as_deref().unwrap_or(database)),
    };
    let before = config.before.as_ref();
    is_wanted || before.is_some_and(|before| wants_statement(before, database, subjects))
}

fn decide(config: &Config, table: &Table) -> Route {
    if !wants(config, &[&*table.database, &*table.name]) {
        let route = config.before.as_ref().map_or(Route::Skip, |before| decide(before, table));
        // Its rows could not be published before either, and have no numbers.
        let has_numbers = !matches!(route, Route::Unnamed | Route::NoOutbox(_));
        return if has_numbers { route } else { Route::Skip };
    }
    if !table.named && config.masks(&table.database, &table.name) {
        return Route::Unnamed;
    }
    let mask = Mask::of(config, table);
    if config.is_outbox(&table.database, &table.name) {
        return match OutboxTable::of(&config.outbox, table, mask) {
            Ok(outbox) => Route::Outbox(Arc::new(outbox)),
            Err(missing) => Route::NoOutbox(missing),
        };
    }
    mask.map_or(Route::Publish, |mask| Route::Mask(Arc::new(mask)))
}

#[cfg(test)]
mod tests;
