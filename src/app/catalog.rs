//! The filters and the source's tables, held against each other: patterns that match nothing, and
//! tables that change without a trace in the log. For `check`, and for `run` at its start.

use std::collections::HashMap;

use super::plan::Plan;
use crate::filter::Pattern;
use crate::freshness::schema::literal;
use crate::mysql::{Error, Session};
use crate::pipeline::Indirect;
use crate::source::Flavor;
use crate::source::preflight::{Facts, Finding, Severity};

/// What a look came to.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// What could not be looked at, and what helps.
    pub(super) unseen: Option<String>,
    /// Tables with triggers, and views, as far as the account sees them.
    pub(super) indirect: Indirect,
}

/// Most tables that are read; patterns are not evaluated where there are more.
const TABLES_MAX: usize = 100_000;
/// Most tables whose columns are read for one pattern.
const COLUMNS_OF_MAX: usize = 200;
/// Rules of a foreign key that change rows of its table.
const CHANGES: &str = "('CASCADE', 'SET NULL')";
/// Most foreign keys that are told one by one.
const KEYS_MAX: usize = 50;
/// Databases of the servers' own.
const SYSTEM: &str = "('mysql', 'sys', 'information_schema', 'performance_schema')";

/// Looks. What the account may not see, or the server does not answer, is told; nothing of it keeps the
/// stream from running unless `filter.strict` says so. The session is of no further use.
pub(super) async fn read(session: &mut Session, facts: &Facts, plan: &Plan) -> Catalog {
    let mut reader =
        CatalogReader { session, facts, plan, columns: HashMap::new(), unseen: Vec::new() };
    let mut findings = Vec::new();
    let mut failed = None;
    match reader.patterns().await {
        Ok(found) => findings.extend(found),
        Err(error) => failed = Some(error),
    }
    if failed.as_ref().is_none_or(|error| !error.is_fatal()) {
        match reader.foreign_keys().await {
            Ok(found) => findings.extend(found),
            Err(error) => failed = Some(error),
        }
    }
    let mut indirect = Indirect::default();
    if failed.as_ref().is_none_or(|error| !error.is_fatal()) {
        match reader.indirect().await {
            Ok(found) => indirect = found,
            Err(error) => tracing::info!("triggers and views could not be read: {error}"),
        }
    }
    let (unseen, sees_all) = (reader.unseen, sees_keys(facts));
    if plan.filter.must_match && (failed.is_some() || !unseen.is_empty()) {
        findings.push(unproven(&unseen, failed.as_ref()));
    }
    let unseen = match failed {
        Some(error) => Some(format!("the source's tables could not be read: {error}")),
        None if sees_all => None,
        None => Some(not_granted(&unseen)),
    };
    Catalog { findings, unseen, indirect }
}

/// Whether the account sees every table.
fn sees_all(facts: &Facts) -> bool {
    facts.grants.as_ref().is_ok_and(|grants| grants.has("SELECT"))
}

/// Whether it sees every foreign key: MariaDB shows them to those only who may do more than read.
fn sees_keys(facts: &Facts) -> bool {
    let may_more = facts.grants.as_ref().is_ok_and(|grants| grants.has("REFERENCES"));
    sees_all(facts) && (facts.flavor == Flavor::Mysql || may_more)
}

fn not_granted(patterns: &[String]) -> String {
    let which = if patterns.is_empty() {
        String::new()
    } else {
        format!(", and whether {} match anything", patterns.join(", "))
    };
    format!(
        "not granted on *.*: it is not known which tables have foreign keys whose changes are not \
         in the binary log{which}; to check it, GRANT SELECT (on MariaDB, SELECT and REFERENCES) \
         to the account on the published databases"
    )
}

/// `filter.strict` asks for proof.
fn unproven(patterns: &[String], failed: Option<&Error>) -> Finding {
    let found = match failed {
        Some(error) => format!("the tables could not be read: {error}"),
        None => format!("no table that the account can see shows whether {}", patterns.join(", ")),
    };
    Finding {
        what: "filter.strict",
        found,
        needed: "a server that shows what each pattern of the filters matches",
        remedy: "GRANT SELECT to the account on the databases that the patterns name, or set \
               filter.strict = false"
            .to_owned(),
        severity: Severity::Refuse,
    }
}

struct CatalogReader<'a> {
    session: &'a mut Session,
    facts: &'a Facts,
    plan: &'a Plan,
    /// Columns of tables, as they were asked for.
    columns: HashMap<(String, String), Vec<String>>,
    /// Patterns of databases of which the account sees nothing.
    unseen: Vec<String>,
}

