//! Heartbeats, canaries and the checkpoint table against real servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse::change::Position;
use binpulse::checkpoint::{
    Checkpoint, Delta, Error, Place, Recovery, Store, TableConfig, TableStore,
};
use binpulse::decode::{self, Decoder, Step};
use binpulse::freshness::canary::CanaryWriter;
use binpulse::freshness::heartbeat::HeartbeatWriter;
use binpulse::freshness::schema::{self, Dialect, SchemaName};
use binpulse::freshness::{
    CanaryStep, Observation, Observer, Phase, Received, Recogniser, Seen, SqlFailure, WriterConfig,
};
use binpulse::mysql::{Session, SharedHost};
use binpulse::source::{Liveness, Replica, Start};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::source::server::{Server, gtid_options};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    every_value_type_makes_the_round_trip_on_mysql_9 on [Mysql97];
    every_value_type_makes_the_round_trip_on_mysql_8_with_minimal_images on [Mysql80];
    every_value_type_makes_the_round_trip_on_mariadb on [Mariadb1011];
    old_servers_take_heartbeats_and_canaries on [Mysql57, Mysql56];
    each_refusal_and_lock_has_its_reason_and_ends_with_it on [Mysql97];
    a_frozen_server_leaves_one_write_outstanding_whose_fate_is_learned on [Mysql97];
    accounts_that_would_make_heartbeats_lie_are_refused on [Mysql97];
    a_checkpoint_in_the_source_is_durable_and_fenced on [Mysql97, Mysql56, Mariadb1011];
}

const STREAM: &str = "shop \u{2603}";
const PATIENCE: Duration = Duration::from_mins(1);

fn writer(server: &Server, user: &str) -> WriterConfig {
    WriterConfig {
        connect: server.options(user),
        host: SharedHost::new(server.options(user).host),
        schema: SchemaName::default(),
        stream: STREAM.into(),
        instance: "7c0ae7a8-0000-4000-8000-000000000001".into(),
        write_deadline: Duration::from_secs(2),
        probe_timeout: Duration::from_secs(2),
    }
}

/// A server with the schema and the account `weak`, who may do what `init` grants and no more.
async fn start(bed: &Bed, options: &[&str]) -> (Server, Dialect) {
    let options: Vec<&str> = gtid_options(bed).iter().chain(options).copied().collect();
    let server = Server::start(bed, &options).await;
    let version = server.run(&["SELECT @@version"]).await[0].text(0).expect("a version");
    let dialect = Dialect::of_version(&version);
    let account = ("weak".to_owned(), "%".to_owned());
    let accounts = schema::Accounts { replication: account.clone(), writer: account };
    let mut statements = schema::create(&SchemaName::default(), dialect);
    // Twice: running it again changes nothing. The accounts are there already.
    statements.extend(statements.clone());
    statements.extend(
        schema::grants(&SchemaName::default(), &accounts, dialect)
            .into_iter()
            .filter(|statement| statement.starts_with("GRANT"))
            // Servers without CREATE USER IF NOT EXISTS are given the password with the grant.
            .map(|statement| statement.replace("<password>", "'weak-pw'")),
    );
    server.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (server, dialect)
}

fn observer() -> (Observer, UnboundedReceiver<Observation>) {
    let (sender, events) = unbounded_channel();
    let observer: Observer = Arc::new(move |event| {
        // A test that has seen enough does not listen any more.
        drop(sender.send(event));
    });
    (observer, events)
}

/// Waits for the first event of which `wanted` makes something.
async fn until<T>(
    events: &mut UnboundedReceiver<Observation>,
    wanted: impl Fn(&Observation) -> Option<T>,
) -> T {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("the task runs");
            if let Some(found) = wanted(&event) {
                return found;
            }
            seen.push(event);
        }
    });
    let found = found.await.ok();
    found.unwrap_or_else(|| panic!("it did not come; what came: {seen:#?}"))
}

fn committed(event: &Observation) -> Option<u64> {
    let Observation::HeartbeatCommitted { number } = event else { return None };
    Some(*number)
}

