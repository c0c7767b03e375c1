//! Settings that are read again while the stream runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use binpulse_demo::{Command, Consumer, Folder, Options};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::relay::Failed;
use crate::suite::{Outcome, tests};

tests! {
    filters_and_masks_change_at_a_saved_place on [Mysql97, Mysql80, Mariadb1011];
    what_needs_a_restart_changes_nothing on [Mysql97];
    random_reloads_under_load_and_kills_give_each_number_one_row on [Mysql97, Mariadb1011];
}

const TABLES: [&str; 4] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.a (id INT PRIMARY KEY, secret VARCHAR(40), note VARCHAR(40))",
    "CREATE TABLE shop.b (id INT PRIMARY KEY, secret VARCHAR(40), note VARCHAR(40))",
    "CREATE TABLE shop.c (id INT PRIMARY KEY, secret VARCHAR(40), note VARCHAR(40))",
];

/// A service with its filters in a file, and all that it sends.
struct Scene {
    rig: Rig,
    consumer: Consumer,
    /// By table and number: the values of the row.
    rows: BTreeMap<(String, u64), Value>,
    next: u64,
    folder: Folder,
}

impl Scene {
    async fn set(bed: &Bed, file: &str, more: &[(&'static str, String)]) -> Result<Self, Failed> {
        let mysqld = bed.mysqld(Options::default()).await?;
        mysqld.execute(&TABLES).await?;
        let folder = Folder::create()?;
        let mut rig = Rig::start(bed, mysqld, Topic::Standard, more).await?;
        rig.streamer.kill().await?;
        let path = folder.path().join("binpulse.toml");
        fs::write(&path, file)?;
        let command = rig.streamer.command_mut();
        command.settings.retain(|(key, _)| !key.starts_with("filter.") && !key.starts_with("log."));
        command.arguments = vec!["--config".to_owned(), path.display().to_string()];
        let consumer = consumer(bed, &rig, "all").await?;
        rig.streamer.start_again().await?;
        rig.streamer.until_ready(SOON).await?;
        Ok(Self { rig, consumer, rows: BTreeMap::new(), next: 1, folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("binpulse.toml")
    }

    /// A row for each table.
    async fn write(&mut self, count: u64) -> Outcome {
        let mut session = self.rig.mysqld.connect().await?;
        for _ in 0..count {
            let id = self.next;
            self.next += 1;
            for table in ["a", "b", "c"] {
                let row = format!("({id}, 'SECRET-{table}{id}', '{table}{id}')");
                session.query_drop(format!("INSERT INTO shop.{table} VALUES {row}")).await?;
            }
        }
        session.disconnect().await?;
        Ok(())
    }

    /// Runs a command beside the service, with its settings: exit code and what it printed.
    async fn run(&mut self, name: &str, more: &[&str]) -> Result<(Option<i32>, String), Failed> {
        let service = self.rig.streamer.command_mut();
        let is_own = |key: &str| name == "replay" && key == "http.listen";
        let mut arguments = service.arguments.clone();
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        let command = Command {
            binary: service.binary.clone(),
            command: name.to_owned(),
            settings: service.settings.iter().filter(|(key, _)| !is_own(key)).cloned().collect(),
            arguments,
            environment: service.environment.clone(),
        };
        Ok(command.run_to_end(SOON).await?)
    }

    async fn reload(&mut self, file: &str, more: &[&str]) -> Result<(Option<i32>, String), Failed> {
        fs::write(self.file(), file)?;
        self.run("reload", more).await
    }

    /// The settings were refused, and those of the start are in force.
    async fn is_refused(&mut self, told: &str) -> Outcome {
        let is_told = |status: &Value| {
            let text = status["reload"]["told"].as_str().unwrap_or_default();
            status["reload"]["state"] == "refused" && text.contains(told)
        };
        let status = self.rig.streamer.until("it is refused", SOON, is_told).await?;
        assert_eq!(status["reload"]["generation"], 1, "{told}");
        assert_eq!(status["config"]["filter.tables"], "shop.a", "{told}");
        let metric = "binpulse_config_last_reload_successful";
        assert_eq!(self.rig.streamer.metric(metric, &[]).await?, Some(0.0));
        Ok(())
    }

    /// Takes what comes until `is_done`; a number never has another row.
    async fn receive(
        &mut self,
        is_done: impl Fn(&BTreeMap<(String, u64), Value>) -> bool,
    ) -> Outcome {
        let give_up = Instant::now() + SOON;
        while !is_done(&self.rows) {
            let (rows, mut wrong) = (&mut self.rows, None);
            let mut keep = |table: &str, line: String| {
                let row: Value = serde_json::from_str(&line).expect("JSON");
                let Some(number) = row["sequence"].as_u64() else { return };
                let row = row["after"].clone();
                let before = rows.insert((table.to_owned(), number), row.clone());
                if let Some(before) = before.filter(|before| before["id"] != row["id"]) {
                    wrong = Some(format!("number {number} of {table} was {before} and is {row}"));
                }
            };
            let received = timeout_at(give_up, self.consumer.receive(&mut keep)).await;
            assert_eq!(wrong, None);
            received.map_err(|_| {
                let log = self.rig.streamer.log_tail();
                format!("{:?}\n{log}", self.rows.keys().collect::<Vec<_>>())
            })??;
        }
        Ok(())
    }

    /// The ids of a table's rows, in the order of their numbers, which begin with 1 and have no gap.
    fn ids(&self, table: &str) -> Vec<u64> {
        let of_table = self.rows.iter().filter(|((name, _), _)| name.ends_with(table));
        let rows: Vec<_> = of_table.map(|((_, number), row)| (*number, row)).collect();
        let numbers: Vec<_> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{table}");
        rows.iter().map(|(_, row)| row["id"].as_u64().expect("an id")).collect()
    }
}

/// A consumer of rows with a queue of its own.
async fn consumer(bed: &Bed, rig: &Rig, name: &str) -> Result<Consumer, Failed> {
    let name = format!("{}-{name}", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &["change"]).await?;
    Ok(Consumer::new(rig.aws.clone(), queue_url))
}

/// Whether each of these tables (letters) has the row with this id.
fn has(tables: &'static str, id: u64) -> impl Fn(&BTreeMap<(String, u64), Value>) -> bool {
    move |rows| {
        let is_there =
            |table| rows.iter().any(|((name, _), row)| name.ends_with(table) && row["id"] == id);
        tables.chars().all(is_there)
    }
}

/// The same, and all in front of it: messages of a lane overtake one another on a standard topic.
fn have(tables: &'static str, id: u64) -> impl Fn(&BTreeMap<(String, u64), Value>) -> bool {
    move |rows| {
        let is_whole = |table| {
            let numbers = rows.keys().filter(|(name, _)| name.ends_with(table));
            let numbers: Vec<_> = numbers.map(|(_, number)| *number).collect();
            numbers.iter().max() == Some(&(numbers.len() as u64))
        };
        has(tables, id)(rows) && tables.chars().all(is_whole)
    }
}

fn secrets(scene: &Scene, table: &str) -> Vec<bool> {
    let of_table = scene.rows.iter().filter(|((name, _), _)| name.ends_with(table));
    of_table.map(|(_, row)| row.to_string().contains("SECRET")).collect()
}

async fn filters_and_masks_change_at_a_saved_place(bed: Bed) -> Outcome {
    // Given a service that publishes two of three tables
    let first = "[filter]\ntables = ['shop.a', 'shop.b']\n";
    let mut scene = Scene::set(&bed, first, &[]).await?;
    // Some servers log whole seconds.
    let since = (chrono::Utc::now() - chrono::TimeDelta::seconds(1)).to_rfc3339();
    scene.write(3).await?;
    scene.receive(have("ab", 3)).await?;

    // When the file says something else, it is told, and nothing happens until it is asked for
    let second = "[filter]\ntables = ['shop.a', 'shop.c']\ndrop_columns = ['shop.a.secret']\n\
                  [log]\nlevel = 'debug'\n";
    let (code, output) = scene.reload(second, &["--check"]).await?;
    let wanted = "filter.tables: shop.a,shop.b -> shop.a,shop.c";
    assert!(code == Some(0) && output.contains(wanted), "{output}");
    assert!(output.contains("changes at once") && output.contains("log.level"), "{output}");
    scene.write(1).await?;
    scene.receive(have("ab", 4)).await?;

    // Then it holds for what commits after the command
    let (code, output) = scene.reload(second, &[]).await?;
    assert!(code == Some(0) && output.contains("the filters hold from "), "{output}");
    let status = scene.rig.streamer.status().await?;
    assert_eq!(
        (&status["reload"]["state"], &status["reload"]["generation"]),
        (&"in_force".into(), &2.into())
    );
    assert_eq!(status["config"]["filter.drop_columns"], "shop.a.secret", "{}", status["config"]);
    scene.write(2).await?;
    scene.receive(have("ac", 6)).await?;
    assert_eq!(secrets(&scene, "a"), [true, true, true, true, false, false]);
    assert_eq!((scene.ids("b"), scene.ids("c")), (vec![1, 2, 3, 4], vec![5, 6]));

    // And after a crash, and by SIGHUP, with the numbers going on
    scene.rig.streamer.kill().await?;
    scene.write(1).await?;
    scene.rig.streamer.start_again().await?;
    scene.rig.streamer.until_ready(SOON).await?;
    scene.receive(have("ac", 7)).await?;
    fs::write(scene.file(), first)?;
    scene.rig.streamer.hang_up()?;
    let again = |status: &Value| status["reload"]["generation"] == 2;
    scene.rig.streamer.until("it is read again", SOON, again).await?;
    scene.write(2).await?;
    scene.receive(have("ab", 9)).await?;
    assert_eq!((scene.ids("b"), scene.ids("c")), (vec![1, 2, 3, 4, 8, 9], vec![5, 6, 7]));
    assert_eq!(scene.ids("a"), (1..=9).collect::<Vec<_>>());

    // And what is published again is filtered as it was, each row under its number; what is hidden now stays so
    let hiding = format!("{first}drop_columns = ['shop.a.secret', 'shop.b.secret']\n");
    let (code, output) = scene.reload(&hiding, &[]).await?;
    assert_eq!(code, Some(0), "{output}");
    let published = std::mem::take(&mut scene.rows);
    scene.consumer = consumer(&bed, &scene.rig, "again").await?;
    let (code, output) =
        scene.run("replay", &["--since", &since, "--same-topics", "--for", "again"]).await?;
    assert_eq!(code, Some(0), "{output}");
    scene.receive(|rows| rows.len() == published.len()).await?;
    for (key, row) in &published {
        assert_eq!(scene.rows[key]["id"], row["id"], "{key:?}");
        let text = scene.rows[key].to_string();
        assert!(key.0.ends_with('c') || !text.contains("SECRET"), "{key:?} {text}");
    }
    Ok(())
}

async fn what_needs_a_restart_changes_nothing(bed: Bed) -> Outcome {
    // Given a service
    let first = "[filter]\ntables = ['shop.a']\n";
    let mut scene = Scene::set(&bed, first, &[]).await?;
    let metric = "binpulse_config_last_reload_successful";
    assert_eq!(scene.rig.streamer.metric(metric, &[]).await?, Some(1.0));

    // When its file can't be read, the command says so, and a signal changes nothing
    for (file, told) in
        [("[filter]\ntabels = ['shop.a']\n", "filter.tables"), ("[filter\n", "line 1")]
    {
        let (code, output) = scene.reload(file, &[]).await?;
        assert!(code == Some(64) && output.contains(told), "{file}: {output}");
        scene.rig.streamer.hang_up()?;
        scene.is_refused(told).await?;
    }

    // And so it does when the file says something that can't be, or not while the service runs
    for (file, told) in [
        ("[filter]\ntables = ['shop']\n", "patterns database.table"),
        ("[filter]\ntables = ['shop.b']\n[message]\nlanes = 4\n", "which begins a new epoch"),
        ("[filter]\ntables = ['shop.b']\n[shutdown]\ngrace = '7s'\n", "needs a restart"),
        ("[filter]\ntables = ['shop.b', 'shop.no']\nstrict = true\n", "`shop.no` of filter.tables"),
    ] {
        let (code, output) = scene.reload(file, &[]).await?;
        assert!(code == Some(1) && output.contains(told), "{file}: {output}");
        scene.is_refused(told).await?;
    }

    // Then the settings before it are in force
    scene.write(2).await?;
    scene.receive(have("a", 2)).await?;
    assert_eq!(scene.ids("b"), [0; 0]);
    let (code, output) = scene.reload(first, &[]).await?;
    assert!(code == Some(0) && output.contains("nothing has changed"), "{output}");
    assert_eq!(scene.rig.streamer.metric(metric, &[]).await?, Some(1.0));
    Ok(())
}

/// How many reloads: `RELOADS`, or a few.
fn reloads() -> u64 {
    std::env::var("RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

async fn random_reloads_under_load_and_kills_give_each_number_one_row(bed: Bed) -> Outcome {
    // Given a service under load, with a checkpoint that lags
    let more = [("checkpoint.interval", "300ms".to_owned())];
    let mut scene = Scene::set(&bed, "[filter]\ntables = ['shop.a']\n", &more).await?;
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };

    // When the tables beside the first one come and go, and the process is killed now and then
    for _ in 0..reloads() {
        let tables = ["'shop.a'", "'shop.a', 'shop.b'", "'shop.a', 'shop.c'", "'shop.*'"];
        let file = format!("[filter]\ntables = [{}]\n", tables[usize::try_from(roll(4))?]);
        let rows = 1 + roll(8);
        scene.write(rows).await?;
        if roll(4) == 0 {
            // With other settings behind a crash.
            scene.rig.streamer.kill().await?;
            fs::write(scene.file(), &file)?;
            scene.write(roll(3)).await?;
            scene.rig.streamer.start_again().await?;
            scene.rig.streamer.until_ready(SOON).await?;
        } else {
            let (code, output) = scene.reload(&file, &[]).await?;
            assert_eq!(code, Some(0), "{output}\n{}", scene.rig.streamer.log_tail());
        }
    }

    // Then no number ever has two rows, and of the table that always passed every row came, as in a run without
    let (code, output) = scene.reload("[filter]\ntables = ['shop.*']\n", &[]).await?;
    assert_eq!(code, Some(0), "{output}");
    scene.write(1).await?;
    let last = scene.next - 1;
    scene.receive(has("abc", last)).await?;
    let expected: Vec<_> = (1..=last).collect();
    let a = |rows: &BTreeMap<(String, u64), Value>| {
        rows.keys().filter(|(table, _)| table.ends_with('a')).count() as u64 == last
    };
    scene.receive(a).await?;
    assert_eq!(scene.ids("a"), expected);
    for table in ["b", "c"] {
        let of_table = scene.rows.iter().filter(|((name, _), _)| name.ends_with(table));
        let ids: Vec<_> = of_table.map(|(_, row)| row["id"].as_u64()).collect();
        assert!(ids.is_sorted() && ids.len() > 1, "{table}: {ids:?}");
    }
    Ok(())
}
