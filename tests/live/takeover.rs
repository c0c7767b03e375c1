//! Servers and processes that take over, or stop following: what writes, and what is said of it.

use binpulse_demo::{Aws, Command, Mysqld, Options, settings_for};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::cli::check;
use crate::resume::{BY_GTID, follow, replicated, until_equal};
use crate::suite::{Outcome, tests};

tests! {
    heartbeats_and_canaries_follow_the_stream_to_the_next_server on [Mysql97];
    a_replica_that_no_longer_replicates_is_named on [Mysql97, Mariadb1011];
    what_a_replica_does_not_get_or_does_not_log_is_named on [Mysql97, Mariadb1011];
    a_fenced_process_says_so_and_writes_no_more on [Mysql97];
    a_consumer_in_maintenance_is_not_judged_until_it_ends_by_itself on [Mysql97];
}

/// The verdict's state and reason.
pub(crate) fn verdict(status: &Value) -> (&str, Option<&str>) {
    let verdict = &status["verdict"];
    (verdict["state"].as_str().unwrap_or_default(), verdict["reason"].as_str())
}

pub(crate) fn is_healthy(status: &Value) -> bool {
    status["verdict"]["grade"] == "healthy"
}

async fn number(mysqld: &Mysqld, query: &str) -> Result<Option<u64>, mysql_async::Error> {
    let mut session = mysqld
        .connect()
        .await
        .map_err(|error| mysql_async::Error::Other(error.to_string().into()))?;
    let number = session.query_first(query).await?;
    session.disconnect().await?;
    Ok(number)
}

