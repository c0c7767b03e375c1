//! For every type and character set: the table and the cells of a selected row are the stream's.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpulse::change::{Image, Position, Table};
use binpulse::decode::{Config, Decoder, Step};
use binpulse::source::{Columns, FileReader};

use super::{layout, read_all, reader};
use crate::bed::Bed;
use crate::source::config;
use crate::source::server::Server;
use crate::suite::{Outcome, tests};
use crate::types::{charsets, start, values};

tests! {
    a_selected_row_is_the_streams_for_every_type
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    a_selected_row_is_the_streams_in_every_character_set
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
}

/// A table as the stream has it, and its rows by their first cell.
struct Streamed {
    table: Arc<Table>,
    rows: BTreeMap<String, Vec<String>>,
}

fn cells(image: Image<'_>) -> Vec<String> {
    image.cells().map(|cell| format!("{cell:?}")).collect()
}

/// All inserted rows of tables whose columns are named.
async fn stream(server: &Server, mut columns: Option<Columns>) -> BTreeMap<String, Streamed> {
    server.run(&["FLUSH LOGS"]).await;
    let mut captured =
        FileReader::open_path(&server.data.join("binlog.000001")).expect("a binlog file");
    let asks_for_schemas = columns.is_some();
    let mut decoder = Decoder::new(Config { asks_for_schemas, ..Config::default() });
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut tables = BTreeMap::new();
    while let Some(event) = captured.next().expect("an event") {
        let mut steps = decoder.feed(event).expect("a sound event");
        loop {
            let mut rows = match steps.next() {
                Ok(Some(Step::Rows(rows))) => rows,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(error) => {
                    let columns = columns.as_mut().expect("somebody to ask");
                    crate::fallback::answer(&mut steps, &error, columns).await;
                    continue;
                }
            };
            let table = Arc::clone(rows.table());
            let name = table.name.to_string();
            while let Some(change) = rows.next().expect("a row") {
                if table.named {
                    let streamed = tables.entry(name.clone()).or_insert_with(|| Streamed {
                        table: Arc::clone(&table),
                        rows: BTreeMap::new(),
                    });
                    assert_eq!(streamed.table, table);
                    let row = cells(change.after.expect("an inserted row"));
                    streamed.rows.insert(row[0].clone(), row);
                }
            }
        }
    }
    tables
}

/// Reads all that was streamed, and compares. The number of values that agreed.
async fn compare(bed: &Bed, server: &Server) -> usize {
    let columns = if values::has_metadata(bed.version()) {
        None
    } else {
        let rows = server.run(&["SELECT @@server_uuid"]).await;
        let name = rows[0].text(0).expect("a name");
        Some(Columns::new(&config(server, "weak"), 0, name))
    };
    let streamed = stream(server, columns).await;
    let mut reader = reader(server).await;
    let mut count = 0;
    for (name, Streamed { table, rows }) in streamed {
        let layout = layout(&mut reader, &name).await;
        assert_eq!(layout.table, table, "{name}");
        let mut selected = BTreeMap::new();
        read_all(&mut reader, &layout, None, 5_000, |chunk| {
            for row in 0..chunk.len() {
                let row = cells(chunk.image(row));
                selected.insert(row[0].clone(), row);
            }
        })
        .await;
        for (id, expected) in &rows {
            let found = selected.get(id).unwrap_or_else(|| panic!("{name}: row {id}"));
            for ((column, found), expected) in table.columns.iter().zip(found).zip(expected) {
                let (type_, column) = (&column.mysql_type, &column.name);
                assert_eq!(found, expected, "{name}: row {id}, {column} {type_}");
                count += 1;
            }
        }
    }
    count
}

