//! What table maps tell of their tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpulse::change::{Position, Table};
use binpulse::decode::{Decoder, Step};

use crate::fixture;

/// The tables of a fixture as each rows event names them, by name; the last counts.
fn tables(quirk: &str, server: &str) -> BTreeMap<String, Arc<Table>> {
    let fixture = fixture::one(quirk, server);
    let mut decoder = Decoder::new(fixture::config());
    let mut found = BTreeMap::new();
    let (name, file) = &fixture.files[0];
    decoder.start_at(Position::new(name.as_str(), 4));
    for event in fixture::events(file) {
        let mut steps = decoder.feed(event).expect("an event");
        while let Some(step) = steps.next().expect("a step") {
            if let Step::Rows(rows) = step {
                found.insert(rows.table().name.to_string(), Arc::clone(rows.table()));
            }
        }
    }
    found
}

fn types(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.mysql_type.as_str()).collect()
}

fn names(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.name.as_str()).collect()
}

const SERVERS: [&str; 3] = ["mysql-9.7", "mysql-8.0", "mariadb-10.11"];

#[test]
fn a_primary_key_has_the_keys_own_order() {
    for server in SERVERS {
        let tables = tables("table_map", server);
        let reversed = &tables["keys_reversed"];
        assert_eq!(names(reversed), ["a", "y", "b", "c", "f", "g"]);
        assert_eq!(reversed.primary_key, [3, 0], "{server}");
        assert_eq!(tables["key_prefixed"].primary_key, [1, 0], "{server}");
        assert!(reversed.named);
    }
}

#[test]
fn signedness_is_told_around_a_year() {
    for server in SERVERS {
        let tables = tables("table_map", server);
        let table = &tables["keys_reversed"];
        assert_eq!(
            types(table),
            [
                "int",
                "year",
                "bigint unsigned",
                "varchar(20)",
                "float unsigned",
                "decimal(10,2) unsigned"
            ],
            "{server}"
        );
        let unsigned: Vec<bool> = table.columns.iter().map(|column| column.unsigned).collect();
        assert_eq!(unsigned, [false, false, true, false, true, true], "{server}");
    }
}

#[test]
fn members_are_decoded_by_their_own_character_sets() {
    for server in SERVERS {
        let tables = tables("table_map", server);
        let columns = tables["members"].columns.iter().filter(|column| column.visible);
        let told: Vec<_> =
            columns.map(|column| (column.charset, column.members.join("|"))).collect();
        let expected =
            [("latin1", "a|b"), ("utf8mb4", "x|y|z"), ("utf16", "éè|n"), ("latin1", "ä|o")];
        let expected = expected.map(|(charset, members)| (charset, members.to_owned()));
        assert_eq!(told, expected, "{server}");
    }
}

#[test]
fn types_are_written_as_the_server_writes_them() {
    for server in SERVERS {
        let tables = tables("table_map", server);
        let visible = |name: &str| -> Vec<String> {
            let columns = tables[name].columns.iter().filter(|column| column.visible);
            columns.map(|column| column.mysql_type.clone()).collect()
        };
        assert_eq!(
            visible("texts"),
            [
                "tinytext",
                "text",
                "mediumtext",
                "longtext",
                "tinyblob",
                "blob",
                "mediumblob",
                "longblob",
                "char(3)",
                "char(255)",
                "binary(16)",
                "varbinary(300)"
            ],
            "{server}"
        );
        assert_eq!(visible("shapes"), ["geometry", "point", "linestring", "geomcollection"]);
        assert_eq!(
            visible("times"),
            [
                "time",
                "time(2)",
                "datetime",
                "datetime(6)",
                "timestamp",
                "timestamp(4)",
                "date",
                "year"
            ],
            "{server}"
        );
    }
}

#[test]
fn invisible_columns_vectors_and_what_stands_behind_them_are_told() {
    let tables = tables("table_map_new_types", "mysql-9.7");
    let table = &tables["hidden"];
    assert_eq!(names(table), ["my_row_id", "a", "b", "c", "d", "j", "v", "w", "x", "e"]);
    assert_eq!(
        types(table),
        [
            "bigint unsigned",
            "int",
            "int",
            "int",
            "int",
            "json",
            "vector(3)",
            "varchar(5)",
            "varchar(5)",
            "enum('p','q')"
        ]
    );
    let hidden: Vec<_> =
        table.columns.iter().filter(|column| !column.visible).map(|c| c.name.as_str()).collect();
    assert_eq!(hidden, ["my_row_id", "a"]);
    let charsets: Vec<_> = table.columns.iter().skip(7).map(|column| column.charset).collect();
    assert_eq!(charsets, ["latin1", "utf8mb4", "utf8mb4"]);
    assert_eq!(table.primary_key, [0]);
}

#[test]
fn without_names_columns_are_counted_from_one() {
    let tables = tables("minimal", "mysql-9.7");
    let table = &tables["t"];
    assert!(!table.named);
    assert_eq!(names(table), ["@1", "@2", "@3", "@4"]);
    assert_eq!(types(table), ["int unsigned", "varchar(10)", "blob", "int"]);
    assert!(table.primary_key.is_empty());
}

#[test]
fn equal_schemas_have_equal_fingerprints_and_others_do_not() {
    let of = |server, name: &str| tables("table_map", server)[name].fingerprint;
    assert_eq!(of("mysql-9.7", "keys_reversed"), of("mysql-8.0", "keys_reversed"));
    assert_ne!(of("mysql-9.7", "keys_reversed"), of("mysql-9.7", "key_prefixed"));
    // Kept by consumers: it must not change from one release to the next.
    assert_eq!(of("mysql-9.7", "keys_reversed"), 0x1037_fd2a_b8e0_3b81);
}

#[test]
fn a_table_that_was_altered_is_another_table_from_there_on() {
    let fixture = fixture::one("rows", "mysql-9.7");
    let mut decoder = Decoder::new(fixture::config());
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut widths = Vec::new();
    for event in fixture::events(&fixture.files[0].1) {
        let mut steps = decoder.feed(event).expect("an event");
        while let Some(step) = steps.next().expect("a step") {
            if let Step::Rows(rows) = step
                && &*rows.table().name == "items"
            {
                widths.push(rows.table().columns.len());
            }
        }
    }
    assert_eq!(widths, [4, 4, 5]);
}
