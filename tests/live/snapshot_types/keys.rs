//! Every type of key and many collations: a table that is read in small chunks gives each row once, and
//! the server finds each chunk in the index.

use std::collections::BTreeSet;

use binpulse::change::Cell;
use binpulse::mysql::Session;

use super::{layout, read_all, reader};
use crate::bed::Bed;
use crate::source::server::Server;
use crate::suite::{Outcome, tests};

tests! {
    each_row_is_read_once_whatever_its_key
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    edges_of_types_are_read_once_as_keys
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
}

/// Rows of a table; a number is stored with each.
const ROWS: u64 = 400;
const CHUNK_ROWS: u64 = 7;

/// A table's columns without the number, its key, and expressions of `n` for the columns.
struct Keyed {
    columns: String,
    key: String,
    values: String,
}

fn keyed(columns: &str, key: &str, values: &str) -> Keyed {
    Keyed { columns: columns.to_owned(), key: key.to_owned(), values: values.to_owned() }
}

fn single(column_type: &str, value: &str) -> Keyed {
    keyed(&format!("a {column_type} NOT NULL"), "PRIMARY KEY (a)", value)
}

fn numbers() -> Vec<Keyed> {
    let labels = |count: u32| (0..count).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(",");
    vec![
        single("INT", "n * 7 - 1000"),
        single("BIGINT UNSIGNED", "18446744073709551615 - n * 3"),
        single("INT(9) ZEROFILL", "n * 2"),
        single("DECIMAL(20,5)", "(n - 200) * 1.12345"),
        single("DECIMAL(30,30)", "(n - 200) * 0.000000000000000000000000000001"),
        single("FLOAT", "(n - 200) * 0.1"),
        single("FLOAT(7,3)", "(n - 200) * 0.113"),
        single("DOUBLE", "(n - 200) * 1.1e300"),
        single("DOUBLE(20,10)", "(n - 200) * 0.1"),
        single("BIT(33)", "n * 20000000"),
        single("BIT(64)", "18446744073709551615 - n"),
        single("DATE", "'1990-01-01' + INTERVAL n DAY"),
        single("TIME(6)", "SEC_TO_TIME((n - 200) * 100.5)"),
        single("DATETIME(3)", "'1990-01-01 00:00:00.125' + INTERVAL n * 777 SECOND"),
        single("TIMESTAMP(3)", "'1990-01-01 00:00:00.125' + INTERVAL n * 777 HOUR"),
        single(&format!("ENUM({})", labels(500)), "n + 1"),
        keyed(
            "a YEAR NOT NULL, b SET('p','q','r','s') NOT NULL",
            "PRIMARY KEY (a, b)",
            "2000 + n DIV 16, n % 16",
        ),
        keyed(
            "a ENUM('z','y','x') NOT NULL, b BIT(9) NOT NULL",
            "PRIMARY KEY (a, b)",
            "n % 3 + 1, n",
        ),
        keyed("a ENUM('z') NOT NULL, b INT NOT NULL", "PRIMARY KEY (a, b)", "1, n"),
        keyed(
            "a INT NOT NULL, b ENUM('z','y','x','w','v') NOT NULL, c FLOAT NOT NULL",
            "PRIMARY KEY (a, b, c)",
            "n DIV 50, n % 5 + 1, n * 0.1",
        ),
        keyed(
            "a INT NOT NULL, b INT NOT NULL, c CHAR(3) NOT NULL, d INT NOT NULL, e DATE NOT NULL, \
             f DECIMAL(5,2) NOT NULL, g INT NOT NULL",
            "PRIMARY KEY (g, a, c, b, e, f, d)",
            "n % 2, n DIV 2 % 2, n DIV 4 % 2, n DIV 8 % 2, \
             '2026-01-01' + INTERVAL n DIV 16 % 2 DAY, n DIV 32 % 2, n DIV 64",
        ),
    ]
}

