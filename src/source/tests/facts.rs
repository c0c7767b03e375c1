//! Facts: each fact is asked for as the version knows it, and unknown alone where it is refused.

use std::time::Duration;

use super::server::{Answer, Server, rows};
use crate::change::Uuid;
use crate::mysql::Error;
use crate::source::preflight::{BinlogFile, Facts, Logged, OtherReplica, collect};
use crate::source::retention::{Retention, rds_hours};
use crate::source::upstream::Replicates;
use crate::source::{Flavor, Upstream, retention, upstream};

const UUID: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
const OTHER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// A MySQL of today, one of RDS's.
fn mysql(sql: &str) -> Answer {
    let owned = format!("{UUID}:23#10:25#11");
    match sql {
        "SELECT @@GLOBAL.version, CURRENT_USER()" => rows(&[["9.7.4-log", "binpulse@%"]]),
        "SELECT CURRENT_ROLE()" => rows(&[["`reader`@`%`"]]),
        "SHOW GRANTS FOR CURRENT_USER() USING `reader`@`%`" => {
            rows(&[["GRANT REPLICATION SLAVE ON *.* TO `binpulse`@`%`"]])
        }
        "SHOW GRANTS" => rows(&[["GRANT USAGE ON *.* TO `binpulse`@`%`"]]),
        "SHOW REPLICAS" => rows(&[["7", "host", "3306", "1", OTHER]]),
        "SHOW SLAVE HOSTS" => rows(&[["8", "host", "user", "password", "3307", "1", OTHER]]),
        "SHOW BINARY LOGS" => rows(&[["b.000007", "500", "No"], ["b.000008", "154", "No"]]),
        "SHOW BINARY LOG STATUS" => rows(&[["b.000008", "154", "shop, hr", "", ""]]),
        "SHOW MASTER STATUS" => rows(&[["b.000008", "154", "", "mysql,test", ""]]),
        "SHOW REPLICA STATUS" => {
            let names = vec!["Replica_IO_Running", "Replica_SQL_Running", "Replicate_Do_DB"];
            let row = ["Yes", "Yes", "shop"].map(|text| Some(text.to_owned()));
            Answer::Named(names, vec![row.to_vec()])
        }
        _ if sql.starts_with("SHOW GLOBAL VARIABLES") => {
            rows(&[["GTID_MODE", "ON"], ["server_uuid", UUID], ["server_id", "12"]])
        }
        _ if sql.contains("gtid_owned") => {
            let (executed, purged) = (format!("{UUID}:1-20"), format!("{UUID}:1-9"));
            rows(&[[owned.as_str(), &executed, &purged]])
        }
        _ if sql.contains("rds_configuration") => rows(&[["72"]]),
        _ => panic!("asked {sql}"),
    }
}

async fn collected(server: &Server) -> Result<Facts, Error> {
    collect(&mut server.session().await).await
}

#[tokio::test]
async fn every_fact_of_a_mysql_is_asked_for() {
    let facts = collected(&Server::answering("9.7.4", mysql).await).await.expect("answers");
    assert_eq!((facts.flavor, facts.version.as_str()), (Flavor::Mysql, "9.7.4-log"));
    assert_eq!(facts.account, "binpulse@%");
    assert_eq!(facts.variable("gtid_mode"), Some("ON"));
    assert!(facts.has_gtids());
    assert_eq!(facts.server_name(), UUID);
    assert!(facts.grants.expect("told").has("REPLICATION SLAVE"));
    let uuid = Some(OTHER.parse::<Uuid>().expect("a UUID"));
    let other_replica = OtherReplica { server_id: 7, host: "host".to_owned(), port: 3306, uuid };
    assert_eq!(facts.replicas, Ok(vec![other_replica]));
    let file = |name: &str, bytes| BinlogFile { name: name.to_owned(), bytes };
    assert_eq!(facts.binlogs, Ok(vec![file("b.000007", 500), file("b.000008", 154)]));
    let only = ["shop", "hr"].map(str::to_owned).to_vec();
    assert_eq!(facts.logged, Logged { only, not: Vec::new() });
    assert_eq!(facts.rds_hours, Some(Some(72)));
    let filters = vec![("replicate-do-db", vec!["shop".to_owned()])];
    assert_eq!(facts.replicates, Some(Replicates { filters }));
    assert_eq!(facts.gtid_executed.to_string(), format!("{UUID}:1-20"));
    assert_eq!(facts.gtid_owned.to_string(), format!("{UUID}:23:25"));
    assert_eq!(facts.gtid_purged.to_string(), format!("{UUID}:1-9"));
    assert!(facts.maria_position.is_empty());
}

