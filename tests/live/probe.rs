//! The consumer's probe, as a program: what it makes of canaries that come, and of those that do not.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse::encode::proto::frame::Content;
use binpulse::encode::proto::{Canary, CanaryPhase, ChangeBatch, Codec, Frame, Source, Watermark};
use binpulse_demo::{Aws, Consumer, Error, Folder, Options, Standin, Streamer};
use prost::Message;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic, command};
use crate::receiving::{publish, sns};
use crate::relay::copy_relay;
use crate::suite::{Outcome, tests};

tests! {
    canaries_of_every_form_are_counted_for_what_they_are on [];
    a_stream_that_stops_is_named_until_it_comes_back on [Mysql97];
    a_copy_that_falls_behind_is_named_until_it_catches_up on [Mysql97];
    of_two_consumers_the_one_that_gets_no_canaries_is_named on [Mysql97];
}

/// A probe that reads this queue.
fn start(
    standin: &Standin,
    queue: &str,
    settings: &[(&'static str, &str)],
) -> Result<Streamer, Error> {
    let mut all = vec![
        ("probe.queue", queue.to_owned()),
        ("sns.endpoint_url", standin.url()),
        ("sns.region", Standin::REGION.to_owned()),
    ];
    all.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Streamer::start(command("probe", all))
}

/// Waits until `/healthz` answers `code` with a body that has all of `words`; returns the body.
async fn until_health(probe: &mut Streamer, code: u16, words: &[&str]) -> Result<String, Error> {
    let give_up = Instant::now() + SOON;
    loop {
        probe.must_run()?;
        let seen = match probe.ask("/healthz").await {
            Ok((found, body)) if found == code && words.iter().all(|word| body.contains(word)) => {
                return Ok(body);
            }
            Ok((found, body)) => format!("{found}: {body}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= give_up {
            let what = format!("health {code} with {words:?}; last seen: {seen}");
            return Err(Error::Deadline { what, seconds: SOON.as_secs() });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a metric has this value.
async fn until_metric(
    probe: &Streamer,
    name: &str,
    labels: &[&str],
    value: f64,
) -> Result<(), Error> {
    let give_up = Instant::now() + SOON;
    loop {
        let seen = probe.metric(name, labels).await;
        if matches!(seen, Ok(Some(seen)) if (seen - value).abs() < 1e-9) {
            return Ok(());
        }
        if Instant::now() >= give_up {
            let what = format!("{name}{labels:?} to be {value}; last seen: {seen:?}");
            return Err(Error::Deadline { what, seconds: SOON.as_secs() });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The canary message with this number in its lane, not yet in a frame.
fn content(stream: &str, sequence: u64) -> Content {
    let now_us = chrono::Utc::now().timestamp_micros();
    let phase = [CanaryPhase::Insert, CanaryPhase::Update, CanaryPhase::Delete]
        [usize::try_from((sequence + 2) % 3).expect("small")];
    let source = Source {
        stream: stream.to_owned(),
        server_uuid: "u".to_owned(),
        epoch: 1,
        ..Source::default()
    };
    Content::Canary(Canary {
        number: sequence.div_ceil(3),
        phase: phase.into(),
        written_at_us: now_us,
        batch: Some(ChangeBatch {
            source: Some(source),
            sequence_first: sequence,
            ..ChangeBatch::default()
        }),
        watermark: Some(Watermark { taken_at_us: now_us, ..Watermark::default() }),
        ..Canary::default()
    })
}

fn body(codec: Codec, content: Content) -> String {
    let plain = Frame { content: Some(content), ..Frame::default() }.encode_to_vec();
    let payload = match codec {
        Codec::Zstd => zstd::bulk::compress(&plain, 3).expect("memory"),
        Codec::None | Codec::Unspecified => plain.clone(),
    };
    let frame = Frame {
        format_version: 1,
        codec: codec.into(),
        uncompressed_size: plain.len() as u64,
        crc32c: crc32c::crc32c(&plain),
        content: Some(Content::Payload(payload)),
    };
    STANDARD.encode(frame.encode_to_vec())
}

fn document(stream: &str, sequence: u64) -> String {
    let now = chrono::Utc::now();
    json!({
        "kind": "canary", "number": sequence.div_ceil(3), "phase": "insert", "v": 1,
        "written_at": now.to_rfc3339(), "sequence_first": sequence,
        "source": {"stream": stream, "server_uuid": "u", "epoch": 1},
        "watermark": {"taken_at_us": now.timestamp_micros(), "verdict": "quiet"},
    })
    .to_string()
}

async fn canaries_of_every_form_are_counted_for_what_they_are(bed: Bed) -> Outcome {
    // Given a probe whose queue gets one topic raw, and another in SNS's envelope
    let standin = bed.standin().await?;
    let aws = Aws::at(&standin.url());
    let name = bed.topic_name();
    let raw = aws.create_topic(&name).await?;
    let queue = aws.subscribe_queue(&raw, &name, &[]).await?;
    let enveloped = aws.create_topic(&format!("{name}-e")).await?;
    let queue_arn = Standin::topic_arn(&name).replace(":sns:", ":sqs:");
    sns(standin)
        .subscribe()
        .topic_arn(&enveloped)
        .protocol("sqs")
        .endpoint(queue_arn)
        .send()
        .await?;
    let mut probe = start(standin, &queue, &[("probe.streams", "shop"), ("probe.deadline", "2s")])?;
    let waiting = until_health(&mut probe, 200, &["waiting for the first canary"]).await?;
    assert!(waiting.contains("stream shop"), "{waiting}");
    let series = ["stream=\"shop\""];
    assert_eq!(
        probe.metric("binpulse_probe_lost_total", &series).await?,
        Some(0.0),
        "from the start"
    );

    // When canaries of every form come, one of them twice, and some that are none
    let canary = |codec, sequence| body(codec, content("shop", sequence));
    publish(standin, &raw, &[canary(Codec::Zstd, 1), canary(Codec::None, 2)]).await?;
    publish(standin, &enveloped, &[canary(Codec::Zstd, 3), document("shop", 4)]).await?;
    let batch = Content::Batch(ChangeBatch::default());
    let others = [
        document("shop", 4),
        body(Codec::Zstd, content("bank", 1)),
        body(Codec::Zstd, batch),
        "hello".to_owned(),
    ];
    publish(standin, &raw, &others).await?;

    // Then each is counted for what it is
    until_metric(&probe, "binpulse_probe_received_total", &series, 4.0).await?;
    for (name, labels, value) in [
        ("binpulse_probe_duplicate_total", &series[..], 1.0),
        ("binpulse_probe_messages_total", &["kind=\"canary\""], 5.0),
        ("binpulse_probe_messages_total", &["kind=\"other_stream\""], 1.0),
        ("binpulse_probe_messages_total", &["kind=\"other_kind\""], 1.0),
        ("binpulse_probe_messages_total", &["kind=\"malformed\""], 1.0),
        ("binpulse_probe_canary_transit_seconds_count", &series[..], 4.0),
        ("binpulse_probe_last_sequence", &series[..], 4.0),
    ] {
        until_metric(&probe, name, labels, value).await?;
    }

    // And what is missing is first awaited, then lost, and late when it comes after all
    publish(standin, &raw, &[canary(Codec::Zstd, 7)]).await?;
    until_metric(&probe, "binpulse_probe_lost_total", &series, 2.0).await?;
    publish(standin, &raw, &[canary(Codec::Zstd, 5)]).await?;
    until_metric(&probe, "binpulse_probe_late_total", &series, 1.0).await?;
    assert_eq!(probe.metric("binpulse_probe_reordered_total", &series).await?, Some(0.0));

    // And nothing is left in its queue once it has stopped
    until_health(&mut probe, 503, &["stream shop: canary 3 (update) has not arrived"]).await?;
    assert_eq!(probe.stop().await?, Some(0), "{}", probe.log_tail());
    let mut rest = Consumer::new(aws, queue);
    assert_eq!(rest.receive(&mut |_, _| {}).await?, 0, "it deletes what it read");
    Ok(())
}

async fn a_stream_that_stops_is_named_until_it_comes_back(bed: Bed) -> Outcome {
    // Given a stream with canaries, and a probe behind its topic
    let mysqld = bed.mysqld(Options::default()).await?;
    let canaries = [("canary.enabled", "true".to_owned()), ("canary.interval", "500ms".to_owned())];
    let mut rig = Rig::start(&bed, mysqld, Topic::Fifo, &canaries).await?;
    let standin = bed.standin().await?;
    let name = format!("{}-probe.fifo", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &["canary"]).await?;
    let settings = [("probe.streams", "test"), ("probe.deadline", "4s")];
    let mut probe = start(standin, &queue, &settings)?;
    until_health(&mut probe, 200, &["canaries arrive"]).await?;

    // When the streamer is frozen, then it is missed by name, and no longer once it continues
    rig.streamer.freeze()?;
    let missed =
        until_health(&mut probe, 503, &["stream test: canary ", "has not arrived"]).await?;
    assert!(missed.contains("allowed 4.0 s; the last was canary "), "{missed}");
    rig.streamer.thaw()?;
    until_health(&mut probe, 200, &["canaries arrive"]).await?;

    // And so when it is killed, and started again
    rig.streamer.kill().await?;
    until_health(&mut probe, 503, &["stream test: canary ", "has not arrived"]).await?;
    rig.streamer.start_again().await?;
    until_health(&mut probe, 200, &["canaries arrive"]).await?;

    // Then by the numbers nothing was lost meanwhile
    let series = ["stream=\"test\""];
    assert_eq!(probe.metric("binpulse_probe_lost_total", &series).await?, Some(0.0));
    assert_eq!(probe.metric("binpulse_probe_source_changes_total", &series).await?, Some(0.0));
    assert!(probe.metric("binpulse_probe_received_total", &series).await? > Some(5.0));
    assert_eq!(probe.metric("binpulse_probe_healthy", &[]).await?, Some(1.0));
    assert_eq!(probe.stop().await?, Some(0), "{}", probe.log_tail());
    Ok(())
}

async fn a_copy_that_falls_behind_is_named_until_it_catches_up(bed: Bed) -> Outcome {
    // Given a stream with canaries, a relay that keeps a copy, and a probe that only reads the copy
    let (source, copy) =
        tokio::try_join!(bed.mysqld(Options::default()), bed.mysqld(Options::default()))?;
    let canaries = [("canary.enabled", "true".to_owned()), ("canary.interval", "500ms".to_owned())];
    let rig = Rig::start(&bed, source, Topic::Standard, &canaries).await?;
    let name = format!("{}-copy", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let state = Folder::create()?;
    copy.execute(&["CREATE DATABASE relay"]).await?;
    let settings = [
        ("probe.copy", format!("mysql://{}/relay", copy.address())),
        ("probe.copy_user", "root".to_owned()),
        ("probe.streams", "test".to_owned()),
        ("probe.deadline", "4s".to_owned()),
    ];
    let mut probe = Streamer::start(command("probe", settings.to_vec()))?;

    // While there is nothing to be read, it says why
    let missed = until_health(&mut probe, 503, &["stream test: no canary has arrived"]).await?;
    assert!(missed.contains("probe.copy"), "{missed}");
    let mut relay = copy_relay(&queue, &copy, &rig.endpoint_url, &state)?;
    until_health(&mut probe, 200, &["canaries arrive"]).await?;

    // When the relay stands still, then the copy is named, and no longer once it continues
    relay.freeze()?;
    let missed =
        until_health(&mut probe, 503, &["stream test: the next canary has not arrived"]).await?;
    assert!(missed.contains("; the last was canary "), "{missed}");
    relay.thaw()?;
    until_health(&mut probe, 200, &["canaries arrive"]).await?;
    let lost = probe.metric("binpulse_probe_lost_total", &["stream=\"test\""]).await?;
    assert_eq!(lost, Some(0.0));
    assert_eq!(probe.stop().await?, Some(0), "{}", probe.log_tail());
    Ok(())
}

async fn of_two_consumers_the_one_that_gets_no_canaries_is_named(bed: Bed) -> Outcome {
    // Given two consumers that echo, of which one's filter policy keeps canaries back
    let mysqld = bed.mysqld(Options::default()).await?;
    let standin = bed.standin().await?;
    let (aws, name) = (Aws::at(&standin.url()), format!("{}.fifo", bed.topic_name()));
    let topic = aws.create_topic(&name).await?;
    let billing = aws.subscribe_queue(&topic, &format!("b-{name}"), &["canary"]).await?;
    let search = aws.subscribe_queue(&topic, &format!("s-{name}"), &["change"]).await?;
    let settings = [
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        ("canary.echo", format!("billing={billing},search={search}")),
        ("canary.deadline", "3s".to_owned()),
        ("heartbeat.seen_deadline", "1s".to_owned()),
        ("sns.request_timeout", "2s".to_owned()),
    ];

    // When canaries have gone by
    let mut rig = Rig::start(&bed, mysqld, Topic::Fifo, &settings).await?;
    let lost = |status: &serde_json::Value| status["verdict"]["state"] == "canary_lost";
    let status = rig.streamer.until("a lost consumer", SOON, lost).await?;

    // Then the verdict and the counts name that consumer, and the other's are in order
    let sentence = status["verdict"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("search") && !sentence.contains("billing"), "{sentence}");
    let count = async |name: &str, consumer: &str| {
        let consumer = format!("consumer=\"{consumer}\"");
        rig.streamer.metric(&format!("binpulse_canary_{name}_total"), &[&consumer]).await
    };
    assert!(count("lost", "search").await? >= Some(2.0));
    assert_eq!(count("resolved", "search").await?, Some(0.0));
    assert!(count("resolved", "billing").await? >= Some(1.0));
    for name in ["lost", "late", "duplicate", "reordered"] {
        assert_eq!(count(name, "billing").await?, Some(0.0), "{name}");
    }
    Ok(())
}
