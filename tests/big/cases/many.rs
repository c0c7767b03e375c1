//! Many tables.

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use crate::received::Sum;
use crate::stage::{Figures, Setup, Stage};

pub(super) async fn thousands_of_tables_arrive_each_in_its_lane(
    whole: bool,
) -> Result<Figures, Error> {
    let mysqld = vec!["--table-open-cache=400", "--default-storage-engine=MyISAM"];
    let mut stage = Stage::start(Setup { mysqld, ..Setup::default() }).await?;
    let tables = if whole { 20_000 } else { 1_000 };
    let mut session = stage.mysqld.connect().await?;
    for number in 0..tables {
        session
            .query_drop(format!("CREATE TABLE big.t{number} (id INT PRIMARY KEY, v VARCHAR(20))"))
            .await?;
    }
    // Twice, so that each table's map, lane and numbers come again.
    for id in 1..=2 {
        for number in 0..tables {
            session
                .query_drop(format!("INSERT INTO big.t{number} VALUES ({id}, 'table {number}')"))
                .await?;
        }
    }
    session.disconnect().await?;
    stage.catch_up().await?;
    let differing = {
        let received = stage.received();
        (0..tables)
            .filter(|number| {
                let mut wanted = Sum::default();
                for id in 1..=2 {
                    wanted.add([id.to_string(), format!("table {number}")].iter());
                }
                received.sum("big", &format!("t{number}")) != wanted
            })
            .count()
    };
    if differing > 0 {
        return crate::wrong(format!("{differing} of {tables} tables differ"));
    }
    let checkpoint = std::fs::metadata(stage.streamer.folder().path().join("checkpoint"));
    let bytes = checkpoint.map_or(0, |metadata| metadata.len());
    stage.end(format!("{tables} tables; a checkpoint of {} KiB", bytes >> 10)).await
}
