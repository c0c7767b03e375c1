//! Tables as the server describes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::server::{Answer, Server, rows};
use crate::change::{ColumnDescription, Description};
use crate::source::{Columns, Error};

const UUID: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";

fn texts(row: &[Option<&str>]) -> Vec<Option<String>> {
    row.iter().map(|text| text.map(str::to_owned)).collect()
}

fn columns(table: &str) -> Vec<Vec<Option<String>>> {
    let (database, table) = (Some("shop"), Some(table));
    let id = [Some("id"), Some("int unsigned"), None, None, Some("NO"), Some(""), Some("PRI")];
    let name = [
        Some("name"),
        Some("varchar(9)"),
        Some("36"),
        Some("utf8mb4_bin"),
        Some("YES"),
        Some("STORED GENERATED INVISIBLE"),
        Some(""),
    ];
    let odd = [Some("odd"), Some("text"), Some("9"), Some("odd_ci"), Some("YES"), None, Some("")];
    [id, name, odd].map(|row| texts(&[&[database, table][..], &row].concat())).to_vec()
}

/// A server with the table shop.orders.
fn orders(sql: &str) -> Answer {
    match sql {
        "SELECT @@GLOBAL.server_uuid" => rows(&[[UUID.to_uppercase().as_str()]]),
        "SET time_zone = '+00:00'" => Answer::Rows(Vec::new()),
        "SELECT VERSION()" => rows(&[["8.0.40"]]),
        _ if sql.starts_with("SET show_gipk") => Answer::Refused,
        _ if sql.starts_with("SELECT FULL_COLLATION_NAME") => Answer::Refused,
        _ if sql.starts_with("SELECT COLLATION_NAME") => rows(&[["utf8mb4_bin", "46"]]),
        _ if sql.contains("information_schema.TABLES") => rows(&[["shop", "orders", "1700000000"]]),
        _ if sql.contains("information_schema.COLUMNS") => Answer::Rows(columns("orders")),
        _ if sql.contains("information_schema.STATISTICS") => {
            rows(&[["shop", "orders", "PRIMARY", "id"]])
        }
        _ => panic!("asked {sql}"),
    }
}

fn expected() -> Description {
    let column = |name: &str, column_type: &str, octets, collation, nullable, visible| {
        let (name, column_type) = (name.to_owned(), column_type.to_owned());
        ColumnDescription { name, column_type, octets, collation, nullable, visible }
    };
    Description {
        columns: vec![
            column("id", "int unsigned", None, None, false, true),
            column("name", "varchar(9)", Some(36), Some(46), true, false),
            column("odd", "text", Some(9), Some(u16::MAX), true, true),
        ],
        primary_key: Some(vec![0]),
        changed_at: Some(1_700_000_000),
    }
}

#[tokio::test]
async fn a_table_is_described_over_one_session() {
    let server = Server::answering("5.7.44", orders).await;
    let mut columns = Columns::new(&server.config(), 0, UUID);
    for _ in 0..2 {
        let found = columns.describe("shop", "orders").await.expect("answers");
        assert_eq!(found, Some(expected()));
    }
    let set_up = server.heard().into_iter().filter(|sql| sql.starts_with("SET time_zone"));
    assert_eq!(set_up.count(), 1);
    // Each question is about that table: the names are literals of digits
    let named = "x'6f7264657273'";
    let about = server.heard().into_iter().filter(|sql| sql.contains(named));
    assert_eq!(about.count(), 2 * 5);
}

