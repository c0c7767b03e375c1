//! The source against real servers.

use std::time::{Duration, Instant};

use binpulse::change::{GtidSet, Position};
use binpulse::mysql::{Secret, Session, TlsMode};
use binpulse::source::preflight::{Demands, Severity, collect, judge};
use binpulse::source::resume::{Saved, Wanted, resolve, resolve_any};
use binpulse::source::{
    Captured, Config, Deadlines, Error, Flavor, Halt, Liveness, Recovery, Refusal, Replica, Start,
};

use super::source_server::{ALL, Server, gtid_options, tls, tls_off};

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
    if server.name == "mysql-9.7" {
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

#[tokio::test(flavor = "multi_thread")]
async fn every_version_streams_checked_events_from_the_earliest_to_its_heartbeat() {
    for name in ALL {
        let server = Server::start(name, gtid_options(name)).await;
        server.run(TABLE).await;
        // An event of three protocol packets; 5.6 limits a row to a tenth of its redo log
        let bytes = if name == "mysql-5.6" { 5_000_000 } else { 40_000_000 };
        server.run(&[&format!("INSERT INTO lab.t (body) VALUES (REPEAT('x', {bytes}))")]).await;
        server.run(&["FLUSH LOGS", "INSERT INTO lab.t (body) VALUES ('c')"]).await;

        let config = config(&server, "rep");
        let resolved = resolve(&config, 0, &Wanted::Earliest).await.expect(name);
        let liveness = Liveness::new();
        let mut replica =
            Replica::connect(&config, 0, &resolved.start, &liveness).await.expect(name);
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
        println!("ran on {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_files_hold_the_events_that_were_streamed() {
    for name in ALL {
        let server = Server::start(name, gtid_options(name)).await;
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
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tls_mode_asks_for_what_it_says() {
    let server = Server::start("mysql-9.7", &[]).await;
    let stranger = Server::start("mysql-9.7", &[]).await;
    let bare = Server::start("mysql-9.7", &["--tls-version="]).await;
    let (good, wrong) = (Some(server.ca_file()), Some(stranger.ca_file()));
    for (mode, ca_file, works, secured) in [
        (TlsMode::Off, None, true, false),
        (TlsMode::Preferred, None, true, true),
        (TlsMode::Required, None, true, true),
        (TlsMode::VerifyCa, good.clone(), true, true),
        (TlsMode::VerifyCa, wrong.clone(), false, false),
        // A server's own certificate carries no host name.
        (TlsMode::VerifyIdentity, good, false, false),
        (TlsMode::VerifyIdentity, wrong, false, false),
    ] {
        let mut config = config(&server, "rep");
        config.tls = tls(mode, ca_file);
        let stream = Replica::connect(&config, 0, &earliest(&server), &Liveness::new()).await;
        let session = Session::connect(&config.session(0).expect("a host")).await;
        assert_eq!(stream.is_ok(), works, "{mode}: {:?}", stream.err().map(|e| e.to_string()));
        assert_eq!(session.is_ok(), works, "{mode}: {:?}", session.err().map(|e| e.to_string()));
        if let (Ok(mut stream), Ok(mut session)) = (stream, session) {
            assert_eq!(stream.identity().secured, secured, "{mode}");
            assert!(!drain(&mut stream).await.is_empty());
            let row = session.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await;
            let cipher = row.expect("a row").expect("a row").text(1).unwrap_or_default();
            assert_eq!(!cipher.is_empty(), secured, "{mode}: {cipher}");
        }
    }

    // Given a server without TLS, preferred goes on in the clear, and required refuses
    for (mode, works) in [(TlsMode::Preferred, true), (TlsMode::Required, false)] {
        let mut config = config(&bare, "rep");
        config.tls = tls(mode, None);
        let stream = Replica::connect(&config, 0, &earliest(&bare), &Liveness::new()).await;
        let session = Session::connect(&config.session(0).expect("a host")).await;
        assert_eq!((stream.is_ok(), session.is_ok()), (works, works), "{mode}");
        if let Err(error) = stream {
            assert!(matches!(error, Error::TlsUnavailable { .. }), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let server = Server::start("mysql-9.7", &[]).await;
    server
        .run(&[
            "CREATE USER 'x'@'%' IDENTIFIED BY 'x-pw' REQUIRE X509",
            "GRANT REPLICATION SLAVE ON *.* TO 'x'@'%'",
        ])
        .await;
    let mut config = config(&server, "x");
    config.tls = tls(TlsMode::Required, None);
    let refused = Replica::connect(&config, 0, &earliest(&server), &Liveness::new()).await;
    assert!(refused.is_err());
    config.tls = binpulse::mysql::TlsConfig {
        mode: TlsMode::VerifyCa,
        ca_file: Some(server.ca_file()),
        client_certificate_file: Some(server.data.join("client-cert.pem")),
        client_key_file: Some(server.data.join("client-key.pem")),
    }
    .load()
    .expect("the server's files");
    open(&config, &earliest(&server)).await;
    Session::connect(&config.session(0).expect("a host")).await.expect("a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_proven_with_and_without_tls() {
    let server = Server::start("mysql-8.0", gtid_options("mysql-8.0")).await;
    for (user, plugin) in [
        ("caching", "caching_sha2_password"),
        ("sha", "sha256_password"),
        ("native", "mysql_native_password"),
    ] {
        let long = "p".repeat(90);
        let create = format!("CREATE USER {user} IDENTIFIED WITH {plugin} BY '{long}'");
        let grant = format!("GRANT REPLICATION SLAVE ON *.* TO {user}");
        for mode in [TlsMode::Off, TlsMode::Required] {
            server.run(&[&format!("DROP USER IF EXISTS {user}"), &create, &grant]).await;
            let mut config = config(&server, user);
            config.password = Secret::new(long.as_str());
            config.tls = tls(mode, None);
            // The first login takes the long way, the second is known to the server's cache.
            for _ in 0..2 {
                open(&config, &earliest(&server)).await;
            }
            config.password = Secret::new("wrong");
            let error = Replica::connect(&config, 0, &earliest(&server), &Liveness::new())
                .await
                .expect_err("a wrong password");
            let is_denied =
                matches!(error, Error::Refused { refusal: Refusal::AccessDenied, code: 1045, .. });
            assert!(is_denied, "{plugin} {mode}: {error}");
            assert_eq!(error.recovery(), Recovery::Halt(Halt::Denied));
        }
    }
    server
        .run(&["CREATE USER blank IDENTIFIED BY ''", "GRANT REPLICATION SLAVE ON *.* TO blank"])
        .await;
    let mut config = config(&server, "blank");
    config.password = Secret::default();
    open(&config, &earliest(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tagged_transactions_that_we_have_are_not_sent_again() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dump_thread_is_an_end_to_dial_again() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    let config = config(&server, "rep");
    let start = Start::Gtid(executed(&server).await);
    let mut replica = open(&config, &start).await;
    drain(&mut replica).await;
    let id = replica.identity().connection_id;
    server.run(&[&format!("KILL {id}")]).await;
    let error = end(&mut replica).await.expect("no goodbye");
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::Retry);
    assert!(replica.next().await.expect("ended").is_none(), "stays ended");

    let mut replica = open(&config, &start).await;
    drain(&mut replica).await;
    let id = replica.identity().connection_id;
    server.run(&[&format!("KILL QUERY {id}")]).await;
    assert!(end(&mut replica).await.is_none(), "an end in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_noticed_by_its_silence() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    let config = config(&server, "rep");
    let liveness = Liveness::new();
    let start = Start::Gtid(executed(&server).await);
    let mut replica = Replica::connect(&config, 0, &start, &liveness).await.expect("a stream");
    drain(&mut replica).await;
    server.signal("-STOP");
    let frozen = Instant::now();
    // A caller that polls in slices does not starve the deadline
    let error = loop {
        match tokio::time::timeout(Duration::from_millis(100), replica.next()).await {
            Err(_) | Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => panic!("no end in order"),
            Ok(Err(error)) => break error,
        }
    };
    let after = frozen.elapsed();
    // A fresh connect gets as far as the kernel, and its deadline
    let mut impatient = config.clone();
    impatient.deadlines.login = Duration::from_millis(500);
    let dial = Replica::connect(&impatient, 0, &start, &Liveness::new()).await;
    let session = {
        let mut options = impatient.session(0).expect("a host");
        options.connect_timeout = Duration::from_millis(500);
        Session::connect(&options).await
    };
    server.signal("-CONT");
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::Retry);
    assert!(after + Duration::from_millis(300) >= config.silence(), "{after:?}");
    assert!(after < config.silence() + Duration::from_secs(2), "{after:?}");
    assert!(!liveness.is_armed() && !liveness.is_connected());
    let error = dial.expect_err("frozen");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::NextHost);
    assert!(matches!(session, Err(binpulse::mysql::Error::TimedOut { .. })));
    assert!(liveness.last_byte().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_listed_and_a_second_one_of_the_same_stream_fences_the_first() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    let mut config = config(&server, "rep");
    let start = Start::Gtid(executed(&server).await);
    let mut first = open(&config, &start).await;
    drain(&mut first).await;
    let facts = collect(&mut server.session().await).await.expect("facts");
    let [listed] = facts.replicas.as_deref().expect("a list") else { panic!("one replica") };
    let identity = first.identity();
    assert_eq!((listed.host.as_str(), listed.port), ("binpulse-test", 9187));
    assert_eq!(listed.server_id, identity.replica_server_id);
    assert_eq!(listed.uuid, Some(identity.replica_uuid));

    let mut second = open(&config, &start).await;
    drain(&mut second).await;
    let error = end(&mut first).await.expect("thrown out");
    assert!(matches!(error, Error::Refused { refusal: Refusal::Fenced, .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Fenced));

    // Another stream gets along with it
    config.stream = "invoices".to_owned();
    let mut third = open(&config, &start).await;
    drain(&mut third).await;
    drain(&mut second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_and_diverged_positions_are_named_before_and_by_the_stream() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    server.run(TABLE).await;
    let ours = executed(&server).await;
    server.run(&["INSERT INTO lab.t (body) VALUES ('lost')", "FLUSH LOGS"]).await;
    let purge = "PURGE BINARY LOGS TO 'binlog.000002'";
    server.run(&["INSERT INTO lab.t (body) VALUES ('kept')", purge]).await;
    let config = config(&server, "rep");
    let halt = |error: Error| match error.recovery() {
        Recovery::Halt(halt) => halt,
        other @ (Recovery::Retry | Recovery::NextHost) => panic!("{other:?}: {error}"),
    };
    let saved = |gtids| Wanted::Saved(Saved { gtids, ..Saved::default() });

    let error = resolve(&config, 0, &saved(ours.clone())).await.expect_err("purged");
    assert!(matches!(error, Error::Purged { .. }), "{error}");
    assert_eq!(halt(error), Halt::PositionLost);
    let error = end(&mut open(&config, &Start::Gtid(ours)).await).await.expect("purged");
    assert!(matches!(error, Error::Refused { refusal: Refusal::Purged, .. }), "{error}");
    assert_eq!(halt(error), Halt::PositionLost);

    let mut ahead = executed(&server).await;
    let uuid = resolve(&config, 0, &Wanted::Now).await.expect("now").server;
    ahead.union(&set(&format!("{uuid}:900-901")));
    let error = resolve(&config, 0, &saved(ahead.clone())).await.expect_err("diverged");
    assert!(error.to_string().contains(":900-901"), "{error}");
    assert_eq!(halt(error), Halt::Diverged);
    let error = end(&mut open(&config, &Start::Gtid(ahead)).await).await.expect("diverged");
    assert!(matches!(error, Error::Refused { refusal: Refusal::ReplicaAhead, .. }), "{error}");

    for (file, offset, refusal) in [
        ("binlog.000001", 4, Refusal::FileUnknown),
        ("binlog.000002", 1 << 30, Refusal::OffsetImpossible),
        ("binlog.000002", 5 << 32, Refusal::OffsetImpossible),
    ] {
        let start = Start::Position(Position::new(file, offset));
        let error = end(&mut open(&config, &start).await).await.expect("no such place");
        let Error::Refused { refusal: found, message, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, refusal, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_of_the_list_takes_over_when_it_can_serve_our_set() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    let other = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
    server.run(TABLE).await;
    let mut config = config(&server, "rep");
    let gtids = executed(&server).await;
    // Given a dead host, a server without our transactions, and the right one
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = nobody.local_addr().expect("an address").port();
    drop(nobody);
    config.hosts =
        vec![binpulse::mysql::HostPort::new("127.0.0.1", dead), other.host(), server.host()];
    let wanted = Wanted::Saved(Saved { gtids, ..Saved::default() });
    let (host, resolved) = resolve_any(&config, 0, &wanted).await.expect("the third");
    assert_eq!(host, 2);
    let liveness = Liveness::new();
    let mut replica =
        Replica::connect(&config, host, &resolved.start, &liveness).await.expect("a stream");
    drain(&mut replica).await;

    // Without the right one, the dead host leaves hope; without that, the stream ends
    config.hosts.truncate(2);
    let error = resolve_any(&config, 0, &wanted).await.expect_err("nobody");
    assert_eq!(error.recovery(), Recovery::NextHost, "{error}");
    config.hosts.remove(0);
    let error = resolve_any(&config, 0, &wanted).await.expect_err("nobody");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Diverged), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_in_time_starts_in_the_file_that_holds_it() {
    let server = Server::start("mysql-9.7", gtid_options("mysql-9.7")).await;
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
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_tells_its_facts_and_what_is_wrong_with_them() {
    for name in ALL {
        let server = Server::start(name, &[]).await;
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
        println!("{name}:");
        for finding in &findings {
            println!("  {finding}");
        }

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
    }
}
