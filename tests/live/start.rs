//! What is seen of a start that has to wait, and how it ends.

use binpulse_demo::{Command, Error, Mysqld, Options, Streamer, prepare, settings_for};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::aws::Endpoint;
use crate::aws::faults::{Effect, When};
use crate::bed::{Bed, SOON, binary, command};
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    a_source_that_is_down_at_start_is_told_as_the_source_and_waited_for on [Mysql97, Mariadb1011];
    a_topic_that_cannot_be_read_at_start_is_told_and_waited_for on [Mysql97];
    a_signal_to_stop_ends_a_start_that_waits on [Mysql97];
}

/// Periods so short that much happens while a test waits, and patience that outlasts it.
const USUAL: [(&str, &str); 7] = [
    ("stream.name", "test"),
    ("source.start", "earliest"),
    ("source.heartbeat_period", "200ms"),
    ("source.start_patience", "1h"),
    ("heartbeat.interval", "500ms"),
    ("heartbeat.write_deadline", "400ms"),
    ("canary.enabled", "false"),
];

fn start(mysqld: &Mysqld, settings: &[(&'static str, String)]) -> Result<Streamer, Error> {
    start_with(Some(mysqld), settings, Vec::new())
}

/// Starts a streamer of a prepared server, with settings of its own and arguments; without a server,
/// with nothing but these.
pub(crate) fn start_with(
    mysqld: Option<&Mysqld>,
    settings: &[(&'static str, String)],
    arguments: Vec<String>,
) -> Result<Streamer, Error> {
    let mut all = mysqld.map(settings_for).unwrap_or_default();
    if mysqld.is_some() {
        all.extend(USUAL.map(|(key, value)| (key, value.to_owned())));
    }
    all.retain(|(key, _)| !settings.iter().any(|(other, _)| other == key));
    all.extend_from_slice(settings);
    Streamer::start(Command { arguments, ..command("run", all) })
}

/// Waits until it answers, and returns what it says of its life.
pub(crate) async fn until_it_answers(streamer: &mut Streamer) -> Result<u16, Error> {
    let give_up = Instant::now() + SOON;
    loop {
        streamer.must_run()?;
        match streamer.ask("/healthz").await {
            Ok((code, _)) => return Ok(code),
            Err(_) if Instant::now() < give_up => tokio::task::yield_now().await,
            Err(error) => return Err(error),
        }
    }
}

async fn a_source_that_is_down_at_start_is_told_as_the_source_and_waited_for(bed: Bed) -> Outcome {
    for store in ["file", "table"] {
        // Given a database that is not there
        let mut mysqld = bed.mysqld(Options::default()).await?;
        prepare(&mysqld, binary()).await?;
        mysqld.stop().await?;
        let settings = [("sink.kind", "null".to_owned()), ("checkpoint.store", store.to_owned())];
        let mut streamer = start(&mysqld, &settings)?;

        // Then the streamer lives, is not ready, and names the source
        assert_eq!(until_it_answers(&mut streamer).await?, 200, "{store}");
        let told = streamer
            .until("the source's outage", SOON, |status| {
                status["verdict"]["state"] == "source_unreachable"
            })
            .await?;
        assert_eq!(told["state"], "starting", "{store}: {told}");
        assert_eq!(told["verdict"]["hop"], "source", "{store}: {told}");
        assert_eq!(streamer.ask("/healthz").await?.0, 200, "{store}");
        let (code, page) = streamer.ask("/").await?;
        assert!(code == 200 && page.contains("<!doctype html>"), "{store}: the page");
        let (code, missing) = streamer.ask("/readyz").await?;
        assert_eq!((code, missing.contains("stream")), (503, true), "{store}: {missing}");
        let labels = ["from=\"starting\"", "to=\"source_unreachable\""];
        let once = streamer.metric("binpulse_verdict_transitions_total", &labels).await?;
        assert_eq!(once, Some(1.0), "{store}");

        // And it continues by itself when the source is back
        mysqld.start_again().await?;
        streamer.until_ready(SOON).await?;
        streamer.until("a healthy verdict", SOON, is_healthy).await?;
        assert_eq!(streamer.stop().await?, Some(0), "{store}");
    }
    Ok(())
}

async fn a_topic_that_cannot_be_read_at_start_is_told_and_waited_for(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = Endpoint::start().await;
    let topic = endpoint.topic("changes", &[]);
    for (effect, said) in [
        (Effect::INTERNAL, "server_error"),
        (Effect::Reset, "unreachable"),
        (Effect::THROTTLED, "throttled"),
    ] {
        endpoint.fault("GetTopicAttributes", When::Always, effect);
        let settings = [
            ("sns.topic", topic.to_string()),
            ("sns.endpoint_url", endpoint.url()),
            ("sns.region", crate::aws::REGION.to_owned()),
            ("stream.name", said.to_owned()),
        ];
        let mut streamer = start(&mysqld, &settings)?;
        assert_eq!(until_it_answers(&mut streamer).await?, 200, "{said}");
        let is_told = |status: &serde_json::Value| {
            status["sink"]["up"] == false && status["sink"]["last_error"] == said
        };
        let told = streamer.until("the sink's trouble", SOON, is_told).await?;
        assert_eq!(told["state"], "starting", "{said}: {told}");
        assert_eq!(streamer.ask("/").await?.0, 200, "{said}: the page");
        assert_eq!(streamer.ask("/readyz").await?.0, 503, "{said}");

        endpoint.heal();
        streamer.until_ready(SOON).await?;
        let well = streamer.status().await?;
        assert_eq!(well["sink"]["last_error"], serde_json::Value::Null, "{said}: {well}");
        assert_eq!(streamer.stop().await?, Some(0), "{said}");
    }
    Ok(())
}

/// A peer that accepts and never says anything.
async fn mute() -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    Ok(address)
}

async fn a_signal_to_stop_ends_a_start_that_waits(bed: Bed) -> Outcome {
    // Given what gives no answer for much longer than anybody waits for the end
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let silent = mute().await?;
    let (set, null) =
        (|key, value: &str| (key, value.to_owned()), ("sink.kind", "null".to_owned()));
    let patient = set("source.connect_timeout", "5m");
    let topic = "arn:aws:sns:us-east-1:000000000000:changes";
    let cases = [
        vec![null.clone(), set("source.hosts", &silent), patient.clone()],
        vec![null.clone(), set("source.hosts", "127.0.0.1:1")],
        vec![
            null.clone(),
            patient,
            set("checkpoint.store", "table"),
            set("heartbeat.host", &silent),
        ],
        vec![
            set("sns.topic", topic),
            set("sns.endpoint_url", &format!("http://{silent}")),
            set("sns.request_timeout", "1m"),
            set("canary.deadline", "2m"),
            set("canary.interval", "1m"),
        ],
    ];
    for settings in cases {
        let mut streamer = start(&mysqld, &settings)?;
        until_it_answers(&mut streamer).await?;
        // Then a signal is all that it takes, whatever is waited for
        let code = streamer.stop().await.map_err(|error| format!("{settings:?}: {error}"))?;
        assert_eq!(code, Some(0), "{settings:?}: {}", streamer.log_tail());
    }
    Ok(())
}
