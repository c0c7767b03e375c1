//! The tests' stand-in for SNS and SQS as a process of its own, for benchmarks and by hand:
//! `cargo run --release --example aws_stand_in -- [PORT [TOPIC...]]`.
//!
//! Prints its URL and the ARNs of the topics that it created, one a line, and runs until it is
//! stopped. It counts messages and does not keep them.

#[path = "../tests/support/aws/mod.rs"]
mod aws;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let port = words.next().map_or(Ok(0), |word| word.parse())?;
    let endpoint = aws::Endpoint::start_on(port, 1).await;
    endpoint.shared.store().is_forgetful = true;
    println!("{}", endpoint.url());
    for topic in words {
        println!("{}", endpoint.topic(&topic, &[("MaximumMessageSize", "1048576")]));
    }
    std::future::pending().await
}