impl CatalogReader<'_> {
    /// Patterns that match nothing.
    async fn patterns(&mut self) -> Result<Vec<Finding>, Error> {
        let plan = self.plan;
        let mut given: Vec<_> = plan.filter.patterns().collect();
        given.retain(|(_, pattern)| !pattern.is_any());
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let tables = self.tables().await?;
        let mut findings = Vec::new();
        for (key, pattern) in given {
            if tables.len() > TABLES_MAX || self.matches(pattern, &tables).await? {
                continue;
            }
            let name = format!("`{}` of {key}", pattern.as_str());
            let case = plan.filter.names;
            let sees_some = tables
                .iter()
                .any(|(database, _)| pattern.matches_front(&[database.as_str()], case));
            if !sees_some && !sees_all(self.facts) {
                self.unseen.push(name);
                continue;
            }
            findings.push(unmatched(key, pattern, plan.filter.must_match));
        }
        Ok(findings)
    }

    async fn tables(&mut self) -> Result<Vec<(String, String)>, Error> {
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA \
             NOT IN {SYSTEM} LIMIT {}",
            TABLES_MAX + 1
        );
        let rows = self.session.query(&sql).await?;
        Ok(rows.iter().filter_map(|row| Some((row.text(0)?, row.text(1)?))).collect())
    }

    /// Tables by which others may change. A statement-based change of one that the filters exclude has no
    /// row in the log. Which triggers there are is shown to those only who may
    /// make some.
    async fn indirect(&mut self) -> Result<Indirect, Error> {
        let mut found = Indirect {
            names: Vec::new(),
            is_complete: self.facts.grants.as_ref().is_ok_and(|grants| grants.has("TRIGGER"))
                && sees_all(self.facts),
        };
        for (columns, table) in [
            (["EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE"], "TRIGGERS"),
            (["TABLE_SCHEMA", "TABLE_NAME"], "VIEWS"),
        ] {
            let [schema, name] = columns;
            let sql = format!(
                "SELECT DISTINCT {schema}, {name} FROM information_schema.{table} WHERE {schema} \
                 NOT IN {SYSTEM} LIMIT {}",
                TABLES_MAX + 1
            );
            let rows = self.session.query(&sql).await?;
            found.is_complete &= rows.len() <= TABLES_MAX;
            found.names.extend(rows.iter().filter_map(|row| Some((row.text(0)?, row.text(1)?))));
        }
        Ok(found)
    }

    async fn matches(
        &mut self,
        pattern: &Pattern,
        tables: &[(String, String)],
    ) -> Result<bool, Error> {
        let case = self.plan.filter.names;
        let is_of = |(database, table): &&(String, String)| {
            pattern.matches_front(&[database.as_str(), table.as_str()], case)
        };
        let mut of_pattern = tables.iter().filter(is_of).peekable();
        if pattern.parts() == 2 {
            return Ok(of_pattern.peek().is_some());
        }
        for (count, (database, table)) in of_pattern.enumerate() {
            if count == COLUMNS_OF_MAX {
                return Ok(true);
            }
            let columns = self.columns_of(database, table).await?;
            let is_it = |column: &String| {
                pattern.matches(&[database.as_str(), table.as_str(), column.as_str()], case)
            };
            if columns.iter().any(is_it) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn columns_of(&mut self, database: &str, table: &str) -> Result<&[String], Error> {
        let key = (database.to_owned(), table.to_owned());
        if !self.columns.contains_key(&key) {
            let sql = format!(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND \
                 TABLE_NAME = {}",
                literal(database),
                literal(table)
            );
            let rows = self.session.query(&sql).await?;
            let names = rows.iter().filter_map(|row| row.text(0)).collect();
            self.columns.insert(key.clone(), names);
        }
        Ok(self.columns.get(&key).map_or(&[], Vec::as_slice))
    }

    /// Published tables whose rows a foreign key changes: InnoDB does that below the binary log, before
    /// MySQL 9.6 and on MariaDB.
    async fn foreign_keys(&mut self) -> Result<Vec<Finding>, Error> {
        let is_logged = self.facts.flavor == Flavor::Mysql
            && self.facts.version_numbers() >= [9, 6, 0]
            && self.facts.is_on("innodb_native_foreign_keys") != Some(true);
        if is_logged {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE, \
             REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
             WHERE DELETE_RULE IN {CHANGES} OR UPDATE_RULE IN {CHANGES} \
             ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME"
        );
        let rows = self.session.query(&sql).await?;
        let keys = rows.iter().filter_map(|row| {
            let text = |column| row.text(column);
            let (database, table) = (text(0)?, text(1)?);
            let rule = |words: &str, rule: String| {
                matches!(rule.as_str(), "CASCADE" | "SET NULL").then(|| format!("{words} {rule}"))
            };
            let rules = [rule("ON DELETE", text(3)?), rule("ON UPDATE", text(4)?)];
            let rules: Vec<_> = rules.into_iter().flatten().collect();
            let (key, parent) = (text(2)?, text(5)?);
            let found = format!("{database}.{table}: {key} to {parent} {}", rules.join(" "));
            self.plan.filter.wants(&database, &table).then_some(found)
        });
        let mut keys: Vec<_> = keys.collect();
        let more = keys.len().saturating_sub(KEYS_MAX);
        keys.truncate(KEYS_MAX);
        if more > 0 {
            keys.push(format!("{more} more"));
        }
        Ok(keys.into_iter().map(cascade).collect())
    }
}

fn unmatched(key: &'static str, pattern: &Pattern, is_strict: bool) -> Finding {
    let what = if pattern.parts() == 2 { "table" } else { "column" };
    Finding {
        what: key,
        found: format!("`{}` matches no {what}", pattern.as_str()),
        needed: "patterns that match: what a misspelt pattern should exclude is published",
        remedy: format!("correct the pattern, or remove it if the {what} does not exist yet"),
        severity: if is_strict { Severity::Refuse } else { Severity::Warn },
    }
}

fn cascade(found: String) -> Finding {
    Finding {
        what: "foreign keys",
        found,
        needed: "no CASCADE or SET NULL: what they change in a child table is not in the binary \
                 log (before MySQL 9.6, and on MariaDB), so it is not published",
        remedy: "delete and update the child rows with statements of the application, or let the \
                 consumers apply the key's action"
            .to_owned(),
        severity: Severity::Note,
    }
}
