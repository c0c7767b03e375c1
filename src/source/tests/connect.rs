//! What a stream's server is told before it is asked for the stream.

use super::server::{Answer, Server, rows};
use crate::binlog::tests::event;
use crate::change::{MariaGtidSet, Position};
use crate::source::{
    Error, Flavor, Liveness, Replica, Start, derive_replica_uuid, derive_server_id,
};

const UUID: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";

fn answers(version: &'static str) -> impl Fn(&str) -> Answer + Send + Sync {
    move |sql| match sql {
        "SELECT @@GLOBAL.server_id, @@GLOBAL.version" => rows(&[["12", version]]),
        "SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode" => rows(&[[UUID, "OFF"]]),
        _ if sql.starts_with("SET ") => Answer::Rows(Vec::new()),
        _ => panic!("asked {sql}"),
    }
}

async fn server(version: &'static str) -> Server {
    let sent = vec![event(30, b"rows", 0, true), event(16, b"12345678", 0, true)];
    Server::start(version, answers(version), |_| 0, sent).await
}

#[tokio::test]
async fn a_mysql_is_told_what_a_replica_tells_it() {
    let server = server("8.0.40").await;
    let start = Start::Position(Position::new("b.000001", 700));
    let (config, liveness) = (server.config(), Liveness::new());
    let mut replica = Replica::connect(&config, 0, &start, &liveness).await.expect("it answers");
    replica.next().await.expect("undamaged").expect("a description");
    let identity = replica.identity();
    let own_id = derive_server_id("orders", UUID, 0);
    let own_uuid = derive_replica_uuid("orders");
    assert_eq!((identity.flavor, identity.version.as_str()), (Flavor::Mysql, "8.0.40"));
    assert_eq!((identity.server_id, identity.connection_id), (12, 7));
    assert_eq!(identity.gtid_mode.as_deref(), Some("OFF"));
    assert_eq!((identity.replica_server_id, identity.replica_uuid), (own_id, own_uuid));
    assert_eq!((identity.name(), identity.secured), (UUID.to_owned(), false));
    drop(replica);
    let heard = server.heard();
    let period = "SET @source_heartbeat_period = 2000000000, @master_heartbeat_period = 2000000000";
    for statement in [
        period.to_owned(),
        format!("SET @replica_uuid = '{own_uuid}', @slave_uuid = '{own_uuid}'"),
        "SET SESSION net_write_timeout = 3600, SESSION net_read_timeout = 3600".to_owned(),
    ] {
        assert!(heard.contains(&statement), "{statement}: {heard:?}");
    }
    assert!(heard.iter().any(|sql| sql.contains("@source_binlog_checksum")));
    assert!(!heard.iter().any(|sql| sql.contains("mariadb") || sql.contains("connect_state")));
    let registered = heard.iter().position(|sql| sql.starts_with("REGISTER")).expect("it is");
    assert_eq!(registered, heard.len() - 2, "{heard:?}");
    assert!(heard[heard.len() - 1].starts_with("DUMP b.000001 [18, 188, 2, 0, 0"), "{heard:?}");
}

#[tokio::test]
async fn a_mariadb_is_told_its_own() {
    let server = server("11.4.2-MariaDB").await;
    let position: MariaGtidSet = "0-1-100".parse().expect("a position");
    let mut config = server.config();
    (config.server_id, config.replica_uuid) = (Some(99), Some(derive_replica_uuid("other")));
    let replica = Replica::connect(&config, 0, &Start::Maria(position), &Liveness::new()).await;
    let replica = replica.expect("it answers");
    let identity = replica.identity();
    assert_eq!(identity.name(), "mariadb-12");
    assert_eq!(identity.replica_server_id, 99);
    assert_eq!(identity.replica_uuid, derive_replica_uuid("other"));
    let heard = server.heard();
    for statement in [
        "SET @mariadb_slave_capability = 4",
        "SET @slave_connect_state = '0-1-100'",
        "SET @slave_gtid_strict_mode = 0",
        "SET @slave_gtid_ignore_duplicates = 0",
    ] {
        assert!(heard.iter().any(|sql| sql == statement), "{statement}: {heard:?}");
    }
}

