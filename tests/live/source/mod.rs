//! The source against real servers.

mod access;
mod failures;
mod server;

use std::time::Duration;

use binpulse::change::{GtidSet, Position};
use binpulse::mysql::{Secret, Session};
use binpulse::source::preflight::{Demands, Severity, collect, judge};
use binpulse::source::resume::{Wanted, resolve};
use binpulse::source::{
    Captured, Config, Deadlines, Error, Flavor, Halt, Liveness, Recovery, Replica, Start,
};

use self::server::{Server, gtid_options, tls_off};
use crate::bed::Bed;
use crate::suite::{Outcome, Test, tests};

/// The tests of this module and those below it.
pub(crate) fn all_tests() -> Vec<Test> {
    [tests(), access::tests(), failures::tests()].into_iter().flatten().collect()
}

tests! {
    every_version_streams_checked_events_from_the_earliest_to_its_heartbeat on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    captured_files_hold_the_events_that_were_streamed on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    tagged_transactions_that_we_have_are_not_sent_again on [Mysql97];
    a_point_in_time_starts_in_the_file_that_holds_it on [Mysql97];
    every_version_tells_its_facts_and_what_is_wrong_with_them on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
}

const HEARTBEAT: u8 = 27;
const GTID_TAGGED: u8 = 42;
const ANNOTATE_ROWS: u8 = 160;

