use proptest::prelude::*;

use super::*;

fn shown(statement: &str) -> String {
    match written(statement, Mode::default()) {
        Ok(Written { verb, tables, .. }) => {
            let names = tables.into_iter().map(|(database, table)| match database {
                Some(database) => format!("{database}.{table}"),
                None => table,
            });
            format!("{verb} {}", names.collect::<Vec<_>>().join(" "))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn all_tables_that_a_statement_changes_are_found() {
    for (statement, expected) in [
        ("INSERT INTO t VALUES (1)", "INSERT t"),
        ("insert low_priority ignore a.t (x, y) value (1, 'it''s; DELETE FROM u')", "INSERT a.t"),
        ("REPLACE `a`.`t``x` PARTITION (p0, p1) SET x = 1", "REPLACE a.t`x"),
        (
            "INSERT INTO mysql.rds_heartbeat2(id, value) values (1,1483041015005) ON DUPLICATE KEY \
             UPDATE value = 1483041015005",
            "INSERT mysql.rds_heartbeat2",
        ),
        (
            "REPLACE INTO `percona`.`checksums` (db, tbl, this_crc) SELECT 'shop', 'orders', \
             COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', `id`, CONCAT(ISNULL(`x`)))) AS \
             UNSIGNED)), 10, 16)), 0) AS crc FROM `shop`.`orders` FORCE INDEX(`PRIMARY`) WHERE \
             ((`id` >= '1')) AND ((`id` <= '9')) /*checksum chunk*/",
            "REPLACE percona.checksums",
        ),
        ("INSERT INTO a.t (SELECT * FROM b.u)", "INSERT a.t"),
        ("INSERT INTO a.t WITH c AS (SELECT 1) SELECT * FROM c", "INSERT a.t"),
        ("UPDATE a.t SET x = 1 WHERE y IN (SELECT z FROM b.u)", "UPDATE a.t"),
        ("UPDATE a.t AS o, `b`.u SET o.x = u.y", "UPDATE a.t b.u"),
        (
            "UPDATE a.t o LEFT JOIN b.u ON o.x = LEFT(u.y, 3) JOIN c.v USING (z) SET o.x = 1",
            "UPDATE a.t b.u c.v",
        ),
        ("UPDATE (a.t JOIN (b.u, c.v) ON 1) SET x = 1", "UPDATE a.t b.u c.v"),
        ("UPDATE a.t USE INDEX (i, j) IGNORE KEY FOR JOIN (k) SET x = 1", "UPDATE a.t"),
        ("UPDATE a.t JOIN (SELECT y FROM b.u) d ON d.y = t.x SET x = 1", "UPDATE a.t"),
        (
            "WITH c (x) AS (SELECT 1), d AS (SELECT 2) UPDATE a.t JOIN c ON 1 SET t.x = c.x",
            "UPDATE a.t",
        ),
        ("WITH c AS (SELECT 1) DELETE FROM a.t WHERE x IN (SELECT * FROM c)", "DELETE a.t"),
        ("DELETE FROM t", "DELETE t"),
        ("DELETE QUICK FROM a.t PARTITION (p0) WHERE x = 1 ORDER BY y LIMIT 3", "DELETE a.t"),
        ("DELETE o FROM a.t AS o JOIN b.u ON o.x = u.x", "DELETE a.t b.u"),
        ("DELETE a.t, u.* FROM a.t, b.u WHERE t.x = u.x", "DELETE a.t b.u u"),
        ("DELETE FROM o USING a.t o WHERE x", "DELETE a.t"),
        (
            "LOAD DATA LOCAL INFILE '/tmp/x' REPLACE INTO TABLE `a`.`t` CHARACTER SET utf8mb4 FIELDS \
             TERMINATED BY ',' ESCAPED BY '\\\\' LINES TERMINATED BY '\n' IGNORE 1 LINES (x, @y) SET \
             z = CONCAT(@y, 'b')",
            "LOAD a.t",
        ),
        ("/* a */ /*!40000 INSERT INTO */ -- b\n t VALUES (1) # c", "INSERT t"),
        ("SET STATEMENT max_statement_time = 1 FOR DELETE FROM a.t", "DELETE a.t"),
        ("CREATE TABLE IF NOT EXISTS a.t (x INT(3), KEY k (x)) SELECT * FROM b.u", "CREATE a.t"),
        ("INSERT INTO größe.`t.x` VALUES (1);", "INSERT größe.t.x"),
        // What a stored procedure's statements are logged as.
        (
            "INSERT INTO a.t VALUES ( NAME_CONST('x',_utf8mb4'b' COLLATE 'utf8mb4_bin'))",
            "INSERT a.t",
        ),
        ("UPDATE a.t SET x = 1 WHERE y = ANY (SELECT z FROM b.u) AND z MOD (3) = 1", "UPDATE a.t"),
        (
            "DELETE FROM a.t WHERE MATCH (x) AGAINST ('y') OR BINARY (x) = UUID_SHORT()",
            "DELETE a.t",
        ),
        ("INSERT INTO a.t VALUES ROW(1, 'ROW'), ROW(2, 'b')", "INSERT a.t"),
        ("INSERT INTO 2020_t VALUES (1)", "INSERT 2020_t"),
    ] {
        assert_eq!(shown(statement), expected, "{statement}");
    }
}

#[test]
fn what_could_change_another_table_or_is_not_understood_is_no_answer() {
    for (statement, words) in [
        ("INSERT INTO t VALUES (f(1))", "calls f"),
        ("INSERT INTO t VALUES (`f`(1))", "calls f"),
        ("INSERT INTO t VALUES (`ANY`(1))", "calls ANY"),
        ("INSERT INTO t VALUES (b.NAME_CONST(1))", "calls NAME_CONST"),
        ("INSERT INTO t VALUES (a.count(1))", "calls count"),
        ("INSERT INTO t VALUES (COUNT (1))", "calls COUNT"),
        ("UPDATE t JOIN u ON f(t.x) SET x = 1", "calls f"),
        ("UPDATE t JOIN JSON_TABLE('[]', '$' COLUMNS(a INT PATH '$')) j SET x = 1", "JSON_TABLE"),
        ("WITH c AS (SELECT f()) DELETE FROM t", "calls f"),
        ("LOAD DATA INFILE 'x' INTO TABLE t (x) SET y = f(x)", "calls f"),
        ("INSERT INTO t VALUES (NEXT VALUE FOR s)", "calls NEXT VALUE"),
        ("CALL p()", "another kind"),
        ("SELECT f()", "another kind"),
        ("WITH c AS (SELECT 1) SELECT f() FROM c", "another kind"),
        ("HANDLER t OPEN", "another kind"),
        ("", "another kind"),
        ("INSERT INTO t VALUES (1); DELETE FROM u", "second statement"),
        ("INSERT INTO t VALUES (1", "not closed"),
        ("INSERT INTO t VALUES 1)", "too many"),
        ("INSERT INTO 'a' VALUES (1)", "table's name"),
        ("INSERT INTO 12 VALUES (1)", "table's name"),
        ("INSERT INTO t VALUES ('a", "not closed"),
        ("INSERT INTO t VALUES (1) /* a", "differently"),
        ("/*M! INSERT INTO */ t VALUES (1)", "differently"),
        ("INSERT INTO t\u{a0}VALUES (1)", "differently"),
        ("INSERT INTO t --\u{a0}\nVALUES (1)", "differently"),
        ("INSERT INTO /*!500001x.*/t VALUES (1)", "differently"),
        ("UPDATE t SOMETHING NEW SET x = 1", "follows a table"),
        ("DELETE t", "follows DELETE"),
        ("DELETE t, u", "tables of a DELETE"),
        ("LOAD DATA INTO TABLE t", "front of a LOAD DATA"),
    ] {
        assert!(shown(statement).contains(words), "{statement}: {}", shown(statement));
    }
}

#[test]
fn tables_that_are_made_with_rows_are_told_from_others() {
    for (statement, expected) in [
        ("CREATE TABLE t SELECT * FROM u", true),
        ("create or replace table t (a INT) engine=InnoDB as (select 1)", true),
        ("CREATE TABLE t AS WITH c AS (SELECT 1) TABLE c", true),
        ("CREATE TABLE t TABLE u", true),
        ("CREATE TABLE t AS VALUES ROW(1)", true),
        ("CREATE TABLE t (a INT) VALUES ROW(1)", true),
        ("CREATE TABLE t AS (VALUES (1),(2))", true),
        ("CREATE TABLE t (VALUES (1))", true),
        ("CREATE TABLE t (a INT) REPLACE VALUES (1)", true),
        ("CREATE TABLE t (a INT) IGNORE (VALUES (1))", true),
        ("CREATE TABLE t VALUES (1)", true),
        ("CREATE TEMPORARY TABLE t SELECT 1", false),
        ("CREATE TABLE t LIKE u", false),
        ("CREATE TABLE t (`select` INT COMMENT 'SELECT') START TRANSACTION", false),
        ("CREATE TABLE t (a INT) PARTITION BY LIST (a) (PARTITION p VALUES IN (1))", false),
        ("CREATE TABLE t (a INT) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (1))", false),
        ("CREATE VIEW v AS SELECT 1", false),
        ("CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a + 1))", false),
    ] {
        assert_eq!(creates_with_rows(statement, Mode::default()), expected, "{statement}");
    }
    let plain = Mode { plain_backslash: true, ..Mode::default() };
    assert!(creates_with_rows(r"CREATE TABLE t (a INT) COMMENT 'x\' SELECT 1", plain));
    assert!(!creates_with_rows(r"CREATE TABLE t (a INT) COMMENT 'x\', COMMENT 'SELECT'", plain));
}

/// Blanks and comments, as they may stand between any two pieces.
fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(" ".to_owned()),
        Just("\n\t".to_owned()),
        Just(" /* DELETE FROM u, */ ".to_owned()),
        Just(" -- SET x\n".to_owned()),
        Just("/**/".to_owned()),
    ]
}

/// A name as it is, and as it is written.
fn name() -> impl Strategy<Value = (String, String)> {
    let quoted = "[a-zA-Z0-9 .,()'\"`äß/*-]{0,9}x".prop_map(|name| {
        let text = format!("`{}`", name.replace('`', "``"));
        (name, text)
    });
    let bare = "x[a-z0-9_$äß]{0,9}".prop_map(|name| (name.clone(), name));
    prop_oneof![quoted, bare]
}

/// A table as it is, and as it is written.
fn table() -> impl Strategy<Value = (Name, String)> {
    (proptest::option::of(name()), name(), gap()).prop_map(|(database, name, gap)| match database {
        Some((database, text)) => ((Some(database), name.0), format!("{text}.{gap}{}", name.1)),
        None => ((None, name.0), name.1),
    })
}

proptest! {
    #[test]
    fn any_text_can_be_asked_about(text in ".{0,200}", ansi_quotes: bool, plain_backslash: bool) {
        let mode = Mode { ansi_quotes, plain_backslash };
        for front in ["", "INSERT INTO t ", "UPDATE t ", "DELETE ", "LOAD DATA ", "WITH "] {
            let _ignored = written(&format!("{front}{text}"), mode);
            let _ignored = creates_with_rows(&format!("CREATE TABLE t {text}"), mode);
        }
    }

    /// However it is quoted, commented and joined: each table is found, and no other.
    #[test]
    fn each_table_is_found_however_it_is_written(
        tables in proptest::collection::vec(table(), 1..5),
        gap in gap(),
        form in 0..8_u8,
        joins in proptest::collection::vec(0..5_usize, 5),
    ) {
        let texts: Vec<_> = tables.iter().map(|(_, text)| text.clone()).collect();
        let mut references = String::new();
        for (number, text) in texts.iter().enumerate() {
            if number > 0 {
                references += [",", " JOIN", " LEFT OUTER JOIN", " STRAIGHT_JOIN", " NATURAL JOIN"][joins[number]];
                references += &gap;
            }
            references += text;
            references.extend([gap.as_str(), "AS", &gap, &format!("o{number}")]);
            if number > 0 && matches!(joins[number], 1 | 2) {
                let condition = format!("(o{number}.x = LEFT('DELETE FROM y', 3))");
                references.extend([gap.as_str(), "ON", &gap, &condition]);
            }
        }
        let first = &texts[0];
        let (statement, all) = match form {
            0 => (format!("INSERT{gap}INTO{gap}{first}{gap}VALUES (1)"), false),
            1 => (format!("REPLACE{gap}{first}{gap}(a,{gap}b) SELECT{gap}* FROM y"), false),
            2 => (format!("DELETE{gap}FROM{gap}{first}{gap}WHERE x = 'y'"), false),
            3 => (format!("LOAD DATA INFILE{gap}'y' INTO TABLE {first}{gap}(a)"), false),
            4 => (format!("UPDATE{gap}{references}{gap}SET o0.x = 1"), true),
            5 => (format!("UPDATE{gap}({references}){gap}SET o0.x = 1"), true),
            6 => (format!("DELETE{gap}o0{gap}FROM{gap}{references}"), true),
            _ => (format!("DELETE FROM{gap}o0{gap}USING{gap}{references}{gap}WHERE 1"), true),
        };
        let mut expected: Vec<Name> = Vec::new();
        for (name, _) in &tables {
            if (all || expected.is_empty()) && !expected.contains(name) {
                expected.push(name.clone());
            }
        }
        let found = written(&statement, Mode::default());
        prop_assert_eq!(found.map(|found| found.tables), Ok(expected), "{}", statement);
    }

    /// What is cut off is never an answer about other tables.
    #[test]
    fn no_front_of_a_statement_names_a_table_that_is_not_in_it(length in 0..200_usize) {
        let whole = "UPDATE a.t AS o JOIN (b.u, `c`.`v`) ON o.x = CONCAT(u.y, 'z') JOIN d.w USING (k) \
                     SET o.x = 1, u.y = (SELECT MAX(q) FROM e.r) WHERE o.z IN (1, 2)";
        let length = length.min(whole.len());
        if let Ok(found) = written(&whole[..length], Mode::default()) {
            let names = ["t", "u", "v", "w"];
            prop_assert!(found.tables.iter().all(|(_, table)| names.contains(&table.as_str())));
            prop_assert!(found.tables.len() == 4, "{}", &whole[..length]);
        }
    }
}
