//! Topics that can't be used.

use binpulse_demo::{Options, prepare};

use super::{Bench, STARTS, UNAVAILABLE, case};
use crate::aws::faults::{Effect, When};
use crate::aws::{Endpoint, REGION};
use crate::bed::{Bed, binary};
use crate::suite::{Outcome, tests};

tests! {
    check_and_run_agree_on_topics on [Mysql97];
}

async fn check_and_run_agree_on_topics(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let mut bench = Bench::of(&mysqld)?;
    let endpoint = Endpoint::start().await;
    let topic = endpoint.topic("changes", &[]).to_string();
    bench.usual.retain(|(key, _)| *key != "sink.kind");
    bench.usual.push(("sns.region", REGION.to_owned()));
    bench.usual.push(("sns.endpoint_url", endpoint.url()));
    bench.usual.push(("sns.request_timeout", "2s".to_owned()));
    let of = |name, exit, topic: &str| case(name, exit, &[("sns.topic", topic)]);
    let account = "000000000000";
    let cases = vec![
        of("all is well", STARTS, &topic),
        of("no such topic", UNAVAILABLE, &format!("arn:aws:sns:{REGION}:{account}:gone")),
        of("other region", UNAVAILABLE, &format!("arn:aws:sns:us-west-2:{account}:changes")),
        case(
            "nobody listens",
            UNAVAILABLE,
            &[("sns.topic", &topic), ("sns.endpoint_url", "http://127.0.0.1:1")],
        ),
        case(
            "no topic of canaries",
            UNAVAILABLE,
            &[
                ("sns.topic", &topic),
                ("canary.topic", &format!("arn:aws:sns:{REGION}:{account}:canaries")),
            ],
        ),
        // A queue that can't be read hides what arrives, and keeps nothing from being sent.
        case(
            "no such echo",
            STARTS,
            &[("sns.topic", &topic), ("canary.echo", &format!("a={}/{account}/q", endpoint.url()))],
        ),
    ];
    bench.agree(cases).await?;
    for (name, effect) in [
        ("denied", Effect::DENIED),
        ("expired", Effect::EXPIRED),
        ("server errors", Effect::INTERNAL),
        ("throttled", Effect::THROTTLED),
        ("resets", Effect::Reset),
    ] {
        endpoint.fault("GetTopicAttributes", When::Always, effect);
        let outcome = bench.agree(vec![of(name, UNAVAILABLE, &topic)]).await;
        endpoint.heal();
        outcome?;
    }
    Ok(())
}