fn failed(event: &Observation) -> Option<SqlFailure> {
    let Observation::HeartbeatFailed { reason, .. } = event else { return None };
    Some(*reason)
}

/// Whether the canary went through its last step; none may fail.
fn deleted(event: &Observation, wanted: u64) -> Option<()> {
    assert!(!matches!(event, Observation::CanaryFailed { .. }), "{event:?}");
    let Observation::CanaryCommitted {
        step: CanaryStep { number, phase: Phase::Delete, .. }, ..
    } = event
    else {
        return None;
    };
    (*number == wanted).then_some(())
}

/// A heartbeat writer that runs until the test ends.
fn beat(server: &Server, user: &str, interval: Duration) -> UnboundedReceiver<Observation> {
    let (observer, events) = observer();
    let writer =
        HeartbeatWriter::new(writer(server, user), interval, observer, Received::default());
    tokio::spawn(writer.run(CancellationToken::new()));
    events
}

const FAST: Duration = Duration::from_millis(100);

/// Reads the stream until `enough`, and gives what was seen of binpulse's rows.
async fn read_stream(server: &Server, mut enough: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
    let config = super::source::config(server, "rep");
    let begin = Position::new("binlog.000001", 4);
    let liveness = Liveness::new();
    let mut replica = Replica::connect(&config, 0, &Start::Position(begin.clone()), &liveness)
        .await
        .expect("a stream");
    let mut decoder = Decoder::new(decode::Config::default());
    decoder.start_at(begin);
    let recogniser = Recogniser::new(SchemaName::default(), STREAM);
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let event = replica.next().await.expect("an event").expect("the stream goes on");
        let mut steps = decoder.feed(event).expect("a good event");
        while let Some(step) = steps.next().expect("a good event") {
            let Step::Rows(mut rows) = step else { continue };
            let table = Arc::clone(rows.table());
            while let Some(change) = rows.next().expect("a good row") {
                let Some(found) = recogniser.recognise(&table, &change) else { continue };
                let stop = enough(&found);
                seen.push(found);
                if stop {
                    return seen;
                }
            }
        }
    }
    panic!("not enough: {seen:#?}");
}

async fn canaries_and_heartbeats_return_exactly(bed: &Bed, options: &[&str]) {
    let name = bed.version();
    // Given a server with the schema, and both tasks
    let (server, _) = start(bed, options).await;
    let mut beats = beat(&server, "weak", FAST);
    let (observer, mut events) = observer();
    let walker = CanaryWriter::built_in(writer(&server, "weak"), FAST, observer);
    tokio::spawn(walker.run(CancellationToken::new()));

    // When eight canaries have gone through all their steps
    until(&mut events, |event| deleted(event, 8)).await;
    until(&mut beats, |event| committed(event).filter(|number| *number >= 3)).await;

    // Then they are all on the stream, each cell as it was written, and so are the heartbeats
    let seen = read_stream(&server, |seen| match seen {
        Seen::Canary(row) => row.number == 8 && row.phase == Phase::Delete,
        Seen::Heartbeat(_) | Seen::CanaryPath(_) | Seen::Lease | Seen::Own => false,
    })
    .await;
    let mut canaries = Vec::new();
    let mut heartbeats = Vec::new();
    for seen in seen {
        match seen {
            Seen::Canary(row) => {
                assert_eq!(row.mismatches, Vec::<String>::new(), "{name}: {row:?}");
                canaries.push((row.number, row.phase));
            }
            Seen::Heartbeat(row) => heartbeats.push(row.number),
            Seen::CanaryPath(_) | Seen::Lease | Seen::Own => {}
        }
    }
    let expected: Vec<_> =
        (1..=8).flat_map(|number| Phase::ALL.map(|phase| (number, phase))).collect();
    assert_eq!(canaries, expected, "{name}");
    let numbers: Vec<_> = (1..=heartbeats.len() as u64).collect();
    assert_eq!(heartbeats, numbers, "{name}");
}

async fn every_value_type_makes_the_round_trip_on_mysql_9(bed: Bed) -> Outcome {
    canaries_and_heartbeats_return_exactly(&bed, &["--binlog-row-metadata=FULL"]).await;
    Ok(())
}

