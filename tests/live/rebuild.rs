//! A consumer in Python, made from nothing but the contract, rebuilds the tables: the copy equals
//! the source.

use std::path::Path;

use binpulse_demo::{
    Error, Folder, Mysqld, Options, Process, Program, Workload, standin_environment,
};
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    the_rebuilt_tables_equal_the_source_through_a_standard_topic on [Mysql97, Mariadb1011, Mariadb118];
    the_rebuilt_tables_equal_the_source_through_a_fifo_topic on [Mysql97];
    the_rebuilt_tables_equal_the_source_after_kills_of_the_streamer on [Mysql97];
}

async fn the_rebuilt_tables_equal_the_source_through_a_standard_topic(bed: Bed) -> Outcome {
    rebuilt(&bed, Topic::Standard, 0).await
}

async fn the_rebuilt_tables_equal_the_source_through_a_fifo_topic(bed: Bed) -> Outcome {
    rebuilt(&bed, Topic::Fifo, 0).await
}

async fn the_rebuilt_tables_equal_the_source_after_kills_of_the_streamer(bed: Bed) -> Outcome {
    rebuilt(&bed, Topic::Standard, 3).await
}

async fn rebuilt(bed: &Bed, topic: Topic, kills: u32) -> Outcome {
    // Given a stream with two queues on its topic, and an empty server for the copy
    let mysqld = bed.mysqld(Options::default()).await?;
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let mut rig = Rig::start(bed, mysqld, topic, &[]).await?;
    let suffix = if topic == Topic::Fifo { "-copy.fifo" } else { "-copy" };
    let name = format!("{}{suffix}", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;

    // When a shop does business, and all has arrived
    let mut shop = Workload::open(rig.mysqld.connect().await?, 11).await?;
    shop.stock().await?;
    for step in 0..120 {
        shop.step().await?;
        if step == 60 {
            shop.alter().await?;
            shop.take_stock(5_000).await?;
        }
        if kills > 0 && step % (120 / kills) == 10 {
            rig.streamer.start_again().await?;
        }
    }
    rig.receive_all(shop.written()).await?;

    // Then the copy made from the messages equals the source
    let rows = shop.written().total();
    let report = rebuild(bed, &rig, &queue_url, &copy, rows).await?;
    assert_eq!(report["rows"], rows, "{report}");
    assert_eq!(report["complete"], true, "{report}");
    let differences = oracle::differences(&rig.mysqld, &copy, "shop").await?;
    assert!(differences.is_empty(), "{}\n{report}", differences.join("\n"));
    Ok(())
}

/// Runs the consumer until it has applied so many rows; its report.
pub(crate) async fn rebuild(
    bed: &Bed,
    rig: &Rig,
    queue_url: &str,
    copy: &Mysqld,
    rows: u64,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    rebuild_snapshots(bed, rig, queue_url, copy, rows, 0).await
}

/// The same, until so many tables have been snapshotted too.
pub(crate) async fn rebuild_snapshots(
    bed: &Bed,
    rig: &Rig,
    queue_url: &str,
    copy: &Mysqld,
    rows: u64,
    tables: usize,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumer/rebuild.py");
    let folder = Folder::create()?;
    let log = folder.path().join("log");
    let (port, rows) = (copy.port().to_string(), rows.to_string());
    let tables = tables.to_string();
    let arguments = [
        ("--queue-url", queue_url),
        ("--endpoint-url", &rig.endpoint_url),
        ("--mysql-port", &port),
        ("--rows", &rows),
        ("--snapshots", &tables),
        ("--idle-seconds", "20"),
    ];
    let mut command = vec![bed.python()?.into(), "-B".into(), script.into_os_string()];
    command.extend(arguments.iter().flat_map(|(name, value)| [name.into(), value.into()]));
    let program = Program {
        name: "the consumer in Python".to_owned(),
        command,
        environment: standin_environment()
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        without: vec!["AWS_", "PYTHON"],
        log: log.clone(),
    };
    let mut process = Process::start(&program, &folder)?;
    process.wait(SOON * 2).await?;
    let output =
        std::fs::read_to_string(&log).map_err(|error| Error::Message(error.to_string()))?;
    let line = output.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|_| format!("the consumer said:\n{output}").into())
}
