//! Echo queues: what is said when they can't be read.

use binpulse_demo::{Aws, Mysqld, Options, Standin, Streamer, prepare, settings_for};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::aws::faults::{Effect, When};
use crate::aws::{Endpoint, sqs};
use crate::bed::{Bed, SOON, binary, command};
use crate::cli::check;
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    an_echo_queue_that_cannot_be_read_is_named_and_nobody_else_is_blamed on [Mysql97];
    check_tries_each_echo_queue on [Mysql97];
    a_stop_under_a_stalled_sink_is_no_stall_of_ours on [Mysql97];
    a_forged_echo_does_not_make_a_dead_way_look_alive on [Mysql97];
    a_graceful_restart_loses_no_canary on [Mysql97];
}

/// A server that is set up, and a topic of an endpoint that fails on demand.
async fn stage(
    bed: &Bed,
) -> Result<(Mysqld, Endpoint, Aws, String), Box<dyn std::error::Error + Send + Sync>> {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = endpoint().await;
    let aws = Aws::at(&endpoint.url());
    let topic = aws.create_topic("changes").await?;
    Ok((mysqld, endpoint, aws, topic))
}

pub(crate) async fn endpoint() -> Endpoint {
    let endpoint = Endpoint::start().await;
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    endpoint
}

/// Settings of a stream whose canaries `echo` are read back at the endpoint, with short periods.
pub(crate) fn settings(
    mysqld: &Mysqld,
    endpoint: &Endpoint,
    topic: &str,
    echo: String,
) -> Vec<(&'static str, String)> {
    let own = [
        ("stream.name", "test"),
        ("source.heartbeat_period", "200ms"),
        ("heartbeat.interval", "500ms"),
        ("heartbeat.write_deadline", "400ms"),
        ("heartbeat.seen_deadline", "1s"),
        ("canary.interval", "500ms"),
        ("canary.deadline", "3s"),
        ("sns.request_timeout", "2s"),
        ("sns.topic", topic),
    ];
    let mut all = settings_for(mysqld);
    all.retain(|(key, _)| !own.iter().any(|(other, _)| other == key));
    all.extend(own.map(|(key, value)| (key, value.to_owned())));
    all.push(("sns.endpoint_url", endpoint.url()));
    all.push(("canary.echo", echo));
    all
}

async fn an_echo_queue_that_cannot_be_read_is_named_and_nobody_else_is_blamed(bed: Bed) -> Outcome {
    // Given a healthy stream whose canaries come back
    let (mysqld, endpoint, aws, topic) = stage(&bed).await?;
    let queue = aws.subscribe_queue(&topic, "billing", &["canary"]).await?;
    let policy = r#"{"Effect": "Allow", "Action": "sqs:SendMessage"}"#.to_owned();
    if let Some(queue) = endpoint.shared.store().queues.get_mut("billing") {
        queue.attributes.insert("Policy".to_owned(), policy);
    }
    let echo = format!("billing={queue}");
    let mut streamer = Streamer::start(command("run", settings(&mysqld, &endpoint, &topic, echo)))?;
    streamer.until("a healthy verdict", SOON, is_healthy).await?;

    let denied = Effect::Refuse(403, "AccessDeniedException", "no sqs:ReceiveMessage for you");
    for (effect, words) in [(denied, "HTTP 403"), (Effect::Hang, "ReceiveMessage")] {
        // When the queue can't be read
        endpoint.fault("ReceiveMessage", When::Always, effect);
        let blind = |status: &Value| status["verdict"]["reason"] == "echo_unreadable";
        let status = streamer.until("the reason", SOON, blind).await?;

        // Then that is what is said, and no canary is lost
        assert_eq!(status["verdict"]["state"], "indeterminate");
        assert_eq!(status["verdict"]["runbook"], "/runbooks/BinpulseEchoUnreadable");
        let sentence = status["verdict"]["sentence"].as_str().unwrap_or_default();
        assert!(sentence.contains("billing") && sentence.contains(words), "{sentence}");
        let unreadable = status["consumers"][0]["unreadable"].as_str().unwrap_or_default();
        assert!(unreadable.contains(words), "{unreadable}");
        let series = ["consumer=\"billing\""];
        assert!(streamer.metric("binpulse_echo_failures_total", &series).await? >= Some(1.0));
        assert_eq!(streamer.metric("binpulse_echo_unreadable", &series).await?, Some(1.0));

        // And when it can again, what waited in it has not been lost either
        endpoint.heal();
        streamer.until("a healthy verdict", SOON, is_healthy).await?;
        for name in ["lost", "late"] {
            let name = format!("binpulse_canary_{name}_total");
            assert_eq!(streamer.metric(&name, &series).await?, Some(0.0), "{name}");
        }
        assert_eq!(streamer.metric("binpulse_echo_unreadable", &series).await?, Some(0.0));
    }
    let lost = "binpulse_verdict_transitions_total";
    for from in ["live", "quiet", "indeterminate"] {
        let labels = [format!("from=\"{from}\""), "to=\"canary_lost\"".to_owned()];
        let labels = labels.each_ref().map(String::as_str);
        assert_eq!(streamer.metric(lost, &labels).await?, Some(0.0), "from {from}");
    }
    Ok(())
}