/// Tables of columns that are no types of their own.
async fn fill_special(bed: &Bed, server: &Server) {
    let mut run = vec![
        "USE d".to_owned(),
        "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'".to_owned(),
        "SET NAMES utf8mb4".to_owned(),
        "CREATE TABLE filled (id INT ZEROFILL PRIMARY KEY, b BIGINT(20) ZEROFILL, \
         d DECIMAL(9,2) ZEROFILL, f FLOAT ZEROFILL, g DOUBLE(9,2) ZEROFILL)"
            .to_owned(),
        "INSERT INTO filled VALUES (1, 7, 1.5, 2.5, 3.5), (2, 0, 0, 0, 0), (3, 1, 0.05, 1e9, 9)"
            .to_owned(),
        "CREATE TABLE floats (id INT PRIMARY KEY, f FLOAT, g DOUBLE, h DOUBLE(20,10))".to_owned(),
        "INSERT INTO floats VALUES (1, -0e0, -0e0, -0e0), (2, 16777216, 9007199254740993, 0.1)".to_owned(),
        "CREATE TABLE `odd``name, x` (`the ``id` INT PRIMARY KEY, `a, b` CHAR(5), `c*1` FLOAT)"
            .to_owned(),
        "INSERT INTO `odd``name, x` VALUES (1, 'a ', 0.1), (2, '  b', NULL)".to_owned(),
        "CREATE TABLE partitioned (id INT PRIMARY KEY, c TEXT) PARTITION BY HASH (id) PARTITIONS 5"
            .to_owned(),
        "INSERT INTO partitioned VALUES (1, 'a'), (2, 'b'), (3, ''), (7, NULL)".to_owned(),
        "CREATE TABLE uniquely (a INT NOT NULL, b VARCHAR(9) NOT NULL, c BLOB, UNIQUE (b, a), UNIQUE (a))"
            .to_owned(),
        "INSERT INTO uniquely VALUES (1, 'b', 'c')".to_owned(),
        "CREATE TABLE enums (id INT PRIMARY KEY, e ENUM('','x'), s SET('q','r'))".to_owned(),
        "INSERT INTO enums VALUES (1, 0, 0), (2, '', 'q,r'), (3, 'x', 'r')".to_owned(),
    ];
    let version = bed.server();
    if version.is_mysql(5, 7) || version.is_mariadb(10, 2) {
        run.extend([
            "CREATE TABLE computed (id INT PRIMARY KEY, v INT AS (id * 2) VIRTUAL, \
             s VARCHAR(20) AS (CONCAT('x', id)) STORED, w TEXT AS (CONCAT('w', v)) VIRTUAL, z INT)"
                .to_owned(),
            "INSERT INTO computed (id, z) VALUES (1, 3), (2, NULL)".to_owned(),
        ]);
    }
    if version.is_mysql(8, 0) || version.is_mariadb(10, 3) {
        run.extend([
            "CREATE TABLE hidden (id INT PRIMARY KEY, a INT INVISIBLE, b INT)".to_owned(),
            "INSERT INTO hidden (id, a, b) VALUES (1, 2, 3), (2, NULL, 4)".to_owned(),
        ]);
    }
    if version.is_mysql(8, 0) {
        run.extend([
            "SET sql_generate_invisible_primary_key = ON".to_owned(),
            "CREATE TABLE generated_key (a INT, b TEXT)".to_owned(),
            "INSERT INTO generated_key (a, b) VALUES (1, 'a'), (1, 'a')".to_owned(),
        ]);
    }
    if version.is_mariadb(10, 10) {
        run.extend([
            "CREATE TABLE natives (id INT PRIMARY KEY, u UUID, i INET4, j INET6)".to_owned(),
            "INSERT INTO natives VALUES (1, UUID(), '1.2.3.4', '::1'), (2, NULL, NULL, NULL), \
             (3, '123e4567-e89b-12d3-a456-426655440000', '0.0.0.0', '::ffff:1.2.3.4'), \
             (4, 'ffffffff-ffff-4fff-bfff-ffffffffffff', '255.255.255.255', 'fe80::1')"
                .to_owned(),
        ]);
    }
    if version.is_mariadb(11, 7) {
        run.extend([
            "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3))".to_owned(),
            "INSERT INTO vectors VALUES (1, VEC_FromText('[1,-0.5,1e30]')), (2, NULL)".to_owned(),
        ]);
    }
    let statements: Vec<_> = run.iter().map(String::as_str).collect();
    server.run(&statements).await;
}

async fn a_selected_row_is_the_streams_for_every_type(bed: Bed) -> Outcome {
    let server = start(&bed).await;
    server.run(&["CREATE DATABASE d CHARACTER SET utf8mb4"]).await;
    fill_special(&bed, &server).await;
    values::fill_all(&bed, &server).await;
    let count = compare(&bed, &server).await;
    assert!(count > 3_000, "{count}");
    Ok(())
}

async fn a_selected_row_is_the_streams_in_every_character_set(bed: Bed) -> Outcome {
    let server = start(&bed).await;
    let mut session = server.session().await;
    charsets::fill_all(&mut session).await;
    session.close().await;
    let count = compare(&bed, &server).await;
    assert!(count > 100_000, "{count}");
    Ok(())
}
