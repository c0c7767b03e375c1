//! Tables that an operator holds back: nothing of them is sent, no consumer takes that for loss, and what
//! was held back comes in order when it is released with `--send`.

use std::path::Path;

use binpulse_demo::{
    Command, Folder, Mysqld, Options, Process, Program, Standin, Streamer, standin_environment,
};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic, command};
use crate::failover::{PROMOTE, is_at};
use crate::relay::Failed;
use crate::resume;
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    suppressed_rows_are_told_and_sent_in_order_when_they_are_released on [Mysql97, Mariadb1011];
    a_fifo_topic_takes_what_was_suppressed_in_order on [Mysql97];
    rows_that_are_released_without_being_sent_are_no_gap on [Mysql97];
    paused_rows_wait_and_come_in_order_wherever_the_process_is_killed on [Mysql97, Mariadb1011];
    suppressed_rows_are_sent_by_the_source_that_took_over on [Mysql97];
    a_pause_ends_by_itself_and_its_rows_are_sent_whatever_the_interval_of_saves on [Mysql97];
    a_mass_update_beyond_its_rate_waits_holds_nobody_up_and_comes_in_order on [Mysql97, Mariadb1011];
}

/// What is written to the table that is suppressed, and to another.
const TABLES: [&str; 3] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.prices (id INT PRIMARY KEY, cents INT NOT NULL)",
    "CREATE TABLE shop.visits (id INT PRIMARY KEY, cents INT NOT NULL)",
];

/// A source, its stream, and two consumers that keep a copy: the relay, and the Python library's example.
struct Scene {
    rig: Rig,
    relay: Streamer,
    /// The relay's copy, and the other's.
    copies: [Mysqld; 2],
    /// The queue of the second.
    queue: String,
    rows: u64,
    next: u64,
    _state: Folder,
}

impl Scene {
    async fn set(bed: &Bed, topic: Topic) -> Result<Self, Failed> {
        Self::set_with(bed, topic, &[]).await
    }

