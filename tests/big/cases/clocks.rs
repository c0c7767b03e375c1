//! Clocks that step: the source's, as its sessions see it.

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use crate::stage::{Figures, Setup, Stage};

/// Seconds since 1970: the first that there are, about the last that MySQL's clock can have (2038), and
/// some between, back and forth.
const CLOCKS: [u64; 6] = [1, 2_147_483_646, 1_000_000_000, 1_795_000_000, 3, 1_700_000_000];

pub(super) async fn a_source_whose_clock_steps_loses_nothing(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = Stage::start(Setup { fifo: true, ..Setup::default() }).await?;
    stage
        .mysqld
        .execute(&["CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6), \
                    ts TIMESTAMP(6) NULL)"])
        .await?;
    let mut session = stage.mysqld.connect().await?;
    for round in 0..5 {
        for clock in CLOCKS {
            session.query_drop(format!("SET TIMESTAMP = {clock}.{round}5")).await?;
            session
                .query_drop("INSERT INTO big.t (at, ts) VALUES (NOW(6), CURRENT_TIMESTAMP(6))")
                .await?;
        }
    }
    session.query_drop("SET TIMESTAMP = DEFAULT").await?;
    session.disconnect().await?;
    stage.catch_up().await?;
    stage.compare("big", "t", "SELECT * FROM big.t").await?;
    stage.end(format!("{} steps back and forth", 5 * CLOCKS.len())).await
}
