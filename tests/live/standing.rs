//! What the service says of itself on real servers: in canaries, and in each of its metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use binpulse::app::{Plan, exported};
use binpulse::config::{Environment, load};
use binpulse::encode::open;
use binpulse::encode::proto::frame::Content;
use binpulse::encode::proto::{QuietCertificate, Watermark};
use binpulse_demo::{Options, Standin, Streamer, Workload};
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    canaries_carry_the_verdict_and_what_is_proven on [Mysql97, Mariadb1011];
    every_metric_is_fed on [Mysql97];
    the_purge_margin_follows_the_servers_logs on [Mysql97, Mysql57, Mariadb1011];
    a_purge_on_a_healthy_stream_changes_nothing on [Mysql97, Mysql80, Mariadb1011];
    a_database_of_which_nothing_is_published_is_saved_and_healthy on [Mysql97, Mariadb1011];
}

const CANARIES: [(&str, &str); 2] = [("canary.enabled", "true"), ("canary.interval", "500ms")];

fn settings(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn sqs(url: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::from_static(Standin::REGION))
        .credentials_provider(Credentials::new("demo", "demo", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// Reads canaries from the queue until one's watermark fulfils `holds`.
async fn watermark_until(
    rig: &Rig,
    queue_url: &str,
    holds: impl Fn(&Watermark) -> bool,
) -> Result<Watermark, Box<dyn std::error::Error + Send + Sync>> {
    let (client, give_up) = (sqs(&rig.endpoint_url), Instant::now() + SOON);
    let mut last = None;
    while Instant::now() < give_up {
        let answer = client
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10)
            .wait_time_seconds(1)
            .send()
            .await?;
        for message in answer.messages() {
            let content = open::content(message.body().unwrap_or_default())?;
            let Content::Canary(canary) = content else { continue };
            let watermark = canary.watermark.ok_or("a canary without a watermark")?;
            if holds(&watermark) {
                return Ok(watermark);
            }
            last = Some(watermark);
        }
    }
    Err(format!("no such watermark; the last was {last:?}").into())
}

async fn canaries_carry_the_verdict_and_what_is_proven(bed: Bed) -> Outcome {
    let has_gtid_sets = !bed.version().starts_with("mariadb");
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings(&CANARIES)).await?;
    let name = format!("{}-canaries", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &["canary"]).await?;

    // A silent database: its verdict, and the proof of it
    // The first interval may hold what the service notes of its own start.
    let quiet = watermark_until(&rig, &queue_url, |mark| {
        let proof = mark.certificate.as_ref();
        mark.verdict == "quiet" && proof.is_some_and(|proof| proof.filtered_transactions == 0)
    });
    let quiet = quiet.await?;
    let proof = quiet.certificate.unwrap_or_default();
    assert!(proof.heartbeat_last > proof.heartbeat_first, "{proof:?}");
    assert_eq!((proof.user_transactions, proof.filtered_transactions), (0, 0), "{proof:?}");
    assert!(proof.heartbeat_transactions >= 1, "{proof:?}");
    assert!(proof.proven_at_us <= quiet.taken_at_us, "{proof:?}");
    let hour_us = 3_600_000_000;
    assert!(proof.proven_at_us > quiet.taken_at_us - hour_us, "{proof:?}");
    let QuietCertificate { gtid_set_first, gtid_set_last, .. } = &proof;
    assert_eq!(!gtid_set_last.is_empty(), has_gtid_sets, "{proof:?}");
    assert!(!has_gtid_sets || gtid_set_first != gtid_set_last, "{proof:?}");

    // A busy one
    let mut shop = Workload::open(rig.mysqld.connect().await?, 8).await?;
    shop.stock().await?;
    let busy = watermark_until(&rig, &queue_url, |mark| {
        let users = mark.certificate.as_ref().map_or(0, |proof| proof.user_transactions);
        mark.verdict == "live" && users > 0
    });
    // Not every certificate travels with a canary, so it stays busy until one did.
    let work = async {
        loop {
            shop.step().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        found = busy => {
            found?;
        }
        failed = work => return failed,
    }

    // And one that takes no writes says nothing at all: there is no canary without a row.
    rig.mysqld.execute(&["SET GLOBAL read_only = 1"]).await?;
    let is_read_only =
        |status: &serde_json::Value| status["verdict"]["state"] == "source_read_only";
    rig.streamer.until("the verdict", SOON, is_read_only).await?;
    Ok(())
}

/// Families that only a fault, or a moment that a scrape may miss, makes other than 0, and why. That
/// they are fed at all is held by the list of their callers, in `tests/architecture.rs`.
const ZERO_WHEN_ALL_IS_WELL: [&str; 42] = [
    "binpulse_maintenance",
    "binpulse_halted",
    "binpulse_unaccounted_transactions_total",
    "binpulse_self_pauses_total",
    "binpulse_canary_mismatched_total",
    "binpulse_canary_lost_total",
    "binpulse_canary_late_total",
    "binpulse_canary_duplicate_total",
    "binpulse_canary_reordered_total",
    "binpulse_echo_failures_total",
    "binpulse_echo_unreadable",
    "binpulse_oversize_total",
    "binpulse_schema_lookups_total",
    "binpulse_quarantined_messages_total",
    "binpulse_quarantined_events_total",
    "binpulse_unordered_updates_total",
    "binpulse_queue_bytes",
    "binpulse_obligation_oldest_age_seconds",
    "binpulse_reader_armed",
    "binpulse_purge_margin_files",
    "binpulse_verdict_recovering",
    "binpulse_connect_failures_total",
    "binpulse_source_clock_offset_seconds",
    "binpulse_passed_statements_total",
    "binpulse_source_finding",
    "binpulse_task_restarts_total",
    "binpulse_snapshot_superseded_rows_total",
    // Without an outbox table, and with a format that loses nothing.
    "binpulse_outbox_ignored_rows_total",
    "binpulse_lossy_cells_total",
    "binpulse_snapshot_discarded_chunks_total",
    "binpulse_snapshot_running",
    "binpulse_snapshot_waiting",
    "binpulse_verify_tables_total",
    "binpulse_replay_jobs_total",
    // There is no standby.
    "binpulse_ha_role",
    "binpulse_takeovers_total",
    // Nobody holds a table back.
    "binpulse_control_active",
    "binpulse_control_held_rows",
    "binpulse_control_overdue_seconds",
    "binpulse_suppressed_purge_margin_seconds",
    "binpulse_suppressed_rows_total",
    "binpulse_released_rows_total",
];

/// Names and types of all families.
fn families() -> Vec<(String, String)> {
    let flags = [
        ("canary.echo", "probe=http://localhost/queue".to_owned()),
        ("sink.kind", "null".to_owned()),
    ];
    let settings = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
    let plan = Plan::new(&settings.expect("settings")).expect("plan");
    let text = exported(&plan).expect("metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Of `families`, those that still say nothing.
async fn unfed(
    streamer: &Streamer,
    families: &[(String, String)],
) -> Result<BTreeSet<String>, binpulse_demo::Error> {
    let mut unfed = BTreeSet::new();
    for (name, kind) in families {
        let count = format!("{name}_count");
        let series = if kind == "histogram" { &count } else { name };
        let value = streamer.metric(series, &[]).await?;
        if value.is_none_or(|value| value.is_nan() || value == 0.0) {
            unfed.insert(name.clone());
        }
    }
    Ok(unfed)
}

async fn every_metric_is_fed(bed: Bed) -> Outcome {
    // Given a run in which everything happens that needs no fault but one: a dump that is killed
    let mysqld = bed.mysqld(Options::default()).await?;
    let standin = bed.standin().await?;
    let aws = binpulse_demo::Aws::at(&standin.url());
    let name = format!("{}-echo", bed.topic_name());
    let topic_arn = aws.create_topic(&bed.topic_name()).await?;
    let echo = aws.subscribe_queue(&topic_arn, &name, &["canary"]).await?;
    let mut settings = settings(&CANARIES);
    settings.push(("canary.echo", format!("probe={echo}")));
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 9).await?;
    shop.stock().await?;
    for _ in 0..60 {
        shop.step().await?;
    }
    rig.mysqld.execute(&["GRANT SELECT ON shop.* TO 'binpulse'@'%'"]).await?;
    crate::snapshot::start(&mut rig.streamer, &["--tables", "shop.*"]).await?;
    let mut session = rig.mysqld.connect().await?;
    let dump: Option<u64> = session
        .query_first(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'",
        )
        .await?;
    session.query_drop(format!("KILL {}", dump.ok_or("no dump")?)).await?;
    session.disconnect().await?;

    // Then each family says something, or stands in the list of those that then may not
    let (all, give_up) = (families(), Instant::now() + SOON);
    let exempt: BTreeSet<_> = ZERO_WHEN_ALL_IS_WELL.iter().map(|name| (*name).to_owned()).collect();
    for name in &exempt {
        assert!(all.iter().any(|(known, _)| known == name), "there is no {name}");
    }
    loop {
        let unfed: BTreeSet<_> =
            unfed(&rig.streamer, &all).await?.difference(&exempt).cloned().collect();
        if unfed.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < give_up, "never fed: {unfed:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn the_purge_margin_follows_the_servers_logs(bed: Bed) -> Outcome {
    const HOUR: f64 = 3_600.0;
    let fallback = if bed.version() == "mysql-5.7" { "information_schema" } else { "refuse" };
    let (variable, value) = match bed.version() {
        "mysql-5.7" => ("expire_logs_days", 1),
        _ => ("binlog_expire_logs_seconds", 86_400),
    };
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&[format!("SET GLOBAL {variable} = {value}")]).await?;
    let settings = [("source.schema_fallback", fallback.to_owned())];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;

    // All is delivered: what is being written is kept for the whole expiry
    let margin =
        until_metric(&mut rig.streamer, "binpulse_purge_margin_seconds", |margin| margin > 0.0);
    let margin = margin.await?;
    assert!((23.9 * HOUR..=24.0 * HOUR).contains(&margin), "{margin}");
    let expiry = rig.streamer.metric("binpulse_source_log_expiry_seconds", &[]).await?;
    assert_eq!(expiry, Some(24.0 * HOUR));

    // Older logs are counted, and go with a purge
    rig.mysqld.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await?;
    let files = "binpulse_purge_margin_files";
    until_metric(&mut rig.streamer, files, |files| files >= 2.0).await?;
    let mut session = rig.mysqld.connect().await?;
    let logs: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
    let newest: Option<String> = logs.last().and_then(|row| row.get(0));
    session.query_drop(format!("PURGE BINARY LOGS TO '{}'", newest.ok_or("no logs")?)).await?;
    session.disconnect().await?;
    until_metric(&mut rig.streamer, files, |files| files < 1.0).await?;

    // A server that never purges leaves no end to it
    rig.mysqld.execute(&[format!("SET GLOBAL {variable} = 0")]).await?;
    until_metric(&mut rig.streamer, "binpulse_purge_margin_seconds", f64::is_infinite).await?;
    Ok(())
}

async fn a_purge_on_a_healthy_stream_changes_nothing(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    rig.mysqld.execute(&["CREATE DATABASE lab", "CREATE TABLE lab.t (v INT)"]).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let mut session = rig.mysqld.connect().await?;
    for number in 0..32 {
        session.query_drop(format!("INSERT INTO lab.t VALUES ({number})")).await?;
        session.query_drop("FLUSH BINARY LOGS").await?;
        let logs: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
        let newest: String = logs.last().and_then(|row| row.get(0)).ok_or("no logs")?;
        session.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    session.disconnect().await?;

    let seen = rig.streamer.status().await?["heartbeat"]["seen"].as_u64().unwrap_or_default();
    let later = |status: &serde_json::Value| status["heartbeat"]["seen"].as_u64() > Some(seen + 4);
    let status = rig.streamer.until("later heartbeats", SOON, later).await?;
    assert!(is_healthy(&status), "{}", status["verdict"]);
    rig.receive_some(32).await?;
    Ok(())
}

async fn a_database_of_which_nothing_is_published_is_saved_and_healthy(bed: Bed) -> Outcome {
    // Given a stream that begins now, publishes nothing, and whose events come fast
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings = settings(&[
        ("source.start", "now"),
        ("source.heartbeat_period", "100ms"),
        ("heartbeat.interval", "300ms"),
        ("heartbeat.write_deadline", "200ms"),
    ]);
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;

    // Then it becomes quiet, and its checkpoint moves with the heartbeats
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let place = |status: &serde_json::Value| status["progress"]["delivered"].clone();
    for _ in 0..3 {
        let before = place(&rig.streamer.status().await?);
        rig.streamer.until("progress", SOON, |status| place(status) != before).await?;
    }
    let saves = rig.streamer.metric("binpulse_checkpoint_saves_total", &["result=\"ok\""]).await?;
    assert!(saves > Some(2.0), "{saves:?}");

    // A dump that is dialled again leaves no hole behind
    let mut session = rig.mysqld.connect().await?;
    let query = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
    let dump: Option<u64> = session.query_first(query).await?;
    session.query_drop(format!("KILL {}", dump.ok_or("no dump")?)).await?;
    session.disconnect().await?;
    let seen = rig.streamer.status().await?["heartbeat"]["seen"].as_u64().unwrap_or_default();
    let rises = |status: &serde_json::Value| {
        status["heartbeat"]["seen"].as_u64() > Some(seen + 4) && is_healthy(status)
    };
    rig.streamer.until("heartbeats after the redial", SOON, rises).await?;
    let lost = rig.streamer.metric("binpulse_unaccounted_transactions_total", &[]).await?;
    assert_eq!(lost, Some(0.0));
    Ok(())
}

async fn until_metric(
    streamer: &mut Streamer,
    name: &str,
    holds: impl Fn(f64) -> bool,
) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let give_up = Instant::now() + SOON;
    loop {
        streamer.must_run()?;
        let value = streamer.metric(name, &[]).await?;
        match value {
            Some(value) if holds(value) => return Ok(value),
            _ if Instant::now() >= give_up => {
                return Err(format!("{name} stays {value:?}; {}", streamer.log_tail()).into());
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
