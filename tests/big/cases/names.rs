//! Names.

use binpulse_demo::Error;

use crate::stage::{Figures, Setup, Stage};
use crate::wrong;

/// Identifiers are utf8mb3: characters of the Basic Multilingual Plane, of which some are pictures;
/// 64 of them at most, which are 192 bytes.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "plain",
        "with space",
        "with.dot",
        "..",
        "with`backtick``s",
        "with\"quotes'both",
        "with\\backslash",
        "with%percent_",
        "with{braces}",
        "with#hash--dashes/*comment*/",
        "#sql-odd",
        "1",
        "1e5",
        "select",
        "null",
        "☃ ⚡ ✓",
        "数据库表名称",
        "Ünïcödé",
        "שלום",
        "tab\there",
        "line\nbreak",
        "$dollar",
        "<xml>&amp;</xml>",
        "../../etc/passwd",
        "con",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("n".repeat(64));
    // Files of tables are named after them, five bytes for each of these characters, 255 at most.
    names.push("雪".repeat(50));
    names.push("`".repeat(50));
    names.push("\"".repeat(50));
    names
}

/// Names of columns: no file bears them.
fn column_names(names: &[String]) -> Vec<String> {
    let long = ["雪", "`", "\""].map(|character| character.repeat(64));
    names.iter().cloned().chain(long).collect()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(super) async fn odd_names_and_comments_arrive_as_they_are(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = Stage::start(Setup { fifo: true, ..Setup::default() }).await?;
    let names = names();
    let columns = column_names(&names);
    let mut session = stage.session().await?;
    let mut databases = Vec::new();
    for (at, name) in names.iter().enumerate() {
        // A database of this name, a table of the next, columns of all.
        let table = &names[(at + 1) % names.len()];
        let definitions: Vec<_> = columns
            .iter()
            .map(|name| format!("{} VARCHAR(9) DEFAULT 'x' COMMENT ''", quoted(name)))
            .collect();
        let full = format!("{}.{}", quoted(name), quoted(table));
        let statements = [
            format!("CREATE DATABASE {}", quoted(name)),
            format!(
                "CREATE TABLE {full} ({}, PRIMARY KEY ({})) COMMENT ''",
                definitions.join(", "),
                quoted(table)
            ),
            format!("INSERT INTO {full} ({}) VALUES ('{at}')", quoted(table)),
            format!("UPDATE {full} SET {} = 'changed'", quoted(name)),
        ];
        for statement in statements {
            mysql_async::prelude::Queryable::query_drop(&mut session, statement).await?;
        }
        databases.push((name.clone(), table.clone(), full));
    }
    session.disconnect().await?;
    stage.catch_up().await?;
    for (database, table, full) in &databases {
        stage.compare(database, table, &format!("SELECT * FROM {full}")).await?;
        let received = stage.received();
        let schema = &received.schemas[&(database.clone(), table.clone())];
        let found: Vec<_> = schema.columns.iter().map(|column| &column.name).collect();
        if !found.iter().copied().eq(&columns) {
            return wrong(format!("{full} has columns {found:?}"));
        }
    }
    stage.end(format!("{} names of databases, tables and columns", names.len())).await
}
