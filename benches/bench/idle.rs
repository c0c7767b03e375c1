//! What a stream costs on which nothing happens but its own pulse: a minute, and what an hour of it
//! comes to.

use std::time::Duration;

use binpulse_demo::{Command, Mysqld, Streamer, prepare, settings_for, standin_environment};
use tokio::time::sleep;

use crate::aws::{Endpoint, REGION};
use crate::process::Pid;
use crate::replay::binary;
use crate::{Outcome, data, facts};

/// How long nothing happens, and the seconds in front of it that do not count.
const QUIET: Duration = Duration::from_mins(1);
const WARM_UP: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_mins(1);
/// Quiet minutes in an hour.
const TIMES: u32 = 60;

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("idle", names)?;
    let mysqld = Mysqld::start(&data::server()?, data::options()).await?;
    prepare(&mysqld, &binary()).await?;
    let endpoint = Endpoint::start().await;
    let arn = endpoint.topic("bench", &[("MaximumMessageSize", "262144")]);
    let mut settings = settings_for(&mysqld);
    settings.push(("sns.topic", arn.to_string()));
    settings.push(("sns.region", REGION.to_owned()));
    settings.push(("sns.endpoint_url", endpoint.url()));
    let mut streamer = Streamer::start(Command {
        binary: binary(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    })?;
    streamer.until_ready(DEADLINE).await?;
    let process = Pid::with_argument(streamer.address()).ok_or("binpulse is not to be found")?;
    let server = Pid::with_argument(&format!("--port={}", mysqld.port()));
    let server = server.ok_or("the server's process is not to be found")?;
    sleep(WARM_UP).await;

    let (cpu, server_cpu, calls) = (process.cpu(), server.cpu(), calls(&endpoint));
    sleep(QUIET).await;
    let used = process.cpu().saturating_sub(cpu);
    let server_used = server.cpu().saturating_sub(server_cpu);
    let requests = self::calls(&endpoint) - calls;
    println!("heartbeats and canaries as they are by default, no other change; over a minute:");
    println!(
        "  binpulse    {:.2} % of a core ({:.1} CPU seconds an hour), {} MiB resident",
        used.as_secs_f64() / QUIET.as_secs_f64() * 100.0,
        (used * TIMES).as_secs_f64(),
        process.resident_kib().1 >> 10,
    );
    println!(
        "  the server  {:.2} % of a core, its own idling included",
        server_used.as_secs_f64() / QUIET.as_secs_f64() * 100.0
    );
    println!(
        "  SNS         {requests} publishing calls ({} an hour); an echo queue that is asked adds \
         180 an hour to SQS, one for each 20 s of waiting\n",
        requests * u64::from(TIMES)
    );
    streamer.stop().await?;
    Ok(())
}

fn calls(endpoint: &Endpoint) -> u64 {
    endpoint.shared.store().publish_calls
}
