//! What was published is published again, and is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use binpulse_demo::{Command, Consumer, Error, Mysqld, Options, Streamer, Workload};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};

tests! {
    rows_since_a_time_come_again_as_they_were on [Mysql97, Mysql80, Mariadb1011, Mariadb118];
    a_fifo_topic_takes_the_same_rows_again on [Mysql97];
    a_checkpoint_in_tables_is_only_looked_at on [Mysql97];
    one_table_of_a_stretch_keeps_its_numbers on [Mysql97];
    what_was_never_published_is_not_made_up on [Mysql97];
}

/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Rows by table and number, as lines of JSON with their GTID and all values.
type Rows = BTreeMap<(String, u64), String>;
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A consumer's rows.
struct Shelf {
    consumer: Consumer,
    rows: Rows,
}

impl Shelf {
    fn new(consumer: Consumer) -> Self {
        Self { consumer, rows: Rows::new() }
    }

    /// Receives until so many rows have come.
    async fn until(&mut self, rows: usize) -> Outcome {
        let give_up = Instant::now() + SOON;
        while self.rows.len() < rows {
            let kept = &mut self.rows;
            let mut keep = |table: &str, line: String| {
                let row: Value = serde_json::from_str(&line).expect("JSON");
                if let Some(number) = row["sequence"].as_u64() {
                    kept.insert((table.to_owned(), number), line);
                }
            };
            let received = timeout_at(give_up, self.consumer.receive(&mut keep)).await;
            received.map_err(|_| format!("{} of {rows} rows came", self.rows.len()))??;
        }
        assert_eq!(self.rows.len(), rows);
        Ok(())
    }
}

/// A shop whose rows have come, up to a time and after it.
struct Story {
    rig: Rig,
    shelf: Shelf,
    /// Between the two halves, as `--since` takes it.
    since: String,
    /// Rows of the first half.
    before: u64,
    /// All rows.
    total: u64,
}

