//! A copy that the relay keeps: `verify` names what differs, and a snapshot of that range repairs it.

use std::time::Duration;

use binpulse_demo::{Folder, Mysqld, Options, Standin, Streamer};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic, command};
use crate::relay::Failed;
use crate::snapshot::{is_done, start, until, verify};
use crate::suite::{Outcome, tests};

tests! {
    what_differs_in_a_copy_is_named_and_repaired_by_a_snapshot_of_its_range on [Mysql97, Mysql80, Mariadb1011, Mariadb118];
    a_cascade_that_no_log_has_is_found_in_the_relays_copy_and_repaired on [Mysql80, Mariadb118];
}

/// A source, the relay's copy of it, and the stream between them.
pub(crate) struct Scene {
    pub(crate) rig: Rig,
    pub(crate) copy: Mysqld,
    pub(crate) relay: Streamer,
    _state: Folder,
    queue: String,
    /// Of the relay's queue.
    pub(crate) subscription: String,
}

impl Scene {
    async fn set(bed: &Bed, statements: &[&str]) -> Result<Self, Failed> {
        Self::set_with(bed, statements, &[]).await
    }

    /// With further settings of the relay.
    pub(crate) async fn set_with(
        bed: &Bed,
        statements: &[&str],
        of_relay: &[(&'static str, &str)],
    ) -> Result<Self, Failed> {
        let (source, copy) =
            (bed.mysqld(Options::default()).await?, bed.mysqld(Options::default()).await?);
        source.execute(&["CREATE DATABASE d"]).await?;
        source.execute(statements).await?;
        let settings = [
            ("source.start", "now".to_owned()),
            ("filter.tables", String::from("d.*")),
            ("snapshot.chunk_bytes", String::from("64KiB")),
        ];
        let mut rig = Rig::start(bed, source, Topic::Standard, &settings).await?;
        rig.mysqld.execute(&["GRANT SELECT ON d.* TO 'binpulse'@'%'"]).await?;
        let name = format!("{}-copy", bed.topic_name());
        let (queue, subscription) = rig.aws.subscribe_filtered(&rig.topic_arn, &name, None).await?;
        copy.execute(&["CREATE DATABASE relay"]).await?;
        let state = Folder::create()?;
        let mut settings = relay_settings(&queue, &copy, &rig, &state);
        settings.extend(of_relay.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let relay = Streamer::start(command("relay", settings))?;
        snapshot(&mut rig.streamer, &["--tables", "d.*"]).await?;
        Ok(Self { rig, copy, relay, _state: state, queue, subscription })
    }

    /// Has digests published, and waits until the relay has compared as many more as `count`.
    async fn verified(&mut self, tables: &str, count: f64) -> Result<Value, Failed> {
        let before = self.compared().await?;
        verify(&mut self.rig.streamer, tables).await?;
        let give_up = Instant::now() + SOON;
        while self.compared().await? < before + count {
            self.relay.must_run()?;
            assert!(Instant::now() < give_up, "{}", self.relay.log_tail());
            sleep(Duration::from_millis(50)).await;
        }
        // The status is told each second.
        let differing = self.metric("differing_ranges", &[]).await?;
        loop {
            let status = self.relay.status().await?;
            let ranges = status["differing"].as_array().map_or(0, Vec::len);
            if u32::try_from(ranges).map(f64::from).ok() == Some(differing) {
                return Ok(status["differing"].clone());
            }
            assert!(Instant::now() < give_up, "{status}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn compared(&self) -> Result<f64, Failed> {
        let mut all = 0.0;
        for result in ["equal", "differing", "passed"] {
            let label = format!("result=\"{result}\"");
            all += self.metric("verified_chunks_total", &[&label]).await?;
        }
        Ok(all)
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64, Failed> {
        let name = format!("binpulse_relay_{name}");
        Ok(self.relay.metric(&name, labels).await?.unwrap_or_default())
    }

    /// Takes the part of a snapshot with this place among those in the relay's queue out of it: it is lost. The
    /// relay must not run.
    pub(crate) async fn lose_the_part(&self, place: usize) -> Outcome {
        let (sqs, give_up) = (self.rig.aws.sqs(), Instant::now() + SOON);
        let (mut seen, mut others) = (0, Vec::new());
        loop {
            let receive = sqs.receive_message().queue_url(&self.queue).visibility_timeout(3);
            let received = receive.message_attribute_names("All").send().await?;
            let Some(message) = received.messages().first() else {
                // What the relay's last request took is shown again later.
                assert!(Instant::now() < give_up, "the queue has {seen} parts, and {others:?}");
                sleep(Duration::from_millis(200)).await;
                continue;
            };
            let op = message.message_attributes().and_then(|attributes| attributes.get("op"));
            let op = op.and_then(|op| op.string_value()).unwrap_or_default();
            if op == r#"["read"]"# {
                seen += 1;
            } else {
                others.push(op.to_owned());
            }
            if seen == place {
                let receipt = message.receipt_handle().ok_or("a receipt")?;
                sqs.delete_message().queue_url(&self.queue).receipt_handle(receipt).send().await?;
                return Ok(());
            }
        }
    }

    /// Waits until the copy answers a question as the source does.
    pub(crate) async fn until_equal(&self, query: &str) -> Result<Vec<Vec<String>>, Failed> {
        let give_up = Instant::now() + 2 * SOON;
        loop {
            let (here, there) =
                (texts(&self.rig.mysqld, query).await?, texts(&self.copy, query).await);
            if there.as_ref().is_ok_and(|there| *there == here) {
                return Ok(here);
            }
            assert!(Instant::now() < give_up, "{here:?}, {there:?}\n{}", self.relay.log_tail());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A relay of this queue into this server.
fn relay_settings(
    queue: &str,
    copy: &Mysqld,
    rig: &Rig,
    state: &Folder,
) -> Vec<(&'static str, String)> {
    vec![
        ("relay.name", "copy".to_owned()),
        ("relay.queue", queue.to_owned()),
        ("relay.state", format!("file:{}", state.path().join("state").display())),
        ("relay.to.kind", "mysql".to_owned()),
        ("relay.to.url", format!("mysql://{}/relay", copy.address())),
        ("relay.to.user", "root".to_owned()),
        // No row of these lanes comes before their parts.
        ("relay.first_wait", "2s".to_owned()),
        ("relay.visibility_timeout", "10s".to_owned()),
        ("relay.streamer_url", format!("http://{}", rig.streamer.address())),
        ("sns.region", Standin::REGION.to_owned()),
        ("sns.endpoint_url", rig.endpoint_url.clone()),
    ]
}

async fn texts(server: &Mysqld, query: &str) -> Result<Vec<Vec<String>>, Failed> {
    let rows: Vec<mysql_async::Row> = server.connect().await?.query(query).await?;
    let text =
        |row: mysql_async::Row| row.unwrap().into_iter().map(|value| value.as_sql(true)).collect();
    Ok(rows.into_iter().map(text).collect())
}

pub(crate) async fn snapshot(streamer: &mut Streamer, arguments: &[&str]) -> Outcome {
    let before = streamer.status().await?["snapshot"]["id"].clone();
    start(streamer, arguments).await?;
    until(streamer, |snapshot| snapshot["id"] != before).await?;
    until(streamer, is_done).await?;
    Ok(())
}

async fn what_differs_in_a_copy_is_named_and_repaired_by_a_snapshot_of_its_range(
    bed: Bed,
) -> Outcome {
    // Given a copy of tables with a key of one column, and with a UNIQUE key only
    let mut scene = Scene::set(
        &bed,
        &[
            "CREATE TABLE d.t (id INT PRIMARY KEY, f FLOAT, g DOUBLE, n DECIMAL(9,2), b BIT(5), \
             y YEAR, at DATETIME(3), ts TIMESTAMP(3) NULL, v VARCHAR(20), e ENUM('a','b'), \
             x VARBINARY(9), j JSON)",
            "INSERT INTO d.t VALUES (1, 0.1, 0.1, 1.50, 5, 2026, '2026-11-20 19:12:00.500', \
             '2026-11-20 19:12:00.500', 'größe', 'b', x'00ff', '{\"a\": 1.5}'), \
             (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (3, -1e30, 1e-300, -0.01, 0, 1901, '1000-01-01 00:00:00', NULL, '', 'a', '', '[]')",
            "CREATE TABLE d.u (v VARCHAR(20), b INT NOT NULL, a INT NOT NULL, UNIQUE KEY (b, a))",
            "INSERT INTO d.u VALUES ('x', 1, 1), ('y', 1, 2), ('z', 2, 1)",
        ],
    )
    .await?;
    let all = "SELECT id, v FROM d.t ORDER BY id";
    let unique = "SELECT b, a, v FROM d.u ORDER BY b, a";
    scene.until_equal(all).await?;

    // When rows change on the stream, then digests are equal
    scene
        .rig
        .mysqld
        .execute(&[
            "UPDATE d.u SET v = 'new' WHERE a = 2",
            "DELETE FROM d.u WHERE b = 2",
            "INSERT INTO d.t (id, v) VALUES (7, 'seven')",
        ])
        .await?;
    scene.until_equal(unique).await?;
    let differing = scene.verified("d.*", 2.0).await?;
    assert_eq!(differing, Value::Array(Vec::new()), "{differing}");
    let equal = scene.metric("verified_chunks_total", &["result=\"equal\""]).await?;
    assert_eq!(Some(equal), Some(2.0));

    // When the copy is changed by somebody else, then each table is named with its range
    scene
        .copy
        .execute(&[
            "DELETE FROM d.t WHERE id = 3",
            "UPDATE d.u SET v = 'other' WHERE a = 1",
            "INSERT INTO d.t (id, v) VALUES (5, 'five')",
        ])
        .await?;
    let differing = scene.verified("d.*", 2.0).await?;
    // Lanes are compared in any order.
    let mut ranges = differing.as_array().cloned().ok_or("no ranges")?;
    ranges.sort_by_key(|range| range["table"].to_string());
    let tables: Vec<_> = ranges.iter().map(|range| range["table"].as_str()).collect();
    assert_eq!(tables, [Some("d.t"), Some("d.u")], "{differing}");
    assert_eq!((&ranges[0]["after"], &ranges[0]["rows"]), (&serde_json::json!([]), &4.into()));
    assert_eq!(ranges[0]["remedy"], "binpulse snapshot start --tables 'd.t'");
    let count = scene.metric("verified_chunks_total", &["result=\"differing\""]).await?;
    assert_eq!(Some(count), Some(2.0));

    // And a snapshot of the range repairs it: rows that went, came and changed
    snapshot(&mut scene.rig.streamer, &["--tables", "d.t", "--after", "2", "--upto", "6"]).await?;
    snapshot(&mut scene.rig.streamer, &["--tables", "d.u"]).await?;
    scene.until_equal(all).await?;
    scene.until_equal(unique).await?;
    let differing = scene.verified("d.*", 2.0).await?;
    assert_eq!(differing, Value::Array(Vec::new()), "{differing}");
    Ok(())
}

async fn a_cascade_that_no_log_has_is_found_in_the_relays_copy_and_repaired(bed: Bed) -> Outcome {
    // Given a copy of children
    let mut scene = Scene::set(
        &bed,
        &[
            "CREATE TABLE d.parent (id INT PRIMARY KEY)",
            "CREATE TABLE d.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) \
             REFERENCES d.parent (id) ON DELETE CASCADE)",
            "INSERT INTO d.parent VALUES (1), (2)",
            "INSERT INTO d.child VALUES (10, 1), (11, 2), (12, 1), (13, 2)",
        ],
    )
    .await?;
    let children = "SELECT id FROM d.child ORDER BY id";
    scene.until_equal(children).await?;

    // When a parent goes, and with it children of which the log says nothing
    scene.rig.mysqld.execute(&["DELETE FROM d.parent WHERE id = 1"]).await?;
    scene.until_equal("SELECT id FROM d.parent").await?;
    assert_eq!(texts(&scene.copy, children).await?.len(), 4, "the log has it");
    let differing = scene.verified("d.child,d.parent", 2.0).await?;
    assert_eq!(differing[0]["table"], "d.child", "{differing}");
    assert_eq!((&differing[0]["rows"], &differing[0]["rows_here"]), (&2.into(), &3.into()));

    // Then a snapshot of the range repairs it
    snapshot(&mut scene.rig.streamer, &["--tables", "d.child", "--after", "5", "--upto", "20"])
        .await?;
    assert_eq!(scene.until_equal(children).await?.len(), 2);
    let differing = scene.verified("d.child,d.parent", 2.0).await?;
    assert_eq!(differing, Value::Array(Vec::new()), "{differing}");
    Ok(())
}