async fn heartbeats_and_canaries_follow_the_stream_to_the_next_server(bed: Bed) -> Outcome {
    // Given a primary, its replica, and a streamer that knows both and writes to the first
    let (primary, replica) = replicated(&bed).await?;
    let settings = [
        ("source.hosts", format!("{},{}", primary.address(), replica.address())),
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
    ];
    let mut rig = Rig::start(&bed, primary, Topic::Standard, &settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    until_equal(&rig.mysqld, &replica).await?;
    let before = rig.streamer.status().await?["heartbeat"]["seen"].as_u64();

    // When the primary dies, and the replica is promoted
    rig.mysqld.kill().await?;
    replica
        .execute(&[
            "STOP REPLICA",
            "RESET REPLICA ALL",
            "SET GLOBAL super_read_only = 0",
            "SET GLOBAL read_only = 0",
        ])
        .await?;

    // Then both are written there, under numbers that continue, and the verdict is healthy again
    let status = rig
        .streamer
        .until("a healthy verdict after the failover", SOON, |status| {
            is_healthy(status) && status["heartbeat"]["seen"].as_u64() > before
        })
        .await?;
    assert_eq!(status["source"]["host"], replica.address());
    let canary = status["canary"]["seen"].as_u64();
    rig.streamer
        .until("another canary", SOON, |status| status["canary"]["seen"].as_u64() > canary)
        .await?;
    let written = number(&replica, "SELECT n FROM binpulse.heartbeat").await?;
    assert!(written > before, "{written:?} after {before:?}");
    let transactions = rig.streamer.metric("binpulse_unaccounted_transactions_total", &[]).await?;
    assert_eq!(transactions, Some(0.0));
    Ok(())
}

async fn a_replica_that_no_longer_replicates_is_named(bed: Bed) -> Outcome {
    // Given a stream from a read-only replica, whose heartbeats are written to the primary
    let is_maria = bed.version().starts_with("mariadb");
    let primary = bed.mysqld(Options::default()).await?;
    let replica = bed.mysqld(Options::default()).await?;
    if is_maria {
        follow_maria(&replica, &primary).await?;
    } else {
        follow(&replica, &primary, BY_GTID).await?;
    }
    let settings = [
        ("source.hosts", replica.address()),
        ("source.role", "replica".to_owned()),
        ("heartbeat.host", primary.address()),
        ("source.start", "now".to_owned()),
    ];
    binpulse_demo::prepare(&primary, crate::bed::binary()).await?;
    if !is_maria {
        until_equal(&primary, &replica).await?;
    }
    replica.execute(&["SET GLOBAL read_only = 1"]).await?;
    let mut rig = Rig::start_prepared(&bed, primary, Topic::Standard, &settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;

    // When a thread of it stops, then its own state and no other is the verdict
    let (stop, start) = if is_maria {
        ("STOP SLAVE IO_THREAD", "START SLAVE")
    } else {
        ("STOP REPLICA IO_THREAD", "START REPLICA")
    };
    replica.execute(&[stop]).await?;
    let status = rig
        .streamer
        .until("the verdict", SOON, |status| verdict(status).0 == "upstream_replication_broken")
        .await?;
    assert_eq!(status["verdict"]["hop"], "source");
    let sentence = status["verdict"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("the receiver thread does not run"), "{sentence}");

    // And it passes by itself
    replica.execute(&[start]).await?;
    rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    Ok(())
}

async fn what_a_replica_does_not_get_or_does_not_log_is_named(bed: Bed) -> Outcome {
    // Given a server that takes writes, replicates but for one database, and does not log that
    let is_maria = bed.version().starts_with("mariadb");
    let primary = bed.mysqld(Options::default()).await?;
    let updates = if is_maria { "--log-slave-updates=0" } else { "--log-replica-updates=0" };
    let extra = vec![updates.to_owned(), "--replicate-ignore-db=hr".to_owned()];
    let replica = bed.mysqld(Options { extra, ..Options::default() }).await?;
    binpulse_demo::prepare(&replica, crate::bed::binary()).await?;
    let found = async || {
        let mut settings = settings_for(&replica);
        settings.push(("sink.kind", "null".to_owned()));
        let (_, reports) = check(&settings).await;
        let of = |what: &str| {
            let mut reports = reports.iter();
            let is_it =
                |report: &&Value| report["what"].as_str().is_some_and(|it| it.ends_with(what));
            reports
                .find(is_it)
                .map(|report| report["found"].as_str().unwrap_or_default().to_owned())
        };
        (of(": log_replica_updates"), of(": replication filters"))
    };
    assert_eq!(found().await, (None, None), "it replicates from nobody yet");

    // When it begins to replicate, then both are named
    if is_maria {
        follow_maria(&replica, &primary).await?;
    } else {
        follow(&replica, &primary, BY_GTID).await?;
    }
    let (updates, filters) = found().await;
    assert!(updates.is_some_and(|found| found.starts_with("OFF")), "log_replica_updates");
    let filters = filters.unwrap_or_default();
    assert!(filters.starts_with("replicate-ignore-db = hr: hr may not"), "{filters}");
    Ok(())
}

async fn a_consumer_in_maintenance_is_not_judged_until_it_ends_by_itself(bed: Bed) -> Outcome {
    // Given a consumer whose queue nothing reaches
    let mysqld = bed.mysqld(Options::default()).await?;
    let aws = Aws::at(&bed.standin().await?.url());
    let elsewhere = aws.create_topic(&format!("{}-elsewhere", bed.topic_name())).await?;
    let echo = format!("{}-echo", bed.topic_name());
    let echo = aws.subscribe_queue(&elsewhere, &echo, &[]).await?;
    let settings = [
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        ("canary.deadline", "2s".to_owned()),
        ("heartbeat.seen_deadline", "500ms".to_owned()),
        ("sns.request_timeout", "1s".to_owned()),
        ("canary.echo", format!("search={echo}")),
    ];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let lost = |status: &Value| verdict(status) == ("canary_lost", Some("search"));
    rig.streamer.until("the verdict", SOON, lost).await?;

    // When an operator says that this is meant
    let tell = |arguments: &[&str]| Command {
        binary: crate::bed::binary().to_owned(),
        command: "maintenance".to_owned(),
        settings: vec![("http.listen", rig.streamer.address().to_owned())],
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: Vec::new(),
    };
    let (told, unknown) = (tell(&["search", "--for", "8s"]), tell(&["nobody"]));
    assert_eq!(unknown.run_to_end(SOON).await?.0, Some(1), "no such consumer");
    assert_eq!(told.run_to_end(SOON).await?.0, Some(0));

    // Then it is not judged, and that is said
    let rests = |status: &Value| {
        let left = status["consumers"][0]["maintenance_seconds_left"].as_f64();
        verdict(status).0 != "canary_lost" && left.is_some_and(|left| left > 0.0 && left <= 8.0)
    };
    let status = rig.streamer.until("maintenance", SOON, rests).await?;
    let conditions = status["verdict"]["conditions"].as_array().ok_or("no conditions")?;
    let arrive = conditions.iter().find(|condition| condition["name"] == "canaries_arrive");
    let because = arrive.and_then(|arrive| arrive["because"].as_str()).unwrap_or_default();
    assert!(because.contains("in maintenance: search"), "{because}");
    let shown = rig.streamer.metric("binpulse_maintenance", &["consumer=\"search\""]).await?;
    assert_eq!(shown, Some(1.0));

    // And it ends by itself
    let status = rig.streamer.until("the verdict again", SOON, lost).await?;
    assert!(status["consumers"][0]["maintenance_seconds_left"].is_null());
    assert_eq!(rig.streamer.metric("binpulse_maintenance", &[]).await?, Some(0.0));
    Ok(())
}

/// Makes a MariaDB server the replica of another.
async fn follow_maria(replica: &Mysqld, primary: &Mysqld) -> Outcome {
    primary
        .execute(&[
            "CREATE USER 'replica'@'%' IDENTIFIED BY 'replica'",
            "GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%'",
        ])
        .await?;
    let source = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'replica', \
         MASTER_PASSWORD = 'replica', MASTER_USE_GTID = slave_pos",
        primary.port()
    );
    replica.execute(&["SET GLOBAL log_slave_updates = 1"]).await.unwrap_or_default();
    replica.execute(&[source.as_str(), "START SLAVE"]).await?;
    Ok(())
}

async fn a_fenced_process_says_so_and_writes_no_more(bed: Bed) -> Outcome {
    // Given a streamer with its checkpoint in the source, that explains when it halts
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings = [
        ("checkpoint.store", "table".to_owned()),
        ("shutdown.on_halt", "stay".to_owned()),
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
    ];
    let mut first = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    first.streamer.until("a healthy verdict", SOON, is_healthy).await?;

    // When another process of the same stream takes it over
    let mut second = first.again(true)?;
    let status = first
        .streamer
        .until("the halt", SOON, |status| status["halted"]["reason"] == "fenced")
        .await?;
    assert_eq!(status["state"], "halted");
    second.until("a healthy verdict", SOON, is_healthy).await?;

    // Then the first has stopped writing: the other's numbers rise without a refusal, its own stand
    let silent = first
        .streamer
        .until("the verdict", SOON, |status| verdict(status) == ("stream_down", Some("halted")));
    let silent = silent.await?;
    let began = second.status().await?["heartbeat"]["seen"].as_u64().unwrap_or_default();
    let rises = |status: &Value| status["heartbeat"]["seen"].as_u64() >= Some(began + 5);
    second.until("five more heartbeats", SOON, rises).await?;
    let later = first.streamer.status().await?;
    for probe in ["heartbeat", "canary"] {
        assert_eq!(silent[probe]["written"], later[probe]["written"], "{probe}");
    }
    let halted = first.streamer.metric("binpulse_halted", &["reason=\"fenced\""]).await?;
    assert_eq!(halted, Some(1.0));
    assert_eq!(first.streamer.metric("binpulse_halted", &[]).await?, Some(1.0), "no other reason");
    assert_eq!(second.metric("binpulse_halted", &[]).await?, Some(0.0));
    Ok(())
}