#[tokio::test]
async fn older_servers_are_asked_in_their_words() {
    let server = Server::answering("5.7.44", |sql| match sql {
        "SHOW REPLICAS" | "SHOW BINARY LOG STATUS" | "SELECT CURRENT_ROLE()" => Answer::Refused,
        _ if sql.contains("rds_configuration") => Answer::Refused,
        _ => mysql(sql),
    });
    let facts = collected(&server.await).await.expect("answers");
    let uuid = Some(OTHER.parse::<Uuid>().expect("a UUID"));
    let other_replica = OtherReplica { server_id: 8, host: "host".to_owned(), port: 3307, uuid };
    assert_eq!(facts.replicas, Ok(vec![other_replica]));
    let not = ["mysql", "test"].map(str::to_owned).to_vec();
    assert_eq!(facts.logged, Logged { only: Vec::new(), not });
    assert_eq!(facts.rds_hours, None);
    assert!(!facts.grants.expect("told").has("REPLICATION SLAVE"));
}

#[tokio::test]
async fn an_account_without_roles_is_asked_for_its_own_grants() {
    let server = Server::answering("8.0.40", |sql| match sql {
        "SELECT CURRENT_ROLE()" => rows(&[["NONE"]]),
        "SHOW GRANTS" => rows(&[["GRANT REPLICATION CLIENT ON *.* TO `binpulse`@`%`"]]),
        _ => mysql(sql),
    });
    let server = server.await;
    let facts = collected(&server).await.expect("answers");
    assert!(facts.grants.expect("told").has("REPLICATION CLIENT"));
    assert!(!server.heard().iter().any(|sql| sql.contains("USING")));
}

#[tokio::test]
async fn every_fact_of_a_mariadb_is_asked_for() {
    let server = Server::answering("11.4.2-MariaDB", |sql| match sql {
        "SELECT @@GLOBAL.version, CURRENT_USER()" => rows(&[["11.4.2-MariaDB-log", "u@h"]]),
        "SELECT @@GLOBAL.gtid_binlog_pos" => rows(&[["0-1-100,1-1-5"]]),
        "SHOW BINARY LOG STATUS" | "SHOW ALL SLAVES STATUS" => Answer::Refused,
        _ if sql.starts_with("SHOW GLOBAL VARIABLES") => rows(&[["server_id", "12"]]),
        _ if sql.contains("rds_configuration") => Answer::Refused,
        _ if sql.contains("gtid_owned") => panic!("a MariaDB has no such variable"),
        _ => mysql(sql),
    });
    let facts = collected(&server.await).await.expect("answers");
    assert_eq!(facts.flavor, Flavor::Maria);
    assert_eq!(facts.server_name(), "mariadb-12");
    assert_eq!(facts.maria_position.to_string(), "0-1-100,1-1-5");
    assert!(facts.gtid_executed.is_empty() && !facts.has_gtids());
}

/// Questions that are asked again in other words, where the first are refused.
const TWICE: [&str; 3] = ["SHOW REPLICAS", "SHOW BINARY LOG STATUS", "SHOW GRANTS FOR"];

