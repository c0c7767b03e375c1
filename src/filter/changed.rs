//! Rows that a statement changed, which the log does not have: whether any of them would have been
//! published.

use super::Filter;
use crate::sql::{Name, Written};

/// Databases of the servers' own, whatever the patterns say.
pub(super) const SYSTEM: [&str; 4] = ["mysql", "sys", "performance_schema", "information_schema"];

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
    use proptest::prelude::*;

    use super::*;
    use crate::change::NameCase;
    use crate::filter::{Config, Pattern};
    use crate::sql::{Mode, written};

    const DATABASES: [&str; 6] = ["shop", "SHOP", "hr", "own", "mysql", "Sys"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Published: shop but its table `secret`; our own: `own`.
        #[test]
        fn a_statement_is_missed_by_its_tables_or_by_what_they_set_off(
            selected in prop_oneof![Just(""), prop::sample::select(DATABASES.to_vec())],
            tables in prop::collection::vec(
                (prop::option::of(prop::sample::select(DATABASES.to_vec())),
                 prop_oneof![Just("t"), Just("secret"), Just("T")]),
                1..3,
            ),
            named in prop::collection::vec(prop::sample::select(DATABASES.to_vec()), 0..2),
            changed in prop::option::of(
                prop::collection::vec(prop::sample::select(DATABASES.to_vec()), 0..4),
            ),
            folds in any::<bool>(),
        ) {
            let case = if folds { NameCase::Insensitive } else { NameCase::Sensitive };
            let pattern = |text| vec![Pattern::parse(text, 2).expect("a pattern")];
            let filter = Filter::new(Config {
                tables: pattern("shop.*"),
                exclude: pattern("shop.secret"),
                names: case,
                ..Config::default()
            });
            let owned = |text: &&str| (*text).to_owned();
            let statement = Written {
                verb: "UPDATE",
                tables: tables.iter().map(|(of, table)| (of.as_ref().map(owned), owned(table))).collect(),
                named: named.iter().map(owned).collect(),
            };
            let told: Option<Vec<String>> = changed.clone().map(|it| it.iter().map(owned).collect());
            let found = filter.misses(selected, &statement, told.as_deref(), |it| it == "own");

            let is_shop = |it: &str| it == "shop" || folds && it == "SHOP";
            let same = |one: &str, other: &str| one == other || folds && one.eq_ignore_ascii_case(other);
            let mut expected = Ok(());
            for (of, table) in &tables {
                let database = of.unwrap_or(selected);
                if database.is_empty() {
                    expected = Err(Missed::Unknown(owned(table)));
                } else if database == "own" || is_shop(database) && *table != "secret" {
                    expected = Err(Missed::Table(format!("{database}.{table}")));
                }
                if expected.is_err() {
                    break;
                }
            }
            if expected.is_ok() {
                let explained = |it: &str| {
                    let mut own = tables.iter().map(|(of, _)| of.unwrap_or(selected));
                    own.any(|own| same(own, it)) || same(selected, it)
                        || named.iter().any(|named| same(named, it))
                };
                let other = changed.unwrap_or_default().into_iter()
                    .find(|it| (is_shop(it) || *it == "own") && !explained(it));
                expected = other.map_or(Ok(()), |it| Err(Missed::Database(owned(&it))));
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_was_missed_is_told_by_its_name() {
        for missed in [Missed::Table("shop.t".to_owned()), Missed::Unknown("shop.t".to_owned())] {
            assert!(missed.to_string().contains("shop.t"), "{missed}");
        }
        assert!(Missed::Database("shop".to_owned()).to_string().contains("shop"));
    }

    #[test]
    fn a_table_is_the_same_by_its_database_and_name_as_the_server_compares() {
        let filter = |names| Filter::new(Config { names, ..Config::default() });
        let other = ("shop".to_owned(), "orders".to_owned());
        for (selected, database, table, exact, folded) in [
            ("shop", None, "orders", true, true),
            ("hr", None, "orders", false, false),
            ("hr", Some("shop"), "orders", true, true),
            ("shop", Some("hr"), "orders", false, false),
            ("shop", None, "order", false, false),
            ("SHOP", None, "orders", false, true),
            ("shop", None, "Orders", false, true),
        ] {
            let one = (database.map(str::to_owned), table.to_owned());
            let is_same = |case| filter(case).is_same_table(selected, &one, &other);
            let found = (is_same(NameCase::Sensitive), is_same(NameCase::Insensitive));
            assert_eq!(found, (exact, folded), "{selected} {database:?} {table}");
        }
    }

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
