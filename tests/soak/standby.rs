//! A second server that replicates from the first by GTID.

use std::time::Duration;

use binpulse_demo::{Error, Flavor, Mysqld, Options};
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
    let port = source.port();
    if is_maria(standby) {
        let change = format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
             MASTER_USER = 'replica', MASTER_PASSWORD = 'replica', MASTER_USE_GTID = slave_pos, \
             MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1"
        );
        // It has what it logged, whether it came from another server or not.
        let position = "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos";
        return standby
            .execute(&["SET GLOBAL read_only = ON", position, &change, "START REPLICA"])
            .await;
    }
    let change = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
         SOURCE_USER = 'replica', SOURCE_PASSWORD = 'replica', SOURCE_AUTO_POSITION = 1, \
         GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000000, \
         SOURCE_HEARTBEAT_PERIOD = 1"
    );
    standby.execute(&["SET GLOBAL super_read_only = ON", &change, "START REPLICA"]).await
}

fn is_maria(mysqld: &Mysqld) -> bool {
    mysqld.server().flavor == Flavor::Mariadb
}

/// Ends replication and lets others write.
pub(crate) async fn promote(standby: &Mysqld) -> Result<(), Error> {
    let writable = if is_maria(standby) {
        "read_only = OFF"
    } else {
        "read_only = OFF, super_read_only = OFF"
    };
    let writable = format!("SET GLOBAL {writable}");
    standby.execute(&["STOP REPLICA", "RESET REPLICA ALL", &writable]).await
}

/// Lets nobody write to `source` any more, and waits until `standby` has everything.
pub(crate) async fn hand_over(source: &Mysqld, standby: &Mysqld) -> Result<(), Error> {
    let steps = async {
        if !is_maria(source) {
            return source.execute(&["SET GLOBAL super_read_only = ON"]).await;
        }
        source.execute(&["SET GLOBAL read_only = ON"]).await?;
        until_nobody_writes(source).await
    };
    let late = |_| Error::Deadline { what: "a read-only source".to_owned(), seconds: 30 };
    tokio::time::timeout(STATEMENT, steps).await.map_err(late)??;
    until_equal(source, standby).await
}

/// MariaDB's `read_only` does not hold up `root`, whose sessions are ended instead.
async fn until_nobody_writes(source: &Mysqld) -> Result<(), Error> {
    let mut session = source.connect().await?;
    loop {
        let writers: Vec<u64> = session
            .query(
                "SELECT id FROM information_schema.processlist WHERE user = 'root' AND \
                 id <> CONNECTION_ID()",
            )
            .await?;
        if writers.is_empty() {
            return Ok(session.disconnect().await?);
        }
        for writer in writers {
            // It may have gone by itself.
            session.query_drop(format!("KILL {writer}")).await.ok();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `standby` has everything that `source` has now.
pub(crate) async fn until_equal(source: &Mysqld, standby: &Mysqld) -> Result<(), Error> {
    let executed = executed(source).await?;
    let mut session = standby.connect().await?;
    let (wait, why) = if is_maria(source) {
        ("SELECT MASTER_GTID_WAIT(?, ?)", "SELECT 'see SHOW REPLICA STATUS'")
    } else {
        (
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)",
            "SELECT last_error_message FROM performance_schema.replication_applier_status_by_worker \
             WHERE last_error_number <> 0 LIMIT 1",
        )
    };
    let late: Option<i64> = session.exec_first(wait, (executed, FOLLOW_SECONDS)).await?;
    let why: Option<String> = session.query_first(why).await?;
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
    let variable = if is_maria(mysqld) { "gtid_binlog_pos" } else { "gtid_executed" };
    let executed: Option<String> =
        session.query_first(format!("SELECT @@GLOBAL.{variable}")).await?;
    session.disconnect().await?;
    Ok(executed.unwrap_or_default())
}
