//! Servers that can't be reached, accounts without rights, variables of the server, and the tables of
//! the checkpoint.

use binpulse_demo::{Mysqld, Options, prepare};

use super::{Bench, Case, OPERATOR, STARTS, UNAVAILABLE, case};
use crate::bed::{Bed, binary};
use crate::suite::{Outcome, tests};

tests! {
    check_and_run_agree_on_servers_and_accounts on [Mysql97, Mysql80, Mariadb1011];
    check_and_run_agree_on_the_tables_of_the_checkpoint on [Mysql97, Mysql80, Mariadb1011];
    check_and_run_agree_on_variables_of_the_server on [Mysql97, Mariadb1011];
}

const PASSWORD: &str = "of-the-test";

async fn account(mysqld: &Mysqld, name: &str, grants: &[&str]) -> Outcome {
    let mut statements = vec![format!("CREATE USER {name} IDENTIFIED BY '{PASSWORD}'")];
    statements.extend(grants.iter().map(|grant| format!("GRANT {grant} TO {name}")));
    mysqld.execute(&statements).await?;
    Ok(())
}

async fn check_and_run_agree_on_servers_and_accounts(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    for (name, grants) in [
        ("no_slave", &["REPLICATION CLIENT ON *.*"][..]),
        ("no_client", &["REPLICATION SLAVE ON *.*"]),
        ("nothing", &[]),
        ("locked", &["REPLICATION SLAVE, REPLICATION CLIENT ON *.*"]),
        ("expired", &["REPLICATION SLAVE, REPLICATION CLIENT ON *.*"]),
    ] {
        account(&mysqld, name, grants).await?;
    }
    mysqld
        .execute(&["ALTER USER locked ACCOUNT LOCK", "ALTER USER expired PASSWORD EXPIRE"])
        .await?;
    let bench = Bench::of(&mysqld)?;
    let maria = bed.version().starts_with("mariadb");
    let mute = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let silent = mute.local_addr()?.to_string();
    let (good, dead) = (mysqld.address(), "127.0.0.1:1");
    let hosts = |name, exit, hosts: &str| case(name, exit, &[("source.hosts", hosts)]);
    let user = |name, exit, user: &'static str| {
        case(name, exit, &[("source.user", user), ("source.password", PASSWORD)])
    };
    let without_client = if maria { UNAVAILABLE } else { STARTS };
    let cases = vec![
        case("all is well", STARTS, &[]),
        hosts("nobody listens", UNAVAILABLE, dead),
        hosts("no such name", UNAVAILABLE, "nowhere.invalid:3306"),
        case(
            "says nothing",
            UNAVAILABLE,
            &[("source.hosts", &silent), ("source.connect_timeout", "300ms")],
        ),
        hosts("first host is dead", STARTS, &format!("{dead},{good}")),
        hosts("second host is dead", STARTS, &format!("{good},{dead}")),
        hosts("both hosts are dead", UNAVAILABLE, "127.0.0.1:1,127.0.0.1:2"),
        case("wrong password", UNAVAILABLE, &[("source.password", "wrong")]),
        user("no such account", UNAVAILABLE, "nobody_such"),
        user("no replication slave", UNAVAILABLE, "no_slave"),
        // Needed where the server's place is not told otherwise.
        user("no replication client", without_client, "no_client"),
        user("no rights", UNAVAILABLE, "nothing"),
        user("locked account", UNAVAILABLE, "locked"),
        user("expired password", UNAVAILABLE, "expired"),
        case("unknown authority", UNAVAILABLE, &[("source.tls", "verify-ca")]),
        // The stream needs no heartbeats.
        case("writer without a password", STARTS, &[("heartbeat.password", "wrong")]),
        case("heartbeats elsewhere", STARTS, &[("heartbeat.host", dead)]),
        case("no tables", STARTS, &[("heartbeat.schema", "nothing_here")]),
    ];
    bench.agree(cases).await
}

fn kept_in_a_table(mut case: Case) -> Case {
    case.settings.push(("checkpoint.store", "table".to_owned()));
    case
}

