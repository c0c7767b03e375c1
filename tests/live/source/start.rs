//! Facts, and where a stream may begin.

use binpulse::change::{MariaGtid, MariaGtidSet, Position};
use binpulse::mysql::{HostPort, Session};
use binpulse::source::preflight::{Demands, Severity, collect, evaluate};
use binpulse::source::resume::{Saved, Wanted, resolve, resolve_any};
use binpulse::source::{Error, Flavor, Halt, Liveness, Recovery, Replica, ServerErrorKind, Start};

use super::server::{Server, gtid_options};
use super::{TABLE, config, drain, drain_behind, end, executed, is_write, open, set};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    purged_and_diverged_positions_are_named_before_and_by_the_stream on [Mysql97];
    the_next_host_of_the_list_takes_over_when_it_can_serve_our_set on [Mysql97];
    a_point_in_time_starts_in_the_file_that_holds_it on [Mysql97];
    every_version_tells_its_facts_and_what_is_wrong_with_them on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    a_mariadb_goes_on_by_its_own_gtids_and_names_what_is_lost on [Mariadb1011, Mariadb118];
    privileges_by_role_count_and_open_transactions_are_told_from_executed_ones on [Mysql97];
}

async fn purged_and_diverged_positions_are_named_before_and_by_the_stream(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    let ours = executed(&server).await;
    server.run(&["INSERT INTO lab.t (body) VALUES ('lost')", "FLUSH LOGS"]).await;
    let purge = "PURGE BINARY LOGS TO 'binlog.000002'";
    server.run(&["INSERT INTO lab.t (body) VALUES ('kept')", purge]).await;
    let config = config(&server, "rep");
    let halt = |error: Error| match error.recovery() {
        Recovery::Halt(halt) => halt,
        other @ (Recovery::Retry | Recovery::RetryThenHalt(_) | Recovery::NextHost) => {
            panic!("{other:?}: {error}")
        }
    };
    let saved = |gtids| Wanted::Saved(Saved { gtids, ..Saved::default() });

    let error = resolve(&config, 0, &saved(ours.clone())).await.expect_err("purged");
    assert!(matches!(error, Error::Purged { .. }), "{error}");
    assert_eq!(halt(error), Halt::PositionLost);
    let error = end(&mut open(&config, &Start::Gtid(ours)).await).await.expect("purged");
    assert!(matches!(error, Error::Refused { refusal: ServerErrorKind::Purged, .. }), "{error}");
    assert_eq!(halt(error), Halt::PositionLost);

    let mut ahead = executed(&server).await;
    let uuid = resolve(&config, 0, &Wanted::Now).await.expect("now").server;
    ahead.union(&set(&format!("{uuid}:900-901")));
    let error = resolve(&config, 0, &saved(ahead.clone())).await.expect_err("diverged");
    assert!(error.to_string().contains(":900-901"), "{error}");
    assert_eq!(halt(error), Halt::Diverged);
    let error = end(&mut open(&config, &Start::Gtid(ahead)).await).await.expect("diverged");
    assert!(
        matches!(error, Error::Refused { refusal: ServerErrorKind::ReplicaAhead, .. }),
        "{error}"
    );

    for (file, offset, refusal) in [
        ("binlog.000001", 4, ServerErrorKind::FileUnknown),
        ("binlog.000002", 1 << 30, ServerErrorKind::OffsetImpossible),
        ("binlog.000002", 5 << 32, ServerErrorKind::OffsetImpossible),
    ] {
        let start = Start::Position(Position::new(file, offset));
        let error = end(&mut open(&config, &start).await).await.expect("no such place");
        let Error::Refused { refusal: found, message, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, refusal, "{message}");
    }
    Ok(())
}

