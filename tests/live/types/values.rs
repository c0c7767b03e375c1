//! Every type at its edges, on every server.

use std::collections::BTreeMap;

use binpulse::mysql::Row;
use binpulse::source::Columns;

use super::cases::{self, Case};
use super::mixed::{self, Selected};
use super::{Rows, start, stream, stream_with};
use crate::bed::Bed;
use crate::source::server::Server;
use crate::suite::{Outcome, tests};

tests! {
    the_stream_says_of_every_value_what_select_says on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
}

fn cases(server: &str) -> Vec<Case> {
    let mut cases = cases::common();
    let geometry = if server == "mysql-5.6" { "GeomFromText" } else { "ST_GeomFromText" };
    cases.extend(cases::spatial(geometry));
    match server {
        "mysql-5.6" => {}
        "mysql-5.7" => cases.push(cases::json(false)),
        "mariadb-10.11" | "mariadb-11.8" => cases.extend(cases::maria()),
        "mysql-9.7" => {
            cases.push(cases::json(true));
            cases.extend(cases::vectors());
        }
        _ => cases.push(cases::json(true)),
    }
    cases
}

async fn the_stream_says_of_every_value_what_select_says(bed: Bed) -> Outcome {
    let name = bed.version();
    let server = start(&bed).await;
    let mut cases = cases(name);
    let tells = has_metadata(name);
    if !tells {
        cases.retain(|case| !case.told);
    }
    let (selected, mixed) = fill(&server, &cases).await;
    let streamed = stream(&server).await;
    compare_all(&cases, &selected, &streamed, name);
    if tells {
        mixed::compare(&cases, &mixed, &streamed, name);
    }
    Ok(())
}

/// Every type, streamed by a log that does not tell what it could.
pub(crate) async fn compare_with_columns(bed: &Bed, server: &Server, columns: Columns) {
    let cases = cases(bed.version());
    let (selected, mixed) = fill(server, &cases).await;
    let streamed = stream_with(server, Some(columns)).await;
    compare_all(&cases, &selected, &streamed, bed.version());
    mixed::compare(&cases, &mixed, &streamed, bed.version());
}

/// Makes the tables of every type on a server that writes what it can into its log.
pub(crate) async fn fill_all(bed: &Bed, server: &Server) {
    let cases = cases(bed.version());
    fill(server, &cases).await;
}

/// Whether the server's log carries metadata.
pub(crate) fn has_metadata(server: &str) -> bool {
    !matches!(server, "mysql-5.6" | "mysql-5.7")
}

/// Makes a table for each case with its values; what SELECT says of them.
async fn fill(server: &Server, cases: &[Case]) -> (Vec<Vec<Row>>, Selected) {
    let name = server.name;
    let mut session = server.session().await;
    let mut run: Vec<String> = [
        "CREATE DATABASE IF NOT EXISTS d CHARACTER SET utf8mb4",
        "USE d",
        "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
        "SET NAMES utf8mb4",
    ]
    .map(str::to_owned)
    .into();
    if server.is_maria() {
        run.push("SET column_compression_threshold = 100".into());
    }
    for (number, case) in cases.iter().enumerate() {
        run.push(format!("CREATE TABLE t{number} (id INT PRIMARY KEY, c {})", case.ddl));
        let nulled = case.values.iter().map(String::as_str).chain(["NULL"]);
        run.extend(
            nulled
                .enumerate()
                .map(|(id, value)| format!("INSERT INTO t{number} VALUES ({id}, {value})")),
        );
    }
    for sql in &run {
        session.query(sql).await.unwrap_or_else(|error| panic!("{name}: {sql}: {error}"));
    }
    mixed::fill(&mut session, cases, has_metadata(name)).await;
    let mut selected = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let sql = format!("SELECT id, {} FROM t{number} ORDER BY id", case.shown.select());
        selected.push(session.query(&sql).await.expect("a sound query"));
    }
    let mixed = mixed::select(&mut session, cases).await;
    session.close().await;
    (selected, mixed)
}

fn compare_all(cases: &[Case], selected: &[Vec<Row>], streamed: &Rows, name: &str) {
    let cells: usize = cases
        .iter()
        .zip(selected)
        .enumerate()
        .map(|(number, (case, rows))| compare(case, rows, &streamed[&format!("t{number}")], name))
        .sum();
    assert!(cells > 500, "{name}: {cells}");
}

/// Compares one table; the number of values that agreed.
fn compare(case: &Case, rows: &[Row], table: &BTreeMap<i64, Vec<String>>, server: &str) -> usize {
    assert_eq!(rows.len(), case.values.len() + 1, "{server}: {}", case.ddl);
    assert_eq!(table.len(), rows.len(), "{server}: {}", case.ddl);
    for (row, found) in rows.iter().zip(table.values()) {
        let expected = case.shown.expected(row.text(1));
        assert_eq!(found[1], expected, "{server}: {} row {:?}", case.ddl, row.text(0));
    }
    rows.len()
}
