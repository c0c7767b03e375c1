//! Large transactions and rows.

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use crate::stage::{Figures, Setup, Stage};

const SERVER: [&str; 4] = [
    "--max-allowed-packet=1G",
    "--innodb-buffer-pool-size=256M",
    "--innodb-redo-log-capacity=256M",
    "--binlog-cache-size=1M",
];

/// Rows of about 1 KiB: 2^20 are a gibibyte.
fn doublings(whole: bool) -> u32 {
    if whole { 10 } else { 4 }
}

async fn stage(settings: Vec<(&'static str, String)>) -> Result<Stage, Error> {
    Stage::start(Setup { mysqld: SERVER.to_vec(), settings, ..Setup::default() }).await
}

/// One transaction of so many times 1,024 rows, whose bodies the expression makes.
async fn fill(stage: &Stage, before: &[&str], body: &str, doublings: u32) -> Result<u64, Error> {
    let mut session = stage.mysqld.connect().await?;
    session
        .query_drop(
            "CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, body VARBINARY(1100) NOT NULL)",
        )
        .await?;
    for statement in before {
        session.query_drop(*statement).await?;
    }
    session.query_drop("SET cte_max_recursion_depth = 2000").await?;
    session.query_drop("BEGIN").await?;
    session
        .query_drop(format!(
            "INSERT INTO big.t (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM n WHERE i < 1024) SELECT {body} FROM n"
        ))
        .await?;
    for _ in 0..doublings {
        session.query_drop(format!("INSERT INTO big.t (body) SELECT {body} FROM big.t")).await?;
    }
    session.query_drop("COMMIT").await?;
    let bytes: Option<u64> = session
        .query_first("SELECT transaction_length FROM (SELECT SUM(LENGTH(body)) AS transaction_length FROM big.t) AS s")
        .await?;
    session.disconnect().await?;
    Ok(bytes.unwrap_or_default())
}

const ALL: &str = "SELECT * FROM big.t";

pub(super) async fn a_transaction_of_a_gibibyte_streams_through(
    whole: bool,
) -> Result<Figures, Error> {
    let mut stage = stage(Vec::new()).await?;
    let body = "CONCAT(RANDOM_BYTES(256), REPEAT('x', 760))";
    let bytes = fill(&stage, &[], body, doublings(whole)).await?;
    stage.catch_up().await?;
    stage.compare("big", "t", ALL).await?;
    stage.end(format!("{} MiB of values in one transaction", bytes >> 20)).await
}

/// The payload is one event, and has to fit `max_allowed_packet`, 1 GiB at most: MySQL writes what
/// compresses to more without compression. Here 1 GiB compresses to about 70 MiB at most.
pub(super) async fn a_compressed_transaction_of_a_gibibyte_streams_through(
    whole: bool,
) -> Result<Figures, Error> {
    let mut stage = stage(Vec::new()).await?;
    let body = "CONCAT(RANDOM_BYTES(24), REPEAT('x', 1000))";
    let before = ["SET binlog_transaction_compression = ON"];
    let bytes = fill(&stage, &before, body, doublings(whole)).await?;
    stage.catch_up().await?;
    stage.compare("big", "t", ALL).await?;
    let mut session = stage.mysqld.connect().await?;
    let compressed: Option<u64> = session
        .query_first(
            "SELECT MAX(compressed_bytes_counter) FROM \
             performance_schema.binary_log_transaction_compression_stats \
             WHERE log_type = 'BINARY' AND compression_type = 'ZSTD'",
        )
        .await?;
    session.disconnect().await?;
    let compressed = compressed.unwrap_or_default();
    if compressed == 0 {
        return crate::wrong("nothing was compressed");
    }
    stage
        .end(format!("{} MiB of values in a payload of {} MiB", bytes >> 20, compressed >> 20))
        .await
}

pub(super) async fn a_row_of_64_mebibytes_arrives_with_its_cell_left_out(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = stage(Vec::new()).await?;
    stage
        .mysqld
        .execute(&[
            "CREATE TABLE big.t (id INT PRIMARY KEY, body LONGBLOB)",
            "INSERT INTO big.t VALUES (1, REPEAT(RANDOM_BYTES(1024), 65536))",
            "INSERT INTO big.t VALUES (2, REPEAT('y', 67108864))",
        ])
        .await?;
    stage.catch_up().await?;
    let omitted = "SELECT id, CONCAT('omitted ', LENGTH(body), ' ', SHA2(body, 256)) FROM big.t";
    stage.compare("big", "t", omitted).await?;
    stage.end("two rows of 64 MiB").await
}

/// Below what is left out at once, each for itself, but not together.
pub(super) async fn rows_of_many_large_cells_arrive_with_some_left_out(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = stage(Vec::new()).await?;
    let random = |kibibytes: u32| format!("REPEAT(RANDOM_BYTES(1024), {kibibytes})");
    let values = [20_480, 20_480, 10_240, 5_120, 1, 7_168].map(random).join(", ");
    stage
        .mysqld
        .execute(&[
            "CREATE TABLE big.t (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB, c LONGBLOB, \
             d LONGBLOB, e BLOB, f LONGBLOB)"
                .to_owned(),
            format!("INSERT INTO big.t VALUES (1, {values})"),
            // A text of latin1, which takes twice the space in UTF-8.
            "CREATE TABLE big.u (id INT PRIMARY KEY, body LONGTEXT CHARACTER SET latin1)"
                .to_owned(),
            "INSERT INTO big.u VALUES (1, REPEAT(_latin1 X'E9', 31457280))".to_owned(),
        ])
        .await?;
    stage.catch_up().await?;
    let mut received = stage.received().sum("big", "t").rows;
    received += stage.received().sum("big", "u").rows;
    let omitted = stage.received().omitted;
    if received != 2 || omitted < 4 {
        return crate::wrong(format!("{received} rows with {omitted} cells left out"));
    }
    stage.end(format!("rows of 62 MiB and 30 MiB; {omitted} cells left out")).await
}