async fn a_forged_echo_does_not_make_a_dead_way_look_alive(bed: Bed) -> Outcome {
    // Given a stream whose canaries reach nobody
    let (mysqld, endpoint, aws, topic) = stage(&bed).await?;
    let queue = aws.subscribe_queue(&topic, "billing", &["change"]).await?;
    let mut settings = settings(&mysqld, &endpoint, &topic, format!("billing={queue}"));
    settings.push(("message.format", "json".to_owned()));
    let mut streamer = Streamer::start(command("run", settings))?;
    streamer.until("a first canary", SOON, |status| status["canary"]["seen"].is_u64()).await?;

    // When somebody puts each of them into the queue, as far as they can be guessed
    let lost = |status: &Value| status["verdict"]["state"] == "canary_lost";
    let give_up = Instant::now() + SOON;
    let mut next = 1;
    while !lost(&streamer.status().await?) {
        assert!(Instant::now() < give_up, "{}", streamer.status().await?["verdict"]);
        let written = streamer.status().await?["canary"]["written"].as_u64().unwrap_or_default();
        for number in next..=written + 3 {
            for phase in ["insert", "update", "delete"] {
                let body = json!({
                    "kind": "canary", "number": number, "phase": phase, "nonce": "AAAAAAAAAAAAAAAAAAAAAA==",
                    "written_at": "2026-01-01T00:00:00Z", "source": {"stream": "test", "epoch": 1},
                    "sequence_first": number * 3,
                });
                let wanted = json!({"QueueUrl": queue, "MessageBody": body.to_string()});
                let mut store = endpoint.shared.store();
                let now = std::time::Instant::now();
                sqs::call(&mut store, &endpoint.url(), "SendMessage", &wanted, now).expect("sent");
            }
        }
        next = next.max(written);
        endpoint.shared.changed.notify_waiters();
        sleep(Duration::from_millis(200)).await;
    }

    // Then the canaries are lost all the same, and the forgery is counted and told
    let forged = streamer.metric("binpulse_echo_messages_total", &["kind=\"forged\""]).await?;
    assert!(forged >= Some(1.0), "{forged:?}");
    let resolved = ["consumer=\"billing\""];
    assert_eq!(streamer.metric("binpulse_canary_resolved_total", &resolved).await?, Some(0.0));
    assert!(streamer.log_tail().contains("another sender writes"), "{}", streamer.log_tail());
    Ok(())
}

