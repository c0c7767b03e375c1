//! What ends a stream, and what follows from it.

use std::time::{Duration, Instant};

use binpulse::change::Position;
use binpulse::mysql::Session;
use binpulse::source::preflight::collect;
use binpulse::source::resume::{Saved, Wanted, resolve, resolve_any};
use binpulse::source::{Error, Halt, Liveness, Recovery, Refusal, Replica, Start};

use super::server::{Server, gtid_options};
use super::{TABLE, config, drain, end, executed, open, set};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    a_killed_dump_thread_is_an_end_to_dial_again on [Mysql97];
    a_frozen_server_is_noticed_by_its_silence on [Mysql97];
    replicas_are_listed_and_a_second_one_of_the_same_stream_fences_the_first on [Mysql97];
    purged_and_diverged_positions_are_named_before_and_by_the_stream on [Mysql97];
    the_next_host_of_the_list_takes_over_when_it_can_serve_our_set on [Mysql97];
}

async fn a_killed_dump_thread_is_an_end_to_dial_again(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
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
    Ok(())
}

async fn a_frozen_server_is_noticed_by_its_silence(bed: Bed) -> Outcome {
    let mut server = Server::start(&bed, gtid_options(&bed)).await;
    let config = config(&server, "rep");
    let liveness = Liveness::new();
    let start = Start::Gtid(executed(&server).await);
    let mut replica = Replica::connect(&config, 0, &start, &liveness).await.expect("a stream");
    drain(&mut replica).await;
    server.freeze();
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
    server.thaw();
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
    Ok(())
}

async fn replicas_are_listed_and_a_second_one_of_the_same_stream_fences_the_first(
    bed: Bed,
) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
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
    config.stream = String::from("invoices");
    let mut third = open(&config, &start).await;
    drain(&mut third).await;
    drain(&mut second).await;
    Ok(())
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
    Ok(())
}
