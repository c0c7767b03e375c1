//! A second server that replicates from the first by GTID.

use std::time::Duration;

use binpulse_demo::{Error, Mysqld, Options};
use mysql_async::prelude::Queryable;

/// Longest wait for the standby to have what the source has.
const FOLLOW_SECONDS: u64 = 60;
/// Longest wait for one statement of a switch.
const STATEMENT: Duration = Duration::from_secs(30);

/// Starts one that follows `source` from its first transaction on.
pub(crate) async fn start(source: &Mysqld, options: Options) -> Result<Mysqld, Error> {
    source
        .execute(&[
            "CREATE USER 'replica'@'%' IDENTIFIED BY 'replica'",
            "GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%'",
        ])
        .await?;
    let standby = Mysqld::start(source.server(), options).await?;
    follow(&standby, source).await?;
    Ok(standby)
}

/// Makes a server the replica of another. It is read-only from here on.
pub(crate) async fn follow(standby: &Mysqld, source: &Mysqld) -> Result<(), Error> {
    let change = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
         SOURCE_USER = 'replica', SOURCE_PASSWORD = 'replica', SOURCE_AUTO_POSITION = 1, \
         GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000000, \
         SOURCE_HEARTBEAT_PERIOD = 1",
        source.port()
    );
    standby.execute(&["SET GLOBAL super_read_only = ON", &change, "START REPLICA"]).await
}

/// Ends replication and lets others write.
pub(crate) async fn promote(standby: &Mysqld) -> Result<(), Error> {
    let steps =
        ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF, super_read_only = OFF"];
    standby.execute(&steps).await
}

/// Lets nobody write to `source` any more, and waits until `standby` has everything.
pub(crate) async fn hand_over(source: &Mysqld, standby: &Mysqld) -> Result<(), Error> {
    let steps = source.execute(&["SET GLOBAL super_read_only = ON"]);
    let late = |_| Error::Deadline { what: "super_read_only".to_owned(), seconds: 30 };
    tokio::time::timeout(STATEMENT, steps).await.map_err(late)??;
    let executed = executed(source).await?;
    let mut session = standby.connect().await?;
    let wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)";
    let late: Option<i64> = session.exec_first(wait, (executed, FOLLOW_SECONDS)).await?;
    let why: Option<String> = session
        .query_first(
            "SELECT last_error_message FROM performance_schema.replication_applier_status_by_worker \
             WHERE last_error_number <> 0 LIMIT 1",
        )
        .await?;
    session.disconnect().await?;
    if late == Some(0) {
        return Ok(());
    }
    let why = why.unwrap_or_default();
    let what = format!("the standby to have what the source has: {why}");
    Err(Error::Deadline { what, seconds: FOLLOW_SECONDS })
}

/// What a server has executed.
pub(crate) async fn executed(mysqld: &Mysqld) -> Result<String, Error> {
    let mut session = mysqld.connect().await?;
    let executed: Option<String> = session.query_first("SELECT @@GLOBAL.gtid_executed").await?;
    session.disconnect().await?;
    Ok(executed.unwrap_or_default())
}