async fn every_value_type_makes_the_round_trip_on_mysql_8_with_minimal_images(bed: Bed) -> Outcome {
    let options = ["--binlog-row-metadata=FULL", "--binlog-row-image=MINIMAL"];
    canaries_and_heartbeats_return_exactly(&bed, &options).await;
    Ok(())
}

async fn every_value_type_makes_the_round_trip_on_mariadb(bed: Bed) -> Outcome {
    canaries_and_heartbeats_return_exactly(&bed, &["--binlog-row-metadata=FULL"]).await;
    Ok(())
}

async fn old_servers_take_heartbeats_and_canaries(bed: Bed) -> Outcome {
    let (server, _) = start(&bed, &[]).await;
    let (observer, mut events) = observer();
    let walker = CanaryWriter::built_in(writer(&server, "weak"), FAST, observer);
    tokio::spawn(walker.run(CancellationToken::new()));
    until(&mut events, |event| deleted(event, 4)).await;
    let mut beats = beat(&server, "weak", FAST);
    until(&mut beats, |event| committed(event).filter(|number| *number == 2)).await;
    Ok(())
}

async fn each_refusal_and_lock_has_its_reason_and_ends_with_it(bed: Bed) -> Outcome {
    let (server, _) = start(&bed, &[]).await;
    let mut beats = beat(&server, "weak", FAST);
    until(&mut beats, committed).await;

    // read_only: nothing is even tried
    server.run(&["SET GLOBAL read_only = 1"]).await;
    until(&mut beats, |event| failed(event).filter(|reason| *reason == SqlFailure::ReadOnly)).await;
    server.run(&["SET GLOBAL read_only = 0"]).await;
    until(&mut beats, committed).await;

    // Locks: ended by the server, so that nothing commits late
    for lock in [
        vec!["FLUSH TABLES WITH READ LOCK"],
        vec!["LOCK TABLES binpulse.heartbeat WRITE"],
        vec!["BEGIN", "SELECT * FROM binpulse.heartbeat FOR UPDATE"],
    ] {
        let mut holder = server.session().await;
        for sql in &lock {
            holder.query(sql).await.expect("the lock is free");
        }
        let reason = until(&mut beats, failed).await;
        assert_eq!(reason, SqlFailure::Lock, "{lock:?}");
        holder.close().await;
        until(&mut beats, committed).await;
    }

    // A missing table
    server.run(&["RENAME TABLE binpulse.heartbeat TO binpulse.away"]).await;
    until(&mut beats, |event| failed(event).filter(|reason| *reason == SqlFailure::SchemaMissing))
        .await;
    server.run(&["RENAME TABLE binpulse.away TO binpulse.heartbeat"]).await;
    until(&mut beats, committed).await;

    // A killed session
    let rows =
        server.run(&["SELECT id FROM information_schema.processlist WHERE user = 'weak'"]).await;
    let id = rows[0].text(0).expect("an id");
    server.run(&[&format!("KILL {id}")]).await;
    until(&mut beats, failed).await;
    until(&mut beats, committed).await;
    Ok(())
}

async fn a_frozen_server_leaves_one_write_outstanding_whose_fate_is_learned(bed: Bed) -> Outcome {
    let (mut server, _) = start(&bed, &[]).await;
    let mut beats = beat(&server, "weak", FAST);
    // Behind the questions that follow a commit.
    until(&mut beats, |event| matches!(event, Observation::Executed(_)).then_some(())).await;

    server.freeze();
    let reason = until(&mut beats, failed).await;
    assert_eq!(reason, SqlFailure::TimedOut);
    server.thaw();
    let number = until(&mut beats, committed).await;
    let next = until(&mut beats, committed).await;
    assert!(next > number);
    Ok(())
}