fn strings() -> Vec<Keyed> {
    let mut all = vec![
        single("BINARY(8)", "CONCAT(CHAR(n % 256), CHAR(n DIV 256))"),
        single("VARBINARY(20)", "CONCAT(UNHEX(LEFT(SHA2(n, 256), n % 9 * 2)), CHAR(0), n)"),
        single("CHAR(36) CHARACTER SET ascii", "UPPER(LEFT(SHA2(n, 256), 36))"),
    ];
    // Mixed cases, accents that some collations do not tell apart, spaces at the end.
    let text =
        "CONCAT(ELT(n % 6 + 1, 'Ab', 'aB', 'é', 'Z ', 'ÿ', ''), n, ELT(n % 3 + 1, '', ' ', 'X'))";
    for collation in [
        "utf8mb4_general_ci",
        "utf8mb4_bin",
        "utf8mb4_unicode_520_ci",
        "utf8_general_ci",
        "latin1_swedish_ci",
        "latin1_bin",
        "latin1_german2_ci",
        "utf16_general_ci",
        "utf32_bin",
        "ucs2_unicode_ci",
    ] {
        all.push(single(&format!("VARCHAR(40) COLLATE {collation}"), text));
    }
    let asian = "CONCAT(ELT(n % 4 + 1, 'あ', 'ア', 'z', '漢'), n)";
    for collation in ["gbk_chinese_ci", "sjis_japanese_ci", "cp932_bin", "ujis_japanese_ci"] {
        all.push(single(&format!("CHAR(40) COLLATE {collation}"), asian));
    }
    all.push(keyed(
        "a VARCHAR(9) COLLATE utf8mb4_general_ci NOT NULL, b VARCHAR(40) COLLATE latin1_swedish_ci NOT NULL",
        "PRIMARY KEY (a, b)",
        "ELT(n % 3 + 1, 'x', 'Y', 'z'), CONCAT(ELT(n % 2 + 1, 'a', 'B'), n)",
    ));
    all
}

fn of_version(bed: &Bed) -> Vec<Keyed> {
    let mut all = vec![
        keyed("a INT NOT NULL, b INT", "UNIQUE (b), UNIQUE u (a)", "n * 3, NULL"),
        keyed(
            "a INT NOT NULL, b INT NOT NULL",
            "PRIMARY KEY (a, b)) PARTITION BY HASH (b) PARTITIONS 7",
            "n DIV 10, n",
        ),
        keyed(
            "a INT NOT NULL, b INT NOT NULL",
            "PRIMARY KEY (b, a)) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (100), \
             PARTITION q VALUES LESS THAN (MAXVALUE))",
            "n, n % 11",
        ),
    ];
    let version = bed.server();
    if version.is_mysql(8, 0) {
        all.push(single(
            "VARCHAR(40) COLLATE utf8mb4_0900_ai_ci",
            "CONCAT(ELT(n % 2 + 1, 'A', 'b'), n)",
        ));
        all.push(single(
            "VARCHAR(40) COLLATE utf8mb4_0900_as_cs",
            "CONCAT(ELT(n % 2 + 1, 'A', 'a'), n)",
        ));
        all.push(keyed("a INT NOT NULL, b INT AS (a * 2) VIRTUAL NOT NULL", "UNIQUE u (b)", "n"));
    }
    if version.is_mysql(8, 0) || version.is_mariadb(10, 8) {
        let directions = ["a DESC, b, c DESC", "a, b DESC, c", "a DESC, b DESC, c DESC"];
        all.extend(directions.map(|key| {
            keyed(
                "a INT NOT NULL, b ENUM('x','y','z') NOT NULL, c VARCHAR(9) NOT NULL",
                &format!("PRIMARY KEY ({key})"),
                "n DIV 40, n % 3 + 1, n DIV 3",
            )
        }));
    }
    if version.is_mariadb(10, 10) {
        all.push(single(
            "UUID",
            "CONCAT(LEFT(SHA2(n, 256), 8), '-1234-4234-8234-', RIGHT(SHA2(n, 256), 12))",
        ));
        all.push(single("UUID", "CONCAT(LPAD(HEX(n), 8, '0'), '-ec0a-11f1-92ac-02fc00000001')"));
        all.push(single("INET6", "CONCAT('fe80::', HEX(n))"));
        all.push(single("INET4", "CONCAT('10.', n % 7, '.', n % 200, '.', n DIV 5)"));
    }
    if version.is_mariadb(11, 8) {
        all.push(single(
            "VARCHAR(40) COLLATE utf8mb4_uca1400_as_ci",
            "CONCAT(ELT(n % 2 + 1, 'A', 'b'), n)",
        ));
    }
    all
}