#[tokio::test]
async fn what_is_refused_is_unknown_and_nothing_else_and_a_lost_session_is_an_error() {
    let server = Server::answering("9.7.4", mysql).await;
    let good = collected(&server).await.expect("answers");
    for question in server.heard() {
        let asked = question.clone();
        let lost = Server::answering(
            "9.7.4",
            move |sql| {
                if sql == asked { Answer::Gone } else { mysql(sql) }
            },
        );
        let lost = collected(&lost.await).await;
        assert!(lost.as_ref().is_err_and(Error::is_fatal), "{question}: {lost:?}");
        let asked = question.clone();
        let refusing =
            Server::answering(
                "9.7.4",
                move |sql| {
                    if sql == asked { Answer::Refused } else { mysql(sql) }
                },
            );
        let facts = collected(&refusing.await).await;
        if question.starts_with("SHOW GLOBAL VARIABLES") || question.contains("version") {
            assert!(facts.is_err(), "{question}");
            continue;
        }
        let facts = facts.expect("the rest is known");
        // What may differ is taken from the good ones, then all must be as there.
        let mut same = facts.clone();
        if question.contains("ROLE") || question.starts_with("SHOW GRANTS") {
            assert!(!facts.grants.expect("asked again").has("REPLICATION SLAVE"), "{question}");
            same.grants.clone_from(&good.grants);
        } else if question == "SHOW REPLICAS" {
            assert_eq!(facts.replicas.expect("asked again").len(), 1, "{question}");
            same.replicas.clone_from(&good.replicas);
        } else if question == "SHOW BINARY LOG STATUS" {
            assert_eq!(facts.logged.not.len(), 2, "{question}");
            same.logged.clone_from(&good.logged);
        } else if question == "SHOW REPLICA STATUS" {
            assert_eq!(facts.replicates, None);
            same.replicates.clone_from(&good.replicates);
        } else if question == "SHOW BINARY LOGS" {
            assert!(facts.binlogs.expect_err("unknown").contains("You may not"), "{question}");
            same.binlogs.clone_from(&good.binlogs);
        } else if question.contains("gtid_owned") {
            assert!(facts.gtid_executed.is_empty(), "{question}");
            same.gtid_executed.clone_from(&good.gtid_executed);
            same.gtid_owned.clone_from(&good.gtid_owned);
            same.gtid_purged.clone_from(&good.gtid_purged);
        } else {
            assert!(question.contains("rds_configuration"), "{question}");
            assert_eq!(facts.rds_hours, None);
            same.rds_hours = good.rds_hours;
        }
        assert_eq!(same, good, "{question}");
    }
    // Both ways of asking
    let server = Server::answering("9.7.4", |sql| {
        let is_refused = TWICE.iter().any(|words| sql.starts_with(words));
        match sql {
            _ if is_refused => Answer::Refused,
            "SHOW SLAVE HOSTS" | "SHOW MASTER STATUS" | "SHOW GRANTS" => Answer::Refused,
            _ => mysql(sql),
        }
    });
    let facts = collected(&server.await).await.expect("the rest is known");
    assert!(facts.replicas.is_err() && facts.grants.is_err());
    assert_eq!(facts.logged, Logged::default());
}

#[tokio::test]
async fn a_set_that_is_none_is_an_error() {
    let server = Server::answering("9.7.4", |sql| match sql {
        _ if sql.contains("gtid_owned") => rows(&[["", "what", ""]]),
        _ => mysql(sql),
    });
    let error = collected(&server.await).await.expect_err("no set");
    assert!(error.to_string().contains("what"), "{error}");
}