#[tokio::test]
async fn a_stream_is_alive_from_its_first_event_to_its_end() {
    let server = server("8.0.40").await;
    let (config, liveness) = (server.config(), Liveness::new());
    let start = Start::Position(Position::new("b.000001", 4));
    let mut replica = Replica::connect(&config, 0, &start, &liveness).await.expect("it answers");
    assert!(!liveness.is_connected() && !replica.buffered());
    assert_eq!((liveness.bytes(), liveness.last_byte()), (0, None));
    let mut lengths = Vec::new();
    let mut types = Vec::new();
    while let Some(event) = replica.next().await.expect("undamaged") {
        types.push(event[4]);
        lengths.push(event.len() as u64 + 5);
        assert!(liveness.is_connected() && !liveness.is_armed());
        assert!(liveness.last_byte().is_some());
    }
    assert_eq!(types, [15, 30, 16]);
    // With the packets' heads and marks, and the end
    assert_eq!(liveness.bytes(), lengths.iter().sum::<u64>() + 9);
    assert!(!liveness.is_connected());
    assert!(replica.next().await.expect("ended").is_none());
    assert!(replica.next_buffered().expect("ended").is_none());
    // Another one that is dropped in the middle
    let mut replica = Replica::connect(&config, 0, &start, &liveness).await.expect("it answers");
    replica.next().await.expect("undamaged").expect("a description");
    assert!(liveness.is_connected());
    drop(replica);
    assert!(!liveness.is_connected());
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    for (asked, answer) in [
        ("server_id, @@GLOBAL.version", rows(&[["twelve", "8.0.40"]])),
        ("server_id, @@GLOBAL.version", rows(&[["12"]])),
        ("server_id, @@GLOBAL.version", Answer::Rows(Vec::new())),
        ("server_uuid", rows(&[[UUID]])),
    ] {
        let given = answer.clone();
        let server = Server::answering("8.0.40", move |sql| {
            if sql.contains(asked) { given.clone() } else { answers("8.0.40")(sql) }
        });
        let start = Start::Position(Position::new("b.000001", 4));
        let config = server.await.config();
        let error = Replica::connect(&config, 0, &start, &Liveness::new()).await;
        let error = error.expect_err("no answer");
        assert!(matches!(error, Error::Protocol { .. }), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn what_lies_before_a_wide_offset_is_skipped_but_for_descriptions() {
    let server = server("11.4.2-MariaDB").await;
    let start = Start::Position(Position::new("b.000001", 5 << 32));
    let config = server.config();
    let replica = Replica::connect(&config, 0, &start, &Liveness::new()).await;
    let mut replica = replica.expect("it answers");
    let mut types = Vec::new();
    while let Some(event) = replica.next().await.expect("undamaged") {
        types.push(event[4]);
    }
    assert_eq!(types, [15]);
}

#[tokio::test]
async fn a_set_is_asked_for_in_its_binary_form() {
    let server = Server::start(
        "8.0.40",
        |sql| match sql {
            "SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode" => rows(&[[UUID, "ON"]]),
            _ => answers("8.0.40")(sql),
        },
        |_| 0,
        Vec::new(),
    );
    let server = server.await;
    let set: crate::change::GtidSet = format!("{UUID}:1-5").parse().expect("a set");
    let (config, start) = (server.config(), Start::Gtid(set.clone()));
    let replica = Replica::connect(&config, 0, &start, &Liveness::new()).await;
    let mut replica = replica.expect("it answers");
    replica.next().await.expect("undamaged").expect("a description");
    let set = set.encode();
    let id = derive_server_id("orders", UUID, 0).to_le_bytes();
    let length = u32::try_from(set.len()).expect("short").to_le_bytes();
    let front = [&[0x1e, 4, 0][..], &id, &[0; 4], &4_u64.to_le_bytes(), &length].concat();
    let expected = format!("DUMP  {:?}", [front, set].concat());
    assert_eq!(server.heard().last(), Some(&expected));
}