    async fn set_with(
        bed: &Bed,
        topic: Topic,
        more: &[(&'static str, String)],
    ) -> Result<Self, Failed> {
        let source = bed.mysqld(Options::default()).await?;
        Self::set_on(bed, source, topic, more).await
    }

    async fn set_on(
        bed: &Bed,
        source: Mysqld,
        topic: Topic,
        more: &[(&'static str, String)],
    ) -> Result<Self, Failed> {
        let [one, two] =
            [bed.mysqld(Options::default()).await?, bed.mysqld(Options::default()).await?];
        for server in [&source, &two] {
            server.execute(&TABLES).await?;
        }
        one.execute(&["CREATE DATABASE relay"]).await?;
        let mut settings = vec![
            ("filter.tables", "shop.*".to_owned()),
            ("canary.enabled", "true".to_owned()),
            ("canary.interval", "500ms".to_owned()),
            ("message.lanes", "2".to_owned()),
        ];
        if bed.version().starts_with("mysql") {
            settings.push(("checkpoint.store", "table".to_owned()));
        }
        settings.extend(more.iter().cloned());
        let rig = Rig::start(bed, source, topic, &settings).await?;
        let suffix = if topic == Topic::Fifo { ".fifo" } else { "" };
        let queue = async |name: &str| {
            let name = format!("{}-{name}{suffix}", bed.topic_name());
            rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await
        };
        let (of_relay, queue) = (queue("relay").await?, queue("python").await?);
        let state = Folder::create()?;
        let relay = Streamer::start(command(
            "relay",
            vec![
                ("relay.name", "copy".to_owned()),
                ("relay.queue", of_relay),
                ("relay.state", format!("file:{}", state.path().join("state").display())),
                ("relay.to.kind", "mysql".to_owned()),
                ("relay.to.url", format!("mysql://{}/relay", one.address())),
                ("relay.to.user", "root".to_owned()),
                ("relay.first_wait", "2s".to_owned()),
                // Longer than messages are hidden that a killed relay had received.
                ("relay.reorder_wait", "15s".to_owned()),
                ("relay.visibility_timeout", "10s".to_owned()),
                ("sns.region", Standin::REGION.to_owned()),
                ("sns.endpoint_url", rig.endpoint_url.clone()),
            ],
        ))?;
        let copies = [one, two];
        Ok(Self { rig, relay, copies, queue, rows: 0, next: 1, _state: state })
    }

    /// Writes so many rows to each table: new ones, and changes of those before.
    async fn write(&mut self, count: u64) -> Outcome {
        let mut session = self.rig.mysqld.connect().await?;
        for _ in 0..count {
            let id = self.next;
            self.next += 1;
            for table in ["prices", "visits"] {
                session.query_drop(format!("INSERT INTO shop.{table} VALUES ({id}, {id})")).await?;
                let change = format!(
                    "UPDATE shop.{table} SET cents = cents + 1 WHERE id IN ({id}, {})",
                    id / 2
                );
                session.query_drop(change).await?;
                self.rows += 1 + session.affected_rows();
            }
        }
        session.disconnect().await?;
        Ok(())
    }

    /// Runs a command with the service's settings: exit code and what it printed.
    async fn run(
        &mut self,
        name: &str,
        arguments: &[&str],
    ) -> Result<(Option<i32>, String), Failed> {
        let service = self.rig.streamer.command_mut();
        let is_own = |key: &str| name == "replay" && key == "http.listen";
        let command = Command {
            binary: service.binary.clone(),
            command: name.to_owned(),
            settings: service.settings.iter().filter(|(key, _)| !is_own(key)).cloned().collect(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: service.environment.clone(),
        };
        Ok(command.run_to_end(SOON).await?)
    }

    async fn suppress(&mut self, pattern: &str) -> Outcome {
        let arguments = [pattern, "--reason", "wrong währung", "--by", "ada"];
        let (code, output) = self.run("suppress", &arguments).await?;
        assert_eq!(code, Some(0), "{output}");
        Ok(())
    }

    async fn pause(&mut self, pattern: &str, lasting: &str) -> Result<String, Failed> {
        let arguments = [pattern, "--for", lasting, "--reason", "a move", "--by", "ada"];
        let (code, output) = self.run("pause", &arguments).await?;
        assert_eq!(code, Some(0), "{output}");
        Ok(output)
    }

    /// Waits until both copies equal the source, and nobody misses a row.
    async fn both_copies_are_whole(&self, bed: &Bed) -> Outcome {
        let python = Python::start(bed, self, self.rows)?;
        for table in ["prices", "visits"] {
            self.until_equal(0, table).await?;
        }
        python.end().await?;
        for copy in &self.copies {
            let differences = oracle::differences(&self.rig.mysqld, copy, "shop").await?;
            assert!(differences.is_empty(), "{}", differences.join("\n"));
        }
        self.relay_missed_nothing().await
    }

    /// Waits until a copy has of a table what the source has.
    async fn until_equal(&self, copy: usize, table: &str) -> Outcome {
        let give_up = Instant::now() + 2 * SOON;
        loop {
            let query = format!("SELECT COUNT(*), SUM(id), SUM(cents) FROM shop.{table}");
            let (here, there) =
                (texts(&self.rig.mysqld, &query).await?, texts(&self.copies[copy], &query).await);
            if there.as_ref().is_ok_and(|there| *there == here) {
                return Ok(());
            }
            assert!(
                Instant::now() < give_up,
                "{here:?}, {there:?}\n{}\n{}",
                self.relay.log_tail(),
                self.rig.streamer.log_tail()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the service holds nothing back.
    async fn until_released(&mut self) -> Outcome {
        let is_over = |status: &Value| status["controls"] == Value::Array(Vec::new());
        self.rig.streamer.until("nothing is held back", 2 * SOON, is_over).await?;
        Ok(())
    }

    /// The relay has never missed a row.
    async fn relay_missed_nothing(&self) -> Outcome {
        for (name, labels) in [
            ("binpulse_relay_gaps_healed_total", &[][..]),
            ("binpulse_relay_rows_total", &["outcome=\"missing\""]),
        ] {
            let found = self.relay.metric(name, labels).await?.unwrap_or_default();
            assert!(found.abs() < 0.5, "{name}: {found}\n{}", self.relay.log_tail());
        }
        assert!(!self.relay.log_tail().contains("rows are missing"), "{}", self.relay.log_tail());
        Ok(())
    }

    /// Kills the service, and begins it again.
    async fn crash(&mut self) -> Outcome {
        self.rig.streamer.kill().await?;
        self.write(3).await?;
        self.rig.streamer.start_again().await?;
        self.rig.streamer.until_ready(SOON).await?;
        Ok(())
    }
}

/// The Python library's example. It ends well after so many rows, and badly with a gap.
struct Python {
    process: Process,
    folder: Folder,
}

impl Python {
    fn start(bed: &Bed, scene: &Scene, rows: u64) -> Result<Self, Failed> {
        let folder = Folder::create()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = [
            ("QUEUE_URL", scene.queue.clone()),
            ("AWS_ENDPOINT_URL", scene.rig.endpoint_url.clone()),
            ("AWS_DEFAULT_REGION", Standin::REGION.to_owned()),
            ("MYSQL_PORT", scene.copies[1].port().to_string()),
            ("PYTHONPATH", root.join("clients/python/src").display().to_string()),
            ("ROWS", rows.to_string()),
        ];
        let program = Program {
            name: "the example in Python".to_owned(),
            command: vec![
                bed.python()?.into(),
                "-B".into(),
                root.join("clients/python/examples/apply.py").into(),
            ],
            environment: standin_environment()
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .chain(own.map(|(name, value)| (name.into(), value.into())))
                .collect(),
            without: vec!["AWS_", "PYTHON"],
            log: folder.path().join("log"),
        };
        Ok(Self { process: Process::start(&program, &folder)?, folder })
    }

    async fn end(mut self) -> Outcome {
        let ended = self.process.wait(SOON * 3).await;
        let output = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(ended.is_ok() && output.contains("\"rows\""), "{ended:?}: {output}");
        Ok(())
    }
}

async fn texts(server: &Mysqld, query: &str) -> Result<Vec<Vec<String>>, Failed> {
    let rows: Vec<mysql_async::Row> = server.connect().await?.query(query).await?;
    let text =
        |row: mysql_async::Row| row.unwrap().into_iter().map(|value| value.as_sql(true)).collect();
    Ok(rows.into_iter().map(text).collect())
}

async fn suppressed_rows_are_told_and_sent_in_order_when_they_are_released(bed: Bed) -> Outcome {
    suppressed_and_sent(&bed, Topic::Standard).await
}

async fn a_fifo_topic_takes_what_was_suppressed_in_order(bed: Bed) -> Outcome {
    suppressed_and_sent(&bed, Topic::Fifo).await
}

async fn suppressed_and_sent(bed: &Bed, topic: Topic) -> Outcome {
    // Given two copies of two tables
    let mut scene = Scene::set(bed, topic).await?;
    scene.write(10).await?;
    scene.until_equal(0, "prices").await?;

    // When one of them is suppressed, and the process is killed twice meanwhile
    scene.suppress("shop.prices").await?;
    let before = texts(&scene.copies[0], "SELECT SUM(cents) FROM shop.prices").await?;
    let log = scene.rig.streamer.log_tail();
    assert!(log.contains("ada") && log.contains("wrong währung"), "{log}");
    scene.write(10).await?;
    scene.crash().await?;
    scene.write(5).await?;
    scene.crash().await?;
    scene.write(5).await?;

    // Then the other goes on, and nothing of it comes, however it is asked for
    scene.until_equal(0, "visits").await?;
    let status = scene.rig.streamer.status().await?;
    let control = &status["controls"][0];
    assert_eq!(status["controls"].as_array().map(Vec::len), Some(1), "{status}");
    let told = ["pattern", "state", "by", "reason", "saved"].map(|key| control[key].clone());
    let wanted: [Value; 5] =
        ["shop.prices".into(), "holding".into(), "ada".into(), "wrong währung".into(), true.into()];
    assert_eq!(told, wanted, "{control}");
    assert!(control["rows"].as_u64().is_some_and(|rows| rows > 26), "{control}");
    let active = scene.rig.streamer.metric("binpulse_control_active", &["table=\"shop.prices\""]);
    assert_eq!(active.await?, Some(1.0));
    let again = ["--lane", "shop.prices#0", "--numbers", "1-2", "--same-topics"];
    let (code, output) = scene.run("replay", &again).await?;
    assert!(code == Some(75) && output.contains("is held back (shop.prices) by ada"), "{output}");
    let after = texts(&scene.copies[0], "SELECT SUM(cents) FROM shop.prices").await?;
    assert_eq!(after, before);

    // And released with --send, all of it comes in order, while more is written; the relay begins anew
    scene.relay.kill().await?;
    scene.relay.start_again().await?;
    let (code, output) = scene.run("release", &["shop.prices", "--send"]).await?;
    assert_eq!(code, Some(0), "{output}");
    scene.write(5).await?;
    scene.until_released().await?;
    scene.write(5).await?;
    scene.both_copies_are_whole(bed).await
}

async fn rows_that_are_released_without_being_sent_are_no_gap(bed: Bed) -> Outcome {
    // Given a copy, and everything suppressed
    let mut scene = Scene::set(&bed, Topic::Standard).await?;
    scene.write(4).await?;
    for table in ["prices", "visits"] {
        scene.until_equal(0, table).await?;
    }
    let before = scene.rows;
    scene.suppress("all").await?;
    scene.write(10).await?;
    scene.crash().await?;
    let is_held = |status: &Value| status["controls"][0]["rows"].as_u64() >= Some(52);
    scene.rig.streamer.until("all of it is counted", SOON, is_held).await?;

    // The verdict says that this is intended, and is no outage
    let is_told = |status: &Value| status["verdict"]["state"] == "suppressed_by_operator";
    scene.rig.streamer.until("the verdict tells it", SOON, is_told).await?;

    // When it is released
    let (code, output) = scene.run("release", &["all"]).await?;
    assert_eq!(code, Some(0), "{output}");
    scene.until_released().await?;
    let held = scene.rows;
    scene
        .rig
        .mysqld
        .execute(&["UPDATE shop.prices SET cents = -1", "UPDATE shop.visits SET cents = -1"])
        .await?;
    let changed = 2 * (scene.next - 1);

    // Then new rows come, those between do not, and nobody misses them
    let python = Python::start(&bed, &scene, before + changed)?;
    for table in ["prices", "visits"] {
        scene.until_equal(0, table).await?;
    }
    python.end().await?;
    assert!(held > before);
    scene.relay_missed_nothing().await
}

async fn paused_rows_wait_and_come_in_order_wherever_the_process_is_killed(bed: Bed) -> Outcome {
    // Given two copies of two tables
    let mut scene = Scene::set(&bed, Topic::Fifo).await?;
    scene.write(5).await?;
    scene.until_equal(0, "prices").await?;

    // When one of them is paused, and the process is killed meanwhile
    let words = scene.pause("shop.prices", "20m").await?;
    assert!(words.contains("for 20 min 00 s at most") && words.contains("binary logs"), "{words}");
    let before = texts(&scene.copies[0], "SELECT SUM(cents) FROM shop.prices").await?;
    scene.write(10).await?;
    scene.crash().await?;
    scene.write(200).await?;

    // Then the other goes on, nothing of it comes, and everybody is told
    scene.until_equal(0, "visits").await?;
    let status = scene.rig.streamer.status().await?;
    let control = &status["controls"][0];
    assert_eq!((&control["kind"], &control["by"]), (&"pause".into(), &"ada".into()), "{status}");
    assert!(control["until_us"].as_i64() > control["at_us"].as_i64(), "{control}");
    let labels = ["table=\"shop.prices\"", "kind=\"pause\""];
    assert_eq!(scene.rig.streamer.metric("binpulse_control_active", &labels).await?, Some(1.0));
    let after = texts(&scene.copies[0], "SELECT SUM(cents) FROM shop.prices").await?;
    assert_eq!(after, before);
    let (code, output) = scene.run("controls", &[]).await?;
    assert!(code == Some(1) && output.contains("ends by itself at"), "{output}");

    // And at its end all of it comes, in order, wherever the process is killed in it
    let (code, output) = scene.run("resume", &["shop.prices"]).await?;
    assert_eq!(code, Some(0), "{output}");
    for _ in 0..3 {
        scene.crash().await?;
    }
    scene.until_released().await?;
    scene.write(5).await?;
    scene.both_copies_are_whole(&bed).await
}

async fn a_pause_ends_by_itself_and_its_rows_are_sent_whatever_the_interval_of_saves(
    bed: Bed,
) -> Outcome {
    // Given a service that saves once a minute, and a pause of everything
    let interval = [("checkpoint.interval", "1m".to_owned())];
    let mut scene = Scene::set_with(&bed, Topic::Standard, &interval).await?;
    scene.write(3).await?;
    scene.until_equal(0, "visits").await?;
    scene.pause("all", "1h").await?;
    scene.write(3).await?;
    let is_told = |status: &Value| status["verdict"]["state"] == "paused_by_operator";
    scene.rig.streamer.until("the verdict tells it", SOON, is_told).await?;

    // When its time is over
    scene.pause("all", "2s").await?;

    // Then it is released, and the rows are sent
    scene.until_released().await?;
    for table in ["prices", "visits"] {
        scene.until_equal(0, table).await?;
    }
    let log = scene.rig.streamer.log_tail();
    assert!(log.contains("its time is over"), "{log}");
    scene.relay_missed_nothing().await
}

async fn a_mass_update_beyond_its_rate_waits_holds_nobody_up_and_comes_in_order(
    bed: Bed,
) -> Outcome {
    // Given two copies of two tables, and a rate for one of them
    let mut scene = Scene::set(&bed, Topic::Fifo).await?;
    scene.write(5).await?;
    let arguments = ["shop.prices", "10/s", "--reason", "mass updates", "--by", "ada"];
    let (code, output) = scene.run("rate", &arguments).await?;
    assert!(code == Some(0) && output.contains("at most 10 rows a second"), "{output}");
    let (code, output) = scene.run("controls", &[]).await?;
    assert!(code == Some(0) && output.contains("shop.prices  rate 10 rows/s"), "{output}");

    // When one transaction changes far more rows of it, among them some of the other table
    let from = scene.next;
    let many = |table: &str, from: u64, count: u64| {
        let rows: Vec<_> = (from..from + count).map(|id| format!("({id}, {id})")).collect();
        format!("INSERT INTO shop.{table} VALUES {}", rows.join(", "))
    };
    let mut session = scene.rig.mysqld.connect().await?;
    session.query_drop("BEGIN").await?;
    for part in 0..20 {
        session.query_drop(many("prices", from + 50 * part, 50)).await?;
        session.query_drop(many("visits", from + 50 * part, 50)).await?;
    }
    session.query_drop("COMMIT").await?;
    session.disconnect().await?;
    (scene.next, scene.rows) = (from + 1_000, scene.rows + 2_000);

    // Then it waits, everybody is told, and the other table is held up by nothing
    let is_exceeded = |status: &Value| {
        let control = &status["controls"][0];
        control["state"] == "sending" && control["rows"].as_u64() > Some(0)
    };
    scene.rig.streamer.until("it is exceeded", SOON, is_exceeded).await?;
    scene.write(5).await?;
    scene.until_equal(0, "visits").await?;
    let status = scene.rig.streamer.status().await?;
    assert!(is_exceeded(&status), "{}", status["controls"]);
    let notice = status.to_string().contains("rows of shop.prices come faster than their rate");
    assert!(notice, "{status}");
    let (code, output) = scene.run("controls", &[]).await?;
    assert!(code == Some(1) && output.contains("rate 10 rows/s, is being sent"), "{output}");

    // And all of it comes in order, wherever the process is killed, and at whichever rate
    scene.crash().await?;
    let arguments = ["shop.prices", "400", "--reason", "faster", "--by", "eve"];
    let (code, output) = scene.run("rate", &arguments).await?;
    assert_eq!(code, Some(0), "{output}");
    let is_live = |status: &Value| {
        let control = &status["controls"][0];
        (&control["state"], &control["by"]) == (&"live".into(), &"eve".into())
    };
    scene.rig.streamer.until("it is live again", 2 * SOON, is_live).await?;
    scene.write(5).await?;
    let (code, output) = scene.run("release", &["shop.prices"]).await?;
    assert!(code == Some(0) && output.contains("is not limited any more"), "{output}");
    scene.until_released().await?;
    scene.both_copies_are_whole(&bed).await
}

async fn suppressed_rows_are_sent_by_the_source_that_took_over(bed: Bed) -> Outcome {
    // Given a source with a replica, two copies of two tables, and one of them suppressed
    let (primary, mut replica) = resume::replicated(&bed).await?;
    let more = [
        ("source.hosts", format!("{},{}", primary.address(), replica.address())),
        ("source.start_patience", "1h".to_owned()),
    ];
    let mut scene = Scene::set_on(&bed, primary, Topic::Fifo, &more).await?;
    scene.write(5).await?;
    scene.until_equal(0, "prices").await?;
    scene.suppress("shop.prices").await?;
    scene.write(10).await?;
    scene.crash().await?;
    scene.until_equal(0, "visits").await?;

    // When the source dies, and its replica takes its place
    resume::until_equal(&scene.rig.mysqld, &replica).await?;
    scene.rig.mysqld.kill().await?;
    replica.execute(&PROMOTE).await?;
    scene.rig.streamer.until("the new primary", SOON, is_at(&replica)).await?;
    std::mem::swap(&mut scene.rig.mysqld, &mut replica);
    scene.write(10).await?;
    scene.crash().await?;

    // Then the table is still suppressed, and all of its rows are sent in order when it is released
    scene.until_equal(0, "visits").await?;
    let status = scene.rig.streamer.status().await?;
    assert!(status["controls"][0]["rows"].as_u64() > Some(50), "{}", status["controls"]);
    let (code, output) = scene.run("release", &["shop.prices", "--send"]).await?;
    assert_eq!(code, Some(0), "{output}");
    scene.until_released().await?;
    scene.write(5).await?;
    scene.both_copies_are_whole(&bed).await
}
