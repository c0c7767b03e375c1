//! Where a stream begins: places that the server has not, or not any more.

use binpulse_demo::{Options, prepare};
use mysql_async::prelude::Queryable;

use super::{Bench, OPERATOR, STARTS, UNAVAILABLE, case};
use crate::bed::{Bed, binary};
use crate::suite::{Outcome, tests};

tests! {
    check_and_run_agree_on_places on [Mysql97, Mysql80, Mariadb1011];
}

async fn check_and_run_agree_on_places(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let bench = Bench::of(&mysqld)?;

    // Checkpoints of before a purge, and of the newest place
    let path = bench.path("old");
    let old = case("old", STARTS, &[("checkpoint.path", &path), ("source.start", "earliest")]);
    bench.begin(&old).await?;
    let mut session = mysqld.connect().await?;
    session.query_drop("CREATE DATABASE d").await?;
    session.query_drop("CREATE TABLE d.t (id INT PRIMARY KEY)").await?;
    for id in 0..3 {
        session.query_drop(format!("INSERT INTO d.t VALUES ({id})")).await?;
        session.query_drop("FLUSH BINARY LOGS").await?;
    }
    let logs: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
    let newest: String = logs.last().and_then(|row| row.get(0)).ok_or("no logs")?;
    let first: String = logs.first().and_then(|row| row.get(0)).ok_or("no logs")?;
    // A MariaDB keeps a file until its background has written that no transaction needs it.
    while mysqld.data().join(&first).exists() {
        session.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await?;
    }
    session.disconnect().await?;
    let fresh = bench.path("fresh");
    let of_fresh = [("checkpoint.path", fresh.as_str()), ("stream.name", "fresh")];
    bench.begin(&case("fresh", STARTS, &of_fresh)).await?;

    let maria = bed.version().starts_with("mariadb");
    let foreign =
        if maria { "gtid:0-77-1000" } else { "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5" };
    let other_kind =
        if maria { "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5" } else { "gtid:0-77-1000" };
    let start = |name, exit, start: &str| case(name, exit, &[("source.start", start)]);
    let mut cases = vec![
        old.clone(),
        case("goes on", STARTS, &of_fresh),
        start("now", STARTS, "now"),
        start("newest log", STARTS, &format!("position:{newest}:4")),
        start("foreign transactions", OPERATOR, foreign),
        start("log that is not there", OPERATOR, "position:binlog.000099:4"),
        start("purged log", OPERATOR, &format!("position:{first}:4")),
        start("behind the end of the log", OPERATOR, &format!("position:{newest}:99999999")),
        start("before all logs", OPERATOR, "time:2001-01-01T00:00:00Z"),
        start("transactions of another make", UNAVAILABLE, other_kind),
    ];
    if let Some(purged) = cases.first_mut() {
        (purged.name, purged.exit) = ("purged", OPERATOR);
        purged.settings.push(("stream.name", "old".to_owned()));
    }
    bench.agree(cases).await
}
