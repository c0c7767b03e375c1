use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Config, Filter, NameCase, Pattern, Route};
use crate::change::{Column, LogicalType, Table};

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
    let mut filter = filter(&["shop.*", "stock.items"], &["shop.secret_*"]);
    for (database, statement, is_wanted) in [
        ("hr", "ALTER TABLE Shop.Orders ADD c INT", true),
        ("shop", "ALTER TABLE SECRET_keys ADD c INT", false),
        ("", "CREATE DATABASE SHOP", true),
    ] {
        filter.compare_names(NameCase::Insensitive);
        assert_eq!(filter.wants_statement(database, statement), is_wanted, "{statement}");
        filter.compare_names(NameCase::Sensitive);
        assert_eq!(filter.wants_statement(database, statement), !is_wanted, "{statement}");
    }
    for (database, statement, wanted) in [
        ("", "CREATE TABLE shop.orders (id INT)", true),
        ("shop", "CREATE TABLE orders (id INT)", true),
        ("shop", "CREATE TABLE hr.people (id INT)", false),
        ("hr", "ALTER TABLE shop.orders ADD c INT", true),
        ("shop", "ALTER TABLE secret_keys ADD c INT", false),
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

/// What databases, tables and columns are called in the trials below.
const NAMES: [&str; 4] = ["a", "A", "b", "ab"];

/// A part of a pattern, as (its text, the names of [`NAMES`] that it matches where case counts).
const PARTS: [(&str, &[&str]); 6] = [
    ("a", &["a"]),
    ("A", &["A"]),
    ("*", &["a", "A", "b", "ab"]),
    ("?", &["a", "A", "b"]),
    ("*b", &["b", "ab"]),
    ("a*", &["a", "ab"]),
];

fn part_matches(part: usize, name: &str, case: NameCase) -> bool {
    let (_, matched) = PARTS[part];
    match case {
        NameCase::Sensitive => matched.contains(&name),
        NameCase::Insensitive => matched.iter().any(|it| it.eq_ignore_ascii_case(name)),
    }
}

/// Patterns as numbers of their parts.
type Rules = Vec<Vec<usize>>;

/// A table as a server could have it: its name and columns as numbers of names, whether the log names
/// its columns.
type Seen = (usize, usize, BTreeSet<usize>, bool);

/// The lists of the settings: tables, exclude, only, dropped, hashed.
#[derive(Debug, Clone)]
struct Lists([Rules; 5]);

impl Lists {
    fn any(&self, list: usize, names: &[&str], case: NameCase) -> bool {
        self.0[list].iter().any(|rule| rule_matches(rule, names, case))
    }

    fn config(&self) -> Config {
        let patterns = |list: usize| {
            self.0[list]
                .iter()
                .map(|rule| {
                    let texts: Vec<_> = rule.iter().map(|part| PARTS[*part].0).collect();
                    Pattern::parse(&texts.join("."), rule.len()).expect("a pattern")
                })
                .collect()
        };
        Config {
            tables: patterns(0),
            exclude: patterns(1),
            only: patterns(2),
            drop_columns: patterns(3),
            hash_columns: patterns(4),
            ..Config::default()
        }
    }

    fn wants(&self, names: &[&str], case: NameCase) -> bool {
        let is_among_the_only_ones = self.0[2].is_empty() || self.any(2, names, case);
        self.any(0, names, case) && !self.any(1, names, case) && is_among_the_only_ones
    }

    /// What becomes of a table: its name, and what its columns are called and whether they are hashed.
    #[allow(
        clippy::option_option,
        reason = "left out, published as it is, published with these columns"
    )]
    fn route(&self, seen: &Seen, case: NameCase) -> Option<Option<Vec<(&'static str, bool)>>> {
        let (database, name, columns, is_named) = seen;
        let names = [NAMES[*database], NAMES[*name]];
        if !self.wants(&names, case) {
            return None;
        }
        let masks = [3, 4].iter().flat_map(|list| &self.0[*list]);
        if !is_named && masks.clone().any(|rule| rule_matches(&rule[..2], &names, case)) {
            return Some(None);
        }
        let kept = columns.iter().map(|at| NAMES[*at]).filter_map(|column| {
            let names = [names[0], names[1], column];
            (!self.any(3, &names, case)).then(|| (column, self.any(4, &names, case)))
        });
        Some(Some(kept.collect()))
    }

    /// Whether each pattern matches the table or a column of it, in the order of the settings.
    fn matched(&self, seen: &Seen, case: NameCase) -> Vec<bool> {
        let (database, name, columns, _) = seen;
        let names = [NAMES[*database], NAMES[*name]];
        let rules = [0, 1, 3, 4].iter().flat_map(|list| &self.0[*list]);
        let matches = rules.map(|rule| match rule.len() {
            2 => rule_matches(rule, &names, case),
            _ => {
                columns.iter().any(|at| rule_matches(rule, &[names[0], names[1], NAMES[*at]], case))
            }
        });
        matches.collect()
    }
}

