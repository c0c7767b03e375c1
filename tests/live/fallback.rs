//! Logs that do not name their columns, with `information_schema` in their place.

use binpulse::change::{Cell, Op, Position};
use binpulse::decode::{Agreement, Answer, Config, Decoder, Error, Fault, Misfit, Step, Steps};
use binpulse::source::{Columns, FileReader};
use binpulse_demo::Options;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::source::config;
use crate::source::server::Server;
use crate::suite::{Outcome, tests};
use crate::types::values::compare_with_columns;

tests! {
    every_type_reads_right_though_the_log_does_not_tell
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    names_keys_and_labels_come_from_the_dictionary
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    an_account_that_may_not_see_a_table_is_told_so
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
    rows_from_before_an_alter_are_refused_or_marked
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
    the_service_publishes_the_names_and_counts_where_they_come_from on [Mysql57, Mysql80, Mariadb1011];
    rows_of_a_compressed_transaction_wait_for_the_answer on [Mysql97, Mysql80];
}

/// Starts a server that writes as little as it can of its tables into the log.
async fn start(bed: &Bed, extra: &[&str]) -> Server {
    let metadata: &[&str] = match bed.version() {
        "mysql-5.6" | "mysql-5.7" => &[],
        "mariadb-10.11" | "mariadb-11.8" => &["--binlog-row-metadata=NO_LOG"],
        _ => &["--binlog-row-metadata=MINIMAL"],
    };
    Server::start(bed, &[metadata, extra].concat()).await
}

/// As the account `rep`, that may read all tables.
async fn columns(server: &Server) -> Columns {
    let mut session = server.session().await;
    session.query("SET sql_log_bin = 0").await.expect("admin may");
    session.query("GRANT SELECT ON *.* TO 'rep'@'%'").await.expect("admin may");
    session.close().await;
    columns_without_grant(server).await
}

async fn columns_without_grant(server: &Server) -> Columns {
    let (sql, prefix) = if server.is_maria() {
        ("SELECT @@server_id", "mariadb-")
    } else {
        ("SELECT @@server_uuid", "")
    };
    let rows = server.run(&[sql]).await;
    let name = rows[0].text(0).expect("a name");
    Columns::new(&config(server, "rep"), 0, format!("{prefix}{name}"))
}

/// Answers the decoder's question; any other error fails the test.
pub(crate) async fn answer(
    steps: &mut Steps<'_, '_>,
    error: &Error,
    columns: &mut Columns,
) -> Agreement {
    let Fault::SchemaNeeded { database, table } = &error.fault else { panic!("{error}") };
    let found = columns.describe(database, table).await.expect("an answer");
    let answer = found.as_ref().map_or(Answer::Unknown, Answer::Described);
    steps.describe(answer).expect("the decoder asked")
}

/// What a log says, one line a row: `table: name=value ...`, and how the answers agreed.
#[derive(Default)]
struct Told {
    rows: Vec<String>,
    keys: Vec<String>,
    agreements: Vec<Agreement>,
    refused: Option<Error>,
}

async fn told(server: &Server, columns: &mut Columns) -> Told {
    server.run(&["FLUSH LOGS"]).await;
    let mut captured =
        FileReader::open_path(&server.data.join("binlog.000001")).expect("a binlog file");
    let config = Config { asks_for_schemas: true, ..Config::default() };
    let mut decoder = Decoder::new(config);
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut told = Told::default();
    while let Some(event) = captured.next().expect("an event") {
        let mut steps = decoder.feed(event).expect("a sound event");
        loop {
            match steps.next() {
                Ok(Some(Step::Rows(rows))) => {
                    if let Err(error) = told.rows(rows) {
                        told.refused = Some(error);
                        return told;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    let agreement = answer(&mut steps, &error, columns).await;
                    told.agreements.push(agreement);
                }
            }
        }
    }
    told
}

impl Told {
    fn rows(&mut self, mut rows: binpulse::decode::Rows<'_>) -> Result<(), Error> {
        let table = std::sync::Arc::clone(rows.table());
        while let Some(change) = rows.next()? {
            assert_eq!(change.op, Op::Insert);
            let cells = change.after.expect("an image").cells().zip(&table.columns);
            let cells = cells.map(|(cell, column)| format!("{}={}", column.name, show(cell)));
            self.rows.push(format!("{}: {}", table.name, cells.collect::<Vec<_>>().join(" ")));
            let key = table.primary_key.iter().map(|at| table.columns[*at].name.as_str());
            self.keys.push(key.collect::<Vec<_>>().join(","));
        }
        Ok(())
    }
}

fn show(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::UInt(value) => value.to_string(),
        Cell::Bytes(bytes) => format!("{bytes:?}"),
        Cell::Null => "NULL".into(),
        Cell::Absent
        | Cell::Float(_)
        | Cell::Double(_)
        | Cell::Malformed(_)
        | Cell::Json(_)
        | Cell::JsonDiff(_)
        | Cell::Vector(_)
        | Cell::Omitted { .. } => panic!("{cell:?} is not of these tables"),
    }
}