async fn fill(server: &Server, tables: &[Keyed]) {
    let mut run = vec![
        "CREATE DATABASE d CHARACTER SET utf8mb4".to_owned(),
        "USE d".to_owned(),
        "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'".to_owned(),
        "SET NAMES utf8mb4".to_owned(),
        "CREATE TABLE numbers (n BIGINT PRIMARY KEY)".to_owned(),
        "INSERT INTO numbers VALUES (0), (1)".to_owned(),
    ];
    let doubled = (1..9)
        .map(|power| format!("INSERT INTO numbers SELECT n + {} FROM numbers", 1_u32 << power));
    run.extend(doubled);
    run.push(format!("DELETE FROM numbers WHERE n >= {ROWS}"));
    for (number, Keyed { columns, key, values }) in tables.iter().enumerate() {
        let close = if key.contains("PARTITION BY") { "" } else { ")" };
        run.push(format!("CREATE TABLE k{number} (number INT NOT NULL, {columns}, {key}{close}"));
        let given = columns.split(", ").filter(|column| {
            column.starts_with(|c: char| c.is_ascii_lowercase()) && !column.contains(" AS ")
        });
        let names: Vec<_> = given.map(|column| &column[..1]).collect();
        run.push(format!(
            "INSERT INTO k{number} (number, {}) SELECT n, {values} FROM numbers ORDER BY n DESC",
            names.join(", ")
        ));
        run.push(format!("ANALYZE TABLE k{number}"));
    }
    let statements: Vec<_> = run.iter().map(String::as_str).collect();
    server.run(&statements).await;
}

/// Entries of indexes that the server has looked at.
async fn entries_read(session: &mut Session) -> u64 {
    let rows = session.query("SHOW GLOBAL STATUS LIKE 'Handler_read_%'").await.expect("an answer");
    let counted = ["Handler_read_next", "Handler_read_prev", "Handler_read_key"];
    let is_counted = |name: &str| counted.contains(&name);
    let counts = rows.iter().filter(|row| row.text(0).is_some_and(|name| is_counted(&name)));
    counts.map(|row| row.unsigned(1).expect("a number").unwrap_or_default()).sum()
}

async fn each_row_is_read_once_whatever_its_key(bed: Bed) -> Outcome {
    let server = crate::types::start(&bed).await;
    let tables: Vec<_> = [numbers(), strings(), of_version(&bed)].into_iter().flatten().collect();
    fill(&server, &tables).await;
    let mut reader = reader(&server).await;
    let mut session = server.session().await;
    for (number, table) in tables.iter().enumerate() {
        let what = format!("{}, {}", table.columns, table.key);
        let layout = layout(&mut reader, &format!("k{number}")).await;
        let before = entries_read(&mut session).await;
        let mut seen = BTreeSet::new();
        let chunks = read_all(&mut reader, &layout, None, CHUNK_ROWS, |rows| {
            for row in 0..rows.len() {
                let Cell::Int(number) = rows.image(row).cell(0) else { panic!("no number") };
                assert!(seen.insert(number), "{what}: row {number} again");
            }
        })
        .await;
        assert_eq!(seen.len() as u64, ROWS, "{what}");
        assert_eq!(chunks, ROWS / CHUNK_ROWS + 1, "{what}");
        // Partitions are each looked into, with a row in advance; of a SET no range is searched, so that
        // a chunk begins where the column before it has its value.
        let per_chunk = match table {
            _ if table.key.contains("PARTITION") => 16,
            _ if table.columns.contains("SET(") => 16,
            _ => 4,
        };
        let entries = entries_read(&mut session).await - before;
        let entries_max = ROWS + chunks * per_chunk + 50;
        assert!(entries <= entries_max, "{what}: {entries} of {entries_max}");
    }
    session.close().await;
    Ok(())
}