/// Columns are compared without regard to case on every server.
fn rule_matches(rule: &[usize], names: &[&str], case: NameCase) -> bool {
    let cases = [case, case, NameCase::Insensitive];
    rule.iter().zip(names).zip(cases).all(|((part, name), case)| part_matches(*part, name, case))
}

fn lists() -> impl Strategy<Value = Lists> {
    let rules = |parts| prop::collection::vec(prop::collection::vec(0..PARTS.len(), parts), 0..3);
    (rules(2), rules(2), prop_oneof![3 => Just(Vec::new()), 1 => rules(2)], rules(3), rules(3))
        .prop_map(|(tables, exclude, only, dropped, hashed)| {
            let tables = if tables.is_empty() { vec![vec![2, 2]] } else { tables };
            Lists([tables, exclude, only, dropped, hashed])
        })
}

fn seen() -> impl Strategy<Value = Seen> {
    let columns = prop::collection::btree_set(0..NAMES.len(), 0..4);
    (0..NAMES.len(), 0..NAMES.len(), columns, prop::bool::weighted(0.8))
}

fn case() -> impl Strategy<Value = NameCase> {
    prop_oneof![Just(NameCase::Sensitive), Just(NameCase::Insensitive)]
}

/// A table with a fingerprint that no other shape has.
fn table((database, name, columns, named): &Seen) -> Arc<Table> {
    let column = |at: &usize| Column {
        name: NAMES[*at].to_owned(),
        logical_type: LogicalType::Integer,
        mysql_type: "int".to_owned(),
        nullable: true,
        unsigned: false,
        collation: 0,
        charset: "",
        members: Vec::new(),
        visible: true,
    };
    let columns_set = columns.iter().fold(0, |set, at| set | 1 << at);
    let fingerprint = [*database, *name, columns_set, usize::from(*named)];
    Arc::new(Table {
        database: NAMES[*database].into(),
        name: NAMES[*name].into(),
        columns: columns.iter().map(column).collect(),
        primary_key: Vec::new(),
        named: *named,
        fingerprint: fingerprint.iter().fold(1, |sum, part| sum << 8 | *part as u64),
        outbox: None,
    })
}

/// Accounts and their passwords' hashes are in no message, unless somebody asks for them.
#[test]
fn the_servers_own_databases_leave_only_if_they_are_named() {
    let wants = |tables: &[&str], database: &str| {
        let config = Config { leaves_system_out: true, ..filter(tables, &[]).config };
        let filter = Filter::new(config);
        let wanted = filter.wants(database, "user");
        assert_eq!(filter.wants_database(database), wanted);
        assert_eq!(filter.wants_statement("", &format!("DROP TABLE {database}.user")), wanted);
        wanted
    };
    for database in ["mysql", "sys", "performance_schema", "information_schema"] {
        assert!(!wants(&["*.*"], database) && !wants(&["?y*.*"], database), "{database}");
    }
    assert!(wants(&["*.*"], "mysql2") && wants(&["*.*", "mysql.u*"], "mysql"));
    assert!(!wants(&["mysql.u*"], "sys"));
    assert!(filter(&["*.*"], &[]).wants("mysql", "user"), "where nobody asked for it: decode");
}