impl Story {
    async fn tell(
        bed: &Bed,
        options: Options,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Failure> {
        let mysqld = bed.mysqld(options).await?;
        let mut all = vec![("canary.enabled", "true".to_owned())];
        all.extend_from_slice(settings);
        let rig = Rig::start(bed, mysqld, topic, &all).await?;
        let mut shelf = Shelf::new(another_consumer(bed, &rig, &rig.topic_arn, "all").await?);
        let mut shop = Workload::open(rig.mysqld.connect().await?, 31).await?;
        shop.stock().await?;
        steps(&mut shop, 40).await?;
        rig.mysqld.execute(&["FLUSH BINARY LOGS"]).await?;
        steps(&mut shop, 20).await?;

        // The log of some servers knows whole seconds only
        let first = second(&rig.mysqld).await? + 1;
        while second(&rig.mysqld).await? < first {
            steps(&mut shop, 1).await?;
        }
        let before = shop.written().total();
        let since = chrono::DateTime::from_timestamp(first, 0).expect("a time").to_rfc3339();
        steps(&mut shop, 20).await?;
        shop.alter().await?;
        rig.mysqld.execute(&["FLUSH BINARY LOGS"]).await?;
        shop.take_stock(3_000).await?;
        steps(&mut shop, 40).await?;
        let total = shop.written().total();
        shelf.until(usize::try_from(total)?).await?;
        let mut story = Self { rig, shelf, since, before, total };
        until_saved(&mut story.rig).await?;
        Ok(story)
    }

    /// Runs `replay` with the service's settings; its exit code and what it printed last.
    async fn replay(&mut self, arguments: &[&str]) -> Result<(Option<i32>, String), Failure> {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        Ok(replay(&mut self.rig.streamer, &arguments).await?)
    }

    /// How many rows of tables a report tells of: all that are younger than the time, and not all.
    fn rows_told(&self, report: &Value) -> Result<usize, Failure> {
        let lanes = report["lanes"].as_object().ok_or("no lanes")?.iter();
        let spans = lanes.filter(|(lane, _)| lane.starts_with("shop.")).map(|(_, span)| span);
        let rows: u64 =
            spans.filter_map(|span| Some(span[1].as_u64()? + 1 - span[0].as_u64()?)).sum();
        let meant = self.total - self.before;
        assert!(rows >= meant && rows < self.total, "{rows} rows, {meant} are younger: {report}");
        Ok(usize::try_from(rows)?)
    }

    /// The same, which must end well; the JSON document that it printed.
    async fn replayed(&mut self, arguments: &[&str]) -> Result<Value, Failure> {
        let (code, output) = self.replay(arguments).await?;
        assert_eq!(code, Some(0), "{output}");
        let line = output.lines().find(|line| line.contains("\"published\":")).unwrap_or_default();
        serde_json::from_str(line).map_err(|_| format!("no report in:\n{output}").into())
    }
}

/// Runs the command beside a service, with its settings: exit code and the end of its output.
pub(crate) async fn replay(
    streamer: &mut Streamer,
    arguments: &[String],
) -> Result<(Option<i32>, String), Error> {
    let service = streamer.command_mut();
    let settings = service.settings.iter().filter(|(key, _)| *key != "http.listen").cloned();
    let command = Command {
        binary: service.binary.clone(),
        command: "replay".to_owned(),
        settings: settings.collect(),
        arguments: arguments.to_vec(),
        environment: service.environment.clone(),
    };
    command.run_to_end(SOON).await
}

async fn steps(shop: &mut Workload, count: u32) -> Outcome {
    for _ in 0..count {
        shop.step().await?;
    }
    Ok(())
}

/// The server's clock, seconds since 1970.
async fn second(mysqld: &Mysqld) -> Result<i64, Failure> {
    let mut session = mysqld.connect().await?;
    let now: Option<i64> = session.query_first("SELECT UNIX_TIMESTAMP()").await?;
    session.disconnect().await?;
    now.ok_or_else(|| "no time".into())
}

/// A consumer with a queue of its own.
async fn another_consumer(
    bed: &Bed,
    rig: &Rig,
    topic_arn: &str,
    name: &str,
) -> Result<Consumer, Failure> {
    let suffix = topic_arn.strip_suffix(".fifo").map_or("", |_| ".fifo");
    let name = format!("{}-{name}{suffix}", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(topic_arn, &name, &[]).await?;
    Ok(Consumer::new(rig.aws.clone(), queue_url))
}

/// The rows of `all` that came again are the last of each table, and are what they were.
fn is_a_tail(again: &Rows, all: &Rows) {
    for (key, line) in again {
        assert_eq!(Some(line), all.get(key), "{key:?}");
    }
    let left_out = all.keys().filter(|key| !again.contains_key(*key));
    for (table, number) in left_out {
        let next = (table.clone(), number + 1);
        let is_before =
            all.range((table.clone(), 0)..next).all(|(key, _)| !again.contains_key(key));
        assert!(is_before, "row {number} of {table} is missing in the middle");
    }
}

async fn rows_since_a_time_come_again_as_they_were(bed: Bed) -> Outcome {
    // Given a shop whose rows were published, on one server by positions
    let options = Options { gtid: bed.version() != "mysql-8.0", ..Options::default() };
    let mut story = Story::tell(&bed, options, Topic::Standard, &[]).await?;
    let topic = story.rig.aws.create_topic(&format!("{}-again", bed.topic_name())).await?;
    let mut again = Shelf::new(another_consumer(&bed, &story.rig, &topic, "again").await?);

    // When those since a time are published again, to a topic of their own
    let since = story.since.clone();
    let counted = story.replayed(&["--since", &since, "--dry-run"]).await?;
    let report = story.replayed(&["--since", &since, "--topic", &topic]).await?;

    // Then these come, under the numbers and with the values that they had, and no canary
    again.until(story.rows_told(&report)?).await?;
    is_a_tail(&again.rows, &story.shelf.rows);
    assert!(again.consumer.statements() > 0 && again.consumer.canaries() == 0);
    assert_eq!((&counted["rows"], &counted["lanes"]), (&report["rows"], &report["lanes"]));
    assert_eq!((&counted["published"], &counted["messages"]), (&false.into(), &Value::Null));

    // And the service does not control message
    story.rig.streamer.must_run()?;
    assert_eq!(story.rig.streamer.stop().await?, Some(0), "{}", story.rig.streamer.log_tail());
    Ok(())
}

async fn a_fifo_topic_takes_the_same_rows_again(bed: Bed) -> Outcome {
    let mut story = Story::tell(&bed, Options::default(), Topic::Fifo, &[]).await?;
    let arn = story.rig.topic_arn.clone();
    let mut again = Shelf::new(another_consumer(&bed, &story.rig, &arn, "again").await?);
    let since = story.since.clone();
    // Within five minutes SNS drops what has the deduplication id of another
    for round in 1..=2 {
        let report =
            story.replayed(&["--since", &since, "--same-topics", "--for", "search"]).await?;
        again.until(story.rows_told(&report)?).await?;
        is_a_tail(&again.rows, &story.shelf.rows);
        let name = format!("again-{round}");
        again = Shelf::new(another_consumer(&bed, &story.rig, &arn, &name).await?);
    }
    Ok(())
}

async fn a_checkpoint_in_tables_is_only_looked_at(bed: Bed) -> Outcome {
    let settings = [("checkpoint.store", "table".to_owned())];
    let mut story = Story::tell(&bed, Options::default(), Topic::Standard, &settings).await?;
    let since = story.since.clone();
    let report = story.replayed(&["--since", &since, "--dry-run"]).await?;
    assert!(report["rows"].as_u64() >= Some(story.total - story.before), "{report}");

    // The service still owns the stream, and saves
    let mut shop = Workload::open(story.rig.mysqld.connect().await?, 32).await?;
    steps(&mut shop, 5).await?;
    story.shelf.until(usize::try_from(story.total + shop.written().total())?).await?;
    assert_eq!(story.rig.streamer.stop().await?, Some(0), "{}", story.rig.streamer.log_tail());
    Ok(())
}

async fn one_table_of_a_stretch_keeps_its_numbers(bed: Bed) -> Outcome {
    let mut story = Story::tell(&bed, Options::default(), Topic::Standard, &[]).await?;
    let since = story.since.clone();
    let all = story.replayed(&["--since", &since, "--dry-run"]).await?;
    let one = story.replayed(&["--since", &since, "--dry-run", "--table", "shop.orders"]).await?;
    let lane = "shop.orders#0";
    assert!(all["lanes"].as_object().is_some_and(|lanes| lanes.len() > 1), "{all}");
    assert_eq!(one["lanes"].as_object().map(serde_json::Map::len), Some(1), "{one}");
    assert_eq!(one["lanes"][lane], all["lanes"][lane]);

    // Up to a time: the first of them
    let until = ["--since", "1h", "--until", &since, "--dry-run"];
    let early = story.replayed(&until).await?;
    let last = early["lanes"][lane][1].as_u64();
    assert_eq!(early["lanes"][lane][0], 1, "{early}");
    assert_eq!(last.map(|last| last + 1), all["lanes"][lane][0].as_u64(), "{early}");
    Ok(())
}

async fn what_was_never_published_is_not_made_up(bed: Bed) -> Outcome {
    // Given rows in the log from before the stream began
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut shop = Workload::open(mysqld.connect().await?, 33).await?;
    shop.stock().await?;
    let settings = [("source.start", "now".to_owned())];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let stock = shop.written().total();
    steps(&mut shop, 20).await?;
    rig.receive_some(shop.written().total() - stock).await?;
    let shelf = Shelf::new(another_consumer(&bed, &rig, &rig.topic_arn, "all").await?);
    let mut story = Story { rig, shelf, since: "1h".to_owned(), before: 0, total: 0 };

    // Then they are refused by name, as are other lanes than the service's
    let (code, output) = story.replay(&["--since", "1h", "--same-topics"]).await?;
    assert_eq!(code, Some(75), "{output}");
    assert!(output.contains("were published in this epoch"), "{output}");
    // With the earliest time from which on all were published: these, and no row less
    let earliest = output.split("the earliest time for --since is ").nth(1).unwrap_or_default();
    let earliest = earliest.split_whitespace().next().unwrap_or_default().to_owned();
    let report = story.replayed(&["--since", &earliest, "--dry-run"]).await?;
    let lanes = report["lanes"].as_object().ok_or("no lanes")?;
    assert!(lanes.values().any(|span| span[0] == 1), "since {earliest}: {report}");
    let (code, output) =
        story.replay(&["--since", "1h", "--dry-run", "--message-lanes", "4"]).await?;
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("message.lanes is 4, and the service's checkpoint has 1"), "{output}");
    story.rig.streamer.must_run()?;
    Ok(())
}

/// Until the checkpoint holds what was received: a heartbeat that was written later, too.
pub(crate) async fn until_saved(rig: &mut Rig) -> Outcome {
    let name = "binpulse_stage_heartbeat_timestamp_seconds";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    let give_up = Instant::now() + SOON;
    while Instant::now() < give_up {
        rig.streamer.must_run()?;
        let written = rig.streamer.metric(name, &["stage=\"checkpointed\""]).await?;
        if written.is_some_and(|seconds| seconds > now) {
            return Ok(());
        }
        sleep(ASK_EVERY).await;
    }
    Err("the checkpoint stays behind".into())
}
