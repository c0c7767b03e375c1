//! The example of each client library that keeps a copy of tables: the copy equals the source, each row
//! applied once, also over a restart. Built by `make client-deps`; what is not built is named as skipped.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use binpulse_demo::{
    Error, Folder, Mysqld, Options, Process, Program, Standin, standin_environment,
};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    the_python_client_keeps_a_copy_that_equals_the_source on [Mysql97];
    the_typescript_client_keeps_a_copy_that_equals_the_source on [Mysql97];
    the_go_client_keeps_a_copy_that_equals_the_source on [Mysql97];
    the_java_client_keeps_a_copy_that_equals_the_source on [Mysql97];
    the_rust_client_keeps_a_copy_that_equals_the_source on [Mysql97];
}

/// How an example is run, and the URL of MySQL as its driver has it.
struct Example {
    language: &'static str,
    /// What `make client-deps` makes.
    built: &'static str,
    command: Vec<OsString>,
    mysql_url: fn(u16) -> String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn the_python_client_keeps_a_copy_that_equals_the_source(bed: Bed) -> Outcome {
    let built = "clients/python/examples/apply.py";
    let command = vec![bed.python()?.into(), "-B".into(), root().join(built).into()];
    copied(&bed, Example { language: "Python", built, command, mysql_url: |port| port.to_string() })
        .await
}

async fn the_typescript_client_keeps_a_copy_that_equals_the_source(bed: Bed) -> Outcome {
    let built = "clients/typescript/dist/examples/apply.js";
    let command = vec!["node".into(), root().join(built).into()];
    let mysql_url = |port| format!("mysql://root@127.0.0.1:{port}");
    copied(&bed, Example { language: "TypeScript", built, command, mysql_url }).await
}

async fn the_go_client_keeps_a_copy_that_equals_the_source(bed: Bed) -> Outcome {
    let built = "target/clients/apply";
    let command = vec![root().join(built).into()];
    let mysql_url = |port| format!("root@tcp(127.0.0.1:{port})/");
    copied(&bed, Example { language: "Go", built, command, mysql_url }).await
}

async fn the_java_client_keeps_a_copy_that_equals_the_source(bed: Bed) -> Outcome {
    let built = "clients/java/examples/target/examples-0.1.0.jar";
    let mut classes = OsString::from(root().join(built));
    classes.push(":");
    classes.push(root().join("clients/java/examples/target/dependency/*"));
    let command = vec!["java".into(), "-cp".into(), classes, "binpulse.examples.Apply".into()];
    let mysql_url = |port| format!("jdbc:mariadb://127.0.0.1:{port}/?user=root");
    copied(&bed, Example { language: "Java", built, command, mysql_url }).await
}

async fn the_rust_client_keeps_a_copy_that_equals_the_source(bed: Bed) -> Outcome {
    let built = "target/debug/examples/apply";
    let command = vec![root().join(built).into()];
    let mysql_url = |port| format!("mysql://root@127.0.0.1:{port}");
    copied(&bed, Example { language: "Rust", built, command, mysql_url }).await
}

/// A table with a column of each type that a copy by SQL can have.
const SHOP: [&str; 2] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id BIGINT UNSIGNED, part INT, total DECIMAL(30,10), rate DOUBLE, \
     share FLOAT, flags BIT(17), made YEAR, day DATE, took TIME(6), placed DATETIME(3), \
     paid TIMESTAMP(6) NULL, note TEXT, `a \"quoted\" näme` VARBINARY(80), state ENUM('new','paid'), \
     tags SET('a','b','c'), detail JSON, place GEOMETRY, PRIMARY KEY (part, id))",
];

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    /// 0 to `end` - 1.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// A row's values, some of them at the edges.
fn values(dice: &mut Dice, id: u64) -> String {
    let edge = dice.below(6);
    let row = match edge {
        0 => {
            "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
        }
        1 => {
            "-99999999999999999999.9999999999, -1e-300, 1.17549e-38, b'1', 2155, '9999-12-31', \
             '-838:59:59', '9999-12-31 23:59:59.999', '2038-01-19 03:14:07.999999', '', '', 'paid', \
             'a,c', '{\"a\": [1, null, 18446744073709551615]}', ST_GeomFromText('POINT(1 -2)', 4326)"
        }
        _ => {
            "12.5, 0.1, 0.1, b'10000000000000001', 2026, '2026-11-20', '20:12:00.123456', \
             '2026-11-20 20:12:00.5', '2026-11-20 20:12:00.25', '京都 🦀 \\'\"\\\\', x'00ff27', 'new', \
             '', '\"text\"', ST_GeomFromText('LINESTRING(0 0, 1 1)')"
        }
    };
    let id = if edge == 1 { u64::MAX - id } else { id };
    format!("({id}, {edge}, {row})")
}