async fn every_type_reads_right_though_the_log_does_not_tell(bed: Bed) -> Outcome {
    let server = start(&bed, &[]).await;
    let columns = columns(&server).await;
    compare_with_columns(&bed, &server, columns).await;
    Ok(())
}

async fn names_keys_and_labels_come_from_the_dictionary(bed: Bed) -> Outcome {
    let server = start(&bed, &[]).await;
    server
        .run(&[
            "CREATE DATABASE d CHARACTER SET utf8mb4",
            "USE d",
            "SET NAMES utf8mb4",
            r"CREATE TABLE t (a INT, big BIGINT UNSIGNED, b VARCHAR(20) CHARACTER SET gbk,
              l CHAR(3) CHARACTER SET latin1, e ENUM('a\\b','it''s','n\nl') CHARACTER SET latin1,
              s SET('x','yé'), pad BINARY(4), PRIMARY KEY (b, a))",
            "INSERT INTO t VALUES (-1, 18446744073709551615, '中文', 'é', 'it''s', 'x,yé', x'0100')",
            "INSERT INTO t VALUES (2, 0, 'x', 'y', 1, '', '')",
            "CREATE TABLE u (a INT NOT NULL, b INT NOT NULL, UNIQUE (b), UNIQUE (a))",
            "INSERT INTO u VALUES (1, 2)",
            "CREATE TABLE T (only_here INT)",
            "INSERT INTO T VALUES (7)",
            "CREATE TABLE n (a INT)",
            "INSERT INTO n VALUES (NULL)",
        ])
        .await;
    let told = told(&server, &mut columns(&server).await).await;
    assert!(told.refused.is_none(), "{:?}", told.refused);
    let expected = [
        "t: a=-1 big=18446744073709551615 b=中文 l=é e=it's s=x,yé pad=[1, 0, 0, 0]",
        r"t: a=2 big=0 b=x l=y e=a\b s= pad=[0, 0, 0, 0]",
        "u: a=1 b=2",
        "T: only_here=7",
        "n: a=NULL",
    ];
    assert_eq!(told.rows, expected);
    assert_eq!(told.keys, ["b,a", "b,a", "b", "", ""]);
    Ok(())
}

async fn an_account_that_may_not_see_a_table_is_told_so(bed: Bed) -> Outcome {
    let server = start(&bed, &[]).await;
    server
        .run(&["CREATE DATABASE d", "CREATE TABLE d.t (a INT)", "INSERT INTO d.t VALUES (1)"])
        .await;
    let found = told(&server, &mut columns_without_grant(&server).await).await;
    let error = found.refused.expect("no names, no rows").to_string();
    assert!(error.contains("table d.t:") && error.contains("SELECT"), "{error}");
    Ok(())
}

