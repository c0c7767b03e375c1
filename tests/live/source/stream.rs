//! Events, heartbeats, and the ways in which a stream ends.

use std::time::{Duration, Instant};

use binpulse::change::{GtidSet, Position};
use binpulse::mysql::Session;
use binpulse::source::preflight::collect;
use binpulse::source::resume::{Wanted, resolve};
use binpulse::source::{
    Error, FileReader, Halt, Liveness, Recovery, Replica, ServerErrorKind, Start,
};

use super::server::{Server, gtid_options};
use super::{
    ANNOTATE_ROWS, GTID_TAGGED, TABLE, config, drain, drain_behind, end, executed, is_write, open,
    set,
};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    every_version_streams_checked_events_from_the_earliest_to_its_heartbeat on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    captured_files_hold_the_events_that_were_streamed on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    tagged_transactions_that_we_have_are_not_sent_again on [Mysql97];
    a_killed_dump_thread_is_an_end_to_dial_again on [Mysql97];
    a_frozen_server_is_noticed_by_its_silence on [Mysql97];
    replicas_are_listed_and_a_second_one_of_the_same_stream_fences_the_first on [Mysql97];
}

async fn every_version_streams_checked_events_from_the_earliest_to_its_heartbeat(
    bed: Bed,
) -> Outcome {
    let name = bed.version();
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

    // And continues from now
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
    let name = bed.version();
    let server = Server::start(&bed, gtid_options(&bed)).await;
    server.run(TABLE).await;
    server.run(&["FLUSH LOGS"]).await;
    let mut captured =
        FileReader::open_path(&server.data.join("binlog.000001")).expect("a binlog file");
    let mut from_file = Vec::new();
    while let Some(event) = captured.next().expect("an event") {
        // The statement's text is asked for only where positions need it.
        if event[4] != ANNOTATE_ROWS {
            from_file.push(event.to_vec());
        }
    }

    let start = Start::Position(Position::new("binlog.000001", 4));
    let mut replica = open(&config(&server, "rep"), &start).await;
    let mut streamed = Vec::new();
    while streamed.len() < from_file.len() {
        let event = replica.next().await.expect("an event").expect("goes on").to_vec();
        let artificial =
            binpulse::binlog::Header::parse(&event).is_some_and(|it| it.is_artificial());
        if !artificial && event[4] != ANNOTATE_ROWS {
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
    let mut captured = FileReader::open_path(&server.data.join("binlog.000002")).expect("a file");
    captured.next().expect("the description");
    let previous = captured.next().expect("an event").expect("the previous GTIDs");
    assert_eq!(previous[4], 35);
    let listed = GtidSet::decode(&previous[19..previous.len() - 4]).expect("a set");
    assert_eq!(listed, executed(&server).await);
    Ok(())
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
    assert!(matches!(error, Error::Refused { refusal: ServerErrorKind::Fenced, .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::Halt(Halt::Fenced));

    // Another stream gets along with it
    config.stream = String::from("invoices");
    let mut third = open(&config, &start).await;
    drain(&mut third).await;
    drain(&mut second).await;
    Ok(())
}
