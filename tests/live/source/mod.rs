//! The source against real servers.

mod login;
pub(crate) mod server;
mod start;
mod stream;

use std::time::Duration;

use binpulse::change::{GtidSet, Position};
use binpulse::mysql::Secret;
use binpulse::source::{Config, Deadlines, Error, Liveness, Replica, Start};

use server::{Server, tls_off};

use crate::suite::Test;

/// The tests below this module.
pub(crate) fn tests() -> Vec<Test> {
    [login::tests(), start::tests(), stream::tests()].into_iter().flatten().collect()
}

pub(crate) const HEARTBEAT: u8 = 27;
pub(crate) const GTID_TAGGED: u8 = 42;
pub(crate) const ANNOTATE_ROWS: u8 = 160;

pub(crate) fn config(server: &Server, user: &str) -> Config {
    Config {
        hosts: vec![server.host()],
        user: user.to_owned(),
        password: Secret::new(format!("{user}-pw")),
        tls: tls_off(),
        stream: "orders".to_owned(),
        server_id: None,
        replica_uuid: None,
        report_host: "binpulse-test".to_owned(),
        report_port: 9187,
        heartbeat_period: Duration::from_millis(250),
        send_timeout: Config::SEND_TIMEOUT,
        deadlines: Deadlines { first_event: Duration::from_secs(30), ..Deadlines::default() },
    }
}

pub(crate) async fn open(config: &Config, start: &Start) -> Replica {
    Replica::connect(config, 0, start, &Liveness::new()).await.expect("a stream")
}

/// The type of every event until the server has no more.
pub(crate) async fn drain(replica: &mut Replica) -> Vec<u8> {
    let mut types = Vec::new();
    loop {
        let event = replica.next().await.expect("an event").expect("the stream goes on");
        if event[4] == HEARTBEAT {
            return types;
        }
        types.push(event[4]);
    }
}

pub(crate) fn is_write(kind: u8) -> bool {
    matches!(kind, 23 | 30)
}

/// As [`drain`], but not before an event of a kind has come.
pub(crate) async fn drain_behind(replica: &mut Replica, kind: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut types = Vec::new();
    while !types.iter().any(|found| kind(*found)) {
        types.extend(drain(replica).await);
    }
    types
}

/// The failure that ends the stream, or `None` for an end in order.
pub(crate) async fn end(replica: &mut Replica) -> Option<Error> {
    loop {
        match replica.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

pub(crate) fn earliest(server: &Server) -> Start {
    if server.name == "mysql-9.7" {
        Start::Gtid(GtidSet::new())
    } else {
        Start::Position(Position::new("binlog.000001", 4))
    }
}

pub(crate) fn set(text: &str) -> GtidSet {
    text.parse().expect("a set")
}

pub(crate) async fn executed(server: &Server) -> GtidSet {
    let rows = server.run(&["SELECT @@GLOBAL.gtid_executed"]).await;
    set(&rows[0].text(0).expect("a set"))
}

pub(crate) const TABLE: &[&str] = &[
    "CREATE DATABASE lab",
    "CREATE TABLE lab.t (id INT PRIMARY KEY AUTO_INCREMENT, body LONGBLOB)",
    "INSERT INTO lab.t (body) VALUES ('a'), ('b')",
];