async fn check_and_run_agree_on_the_tables_of_the_checkpoint(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    for (name, grants) in [
        ("writer", &["SELECT, INSERT, UPDATE, DELETE ON binpulse.*"][..]),
        ("no_select", &["INSERT, UPDATE, DELETE ON binpulse.*"]),
        ("no_insert", &["SELECT, UPDATE, DELETE ON binpulse.*"]),
        ("no_update", &["SELECT, INSERT, DELETE ON binpulse.*"]),
        ("no_delete", &["SELECT, INSERT, UPDATE ON binpulse.*"]),
        ("no_lanes", &["SELECT, INSERT, UPDATE, DELETE ON binpulse.checkpoint"]),
        ("super_writer", &["ALL ON *.*"]),
    ] {
        account(&mysqld, name, grants).await?;
    }
    mysqld
        .execute(&["CREATE DATABASE empty_one", "GRANT ALL ON empty_one.* TO 'binpulse'@'%'"])
        .await?;
    let bench = Bench::of(&mysqld)?;
    let saved = |name| kept_in_a_table(case(name, STARTS, &[("stream.name", name)]));
    for name in ["malformed", "newer"] {
        bench.begin(&saved(name)).await?;
    }
    let of = |name: &str| format!("WHERE stream = '{name}'");
    mysqld
        .execute(&[
            format!(
                "UPDATE binpulse.checkpoint SET gtid_set = 'none', resume_maria = 'none' {}",
                of("malformed")
            ),
            format!("UPDATE binpulse.checkpoint SET format = 99 {}", of("newer")),
        ])
        .await?;
    let writer = |name, exit, user: &'static str| {
        let user = [("heartbeat.user", user), ("heartbeat.password", PASSWORD)];
        kept_in_a_table(case(name, exit, &user))
    };
    let table =
        |name, exit, settings: &[(&'static str, &str)]| kept_in_a_table(case(name, exit, settings));
    let good = mysqld.address();
    let cases = vec![
        table("all is well", STARTS, &[]),
        writer("least rights", STARTS, "writer"),
        writer("no select", UNAVAILABLE, "no_select"),
        writer("no insert", UNAVAILABLE, "no_insert"),
        writer("no update", UNAVAILABLE, "no_update"),
        writer("no delete", UNAVAILABLE, "no_delete"),
        writer("no table of lanes", UNAVAILABLE, "no_lanes"),
        table("wrong password", UNAVAILABLE, &[("heartbeat.password", "wrong")]),
        table("first host is dead", STARTS, &[("source.hosts", &format!("127.0.0.1:1,{good}"))]),
        table("second host is dead", STARTS, &[("source.hosts", &format!("{good},127.0.0.1:1"))]),
        table("both hosts are dead", UNAVAILABLE, &[("source.hosts", "127.0.0.1:1,127.0.0.1:2")]),
        table("nobody listens", UNAVAILABLE, &[("heartbeat.host", "127.0.0.1:1")]),
        table("no such schema", UNAVAILABLE, &[("heartbeat.schema", "nothing_here")]),
        table("no tables", UNAVAILABLE, &[("heartbeat.schema", "empty_one")]),
        table("malformed row", OPERATOR, &[("stream.name", "malformed")]),
        table("newer format", OPERATOR, &[("stream.name", "newer")]),
    ];
    bench.agree(cases).await?;

    // A server that takes no writes; one account may all the same
    mysqld.execute(&["SET GLOBAL read_only = 1"]).await?;
    let cases = vec![
        writer("server is read-only", UNAVAILABLE, "writer"),
        writer("server is read-only for others", STARTS, "super_writer"),
    ];
    bench.agree(cases).await
}

async fn check_and_run_agree_on_variables_of_the_server(bed: Bed) -> Outcome {
    let maria = bed.version().starts_with("mariadb");
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let bench = Bench::of(&mysqld)?;
    let minimal = if maria { "NO_LOG" } else { "MINIMAL" };
    // One after the other: they hold for all sessions.
    for (set, name, exit, settings, reset) in [
        (
            format!("binlog_row_metadata = {minimal}"),
            "no metadata",
            UNAVAILABLE,
            &[][..],
            "binlog_row_metadata = FULL",
        ),
        (
            format!("binlog_row_metadata = {minimal}"),
            "no metadata with a fallback",
            STARTS,
            &[("source.schema_fallback", "information_schema")],
            "binlog_row_metadata = FULL",
        ),
        (
            "binlog_format = STATEMENT".to_owned(),
            "statements",
            UNAVAILABLE,
            &[],
            "binlog_format = ROW",
        ),
        (
            "binlog_row_image = MINIMAL".to_owned(),
            "minimal images",
            STARTS,
            &[],
            "binlog_row_image = FULL",
        ),
        ("server_id = 0".to_owned(), "no server id", UNAVAILABLE, &[], "server_id = 1"),
    ] {
        if maria && name == "no server id" {
            continue;
        }
        mysqld.execute(&[format!("SET GLOBAL {set}")]).await?;
        let outcome = bench.agree(vec![case(name, exit, settings)]).await;
        mysqld.execute(&[format!("SET GLOBAL {reset}")]).await?;
        outcome?;
    }
    Ok(())
}
