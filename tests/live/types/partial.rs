//! Partial JSON updates on MySQL 8 and later.

use super::{start, stream};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    partial_updates_give_the_documents_that_select_shows on [Mysql97, Mysql80];
}

const DOCUMENT: &str = r#"{"a": 1, "b": [1, 2, {"c": "some text that is longer than what replaces it"}],
    "key with space": {"q\\"uote": [1.5]}, "é": null, "s": "more text, so that the document is long"}"#;

/// Changes that the server logs as partial updates.
const CHANGES: [&str; 44] = [
    "JSON_SET(j, '$.a', 2)",
    "JSON_SET(j, '$.b[0]', 'new')",
    "JSON_SET(j, '$.new', 'v')",
    r#"JSON_SET(j, '$.bb', CAST('[1,{"x":1}]' AS JSON))"#,
    "JSON_REMOVE(j, '$.a')",
    "JSON_REMOVE(j, '$.b[1]')",
    "JSON_SET(j, '$.b[3]', 9)",
    "JSON_SET(j, '$.b[99]', 9)",
    r#"JSON_REPLACE(j, '$."key with space"."q\\"uote"[0]', 2e30)"#,
    "JSON_SET(j, '$.é', DATE'2026-01-01')",
    "JSON_SET(j, '$.b[2].c', 'short')",
    "JSON_SET(JSON_REMOVE(j, '$.a'), '$.zz', 1, '$.b[0]', 5)",
    "JSON_SET(j, '$.a[0]', 7)",
    "JSON_SET(j, '$.a[1]', 7)",
    "JSON_REMOVE(j, '$.s', '$.b')",
    "JSON_REMOVE(j, '$.b[0]', '$.b[0]')",
    r#"JSON_REMOVE(j, '$."key with space"."q\\"uote"')"#,
    "JSON_SET(j, '$.a', j->'$.a')",
    "JSON_SET(j, '$.b[2].c', '')",
    "JSON_ARRAY_INSERT(j, '$.b[1]', 'in')",
    "NULL",
    "'[]'",
    "JSON_SET(j, '$.b[last]', 9)",
    "JSON_SET(j, '$.b[last].c', 9)",
    "JSON_SET(j, '$.b[last-1]', 9)",
    "JSON_SET(j, '$.b[ last - 2 ]', 9)",
    "JSON_SET(j, '$.b[last-3]', 9)",
    "JSON_SET(j, '$.b[last-99]', 9)",
    "JSON_REPLACE(j, '$.a[last]', 9)",
    "JSON_SET(j, '$.a[last-1]', 9)",
    "JSON_SET(j, '$[last].a', 9)",
    "JSON_SET(j, '$[0].b[last][last].c', 9)",
    "JSON_REMOVE(j, '$.b[last]')",
    "JSON_REMOVE(j, '$.b[last-1]', '$.b[last-1]')",
    "JSON_REMOVE(j, '$.b[last-2]', '$.b[last].c')",
    "JSON_REMOVE(j, '$.b[last-3]')",
    "JSON_SET(j, ' $ . b [ 1 ] ', 9)",
    r"JSON_SET(j, '$.\\u0061', 9)",
    r#"JSON_SET(j, '$."\\u00e9"', 9)"#,
    r#"JSON_SET(j, '$."a.b[last]"', 9)"#,
    r#"JSON_SET(j, '$.""', 9)"#,
    r#"JSON_SET(j, '$."line\\nend\\\\"', 9, '$."line\\nend\\\\"', 10)"#,
    "JSON_SET(j, '$.last', 9, '$.last[last]', 10)",
    "JSON_SET(j, '$.$x_1', 9)",
];

async fn partial_updates_give_the_documents_that_select_shows(bed: Bed) -> Outcome {
    let name = bed.version();
    let server = start(&bed).await;
    let mut session = server.session().await;
    let mut run = vec![
        "CREATE DATABASE d CHARACTER SET utf8mb4".to_owned(),
        "USE d".into(),
        "SET NAMES utf8mb4".into(),
        "SET binlog_row_value_options = PARTIAL_JSON".into(),
        "CREATE TABLE t (id INT PRIMARY KEY, k JSON, n JSON, j JSON, z INT)".into(),
    ];
    for (id, change) in CHANGES.iter().enumerate() {
        run.push(format!("INSERT INTO t VALUES ({id}, '{DOCUMENT}', NULL, '{DOCUMENT}', 1)"));
        // Another document beside it, changed every other time: bits are counted by column.
        let beside = if id % 2 == 0 { ", k = JSON_SET(k, '$.a', 3)" } else { "" };
        run.push(format!("UPDATE t SET j = {change}, z = 2{beside} WHERE id = {id}"));
    }
    for sql in &run {
        session.query(sql).await.unwrap_or_else(|error| panic!("{name}: {sql}: {error}"));
    }
    let shown = |column| format!("HEX(CAST({column} AS CHAR CHARACTER SET utf8mb4))");
    let sql = format!("SELECT {}, {} FROM t ORDER BY id", shown("k"), shown("j"));
    let rows = session.query(&sql).await.expect("a sound query");
    session.close().await;

    let streamed = stream(&server).await;
    let table = &streamed["t"];
    assert_eq!((rows.len(), table.len()), (CHANGES.len(), CHANGES.len()));
    for ((row, found), change) in rows.iter().zip(table.values()).zip(CHANGES) {
        let expected = [0, 1].map(|column| {
            row.text(column).map_or_else(|| super::NULL.into(), |hex| format!("text {hex}"))
        });
        assert_eq!([&found[1], &found[3]], [&expected[0], &expected[1]], "{name}: {change}");
    }
    Ok(())
}
