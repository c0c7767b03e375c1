//! How old changes are when SNS has them: while a table is read beside them, and while none is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use binpulse_demo::Mysqld;

use super::{TABLE, begin, start};
use crate::Outcome;
use crate::aws::{Endpoint, REGION};
use crate::latency::{Ages, Due, hold, part, receive, take, until_published};

/// Transactions a second.
const RATE: u64 = 500;
/// How long the rate is held without a snapshot, and between two looks at one.
const IDLE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_secs(2);

pub(super) async fn run(mysqld: &Mysqld, rows: u64) -> Outcome {
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("ages", &[("MaximumMessageSize", "262144")]);
    let sink = vec![
        ("sns.topic", arn.to_string()),
        ("sns.region", REGION.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
    ];
    let mut streamer = start(mysqld, sink).await?;
    let ages = Arc::new(Mutex::new(Ages::default()));
    let receiving = tokio::spawn(receive(Arc::clone(&endpoint.shared), Arc::clone(&ages)));
    let mut id = 0;
    hold(mysqld, RATE, STEP, Due::Untold, &mut id).await?;
    until_published(&streamer, id).await?;
    drop(take(&ages));
    hold(mysqld, RATE, IDLE, Due::Told, &mut id).await?;
    until_published(&streamer, id).await?;
    let idle = take(&ages);
    begin(&streamer, TABLE).await?;
    loop {
        hold(mysqld, RATE, STEP, Due::Told, &mut id).await?;
        let snapshot = streamer.status().await?["snapshot"].clone();
        if snapshot["state"] != "running" {
            println!("{} of {rows} rows were read: {}", snapshot["rows"], snapshot["state"]);
            break;
        }
    }
    until_published(&streamer, id).await?;
    let busy = take(&ages);
    receiving.abort();
    streamer.stop().await?;
    println!("Changes at {RATE} transactions/s, ms since they were due until SNS had them:\n");
    println!("| | rows | p50 | p99 | most |\n|---|--:|--:|--:|--:|");
    for (name, ages) in [("no snapshot", &idle), ("beside a snapshot", &busy)] {
        let due = &ages.since_due;
        let [p50, p99, most] = [500, 990, 1000].map(|thousandths| part(due, thousandths));
        println!("| {name} | {} | {p50:.2} | {p99:.2} | {most:.2} |", due.len());
    }
    let ratio = part(&busy.since_due, 990) / part(&idle.since_due, 990).max(f64::MIN_POSITIVE);
    println!("\np99 beside a snapshot: {ratio:.2} times that without.\n");
    Ok(())
}