#[tokio::test]
async fn names_are_taken_exactly_or_else_without_case() {
    let answers = |sql: &str| match sql {
        _ if sql.contains("information_schema.COLUMNS") => {
            let mut both = columns("ORDERS");
            both.extend(columns("orders").into_iter().take(1));
            Answer::Rows(both)
        }
        _ => orders(sql),
    };
    let server = Server::answering("8.0.40", answers).await;
    let mut columns = Columns::new(&server.config(), 0, UUID);
    let mut count = async |database: &str, table: &str| {
        let found = columns.describe(database, table).await.expect("answers");
        found.map(|found| found.columns.len())
    };
    assert_eq!(count("shop", "orders").await, Some(1));
    assert_eq!(count("shop", "ORDERS").await, Some(3));
    assert_eq!(count("shop", "Orders").await, Some(4));
    assert_eq!(count("Shop", "orders").await, Some(4));
    assert_eq!(count("shop", "others").await, None);
    assert_eq!(count("hr", "orders").await, None);
}

#[tokio::test]
async fn a_key_is_told_only_of_a_table_that_stayed_the_same() {
    for (changes, looks, has_key) in [(0, 2, true), (1, 4, true), (2, 6, true), (9, 6, false)] {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let server = Server::answering("8.0.40", move |sql| match sql {
            _ if sql.contains("information_schema.TABLES") => {
                // Changes between the two looks of an attempt, so many times
                let look = count.fetch_add(1, Ordering::Relaxed);
                let time = 1_700_000_000 + look.div_ceil(2);
                let time = if look < 2 * changes { time } else { 1_700_000_000 + changes };
                rows(&[["shop", "orders", &time.to_string()]])
            }
            _ => orders(sql),
        });
        let server = server.await;
        let mut columns = Columns::new(&server.config(), 0, UUID);
        let found = columns.describe("shop", "orders").await.expect("answers").expect("a table");
        assert_eq!(asked.load(Ordering::Relaxed), looks, "{changes}");
        assert_eq!(found.primary_key.is_some(), has_key, "{changes}");
    }
}

#[tokio::test]
async fn another_server_behind_the_address_is_not_asked() {
    let server = Server::answering("8.0.40", orders).await;
    let mut columns = Columns::new(&server.config(), 0, "mariadb-1");
    let error = columns.describe("shop", "orders").await.expect_err("another");
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    let maria = |sql: &str| match sql {
        "SELECT @@GLOBAL.server_uuid" => Answer::Refused,
        "SELECT @@GLOBAL.server_id" => rows(&[["12"]]),
        "SELECT VERSION()" => rows(&[["11.4.2-MariaDB"]]),
        _ if sql.starts_with("SELECT FULL_COLLATION_NAME") => rows(&[["odd_ci", "2304"]]),
        _ => orders(sql),
    };
    let server = Server::answering("11.4.2-MariaDB", maria).await;
    let mut columns = Columns::new(&server.config(), 0, "mariadb-12");
    let found = columns.describe("shop", "orders").await.expect("answers").expect("a table");
    assert_eq!(found.columns[2].collation, Some(2304));
    // It is invisible; but no log of MariaDB tells.
    assert!(found.columns[1].visible);
}

#[tokio::test]
async fn a_session_that_idled_away_is_opened_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let server = Server::answering("8.0.40", move |sql| {
        let is_first_of_second_table =
            sql.contains("information_schema.TABLES") && count.fetch_add(1, Ordering::Relaxed) == 2;
        if is_first_of_second_table { Answer::Gone } else { orders(sql) }
    });
    let server = server.await;
    let mut columns = Columns::new(&server.config(), 0, UUID);
    for _ in 0..2 {
        let found = columns.describe("shop", "orders").await.expect("answers");
        assert_eq!(found, Some(expected()));
    }
    // A server that is lost while it is asked over a new session is an error, at whatever question
    let questions: std::collections::BTreeSet<_> = server.heard().into_iter().collect();
    for question in questions {
        let asked = question.clone();
        let server =
            Server::answering(
                "8.0.40",
                move |sql| {
                    if sql == asked { Answer::Gone } else { orders(sql) }
                },
            );
        let server = server.await;
        let error = Columns::new(&server.config(), 0, UUID).describe("shop", "orders").await;
        let lost = matches!(error, Err(Error::Sql(crate::mysql::Error::Connection { .. })));
        assert!(lost, "{question}: {error:?}");
    }
}