async fn check_tries_each_echo_queue(bed: Bed) -> Outcome {
    let (mysqld, endpoint, aws, topic) = stage(&bed).await?;
    let good = aws.subscribe_queue(&topic, "good", &["canary"]).await?;
    let echo = format!("good={good},gone={}/000000000000/gone", endpoint.url());
    let settings = settings(&mysqld, &endpoint, &topic, echo);

    let found = async |consumer: &str| {
        let (_, reports) = check(&settings).await;
        let what = format!("echo queue of {consumer}");
        reports.into_iter().find(|report| report["what"] == what.as_str()).expect("a report")
    };
    assert_eq!(found("good").await["ok"], true);
    let gone = found("gone").await;
    assert_eq!((&gone["ok"], &gone["refuses"]), (&false.into(), &false.into()), "{gone}");
    let text = gone["found"].as_str().unwrap_or_default();
    assert!(text.contains("QueueDoesNotExist") && text.contains("HTTP 400"), "{text}");

    // Reading is not all: what can't be deleted comes again and again
    let denied = Effect::Refuse(403, "AccessDeniedException", "no sqs:DeleteMessage for you");
    endpoint.fault("DeleteMessageBatch", When::Always, denied);
    let good = found("good").await;
    assert_eq!(good["ok"], false, "{good}");
    let text = good["found"].as_str().unwrap_or_default();
    assert!(text.contains("DeleteMessage: HTTP 403: AccessDenied"), "{text}");
    Ok(())
}

async fn a_stop_under_a_stalled_sink_is_no_stall_of_ours(bed: Bed) -> Outcome {
    // Given a stream whose topic answers no more
    let (mysqld, endpoint, _, topic) = stage(&bed).await?;
    let mut settings = settings(&mysqld, &endpoint, &topic, String::new());
    settings.retain(|(key, _)| *key != "canary.echo");
    let mut streamer = Streamer::start(command("run", settings))?;
    streamer.until("a healthy verdict", SOON, is_healthy).await?;
    for operation in ["Publish", "PublishBatch"] {
        endpoint.fault(operation, When::Always, Effect::Hang);
    }
    let stalled = |status: &Value| status["verdict"]["state"] == "sink_stalled";
    streamer.until("a stalled sink", SOON, stalled).await?;

    // When it is asked to stop, then it says so for as long as it tries to deliver
    streamer.terminate()?;
    let stopping = |status: &Value| {
        assert!(stalled(status), "{}", status["verdict"]["sentence"]);
        status["state"] == "stopping" && status["state_age_seconds"].as_f64() > Some(6.0)
    };
    streamer.until("six seconds of stopping", SOON, stopping).await?;
    endpoint.heal();
    assert_eq!(streamer.wait(SOON).await?, Some(0), "{}", streamer.log_tail());
    Ok(())
}

/// Waits until the newest canaries of a process, of which it remembers all, came back; at least three.
async fn until_resolved(streamer: &mut Streamer) -> Result<Value, binpulse_demo::Error> {
    let resolved = |status: &Value| {
        let recent = status["consumers"][0]["recent"].as_array().cloned().unwrap_or_default();
        let back = recent.iter().filter(|canary| canary["state"] == "resolved").count();
        is_healthy(status) && back >= 3
    };
    streamer.until("three canaries that came back", SOON, resolved).await
}

/// None of these counts anything at a restart that was asked for.
async fn nothing_is_lost(streamer: &Streamer, probe: &Streamer) -> Outcome {
    for name in ["canary_lost", "canary_late", "echo_failures", "unaccounted_transactions"] {
        let name = format!("binpulse_{name}_total");
        assert_eq!(streamer.metric(&name, &[]).await?, Some(0.0), "{name}");
    }
    for name in ["lost", "late"] {
        let name = format!("binpulse_probe_{name}_total");
        let counted = probe.metric(&name, &[]).await?;
        assert_eq!(counted.or(Some(0.0)), Some(0.0), "{name}");
    }
    let to = ["to=\"canary_lost\""];
    let turns = streamer.metric("binpulse_verdict_transitions_total", &to).await?;
    assert_eq!(turns, Some(0.0), "{}", streamer.log_tail());
    Ok(())
}