/// Writes so many rows to the source: what the stream has of them.
async fn write(source: &Mysqld, dice: &mut Dice, steps: u64) -> Result<u64, Error> {
    let mut session = source.connect().await?;
    session.query_drop("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''").await?;
    let mut rows = 0;
    for _ in 0..steps {
        let id = dice.below(40);
        let statement = match dice.below(5) {
            0 => format!("DELETE FROM shop.orders WHERE id = {id}"),
            1 => format!(
                "UPDATE shop.orders SET note = CONCAT(id, note), rate = rate * 3 WHERE id = {id}"
            ),
            // The key changes.
            2 => format!("UPDATE IGNORE shop.orders SET id = id + 100 WHERE id = {id} LIMIT 1"),
            _ => format!("INSERT IGNORE INTO shop.orders VALUES {}", values(dice, id)),
        };
        session.query_drop(statement).await?;
        rows += session.affected_rows();
    }
    session.disconnect().await?;
    Ok(rows)
}

async fn copied(bed: &Bed, example: Example) -> Outcome {
    if !root().join(example.built).exists() {
        let said = format!("SKIPPED the live test of the client in {}", example.language);
        let _ =
            writeln!(std::io::stderr(), "{said}: {} is not built: make client-deps", example.built);
        return Ok(());
    }
    // Given a stream with a queue for the copy
    let mysqld = bed.mysqld(Options::default()).await?;
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    for server in [&mysqld, &copy] {
        let mut session = server.connect().await?;
        for statement in SHOP {
            session.query_drop(statement).await?;
        }
        session.disconnect().await?;
    }
    let settings = [("filter.tables", "shop.*".to_owned())];
    let rig = Rig::start(bed, mysqld, Topic::Standard, &settings).await?;
    let name = format!("{}-copy", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;

    // When rows are written, and the consumer is started a second time in between
    let mut dice = Dice(17);
    let mut told = Vec::new();
    for _ in 0..2 {
        let rows = write(&rig.mysqld, &mut dice, 150).await?;
        told.push((rows, consume(&rig, &example, &queue_url, &copy, rows).await?));
    }

    // Then the copy equals the source, and each row was applied once
    let differences = oracle::differences(&rig.mysqld, &copy, "shop").await?;
    assert!(differences.is_empty(), "{}\n{told:?}", differences.join("\n"));
    for (rows, report) in &told {
        assert!(*rows > 50, "{told:?}");
        assert_eq!(report["rows"], *rows, "{told:?}");
    }
    Ok(())
}

/// Runs the example until it has applied so many rows; what it prints.
async fn consume(
    rig: &Rig,
    example: &Example,
    queue_url: &str,
    copy: &Mysqld,
    rows: u64,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let folder = Folder::create()?;
    let log: PathBuf = folder.path().join("log");
    let own = [
        ("QUEUE_URL", queue_url.to_owned()),
        ("AWS_ENDPOINT_URL", rig.endpoint_url.clone()),
        // boto3's name of AWS_REGION.
        ("AWS_DEFAULT_REGION", Standin::REGION.to_owned()),
        ("MYSQL_URL", (example.mysql_url)(copy.port())),
        ("MYSQL_PORT", copy.port().to_string()),
        ("PYTHONPATH", root().join("clients/python/src").display().to_string()),
        ("ROWS", rows.to_string()),
    ];
    let program = Program {
        name: format!("the example in {}", example.language),
        command: example.command.clone(),
        environment: standin_environment()
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .chain(own.map(|(name, value)| (name.into(), value.into())))
            .collect(),
        without: vec!["AWS_", "PYTHON"],
        log: log.clone(),
    };
    let mut process = Process::start(&program, &folder)?;
    let ended = process.wait(SOON * 2).await;
    let output = std::fs::read_to_string(&log).unwrap_or_default();
    ended.map_err(|error| format!("{error}: the example said:\n{output}"))?;
    let line = output.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(line).map_err(|_| format!("the example said:\n{output}").into())
}
