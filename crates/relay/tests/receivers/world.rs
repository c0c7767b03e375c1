//! What the tests share: a configuration for loopback, and requests.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use binpulse_relay::lane::LaneKey;
use binpulse_relay::target::webhook::{Config, SecretSource, Webhook};
use binpulse_relay::target::{Outcome, Request};

/// The secrets of the tests, in the form of Standard Webhooks.
pub(crate) const CURRENT: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(crate) const FORMER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The deadline of tests that expect an answer; never reached by a test that passes.
pub(crate) const LONG: Duration = Duration::from_mins(1);
/// The deadline of tests that expect none.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn secret(text: &str) -> SecretSource {
    fixed("relay.to.secret", text)
}

pub(crate) fn fixed(setting: &str, text: &str) -> SecretSource {
    let text = text.to_owned();
    SecretSource::new(setting, move || Ok(text.clone()))
}

/// For `scheme://host:port/hooks`, with loopback allowed.
pub(crate) fn config(scheme: &str, host: &str, port: u16) -> Config {
    let url = format!("{scheme}://{host}:{port}/hooks?a=b");
    let mut config = Config::new(url, vec![secret(CURRENT), secret(FORMER)]);
    config.timeout = LONG;
    config.egress.ports = vec![port];
    config.egress.allow = vec!["127.0.0.0/8".parse().expect("a network")];
    config
}

/// To a receiver without TLS on this machine.
pub(crate) fn plain(port: u16) -> Webhook {
    Webhook::new(config("http", "127.0.0.1", port)).expect("a fit configuration")
}

pub(crate) fn request(number: u64) -> Request {
    let body = format!("{{\"type\":\"change\",\"number\":{number},\"city\":\"K\u{f6}ln\"}}");
    Request {
        id: format!("bp_{number:032}"),
        lane: LaneKey { stream: "shop".into(), epoch: 1, lane: "shop.orders#3".into() },
        first: number,
        last: number,
        group: "shop.orders#3".to_owned(),
        body: body.into(),
        content_type: "application/json",
        then: None,
        kind: "change",
        attributes: Vec::new(),
    }
}

/// The text of a failure, and whether it counts as an outage.
pub(crate) fn failure(outcome: Outcome) -> (String, bool) {
    let Outcome::Failed { answer, is_outage, .. } = outcome else { panic!("{outcome:?}") };
    (answer, is_outage)
}

/// Asserts that an attempt failed as an outage with these words.
pub(crate) fn assert_outage(outcome: Outcome, words: &str) {
    let (answer, is_outage) = failure(outcome);
    assert!(is_outage, "{answer}");
    assert!(answer.contains(words), "{answer}");
}

/// Delivers each of `count` requests, `concurrency` at a time.
pub(crate) async fn deliver_all(
    webhook: Arc<Webhook>,
    count: u64,
    concurrency: u64,
) -> Vec<Outcome> {
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..concurrency {
        let webhook = Arc::clone(&webhook);
        tasks.spawn(async move {
            let mut outcomes = Vec::new();
            for number in (first..count).step_by(usize::try_from(concurrency).expect("small")) {
                outcomes.push(webhook.deliver(&request(number)).await);
            }
            outcomes
        });
    }
    tasks.join_all().await.concat()
}

/// Says what did not run, also where the output of a test that passes is captured.
pub(crate) fn skipped(test: &str, missing: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing}");
}