async fn a_graceful_restart_loses_no_canary(bed: Bed) -> Outcome {
    // Given a healthy stream whose canaries come back, and a consumer's probe that counts them too
    let (mysqld, endpoint, aws, topic) = stage(&bed).await?;
    let queue = aws.subscribe_queue(&topic, "billing", &["canary"]).await?;
    let probed = aws.subscribe_queue(&topic, "probed", &["canary"]).await?;
    for queue in endpoint.shared.store().queues.values_mut() {
        let policy = r#"{"Effect": "Allow", "Action": "sqs:SendMessage"}"#;
        queue.attributes.insert("Policy".to_owned(), policy.to_owned());
    }
    let mut settings = settings(&mysqld, &endpoint, &topic, format!("billing={queue}"));
    let slower = [("canary.deadline", "15s"), ("canary.interval", "1s")];
    settings.retain(|(key, _)| !slower.iter().any(|(other, _)| other == key));
    settings.extend(slower.map(|(key, value)| (key, value.to_owned())));
    let of_probe = [
        ("probe.queue", probed),
        ("probe.deadline", "15s".to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("sns.region", Standin::REGION.to_owned()),
    ];
    let probe = Streamer::start(command("probe", of_probe.to_vec()))?;
    let mut streamer = Streamer::start(command("run", settings))?;
    until_resolved(&mut streamer).await?;

    // When it is stopped while an echo is in the queue, or in the answer to a poll of it
    for (what, effect) in [("queue", Effect::Hang), ("answer", Effect::AcceptThenHang)] {
        let hidden = what == "answer";
        endpoint.fault("ReceiveMessage", When::Always, effect);
        let waits = |store: &crate::aws::store::Store| {
            let (visible, out) = store.queues["billing"].counts(std::time::Instant::now());
            if hidden { out > 0 } else { visible > 0 }
        };
        endpoint.until(what, waits).await;
        nothing_is_lost(&streamer, &probe).await?;
        assert_eq!(streamer.stop().await?, Some(0), "{}", streamer.log_tail());
        endpoint.heal();

        // Then the next process loses none, neither of its own nor of the other's
        streamer.start_again().await?;
        until_resolved(&mut streamer).await?;
        nothing_is_lost(&streamer, &probe).await?;
    }

    // Nor when its first canary goes into a poll that the other gave up: nobody reads that answer
    assert_eq!(streamer.stop().await?, Some(0), "{}", streamer.log_tail());
    let shared = std::sync::Arc::clone(&endpoint.shared);
    let base = endpoint.url();
    let take = move || {
        let now = std::time::Instant::now();
        let mut store = shared.store();
        let input = store.polls[&queue].clone();
        let answer = sqs::call(&mut store, &base, "ReceiveMessage", &input, now);
        answer.expect("a queue")["Messages"].as_array().map_or(0, Vec::len)
    };
    if let Some(left) = endpoint.shared.store().queues.get_mut("billing") {
        left.messages.clear();
    }
    let shared = std::sync::Arc::clone(&endpoint.shared);
    let poll = tokio::spawn(async move {
        loop {
            let changed = shared.changed.notified();
            if take() > 0 {
                return;
            }
            changed.await;
        }
    });
    streamer.start_again().await?;
    let status = until_resolved(&mut streamer).await?;
    assert!(poll.is_finished(), "the poll got a message");
    let recent = status["consumers"][0]["recent"].as_array().cloned().unwrap_or_default();
    let first = recent.last().expect("a canary").clone();
    let is_back = |status: &Value| {
        let recent = status["consumers"][0]["recent"].as_array().cloned().unwrap_or_default();
        let is_it = |canary: &&Value| canary["number"] == first["number"];
        recent.iter().find(is_it).is_some_and(|canary| canary["state"] == "resolved")
    };
    streamer.until("its first canary", SOON, is_back).await?;
    nothing_is_lost(&streamer, &probe).await
}