#[test]
fn facts_are_read_out_of_variables() {
    let mut facts = crate::source::preflight::tests::good();
    let mut with = |name: &str, value: &str| {
        facts.variables.insert(name.to_owned(), value.to_owned());
        facts.clone()
    };
    for (value, is_on) in [("ON", true), ("1", true), ("YES", true), ("OFF", false), ("0", false)] {
        assert_eq!(with("log_bin", value).is_on("log_bin"), Some(is_on), "{value}");
    }
    assert!(!with("basedir", "/usr/").is_rds());
    assert!(with("basedir", "/rdsdbbin/mysql-8.0/").is_rds());
    assert_eq!(with("server_id", "4294967295").server_id(), u32::MAX);
    assert_eq!(facts.is_on("nothing"), None);
    for (version, numbers) in [
        ("9.7.4", [9, 7, 4]),
        ("5.7.44-log", [5, 7, 44]),
        ("5.5.5-10.11.18-MariaDB-0+deb12u1", [10, 11, 18]),
        ("8.0", [8, 0, 0]),
        ("", [0, 0, 0]),
    ] {
        facts.version = version.to_owned();
        assert_eq!(facts.version_numbers(), numbers, "{version}");
    }
    facts.variables.clear();
    assert_eq!((facts.server_id(), facts.server_uuid()), (0, None));
    assert!(!facts.is_rds());
    facts.rds_hours = Some(None);
    assert!(facts.is_rds());
}

#[tokio::test]
async fn what_is_kept_is_what_rds_says_or_else_the_variables() {
    let day = Duration::from_hours(24);
    for (hours, expected) in [
        (rows(&[["48"]]), Some(2 * day)),
        (rows(&[[" 24 "]]), Some(day)),
        (Answer::Rows(vec![vec![None]]), Some(Duration::ZERO)),
        (Answer::Rows(Vec::new()), Some(7 * day)),
        (Answer::Refused, Some(7 * day)),
    ] {
        let told = hours.clone();
        let server = Server::answering("8.0.40", move |sql| match sql {
            "SHOW BINARY LOGS" => rows(&[["b.000007", "500"], ["b.000008", "154"]]),
            _ if sql.contains("rds_configuration") => told.clone(),
            _ => rows(&[["expire_logs_days", "7"], ["binlog_expire_logs_seconds", "0"]]),
        });
        let server = server.await;
        let found = retention(&mut server.session().await).await.expect("answers");
        let logs = ["b.000007", "b.000008"].map(str::to_owned).to_vec();
        assert_eq!(found, Retention { expires_after: expected, logs }, "{hours:?}");
    }
    let gone = Server::answering("8.0.40", |_| Answer::Gone).await;
    assert!(rds_hours(&mut gone.session().await).await.is_err());
}

#[tokio::test]
async fn upstreams_are_asked_for_in_the_words_of_the_version() {
    const NAMES: [&str; 6] = [
        "Connection_name",
        "Channel_Name",
        "Slave_IO_Running",
        "Slave_SQL_Running",
        "Last_IO_Error",
        "Last_SQL_Error",
    ];
    for (flavor, version, words) in [
        (Flavor::Mysql, (9, 7, 4), "SHOW REPLICA STATUS"),
        (Flavor::Mysql, (8, 0, 22), "SHOW REPLICA STATUS"),
        (Flavor::Mysql, (8, 0, 21), "SHOW SLAVE STATUS"),
        (Flavor::Maria, (11, 8, 2), "SHOW ALL SLAVES STATUS"),
    ] {
        for (read_only, expected) in
            [("0", Upstream::Left), ("OFF", Upstream::Left), ("1", stopped()), ("ON", stopped())]
        {
            let server = Server::answering("x", move |sql| match sql {
                "SELECT @@global.read_only" => rows(&[[read_only]]),
                _ if sql == words => {
                    let row = ["", "", "No", "No", "", ""].map(|text| Some(text.to_owned()));
                    Answer::Named(NAMES.to_vec(), vec![row.to_vec()])
                }
                _ => panic!("asked {sql}"),
            });
            let server = server.await;
            let found = upstream(&mut server.session().await, flavor, version).await;
            assert_eq!(found.expect("answers"), expected, "{words} {read_only}");
        }
        let server = Server::answering("x", |_| Answer::Named(NAMES.to_vec(), Vec::new())).await;
        let found = upstream(&mut server.session().await, flavor, version).await;
        assert_eq!(found.expect("answers"), Upstream::None, "{words}");
        assert_eq!(server.heard(), [words]);
    }
}

fn stopped() -> Upstream {
    Upstream::Stopped("the applier thread does not run: stopped, without an error".to_owned())
}
