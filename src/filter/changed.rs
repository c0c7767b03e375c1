//! Rows that a statement changed, which the log does not have: whether any of them would have been
//! published.

use super::Filter;
use crate::sql::{Name, Written};

/// Databases of the servers' own, whatever the patterns say.
const SYSTEM: [&str; 4] = ["mysql", "sys", "performance_schema", "information_schema"];

/// Which rows would have been published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Those of this table.
    Table(String),
    /// Maybe those of a table in this database, that a trigger or a function changed.
    Database(String),
    /// Nobody knows: a table without its database, and none was selected.
    Unknown(String),
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(table) => write!(f, "of table {table}, which is published"),
            Self::Database(database) => {
                write!(f, "that changes tables of {database} too, by a trigger or a function")
            }
            Self::Unknown(table) => write!(f, "of table {table} of an unknown database"),
        }
    }
}

impl Filter {
    /// Whether rows that a statement changed would have been published, with `database` selected.
    /// `changed`: the databases of all tables that it used, also by triggers, where the log tells; those
    /// that the text names are explained by it. `is_ours`: whether
    /// a database is binpulse's own.
    pub fn misses(
        &self,
        database: &str,
        written: &Written,
        changed: Option<&[String]>,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(), Missed> {
        for (named, table) in &written.tables {
            let database = named.as_deref().unwrap_or(database);
            if database.is_empty() {
                return Err(Missed::Unknown(table.clone()));
            }
            let is_wanted = is_ours(database) || self.wants(database, table);
            if is_wanted && !is_system(database) {
                return Err(Missed::Table(format!("{database}.{table}")));
            }
        }
        let case = self.config.names;
        let is_named = |other: &str| {
            let mut names = written.tables.iter().map(|(named, _)| named.as_deref());
            names.any(|named| case.same(named.unwrap_or(database), other))
                || case.same(database, other)
                || written.named.iter().any(|named| case.same(named, other))
        };
        let other = changed.unwrap_or_default().iter().find(|other| {
            let may_matter = is_ours(other) || self.wants_database(other);
            !is_system(other) && !is_named(other) && may_matter
        });
        other.map_or(Ok(()), |other| Err(Missed::Database(other.clone())))
    }

    /// Whether tables of all these databases are left out, so that no trigger of theirs matters.
    pub fn leaves_out_all(&self, databases: &[String]) -> bool {
        databases.iter().all(|database| is_system(database) || !self.wants_database(database))
    }

    /// A name with its database, and whether both are the same to the server.
    pub fn is_same_table(&self, selected: &str, one: &Name, other: &(String, String)) -> bool {
        let case = self.config.names;
        case.same(one.0.as_deref().unwrap_or(selected), &other.0) && case.same(&one.1, &other.1)
    }
}

fn is_system(database: &str) -> bool {
    SYSTEM.iter().any(|system| system.eq_ignore_ascii_case(database))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Config, Pattern};
    use crate::sql::{Mode, written};

    #[test]
    fn what_a_statement_changed_is_missed_where_it_is_published() {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::parse(text, 2).expect("a pattern")).collect()
        };
        let filter = Filter::new(Config {
            tables: patterns(&["shop.*", "mysql.*"]),
            exclude: patterns(&["shop.secret_*"]),
            ..Config::default()
        });
        let databases = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let told = |names| Some::<Vec<String>>(databases(names));
        let table = |name: &str| Err(Missed::Table(name.to_owned()));
        for (selected, statement, changed, expected) in [
            ("percona", "REPLACE INTO checksums VALUES (1)", None, Ok(())),
            ("percona", "REPLACE INTO checksums VALUES (1)", told(&["percona"]), Ok(())),
            ("", "INSERT INTO mysql.rds_heartbeat2 (id) VALUES (1)", None, Ok(())),
            ("shop", "DELETE FROM secret_keys", told(&["shop"]), Ok(())),
            ("shop", "DELETE FROM orders", None, table("shop.orders")),
            ("percona", "UPDATE checksums, shop.orders SET x = 1", None, table("shop.orders")),
            ("percona", "DELETE FROM binpulse.heartbeat", None, table("binpulse.heartbeat")),
            (
                "percona",
                "INSERT INTO checksums VALUES (1)",
                told(&["percona", "shop"]),
                Err(Missed::Database("shop".to_owned())),
            ),
            (
                "percona",
                "INSERT INTO checksums VALUES (1)",
                told(&["percona", "hr", "mysql"]),
                Ok(()),
            ),
            (
                "percona",
                "REPLACE INTO checksums SELECT COUNT(*) FROM `shop`.orders",
                told(&["percona", "shop"]),
                Ok(()),
            ),
            ("", "INSERT INTO t VALUES (1)", None, Err(Missed::Unknown("t".to_owned()))),
        ] {
            let written = written(statement, Mode::default()).expect("it is understood");
            let found =
                filter.misses(selected, &written, changed.as_deref(), |it| it == "binpulse");
            assert_eq!(found, expected, "{statement}");
        }
        assert!(filter.leaves_out_all(&databases(&["percona", "mysql"])));
        assert!(!filter.leaves_out_all(&databases(&["percona", "shop"])));
    }
}