async fn the_next_host_of_the_list_takes_over_when_it_can_serve_our_set(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    let other = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    let mut config = config(&server, "rep");
    let gtids = executed(&server).await;
    // Given a dead host, a server without our transactions, and the right one
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = nobody.local_addr().expect("an address").port();
    drop(nobody);
    config.hosts = vec![HostPort::new("127.0.0.1", dead), other.host(), server.host()];
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
    let name = bed.version();
    let server = Server::start(&bed, &[]).await;
    let mut session = Session::connect(&server.options("rep")).await.expect(name);
    let facts = collect(&mut session).await.expect(name);
    assert_eq!(facts.flavor == Flavor::Maria, server.is_maria(), "{name}");
    assert_eq!(facts.server_id(), 1, "{name}");
    assert_eq!(facts.server_uuid().is_none(), server.is_maria(), "{name}");
    assert!(facts.binlogs.as_ref().is_ok_and(|files| !files.is_empty()), "{name}: {facts:?}");
    let grants = facts.grants.as_ref().expect(name);
    assert!(grants.has("REPLICATION SLAVE") && !grants.has("SUPER"), "{name}: {grants:?}");
    let findings = evaluate(&facts, &Demands::default());
    // MINIMAL is every server's default.
    let metadata = findings.iter().find(|finding| finding.what == "binlog_row_metadata");
    assert_eq!(metadata.map(|finding| finding.severity), Some(Severity::Refuse), "{name}");
    println!("{name}:");
    for finding in &findings {
        println!("  {finding}");
    }

    let mut session = Session::connect(&server.options("weak")).await.expect(name);
    let facts = collect(&mut session).await.expect(name);
    let findings = evaluate(&facts, &Demands::default());
    for privilege in ["REPLICATION SLAVE", "REPLICATION CLIENT"] {
        let finding = findings.iter().find(|finding| finding.what == privilege);
        let remedy = format!("GRANT {privilege} ON *.* TO 'weak'@'%';");
        assert_eq!(finding.map(|finding| finding.remedy.as_str()), Some(remedy.as_str()), "{name}");
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

async fn a_mariadb_goes_on_by_its_own_gtids_and_names_what_is_lost(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    server.run(TABLE).await;
    let config = config(&server, "rep");
    let now = resolve(&config, 0, &Wanted::Now).await.expect("now");
    let Start::Maria(position) = now.start.clone() else { panic!("{now:?}") };
    assert_eq!(now.server, "mariadb-1");
    server.run(&["INSERT INTO lab.t (body) VALUES ('c')"]).await;
    let saved = |maria| Wanted::Saved(Saved { maria, ..Saved::default() });
    let resolved = resolve(&config, 0, &saved(position.clone())).await.expect("usable");
    let mut replica = open(&config, &resolved.start).await;
    let types = drain_behind(&mut replica, is_write).await;
    assert_eq!(types.iter().filter(|kind| is_write(**kind)).count(), 1, "{types:?}");

    // Ahead of the server: named before, and by the stream
    let mut ahead = position.clone();
    ahead.advance(MariaGtid { domain: 0, server: 1, sequence: 900 });
    let error = resolve(&config, 0, &saved(ahead.clone())).await.expect_err("diverged");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Diverged), "{error}");
    let error = end(&mut open(&config, &Start::Maria(ahead)).await).await.expect("diverged");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Diverged), "{error}");

    // Purged: only the stream tells
    server.run(&["FLUSH LOGS", "INSERT INTO lab.t (body) VALUES ('d')", "FLUSH LOGS"]).await;
    // The server keeps a file until its background has written that no transaction needs it.
    while server.data.join("binlog.000001").exists() {
        server.run(&["PURGE BINARY LOGS TO 'binlog.000003'"]).await;
    }
    let mut old = MariaGtidSet::new();
    old.advance(MariaGtid { domain: 0, server: 1, sequence: 1 });
    let error = end(&mut open(&config, &Start::Maria(old)).await).await.expect("purged");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::PositionLost), "{error}");
    drain(&mut open(&config, &resolve(&config, 0, &Wanted::Now).await.expect("now").start).await)
        .await;
    Ok(())
}

async fn privileges_by_role_count_and_open_transactions_are_told_from_executed_ones(
    bed: Bed,
) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    server
        .run(&[
            "CREATE ROLE reader",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader",
            "CREATE USER member IDENTIFIED BY 'member-pw'",
            "GRANT reader TO member",
            "SET DEFAULT ROLE reader TO member",
            "SET GLOBAL binlog_row_metadata = FULL",
        ])
        .await;
    let mut session = Session::connect(&server.options("member")).await.expect("a session");
    let facts = collect(&mut session).await.expect("facts");
    assert_eq!(evaluate(&facts, &Demands::default()), []);

    let gtid = format!("{}:900", facts.server_name());
    let mut writer = server.session().await;
    for sql in
        [&format!("SET gtid_next = '{gtid}'"), "BEGIN", "INSERT INTO lab.t (body) VALUES ('open')"]
    {
        writer.query(sql).await.expect(sql);
    }
    let facts = collect(&mut session).await.expect("facts");
    assert_eq!(facts.gtid_owned, set(&gtid));
    assert!(facts.gtid_owned.is_disjoint_from(&facts.gtid_executed));

    // What starts now sees it commit later
    let config = config(&server, "member");
    let now = resolve(&config, 0, &Wanted::Now).await.expect("now");
    let mut replica = open(&config, &now.start).await;
    drain(&mut replica).await;
    writer.query("COMMIT").await.expect("a commit");
    assert!(drain_behind(&mut replica, is_write).await.into_iter().any(is_write));
    Ok(())
}
