//! Debezium's two snapshots of the same table, by its embedded engine: see `benches/peers/README.md`.

use std::time::Duration;

use binpulse_demo::Mysqld;
use tokio::time::timeout;

use super::Line;
use crate::Outcome;
use crate::peers::reader::{self, Order, Seen};

/// It stops there when it has not got all rows: the rate counts.
const SECONDS_MAX: u64 = 40;
/// Attempts to find out that it streams, a second each.
const ATTEMPTS: u32 = 60;
/// Its signals, and rows that tell that it streams.
pub(super) const TABLES: [&str; 2] = [
    "CREATE TABLE bench.signals (id VARCHAR(42) PRIMARY KEY, type VARCHAR(32), data VARCHAR(2048))",
    "CREATE TABLE bench.marks (id INT AUTO_INCREMENT PRIMARY KEY)",
];
const SIGNAL: &str = "INSERT INTO bench.signals VALUES (UUID(), 'execute-snapshot', \
                      '{\"type\": \"INCREMENTAL\", \"data-collections\": [\"bench.rows_of_190\"]}')";

pub(super) async fn run(mysqld: &Mysqld, rows: u64) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    for mode in ["initial", "incremental"] {
        let program = reader::debezium_snapshots();
        if !program.is_fetched() {
            println!("  Debezium, {mode} snapshot: not fetched (`make peers`)");
            continue;
        }
        let order = Order {
            port: mysqld.port(),
            file: mode,
            position: 0,
            rows,
            seconds: SECONDS_MAX,
            ages: false,
        };
        let mut reader = program.start(order)?;
        if mode == "incremental" {
            let mut attempt = 0;
            loop {
                mysqld.execute(&["INSERT INTO bench.marks VALUES ()"]).await?;
                match timeout(Duration::from_secs(1), reader.says("streaming")).await {
                    Ok(said) => break said?,
                    Err(_) if attempt < ATTEMPTS => attempt += 1,
                    Err(_) => return Err("Debezium does not stream".into()),
                }
            }
            mysqld.execute(&[SIGNAL]).await?;
        }
        let start = reader.first().await?;
        let Seen { said, wall, peak_kib, .. } = reader.finish(start).await?;
        lines.push(Line { name: said.reader, rows: said.rows, wall, peak_kib });
    }
    Ok(lines)
}
