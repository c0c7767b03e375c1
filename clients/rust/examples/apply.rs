//! Keeps a copy of tables in a MySQL database, each row applied exactly once:
//! `QUEUE_URL=.. MYSQL_URL=mysql://root@127.0.0.1:3306 cargo run --example apply`.
//!
//! The visibility timeout of the queue is longer than the ledger's wait for a gap (5 minutes): messages that wait are
//! kept in memory. With ROWS it ends after so many rows.

#[path = "support/copy.rs"]
mod copy;

use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use binpulse_client::{Content, decode};
use copy::{Copy, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::var("QUEUE_URL")?;
    let rows_max = std::env::var("ROWS").map_or(Ok(u64::MAX), |rows| rows.parse())?;
    // Not needed where aws-config has its default features.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let sqs = Client::new(&shared);
    let mut copy = Copy::open(&std::env::var("MYSQL_URL")?).await?;
    let mut waiting: Vec<(Content, String)> = Vec::new();
    while copy.applied < rows_max {
        let request = sqs.receive_message().queue_url(&url).max_number_of_messages(10);
        for message in request.wait_time_seconds(5).send().await?.messages() {
            let (Some(body), Some(receipt)) = (message.body(), message.receipt_handle()) else {
                continue;
            };
            // With a claim check, `DecodeError::Elsewhere` has the place of the object to fetch.
            waiting.push((decode(body)?, receipt.to_owned()));
        }
        let mut before = None;
        while before != Some(copy.applied) {
            before = Some(copy.applied);
            let mut left = Vec::new();
            for (content, receipt) in waiting {
                if copy.take(&content).await? {
                    sqs.delete_message().queue_url(&url).receipt_handle(receipt).send().await?;
                } else {
                    left.push((content, receipt));
                }
            }
            waiting = left;
        }
        if let Some((name, gap)) = copy.ledger.gaps(copy.started.elapsed()).first() {
            let (first, last, lane) = (gap.first, gap.last, &name.lane);
            return Err(format!(
                "rows {first} to {last} of {lane} are missing: replay them, or give them up"
            )
            .into());
        }
    }
    let health = copy.freshness.health(SystemTime::now(), Duration::from_mins(1));
    eprintln!("{health:?}");
    println!("{{\"rows\": {}}}", copy.applied);
    Ok(copy.db.disconnect().await?)
}