async fn edges_of_types_are_read_once_as_keys(bed: Bed) -> Outcome {
    let tables = [
        ("FLOAT", "(-0e0), (1e-45), (-1e-45), (3.4028234e38), (16777217), (0.1), (-3.4e38)"),
        ("DOUBLE", "(-0e0), (5e-324), (1.7976931348623157e308), (0.1), (0.3), (-5e-324)"),
        ("YEAR", "(0), (1901), (1970), (2000), (2155)"),
        (
            "DATE",
            "('0000-00-00'), ('0000-00-01'), ('2026-00-00'), ('2026-11-00'), ('2023-02-31'), \
             ('9999-12-31'), ('0001-01-01')",
        ),
        (
            "DATETIME(6)",
            "('0000-00-00'), ('2026-00-00 01:02:03'), ('2023-02-31 01:02:03.5'), \
             ('9999-12-31 23:59:59.999999')",
        ),
        (
            "TIMESTAMP(6)",
            "('0000-00-00'), ('1970-01-01 00:00:01'), ('1970-01-01 00:00:01.000001'), \
             ('2038-01-19 03:14:07')",
        ),
        (
            "TIME(6)",
            "('-838:59:59'), ('-00:00:00.000001'), ('00:00:00'), ('00:00:00.000001'), \
             ('838:59:59'), ('-00:00:01')",
        ),
        ("ENUM('b','','a')", "(0), ('b'), ('a')"),
        ("BIGINT", "(-9223372036854775808), (9223372036854775807), (0), (-1)"),
        ("BIT(1)", "(0), (1)"),
        ("BINARY(3)", "(''), (x'0001'), (x'ffffff'), (x'27275c')"),
        ("VARCHAR(9) COLLATE utf8mb4_bin", "(''), ('''\\\\'), (','), ('😀'), ('`'), ('a,b')"),
        ("VARCHAR(9) COLLATE utf16_bin", "(''), ('''\\\\'), (','), ('😀'), ('`'), ('a,b')"),
        ("VARBINARY(9)", "(''), (x'00'), (x'0000'), (x'27'), (x'2c2c')"),
        ("DECIMAL(65,30)", "(0), (-1), (99999999999999999999999999999999999.5), (1e-30)"),
    ];
    let server = crate::types::start(&bed).await;
    let mut session = server.session().await;
    for sql in [
        "CREATE DATABASE d CHARACTER SET utf8mb4",
        "USE d",
        "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
        "SET NAMES utf8mb4",
    ] {
        session.query(sql).await?;
    }
    let mut reader = reader(&server).await;
    for (number, (column_type, values)) in tables.iter().enumerate() {
        session.query(&format!("CREATE TABLE e{number} (a {column_type} PRIMARY KEY)")).await?;
        session.query(&format!("INSERT IGNORE INTO e{number} VALUES {values}")).await?;
        let count = session.query_first(&format!("SELECT COUNT(*) FROM e{number}")).await?;
        let count = count.and_then(|row| row.text(0)).expect("a number").parse::<usize>()?;
        assert_eq!(count, values.matches('(').count(), "{column_type}");
        let layout = layout(&mut reader, &format!("e{number}")).await;
        for rows_max in 1..=3 {
            let mut seen = Vec::new();
            read_all(&mut reader, &layout, None, rows_max, |rows| {
                seen.extend((0..rows.len()).map(|row| rows.key_literals(row)));
            })
            .await;
            let distinct: BTreeSet<_> = seen.iter().collect();
            assert_eq!((seen.len(), distinct.len()), (count, count), "{column_type}: {seen:?}");
            // Each is found again by its key.
            let range = binpulse::snapshot::Range {
                keys: &seen,
                rows_max: 100,
                bytes_max: 1 << 20,
                ..Default::default()
            };
            let again = super::chunk(&mut reader, &layout, range).await;
            assert_eq!(again.len(), count, "{column_type}: {seen:?}");
            assert!(again.is_end());
        }
    }
    session.close().await;
    Ok(())
}
