//! Modes and time zones, of writers and of the server.

use std::time::Duration;

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use crate::stage::{Figures, Setup, Stage};
use crate::wrong;

const SOON: Duration = Duration::from_mins(1);

/// Every mode of MySQL 9.7.
const MODES: [&str; 17] = [
    "ALLOW_INVALID_DATES",
    "ANSI_QUOTES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_BACKSLASH_ESCAPES",
    "NO_DIR_IN_CREATE",
    "NO_ENGINE_SUBSTITUTION",
    "NO_UNSIGNED_SUBTRACTION",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ONLY_FULL_GROUP_BY",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
    "TIME_TRUNCATE_FRACTIONAL",
];
/// Modes that stand for several, or matter together.
const GROUPS: [&str; 5] = [
    "",
    "ANSI",
    "TRADITIONAL",
    "STRICT_TRANS_TABLES,STRICT_ALL_TABLES",
    "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT,IGNORE_SPACE,\
     ALLOW_INVALID_DATES,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION,ONLY_FULL_GROUP_BY,\
     STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO",
];
const ZONES: [&str; 6] = ["SYSTEM", "+00:00", "-13:59", "+14:00", "+05:45", "-03:30"];

fn modes() -> Vec<&'static str> {
    MODES.into_iter().chain(GROUPS).collect()
}

/// The same values written by sessions of every mode in every zone. Dates that only some modes allow
/// are written where they are allowed.
pub(super) async fn every_sql_mode_and_time_zone_of_a_writer_gives_the_same_values(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = Stage::start(Setup::default()).await?;
    stage
        .mysqld
        .execute(&[
            "SET sql_mode = ''",
            "CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, mode VARCHAR(400), \
             zone VARCHAR(9), c CHAR(20), b BINARY(4), quoted VARCHAR(40), ts TIMESTAMP(6) NULL, \
             dt DATETIME(3), d DATE, e ENUM('a', '') , s SET('x', 'y'), u INT UNSIGNED, \
             r DECIMAL(10, 4), t TIME(2), j JSON)",
        ])
        .await?;
    let mut session = stage.mysqld.connect().await?;
    for mode in modes() {
        for zone in ZONES {
            session.query_drop(format!("SET sql_mode = '{mode}', time_zone = '{zone}'")).await?;
            session
                .query_drop(format!(
                    "INSERT INTO big.t VALUES (NULL, '{mode}', '{zone}', 'padded ', 'ab', \
                     'a''b\"c', '2026-11-20 20:12:00.123456', '2026-02-28 23:59:59.9995', \
                     '2024-02-29', 'a', 'x,y', 4294967295, 12.34567, '-838:59:59', \
                     '{{\"k\": [1, null]}}')"
                ))
                .await?;
            // Zero and impossible dates: an error in strict modes, else kept or zeroed.
            for date in ["0000-00-00", "2026-02-31", "2026-00-01"] {
                let odd = format!(
                    "INSERT IGNORE INTO big.t (mode, zone, d, dt, u, e) VALUES ('{mode}', \
                     '{zone}', '{date}', '{date}', 0, '')"
                );
                session.query_drop(odd).await?;
            }
            session.query_drop("INSERT INTO big.t (id, c) VALUES (0, 'zero')").await?;
            session.query_drop("DELETE FROM big.t WHERE id = 0").await?;
            session
                .query_drop(
                    "UPDATE big.t SET c = CONCAT(LEFT(c, 9), 'x') WHERE id % 3 = 0 ORDER BY id DESC LIMIT 1",
                )
                .await?;
        }
    }
    session.disconnect().await?;
    stage.catch_up().await?;
    stage.compare("big", "t", "SELECT * FROM big.t").await?;
    stage.end(format!("{} modes in {} time zones", modes().len(), ZONES.len())).await
}

/// What the service itself says to the server must not depend on the server's defaults: it becomes
/// ready, its heartbeats and canaries walk, its checkpoint is saved.
pub(super) async fn the_service_works_under_every_sql_mode_and_time_zone_of_the_server(
    whole: bool,
) -> Result<Figures, Error> {
    let settings = vec![
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        ("checkpoint.store", "table".to_owned()),
    ];
    let mut stage = Stage::start(Setup { settings, ..Setup::default() }).await?;
    let modes = if whole { modes() } else { GROUPS.to_vec() };
    stage.mysqld.execute(&["CREATE TABLE big.t (id INT PRIMARY KEY, ts TIMESTAMP(6))"]).await?;
    for (at, mode) in modes.iter().enumerate() {
        let zone = ZONES[at % ZONES.len()];
        stage
            .mysqld
            .execute(&[format!("SET GLOBAL sql_mode = '{mode}', GLOBAL time_zone = '{zone}'")])
            .await?;
        // All sessions again.
        stage.streamer.stop().await?;
        stage.streamer.start_again().await?;
        stage.streamer.until_ready(SOON).await?;
        let before = stage.received().canaries.iter().map(|canary| canary.number).max();
        let insert = format!("INSERT INTO big.t VALUES ({at}, '2026-11-20 20:12:00.5')");
        stage.mysqld.execute(&[insert]).await?;
        stage
            .until(&format!("a canary under `{mode}` in {zone}"), |received| {
                let newer = received.canaries.iter().filter(|canary| Some(canary.number) > before);
                let mut phases: Vec<_> = newer.map(|canary| canary.phase).collect();
                phases.sort_unstable();
                phases.dedup();
                phases.len() == 3
            })
            .await?;
        let status = stage.streamer.status().await?;
        let judged = status["verdict"]["state"].as_str().or(status["state"].as_str());
        if judged.is_none() {
            return wrong(format!("no verdict in {status}"));
        }
    }
    stage.catch_up().await?;
    stage.compare("big", "t", "SELECT * FROM big.t").await?;
    stage.end(format!("{} modes of the server", modes.len())).await
}
