//! The private servers are what tests think they are.

use binpulse_demo::{Flavor, Options, Workload};
use mysql_async::prelude::Queryable;

use crate::bed::Bed;
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    a_server_writes_row_events_with_all_that_its_version_can_log on
        [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    two_servers_never_share_an_identity on [Mysql97, Mysql57, Mariadb1011];
    a_killed_server_comes_back_with_its_data_on_its_port on [Mysql97, Mariadb1011];
    the_workload_counts_what_a_copy_of_it_counts on
        [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    the_oracle_sees_a_single_changed_value on [Mysql97];
}

async fn a_server_writes_row_events_with_all_that_its_version_can_log(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut session = mysqld.connect().await?;
    let variable = async |session: &mut mysql_async::Conn, name: &str| {
        let query = format!("SHOW GLOBAL VARIABLES LIKE '{name}'");
        let row: Option<(String, String)> = session.query_first(query).await?;
        Ok::<_, mysql_async::Error>(row.map(|(_, value)| value))
    };
    assert_eq!(variable(&mut session, "log_bin").await?.as_deref(), Some("ON"));
    assert_eq!(variable(&mut session, "binlog_format").await?.as_deref(), Some("ROW"));
    assert_eq!(variable(&mut session, "binlog_row_image").await?.as_deref(), Some("FULL"));
    let metadata = variable(&mut session, "binlog_row_metadata").await?;
    let knows = bed.server().is_mysql(8, 0) || bed.server().is_mariadb(10, 5);
    assert_eq!(metadata.as_deref(), knows.then_some("FULL"));
    if bed.server().flavor == Flavor::Mysql {
        assert_eq!(variable(&mut session, "gtid_mode").await?.as_deref(), Some("ON"));
        assert_eq!(variable(&mut session, "gtid_executed").await?.as_deref(), Some(""));
    }
    let version = variable(&mut session, "version").await?.unwrap_or_default();
    assert!(version.starts_with(&bed.server().version), "{version}");
    session.disconnect().await?;
    Ok(())
}

async fn two_servers_never_share_an_identity(bed: Bed) -> Outcome {
    let one = bed.mysqld(Options::default()).await?;
    let two = bed.mysqld(Options::default()).await?;
    let query = match bed.server().flavor {
        Flavor::Mysql => "SELECT CONCAT(@@server_id, ' ', @@server_uuid)",
        Flavor::Mariadb => "SELECT CONCAT(@@server_id)",
    };
    let mut identities = Vec::new();
    for server in [&one, &two] {
        let mut session = server.connect().await?;
        let identity: Option<String> = session.query_first(query).await?;
        identities.extend(identity);
        session.disconnect().await?;
    }
    assert_eq!(identities.len(), 2);
    assert_ne!(identities[0], identities[1]);
    Ok(())
}

async fn a_killed_server_comes_back_with_its_data_on_its_port(bed: Bed) -> Outcome {
    let mut mysqld = bed.mysqld(Options { durable: true, ..Options::default() }).await?;
    let address = mysqld.address();
    mysqld.execute(&["CREATE DATABASE d", "CREATE TABLE d.t (i INT)"]).await?;
    mysqld.execute(&["INSERT INTO d.t VALUES (7)"]).await?;
    mysqld.kill().await?;
    mysqld.connect().await.expect_err("it is gone");
    mysqld.start_again().await?;
    let mut session = mysqld.connect().await?;
    let value: Option<i32> = session.query_first("SELECT i FROM d.t").await?;
    assert_eq!((value, mysqld.address()), (Some(7), address));
    session.disconnect().await?;
    mysqld.stop().await?;
    mysqld.start_again().await?;
    Ok(())
}

/// Equal seeds give equal shops: the counts and the tables are the same, so a count is no accident.
async fn the_workload_counts_what_a_copy_of_it_counts(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut shop = Workload::open(mysqld.connect().await?, 5).await?;
    shop.stock().await?;
    for _ in 0..40 {
        shop.step().await?;
    }
    shop.alter().await?;
    shop.take_stock(1_200).await?;
    for _ in 0..40 {
        shop.step().await?;
    }
    let mut session = mysqld.connect().await?;
    for table in ["customers", "products", "orders", "order_items", "payments", "stock_movements"] {
        let query = format!("SELECT COUNT(*) FROM shop.{table}");
        let rows: Option<u64> = session.query_first(query).await?;
        let name = format!("shop.{table}");
        let written = shop.written();
        let left = written.of(&name, binpulse_demo::Op::Insert)
            - written.of(&name, binpulse_demo::Op::Delete);
        assert_eq!(rows, Some(left), "{table}");
    }
    session.disconnect().await?;
    assert!(shop.written().of("shop.products", binpulse_demo::Op::Update) > 0);
    assert!(shop.written().of("shop.order_items", binpulse_demo::Op::Delete) > 0);
    Ok(())
}

async fn the_oracle_sees_a_single_changed_value(bed: Bed) -> Outcome {
    let one = bed.mysqld(Options::default()).await?;
    let two = bed.mysqld(Options::default()).await?;
    let table = [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (a INT PRIMARY KEY, b DOUBLE, c BLOB)",
        "INSERT INTO d.t VALUES (1, 0.1, x'00ff'), (2, NULL, NULL)",
    ];
    one.execute(&table).await?;
    two.execute(&table).await?;
    assert_eq!(oracle::differences(&one, &two, "d").await?, Vec::<String>::new());
    two.execute(&["UPDATE d.t SET c = x'00fe' WHERE a = 1", "CREATE TABLE d.u (a INT)"]).await?;
    let found = oracle::differences(&one, &two, "d").await?;
    assert_eq!(found.len(), 2, "{found:?}");
    Ok(())
}