async fn accounts_that_would_make_heartbeats_lie_are_refused(bed: Bed) -> Outcome {
    let (server, _) = start(&bed, &[]).await;
    let mut beats = beat(&server, "admin", FAST);
    assert_eq!(until(&mut beats, failed).await, SqlFailure::ExemptAccount);

    // Through a role as well
    server
        .run(&[
            "CREATE ROLE operator",
            "GRANT CONNECTION_ADMIN ON *.* TO operator",
            "GRANT operator TO weak",
            "SET DEFAULT ROLE ALL TO weak",
        ])
        .await;
    let mut beats = beat(&server, "weak", FAST);
    assert_eq!(until(&mut beats, failed).await, SqlFailure::ExemptAccount);
    server.run(&["DROP ROLE operator"]).await;

    let rows = server.run(&["SELECT COUNT(*) FROM binpulse.heartbeat"]).await;
    assert_eq!(rows[0].text(0).as_deref(), Some("0"), "nobody wrote");
    Ok(())
}

fn table_config(server: &Server, owner_name: &str) -> TableConfig {
    let schema = SchemaName::default();
    TableConfig {
        connect: server.options("weak"),
        host: SharedHost::new(server.options("weak").host),
        table: schema.table(schema::CHECKPOINT),
        lane_table: schema.table(schema::CHECKPOINT_LANE),
        stream: STREAM.into(),
        owner_name: owner_name.into(),
        fence: None,
    }
}

async fn a_checkpoint_in_the_source_is_durable_and_fenced(bed: Bed) -> Outcome {
    let name = bed.version();
    let (server, _) = start(&bed, &[]).await;
    let place =
        |offset| Place { position: Position::new("binlog.000001", offset), ..Place::default() };
    let mut expected = Checkpoint {
        stream: STREAM.into(),
        server_uuid: "a".into(),
        epoch: 2,
        gtid_set: "00bbe985-e52d-11f1-91a9-02fc00000001:1-9".parse().expect("a set"),
        resume: place(100),
        settled: place(u64::MAX),
        lanes: (0..1_200).map(|lane| (Arc::from(format!("d.t\u{2603}#{lane}")), 1)).collect(),
        version: "0.1.0".into(),
        ..Checkpoint::default()
    };

    // Given a stream that began and continued
    let mut first = TableStore::open(table_config(&server, "first")).await.expect("a table");
    assert_eq!(first.load().await.expect("read"), None, "{name}");
    first.begin(&expected).await.expect("written");
    let delta = Delta {
        gtids: "00bbe985-e52d-11f1-91a9-02fc00000001:10".parse().expect("a set"),
        resume: place(200),
        settled: place(300),
        lanes: BTreeMap::from([(Arc::from("d.t\u{2603}#7"), 5), (Arc::from("new"), u64::MAX)]),
        taken_at_us: 17,
        ..Delta::default()
    };
    first.save(&delta).await.expect("written");
    first.save(&delta).await.expect("twice is as good as once");
    expected.apply(&delta);

    // When another process takes it over
    let mut second = TableStore::open(table_config(&server, "second")).await.expect("a table");
    expected.owner = second.owner();
    assert_eq!(second.owner(), first.owner() + 1);
    assert_eq!(second.load().await.expect("read"), Some(expected), "{name}");

    // Then the first is fenced, and has changed nothing
    let later = Delta { settled: place(900), ..delta.clone() };
    let error = first.save(&later).await.expect_err("it is not ours any more");
    assert!(matches!(&error, Error::Fenced { owner, .. } if owner == "second"), "{error}");
    assert_eq!(error.recovery(), Recovery::Halt);
    second.save(&delta).await.expect("the second goes on");

    // And a lock on the row is survived
    let mut holder = server.session().await;
    holder.query("BEGIN").await.expect("a session");
    holder.query("SELECT * FROM binpulse.checkpoint FOR UPDATE").await.expect("the lock");
    let error = second.save(&later).await.expect_err("the row is locked");
    assert_eq!(error.recovery(), Recovery::Retry, "{error}");
    Session::close(holder).await;
    second.save(&later).await.expect("the row is free again");
    let mut third = TableStore::open(table_config(&server, "third")).await.expect("a table");
    let settled = third.load().await.expect("read").expect("begun").settled;
    assert_eq!(settled, place(900), "{name}");
    Ok(())
}