fn config(server: &Server, user: &str) -> Config {
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

async fn open(config: &Config, start: &Start) -> Replica {
    Replica::connect(config, 0, start, &Liveness::new()).await.expect("a stream")
}

/// The type of every event until the server has no more.
async fn drain(replica: &mut Replica) -> Vec<u8> {
    let mut types = Vec::new();
    loop {
        let event = replica.next().await.expect("an event").expect("the stream goes on");
        if event[4] == HEARTBEAT {
            return types;
        }
        types.push(event[4]);
    }
}

fn is_write(kind: u8) -> bool {
    matches!(kind, 23 | 30)
}

/// As [`drain`], but not before an event of a kind has come.
async fn drain_behind(replica: &mut Replica, kind: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut types = Vec::new();
    while !types.iter().any(|found| kind(*found)) {
        types.extend(drain(replica).await);
    }
    types
}

/// The failure that ends the stream, or `None` for an end in order.
async fn end(replica: &mut Replica) -> Option<Error> {
    loop {
        match replica.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn earliest(server: &Server) -> Start {
    if server.is_mysql(9, 0) {
        Start::Gtid(GtidSet::new())
    } else {
        Start::Position(Position::new("binlog.000001", 4))
    }
}

fn set(text: &str) -> GtidSet {
    text.parse().expect("a set")
}

async fn executed(server: &Server) -> GtidSet {
    let rows = server.run(&["SELECT @@GLOBAL.gtid_executed"]).await;
    set(&rows[0].text(0).expect("a set"))
}

const TABLE: &[&str] = &[
    "CREATE DATABASE lab",
    "CREATE TABLE lab.t (id INT PRIMARY KEY AUTO_INCREMENT, body LONGBLOB)",
    "INSERT INTO lab.t (body) VALUES ('a'), ('b')",
];

async fn every_version_streams_checked_events_from_the_earliest_to_its_heartbeat(
    bed: Bed,
) -> Outcome {
    let name = bed.server().name.as_str();
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    // An event of three protocol packets; 5.6 limits a row to a tenth of its redo log
    let bytes = if name == "mysql-5.6" { 5_000_000 } else { 40_000_000 };
    server.run(&[&format!("INSERT INTO lab.t (body) VALUES (REPEAT('x', {bytes}))")]).await;
    server.run(&["FLUSH LOGS", "INSERT INTO lab.t (body) VALUES ('c')"]).await;

    let config = config(&server, "rep");
    let resolved = resolve(&config, 0, &Wanted::Earliest).await.expect(name);
    let liveness = Liveness::new();
    let mut replica = Replica::connect(&config, 0, &resolved.start, &liveness).await.expect(name);
    assert_eq!(replica.identity().name(), resolved.server, "{name}");
    let types = drain_behind(&mut replica, is_write).await;
    let writes = types.iter().filter(|kind| is_write(**kind)).count();
    assert_eq!(writes, 3, "{name}: {types:?}");
    let descriptions = types.split(|kind| *kind == 15).count() - 1;
    assert!(descriptions >= 2, "{name}: {types:?}");
    assert!(liveness.bytes() > bytes && liveness.is_connected(), "{name}");

    // And goes on from now
    let now = resolve(&config, 0, &Wanted::Now).await.expect(name);
    drop(replica);
    let mut replica = open(&config, &now.start).await;
    drain(&mut replica).await;
    server.run(&["INSERT INTO lab.t (body) VALUES ('d')"]).await;
    let types = drain_behind(&mut replica, is_write).await;
    let writes = types.iter().filter(|kind| is_write(**kind)).count();
    assert_eq!(writes, 1, "{name}: {types:?}");
    Ok(())
}

async fn captured_files_hold_the_events_that_were_streamed(bed: Bed) -> Outcome {
    let name = bed.server().name.as_str();
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    server.run(&["FLUSH LOGS"]).await;
    let mut captured =
        Captured::open_path(&server.data.join("binlog.000001")).expect("a binlog file");
    let mut from_file = Vec::new();
    while let Some(event) = captured.next().expect("an event") {
        // MariaDB sends the statement's text only on request.
        if event[4] != ANNOTATE_ROWS {
            from_file.push(event.to_vec());
        }
    }

    let start = Start::Position(Position::new("binlog.000001", 4));
    let mut replica = open(&config(&server, "rep"), &start).await;
    let mut streamed = Vec::new();
    while streamed.len() < from_file.len() {
        let event = replica.next().await.expect("an event").expect("goes on").to_vec();
        let artificial = binpulse::source::checksum::is_artificial(&event);
        if !artificial {
            streamed.push(event);
        }
    }
    // The description of a file in use has a flag that was not streamed.
    assert_eq!(streamed[0][4], 15, "{name}");
    assert!(streamed[1..] == from_file[1..], "{name}");
    Ok(())
}

async fn tagged_transactions_that_we_have_are_not_sent_again(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    let tagged = ["SET gtid_next = 'AUTOMATIC:probe'", "INSERT INTO lab.t (body) VALUES ('t')"];
    server.run(&tagged).await;
    let all = executed(&server).await;
    assert!(all.is_tagged(), "{all}");
    let untagged: GtidSet = {
        let rest = all.to_string();
        let (before, _) = rest.split_once(":probe").expect("a tag");
        set(before)
    };
    let config = config(&server, "rep");
    let count = |types: Vec<u8>| types.into_iter().filter(|kind| *kind == GTID_TAGGED).count();
    let mut replica = open(&config, &Start::Gtid(untagged)).await;
    assert_eq!(count(drain_behind(&mut replica, is_write).await), 1);
    let mut replica = open(&config, &Start::Gtid(all)).await;
    for _ in 0..3 {
        assert_eq!(count(drain(&mut replica).await), 0);
    }
    server.run(&tagged).await;
    assert_eq!(count(drain_behind(&mut replica, is_write).await), 1);

    // And the server's own list in the file is the same set in binary form
    server.run(&["FLUSH LOGS"]).await;
    let mut captured = Captured::open_path(&server.data.join("binlog.000002")).expect("a file");
    captured.next().expect("the description");
    let previous = captured.next().expect("an event").expect("the previous GTIDs");
    assert_eq!(previous[4], 35);
    let listed = GtidSet::decode(&previous[19..previous.len() - 4]).expect("a set");
    assert_eq!(listed, executed(&server).await);
    Ok(())
}

async fn a_point_in_time_starts_in_the_file_that_holds_it(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    let mut times = Vec::new();
    for _ in 0..4 {
        let statements = [
            "FLUSH LOGS",
            "DO SLEEP(3.1)",
            "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
        ];
        let rows = server.run(&statements).await;
        times.push(rows[0].signed(0).expect("a number").expect("a time"));
    }
    let config = config(&server, "rep");
    for (index, time) in times.into_iter().enumerate() {
        let resolved = resolve(&config, 0, &Wanted::Time(time)).await.expect("a start");
        let file = format!("binlog.{:06}", index + 2);
        assert_eq!(resolved.start, Start::Position(Position::new(file, 4)));
        assert_eq!(resolved.skip_until_us, Some(time));
    }
    // Before everything: the first file, as nothing was purged; after a purge an error
    let resolved = resolve(&config, 0, &Wanted::Time(1)).await.expect("a start");
    assert_eq!(resolved.start, Start::Position(Position::new("binlog.000001", 4)));
    server.run(&["PURGE BINARY LOGS TO 'binlog.000003'"]).await;
    let error = resolve(&config, 0, &Wanted::Time(1)).await.expect_err("purged");
    assert!(matches!(error, Error::TooOld { asked: 1, .. }), "{error}");
    Ok(())
}

async fn every_version_tells_its_facts_and_what_is_wrong_with_them(bed: Bed) -> Outcome {
    let name = bed.server().name.as_str();
    let server = Server::start(&bed, &[]).await;
    let mut session = Session::connect(&server.options("rep")).await.expect(name);
    let facts = collect(&mut session).await.expect(name);
    assert_eq!(facts.flavor == Flavor::Maria, server.is_maria(), "{name}");
    assert_eq!(facts.server_id(), 1, "{name}");
    assert_eq!(facts.server_uuid().is_none(), server.is_maria(), "{name}");
    assert!(facts.binlogs.as_ref().is_ok_and(|files| !files.is_empty()), "{name}: {facts:?}");
    let grants = facts.grants.as_ref().expect(name);
    assert!(grants.has("REPLICATION SLAVE") && !grants.has("SUPER"), "{name}: {grants:?}");
    let findings = judge(&facts, &Demands::default());
    // MINIMAL is every server's default.
    let metadata = findings.iter().find(|finding| finding.what == "binlog_row_metadata");
    assert_eq!(metadata.map(|finding| finding.severity), Some(Severity::Refuse), "{name}");

    let mut session = Session::connect(&server.options("weak")).await.expect(name);
    let facts = collect(&mut session).await.expect(name);
    let findings = judge(&facts, &Demands::default());
    for privilege in ["REPLICATION SLAVE", "REPLICATION CLIENT"] {
        let finding = findings.iter().find(|finding| finding.what == privilege);
        let mend = format!("GRANT {privilege} ON *.* TO 'weak'@'%';");
        assert_eq!(finding.map(|finding| finding.mend.as_str()), Some(mend.as_str()), "{name}");
    }
    // And the stream is refused with a name
    let start = Start::Position(Position::new("binlog.000001", 4));
    let stream = Replica::connect(&config(&server, "weak"), 0, &start, &Liveness::new()).await;
    let error = match stream {
        Err(error) => error,
        Ok(mut stream) => end(&mut stream).await.expect("refused"),
    };
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Denied), "{name}: {error}");
    Ok(())
}
