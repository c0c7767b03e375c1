//! From a live MySQL to an SNS endpoint on loopback, everything on one machine.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::aws::{self, Endpoint};
use crate::live::{medians, rate};
use crate::process::Pid;
use crate::replay::{self, Run, settings, stream};
use crate::{Outcome, data, facts, workload};

const ROUNDS: usize = 3;
/// Topics of the endpoint.
const TOPICS: [&str; 2] = ["bench", "bench.fifo"];

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("delivery", names)?;
    for workload in workload::named(names, &["S", "M", "T"]) {
        let binlogs = data::binlogs(&workload).await?;
        let mysqld = replay::serve(&binlogs).await?;
        println!("{}: {}; {} rows", workload.name, workload.what, binlogs.rows);
        println!(
            "  {:<16} {:>10} {:>8} {:>12} {:>12} {:>12} {:>9} {:>9}",
            "topic",
            "rows/s",
            "wall s",
            "binpulse s",
            "server s",
            "endpoint s",
            "peak MiB",
            "start s"
        );
        for topic in TOPICS {
            for compression in ["none", "zstd"] {
                let (mut runs, mut endpoint_cpu) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    let standin = Standin::start(topic).await?;
                    let mut settings = settings(&mysqld);
                    settings.push(("sns.topic", standin.arn.clone()));
                    settings.push(("sns.region", aws::REGION.to_owned()));
                    settings.push(("sns.endpoint_url", standin.url.clone()));
                    settings.push(("message.compression", compression.to_owned()));
                    runs.push(stream(&mysqld, settings, binlogs.rows).await?);
                    endpoint_cpu.push(standin.pid().map(Pid::cpu).unwrap_or_default());
                }
                let Run { wall, start, cpu, server_cpu, peak_kib, .. } = medians(&runs);
                println!(
                    "  {:<16} {:>10.0} {:>8.3} {:>12.2} {:>12.2} {:>12.2} {:>9} {:>9.2}",
                    format!(
                        "{}, {compression}",
                        if topic.ends_with("fifo") { "FIFO" } else { "standard" }
                    ),
                    rate(binlogs.rows, wall),
                    wall.as_secs_f64(),
                    cpu.as_secs_f64(),
                    server_cpu.as_secs_f64(),
                    crate::live::median(endpoint_cpu.into_iter()).as_secs_f64(),
                    peak_kib >> 10,
                    start.as_secs_f64(),
                );
            }
        }
        println!();
    }
    Ok(())
}

/// The endpoint, in a process of its own.
#[derive(Debug)]
pub(crate) struct Standin {
    child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
    pub(crate) arn: String,
}

impl Standin {
    pub(crate) async fn start(topic: &str) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["stand-in", topic])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("the endpoint has no output")?;
        let mut lines = BufReader::new(output).lines();
        let url = lines.next_line().await?.ok_or("the endpoint has ended")?;
        let arn = lines.next_line().await?.ok_or("the endpoint has ended")?;
        Ok(Self { child, _lines: lines, url, arn })
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().map(Pid::of)
    }
}

/// What the endpoint's process does.
pub(crate) async fn serve(topics: &[String]) -> Outcome {
    let endpoint = Endpoint::start_on(0, 1).await;
    endpoint.shared.store().is_forgetful = true;
    println!("{}", endpoint.url());
    for topic in topics {
        let fifo: &[(&str, &str)] =
            if topic.ends_with(".fifo") { &[("FifoTopic", "true")] } else { &[] };
        let attributes = [&[("MaximumMessageSize", "262144")], fifo].concat();
        println!("{}", endpoint.topic(topic, &attributes));
    }
    std::future::pending().await
}
