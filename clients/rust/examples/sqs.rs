//! Reads a queue and prints its rows: `cargo run --example sqs -- QUEUE_URL`.
//!
//! Credentials and region come from where the AWS SDK finds them; `AWS_ENDPOINT_URL` names a stand-in. With a ledger
//! each row takes effect once, also when messages come twice or in another order: see `apply`.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use binpulse_client::{Content, DecodeError, Freshness, decode};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("which queue?")?;
    // Not needed where aws-config has its default features.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let sqs = Client::new(&shared);
    let mut freshness = Freshness::default();
    loop {
        let request = sqs.receive_message().queue_url(&url).max_number_of_messages(10);
        for message in request.wait_time_seconds(20).send().await?.messages() {
            let (Some(body), Some(receipt)) = (message.body(), message.receipt_handle()) else {
                continue;
            };
            match take(&mut freshness, body) {
                Ok(()) => {
                    sqs.delete_message().queue_url(&url).receipt_handle(receipt).send().await?;
                }
                // It stays in the queue, and becomes a dead letter in the end.
                Err(error) => eprintln!("{}: {error}", message.message_id().unwrap_or_default()),
            }
        }
        eprintln!("{:?}", freshness.health(SystemTime::now(), Duration::from_mins(1)));
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the others are for information, or newer")]
fn take(freshness: &mut Freshness, body: &str) -> Result<(), DecodeError> {
    match decode(body)? {
        Content::Canary(canary) => freshness.observe(&canary),
        Content::Rows(batch) => {
            for row in batch.rows() {
                let key: Vec<_> = row.key().map(|(column, value)| (&column.name, value)).collect();
                println!("{} {} {} {key:?}", batch.lane, row.number(), row.op().as_str_name());
            }
        }
        _ => {} // statements, and what a newer binpulse sends
    }
    Ok(())
}
