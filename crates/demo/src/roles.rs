//! The demo's parts by themselves, for where somebody else starts the servers: containers.

use std::io::Write;
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::sample::Sample;
use super::{Aws, Consumer, Error, Workload};

/// Topic of the demo; its queue has the same name. Canaries go to [`ECHO`] and [`PROBE`] as well.
pub const TOPIC: &str = "binpulse-demo";
/// Queue from which canaries are read back.
pub const ECHO: &str = "binpulse-demo-echo";
/// Queue of the probe that stands beside the consumer.
pub const PROBE: &str = "binpulse-demo-probe";

const STEP_EVERY: Duration = Duration::from_millis(200);
/// Steps between two big transactions.
const BULK_EVERY: u64 = 600;
const BULK_ROWS: u32 = 20_000;
/// Pause before another look for something that is not there yet.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: u32 = 60;

/// A part of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Makes topic and queues, and ends.
    Topics {
        /// Where SNS and SQS are.
        endpoint_url: String,
    },
    /// Keeps a database busy until told to stop.
    Shop {
        /// Host of the server.
        host: String,
        /// Its port.
        port: u16,
        /// Account that may do all in the database `shop`.
        user: String,
        /// Its password.
        password: String,
    },
    /// Prints what it receives until told to stop.
    Consumer {
        /// Where SNS and SQS are.
        endpoint_url: String,
    },
}

/// Plays a role until `stop`.
pub async fn play(role: Role, stop: &CancellationToken) -> Result<(), Error> {
    match role {
        Role::Topics { endpoint_url } => make_topics(&Aws::at(&endpoint_url)).await,
        Role::Shop { host, port, user, password } => {
            let options = OptsBuilder::default()
                .ip_or_hostname(host)
                .tcp_port(port)
                .user(Some(user))
                .pass(Some(password))
                .prefer_socket(false);
            keep_shop(Conn::new(options).await?, stop).await
        }
        Role::Consumer { endpoint_url } => print_received(Aws::at(&endpoint_url), stop).await,
    }
}

async fn make_topics(aws: &Aws) -> Result<(), Error> {
    let mut attempt = 1;
    let topic = loop {
        match aws.create_topic(TOPIC).await {
            Ok(topic) => break topic,
            Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
            Err(_) => sleep(RETRY_AFTER).await,
        }
        attempt += 1;
    };
    aws.subscribe_queue(&topic, TOPIC, &[]).await?;
    for queue in [ECHO, PROBE] {
        aws.subscribe_queue(&topic, queue, &["canary"]).await?;
    }
    Ok(())
}

async fn keep_shop(session: Conn, stop: &CancellationToken) -> Result<(), Error> {
    let mut workload = Workload::open(session, 1).await?;
    workload.stock().await?;
    let mut pace = interval(STEP_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for step in 1_u64.. {
        tokio::select! {
            biased;

            () = stop.cancelled() => break,
            _ = pace.tick() => workload.step().await?,
        }
        if step % BULK_EVERY == 0 {
            workload.alter().await?;
            workload.take_stock(BULK_ROWS).await?;
        }
    }
    print(&format!("rows written:\n{}", workload.written()))
}

async fn print_received(aws: Aws, stop: &CancellationToken) -> Result<(), Error> {
    let queue_url = aws.queue_url(TOPIC).await?;
    let mut consumer = Consumer::new(aws, queue_url);
    let mut sample = Sample::new(std::time::Instant::now());
    while !stop.is_cancelled() {
        let mut lines = Vec::new();
        let mut show = |topic: &str, line: String| {
            lines.extend(sample.choose(std::time::Instant::now(), topic, line));
        };
        consumer.receive(&mut show).await?;
        for line in lines {
            print(&line)?;
        }
    }
    print(&format!("rows received:\n{}", consumer.received()))
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::file("standard output"))
}
