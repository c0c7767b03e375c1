//! Settings that contradict one another or say nothing: both refuse before they look at anything.

use super::{Bench, USAGE, case};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    check_and_run_refuse_the_same_settings on [];
}

async fn check_and_run_refuse_the_same_settings(_: Bed) -> Outcome {
    let bench = Bench::new(vec![("source.hosts", "127.0.0.1:1".to_owned())])?;
    let refused = |name, settings: &[(&'static str, &str)]| case(name, USAGE, settings);
    let topic = "arn:aws:sns:eu-west-1:000000000000:changes";
    let cases = vec![
        refused("host that is none", &[("source.hosts", "db:port")]),
        refused("replica without its primary", &[("source.role", "replica")]),
        refused("heartbeats too often", &[("heartbeat.interval", "300ms")]),
        refused("unknown start", &[("source.start", "yesterday")]),
        refused("start in the future", &[("source.start", "time:2199-01-01T00:00:00Z")]),
        refused("unknown sink", &[("sink.kind", "kafka")]),
        refused("hashes without a key", &[("filter.hash_columns", "a.b.c")]),
        refused("pattern without a table", &[("filter.tables", "shop")]),
        refused("quarantine without a file", &[("decode.on_error", "quarantine")]),
        refused("refused messages without a file", &[("sink.rejected", "quarantine")]),
        refused("open to the network", &[("http.listen", "0.0.0.0:0")]),
        refused("short token", &[("http.token", "short")]),
        refused("certificate without a key", &[("http.tls_certificate", "/nowhere.crt")]),
        refused("no such authority", &[("source.tls", "verify-ca"), ("source.tls_ca", "/nowhere")]),
        refused("no topic", &[("sink.kind", "sns")]),
        refused("topic that is none", &[("sink.kind", "sns"), ("sns.topic", "changes")]),
        refused(
            "template without a topic for canaries",
            &[("sink.kind", "sns"), ("sns.topic", &format!("{topic}-{{table}}"))],
        ),
        refused(
            "bucket without a name",
            &[("sink.kind", "sns"), ("sns.topic", topic), ("sink.oversize", "claim-check")],
        ),
        refused("path without a column", &[("canary.paths", "orders=shop.orders")]),
    ];
    bench.agree(cases).await
}