/// A column that is renamed, and a table that is, take what hid them away.
#[test]
fn what_is_no_longer_hidden_is_told_once() {
    const A: usize = 0;
    const B: usize = 2;
    const AB: usize = 3;
    let parsed = |text: &str, parts| vec![Pattern::parse(text, parts).expect("a pattern")];
    let mut filter = Filter::new(Config {
        tables: parsed("a.*", 2),
        exclude: parsed("a.old", 2),
        drop_columns: parsed("a.b.a", 3),
        hash_columns: parsed("*.*.b", 3),
        ..Config::default()
    });
    let mut lost = |columns: &[usize]| -> Vec<_> {
        let _route = filter.route(&table(&(A, B, columns.iter().copied().collect(), true)));
        filter.take_uncovered().map(|it| (it.table, it.key, it.pattern)).collect()
    };
    let named = |key, pattern: &str| ("a.b".to_owned(), key, pattern.to_owned());
    assert!(lost(&[A, B]).is_empty());
    assert_eq!(lost(&[B, AB]), [named("filter.drop_columns", "a.b.a")]);
    assert!(lost(&[B, AB]).is_empty());
    assert_eq!(lost(&[AB]), [named("filter.hash_columns", "*.*.b")]);
    assert!(lost(&[A, AB]).is_empty());

    let renamed = |statement: &str| filter.renamed("a", statement);
    let pair = |old: &str, new: &str| Some((old.to_owned(), new.to_owned()));
    assert_eq!(renamed("RENAME TABLE b TO c"), pair("a.b", "a.c"));
    assert_eq!(renamed("RENAME TABLE a.c TO a.x, a.b TO a.y"), pair("a.b", "a.y"));
    assert_eq!(renamed("ALTER TABLE b RENAME TO a.c"), pair("a.b", "a.c"));
    assert_eq!(renamed("RENAME TABLE b TO old"), None);
    assert_eq!(renamed("RENAME TABLE b TO other.b"), None);
    assert_eq!(renamed("RENAME TABLE c TO b"), None);
    assert_eq!(Filter::new(Config::default()).renamed("a", "RENAME TABLE b TO c"), None);
}