async fn rows_from_before_an_alter_are_refused_or_marked(bed: Bed) -> Outcome {
    let server = start(&bed, &[]).await;
    let asked = &mut columns(&server).await;
    // Another type, nullability, length, number of columns: never taken for the rows' own.
    for (column, alter) in [
        ("INT", "MODIFY c BIGINT"),
        ("INT NOT NULL", "MODIFY c INT NULL"),
        ("VARCHAR(10)", "MODIFY c VARCHAR(11)"),
        ("DECIMAL(5,2)", "MODIFY c DECIMAL(5,1)"),
        ("DATETIME(3)", "MODIFY c DATETIME(4)"),
        ("CHAR(4) CHARACTER SET latin1", "MODIFY c CHAR(4) CHARACTER SET utf8mb4"),
        ("INT", "ADD COLUMN d INT"),
        ("INT", "DROP COLUMN c"),
    ] {
        let value = if column.starts_with("DATE") { "'2026-01-01'" } else { "1" };
        server
            .run(&[
                reset(&bed),
                "DROP DATABASE IF EXISTS d",
                "CREATE DATABASE d",
                &format!("CREATE TABLE d.t (id INT PRIMARY KEY, c {column})"),
                &format!("INSERT INTO d.t (id, c) VALUES (1, {value})"),
                &format!("ALTER TABLE d.t {alter}"),
            ])
            .await;
        let found = told(&server, asked).await;
        let error = found.refused.unwrap_or_else(|| panic!("{alter}: {:?}", found.rows));
        let Fault::Schema(fault) = &error.fault else { panic!("{error}") };
        assert_eq!(fault.table, "d.t");
        assert!(matches!(fault.misfit, Misfit::Width { .. } | Misfit::Column { .. }), "{error}");
        assert!(found.rows.is_empty(), "{alter}");
    }
    // The same shape under another name can't be told apart, but is known to be younger.
    server
        .run(&[
            reset(&bed),
            "DROP DATABASE d",
            "CREATE DATABASE d",
            "CREATE TABLE d.t (id INT PRIMARY KEY, c INT)",
            "INSERT INTO d.t VALUES (1, 1)",
            "ALTER TABLE d.t CHANGE c renamed INT",
            "INSERT INTO d.t VALUES (2, 2)",
        ])
        .await;
    let found = told(&server, asked).await;
    assert_eq!(found.rows, ["t: id=1 renamed=1", "t: id=2 renamed=2"]);
    // Asked again behind the statement; the second may be in the same second as the statement.
    assert_eq!(found.agreements[0], Agreement::ButChangedSince);
    assert_eq!(found.agreements.len(), 2);
    Ok(())
}

fn reset(bed: &Bed) -> &'static str {
    if bed.version() == "mysql-9.7" { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }
}

async fn rows_of_a_compressed_transaction_wait_for_the_answer(bed: Bed) -> Outcome {
    let server = start(&bed, &["--binlog-transaction-compression=ON"]).await;
    server
        .run(&[
            "CREATE DATABASE d",
            "CREATE TABLE d.t (a BIGINT UNSIGNED)",
            "CREATE TABLE d.u (b INT)",
            "BEGIN",
            "INSERT INTO d.t VALUES (18446744073709551615)",
            "INSERT INTO d.u VALUES (1)",
            "INSERT INTO d.t VALUES (2)",
            "COMMIT",
        ])
        .await;
    let found = told(&server, &mut columns(&server).await).await;
    assert!(found.refused.is_none(), "{:?}", found.refused);
    assert_eq!(found.rows, ["t: a=18446744073709551615", "u: b=1", "t: a=2"]);
    assert_eq!(found.agreements.len(), 2, "each table is asked for once");
    Ok(())
}

async fn the_service_publishes_the_names_and_counts_where_they_come_from(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options { full_metadata: false, ..Options::default() }).await?;
    let settings = [
        ("source.schema_fallback", "information_schema".to_owned()),
        ("source.heartbeat_period", "1s".to_owned()),
        ("heartbeat.interval", "2s".to_owned()),
    ];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    rig.mysqld
        .execute(&[
            "CREATE DATABASE shop",
            "GRANT SELECT ON shop.* TO 'binpulse'@'%'",
            "CREATE TABLE shop.orders (id BIGINT UNSIGNED PRIMARY KEY, state ENUM('new','paid'))",
            "INSERT INTO shop.orders VALUES (18446744073709551615, 'paid')",
            "ALTER TABLE shop.orders CHANGE state status ENUM('new','paid','sent')",
            "INSERT INTO shop.orders VALUES (1, 'sent')",
        ])
        .await?;
    // Statements name the labels too, and a standard topic keeps no order: both rows are waited for.
    let change = |lines: &[String], value: &str| {
        let is_it = |line: &&String| line.contains("\"kind\":\"change\"") && line.contains(value);
        lines.iter().find(is_it).cloned()
    };
    let mut lines = Vec::new();
    let give_up = tokio::time::Instant::now() + SOON;
    let (first, second) = loop {
        let found = change(&lines, "18446744073709551615").zip(change(&lines, "\"sent\""));
        if let Some(found) = found {
            break found;
        }
        rig.streamer.must_run()?;
        let mut show = |_: &str, line: String| lines.push(line);
        let received = tokio::time::timeout_at(give_up, rig.consumer.receive(&mut show)).await;
        received.map_err(|_| format!("{lines:?}; {}", rig.streamer.log_tail()))??;
    };
    assert!(first.contains("\"id\"") && first.contains("\"paid\""), "{first}");
    assert!(second.contains("\"status\""), "{second}");
    let lookups = rig.streamer.metric("binpulse_schema_lookups_total", &[]).await?;
    assert!(lookups.is_some_and(|count| count >= 2.0), "{lookups:?}");
    Ok(())
}