type Counts = Vec<(&'static str, String, u64)>;

/// What the filter counted since it was last asked.
fn taken(filter: &mut Filter) -> Counts {
    let mut taken = Vec::new();
    filter
        .take_matches(|key, pattern, count| taken.push((key, pattern.as_str().to_owned(), count)));
    taken
}

/// The same from a count for each pattern.
fn told(config: &Config, counts: &[u64]) -> Counts {
    let all = config.patterns().zip(counts);
    let all = all.map(|((key, pattern), count)| (key, pattern.as_str().to_owned(), *count));
    all.filter(|(_, _, count)| *count > 0).collect()
}

/// Names as the model of statements and databases needs them: the whole universe.
fn all_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.iter().flat_map(|database| NAMES.iter().map(|table| (*database, *table)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_table_goes_the_way_that_the_settings_say_and_is_counted(
        lists in lists(),
        asked in prop::collection::vec((seen(), case(), any::<bool>()), 1..12),
    ) {
        let mut filter = Filter::new(lists.config());
        let masks = !lists.0[3].is_empty() || !lists.0[4].is_empty();
        prop_assert_eq!(filter.has_masks(), masks);
        let count = lists.config().patterns().count();
        prop_assert_eq!(count, [0, 1, 3, 4].iter().map(|list| lists.0[*list].len()).sum::<usize>());
        let mut expected_matches = vec![0; count];
        for (seen, case, is_counted_here) in &asked {
            filter.compare_names(*case);
            // The same table again comes out of memory
            let table = table(seen);
            for _ in 0..2 {
                let expected = lists.route(seen, *case);
                let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
                match (filter.route(&table), expected) {
                    (Route::Skip, None) | (Route::Unnamed, Some(None)) => {}
                    (Route::Publish, Some(Some(kept))) => {
                        let plain: Vec<_> = columns.into_iter().map(|column| (column, false)).collect();
                        prop_assert_eq!(kept, plain);
                    }
                    (Route::Mask(mask), Some(Some(kept))) => {
                        let found: Vec<_> = mask.table.columns.iter()
                            .map(|column| (column.name.as_str(), column.mysql_type == "char(64)"))
                            .collect();
                        prop_assert_eq!(&kept, &found);
                        let is_touched = kept.len() < columns.len() || kept.iter().any(|it| it.1);
                        prop_assert!(is_touched, "nothing to rewrite");
                    }
                    (found, expected) => prop_assert!(false, "{found:?} for {expected:?}"),
                }
                for (matches, is_matched) in
                    expected_matches.iter_mut().zip(lists.matched(seen, *case))
                {
                    *matches += u64::from(is_matched);
                }
            }
            if *is_counted_here {
                prop_assert_eq!(taken(&mut filter), told(&lists.config(), &expected_matches));
                expected_matches.fill(0);
            }
        }
        prop_assert_eq!(taken(&mut filter), told(&lists.config(), &expected_matches));
    }

    #[test]
    fn names_are_wanted_and_masked_as_the_settings_say(lists in lists(), case in case()) {
        let config = Config { names: case, ..lists.config() };
        let filter = Filter::new(config.clone());
        for (database, table) in all_names() {
            let names = [database, table];
            let is_wanted = lists.wants(&names, case);
            prop_assert_eq!(filter.wants(database, table), is_wanted);
            prop_assert_eq!(config.wants(database, table), is_wanted);
            let mut masks = [3, 4].iter().flat_map(|list| &lists.0[*list]);
            let is_masked = masks.any(|rule| rule_matches(&rule[..2], &names, case));
            prop_assert_eq!(filter.masks(database, table), is_masked);
            // `only` limits rows, not what is told of a table's shape
            let is_told = lists.any(0, &names, case) && !lists.any(1, &names, case);
            let statement = format!("ALTER TABLE {database}.{table} ADD c INT");
            prop_assert_eq!(filter.wants_statement("b", &statement), is_told, "{}", statement);
            let statement = format!("ALTER TABLE {table} ADD c INT");
            prop_assert_eq!(filter.wants_statement(database, &statement), is_told, "{}", statement);
        }
        for database in NAMES {
            let may_have = lists.0[0].iter().any(|rule| part_matches(rule[0], database, case));
            let has_none = lists.0[1].iter()
                .any(|rule| part_matches(rule[0], database, case) && PARTS[rule[1]].0 == "*");
            let is_wanted = may_have && !has_none;
            prop_assert_eq!(filter.wants_database(database), is_wanted);
            prop_assert_eq!(filter.leaves_out_all(&[database.to_owned()]), !is_wanted);
            let statement = format!("CREATE DATABASE {database}");
            prop_assert_eq!(filter.wants_statement("b", &statement), is_wanted, "{}", statement);
            let others = [database.to_owned(), "Mysql".to_owned(), "none".to_owned()];
            let wants_none = !filter.wants_database("none") && !is_wanted;
            prop_assert_eq!(filter.leaves_out_all(&others), wants_none);
        }
    }
}

#[test]
fn the_settings_are_shown_without_their_key() {
    let config = Config {
        tables: vec![Pattern::parse("shop.*", 2).expect("a pattern")],
        exclude: vec![Pattern::parse("shop.audit", 2).expect("a pattern")],
        only: vec![Pattern::parse("shop.own", 2).expect("a pattern")],
        except: vec![Pattern::parse("shop.held", 2).expect("a pattern")],
        before: None,
        drop_columns: vec![Pattern::parse("shop.t.dropped", 3).expect("a pattern")],
        hash_columns: vec![Pattern::parse("shop.t.hashed", 3).expect("a pattern")],
        hash_key: b"s3cret".to_vec(),
        leaves_system_out: false,
        must_match: true,
        names: NameCase::Insensitive,
        outbox: Arc::default(),
    };
    let shown = format!("{config:?}");
    assert!(shown.contains("shop.*") && shown.contains("must_match: true"), "{shown}");
    for pattern in ["shop.audit", "shop.own", "shop.t.dropped", "shop.t.hashed"] {
        assert!(shown.contains(pattern), "{pattern}: {shown}");
    }
    assert!(shown.contains("Insensitive") && !shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", b"s3cret")), "{shown}");
}

#[test]
fn shapes_of_tables_are_remembered_within_bounds_and_judged_the_same() {
    let (published, excluded) = (NAMES[0], NAMES[1]);
    let pattern = |name: &str| format!("{published}.{name}");
    let mut filter = filter(&[&pattern("*")], &[&pattern(excluded)]);
    let shape = |fingerprint: u64, name: usize| {
        let shape = Table::clone(&table(&(0, name, BTreeSet::new(), true)));
        Arc::new(Table { fingerprint, ..shape })
    };
    for fingerprint in 0..super::SHAPES_MAX as u64 + 10 {
        let route = filter.route(&shape(fingerprint, usize::from(fingerprint % 2 == 1)));
        assert_eq!(matches!(route, Route::Publish), fingerprint % 2 == 0);
        assert!(filter.routes.len() <= super::SHAPES_MAX);
    }
    // One that is remembered makes nobody forget the others.
    let known = filter.routes.len();
    let fingerprint = super::SHAPES_MAX as u64;
    assert!(filter.routes.contains_key(&fingerprint));
    filter.route(&shape(fingerprint, 0));
    assert_eq!(filter.routes.len(), known);
}
