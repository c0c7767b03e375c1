//! The relay's soak: random work and random kills, messages that come up to three times, in another
//! order, and one in a hundred not at all; then copies in three databases equal the source row by
//! row, and a webhook beside them got each row under one id.
//!
//! As one of the tests it takes some seconds with a seed of its own; `make soak` runs it for longer, with
//! `SOAK_SECONDS` and `SOAK_SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use binpulse_demo::{
    Aws, Command, Flavor, Folder, Installed, Mysqld, Options, Shuffler, Shuffling, Standin,
    Streamer, prepare,
};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::aws::Endpoint;
use crate::bed::{Bed, Rig, Topic, binary, command};
use crate::dice::Dice;
use crate::private::{Private, postgres};
use crate::relay::{Failed, SCHEMA, Webhook, changes};
use crate::replay::replay;
use crate::suite::{Outcome, tests};

tests! {
    copies_equal_their_source_whatever_is_killed_lost_and_repeated on [Mysql97];
    copies_equal_their_source_behind_another_stand_in on [Mysql97];
}

/// Length of work and kills, unless `SOAK_SECONDS` says otherwise.
const SHORT: Duration = Duration::from_secs(12);
/// Time for the rest to arrive. A replay that was lost is asked for again after a minute.
const DRAIN: Duration = Duration::from_secs(200);
const COPIES_MAX: u64 = 3;
/// One message in so many is lost.
const LOSE_ONE_IN: u64 = 100;

/// The rows of each table as text that is the same in every database: for MySQL and MariaDB, and for
/// PostgreSQL.
const ROWS: [[&str; 2]; 3] = [
    [
        "SELECT CONCAT_WS('|', 'charge', id, amount, note, ROUND(UNIX_TIMESTAMP(at) * 1000)) \
         FROM paid.charges",
        "SELECT concat_ws('|', 'charge', id, amount, note, round(extract(epoch from at) * 1000)) \
         FROM paid.charges",
    ],
    [
        "SELECT CONCAT_WS('|', 'note', a, b, text) FROM paid.notes",
        "SELECT concat_ws('|', 'note', a, b, text) FROM paid.notes",
    ],
    [
        "SELECT CONCAT_WS('|', 'link', x, y, LOWER(HEX(z)), JSON_EXTRACT(j, '$.n')) FROM paid.links",
        "SELECT concat_ws('|', 'link', x, y, encode(z, 'hex'), j->'n') FROM paid.links",
    ],
];

async fn copies_equal_their_source_whatever_is_killed_lost_and_repeated(bed: Bed) -> Outcome {
    let url = bed.standin().await?.url();
    // It is slower: a webhook and one copy.
    soak(&bed, &url, 1, 2).await
}

async fn copies_equal_their_source_behind_another_stand_in(bed: Bed) -> Outcome {
    let endpoint = Endpoint::start().await;
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    soak(&bed, &endpoint.url(), 2, usize::MAX).await
}

fn number(variable: &str) -> Result<Option<u64>, Failed> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
    let read = |text: String| {
        text.parse().map_err(|_| format!("{variable}: found `{text}`, expected a number").into())
    };
    text.map(read).transpose()
}

/// What a failure says besides: how to run it again.
async fn soak(bed: &Bed, url: &str, seed: u64, routes: usize) -> Outcome {
    let seed = number("SOAK_SEED")?.unwrap_or(seed);
    let length = number("SOAK_SECONDS")?.map_or(SHORT, Duration::from_secs);
    let again = format!(
        "again: SOAK_SEED={seed} SOAK_SECONDS={} cargo test --test live -- relay_soak",
        length.as_secs()
    );
    println!("{again}");
    let mut soak =
        Soak::start(bed, url, seed, routes).await.map_err(|error| format!("{error}\n{again}"))?;
    let outcome = soak.run(length).await;
    println!("{}", soak.report());
    outcome.map_err(|error| format!("{error}\n{}\n{again}", soak.logs()).into())
}

/// Where rows of a relay go.
enum Target {
    Mysql(Mysqld),
    Postgres(Private),
    Webhook(Webhook),
}

/// A relay with its queue and its target. Dropped in this order.
struct Route {
    name: &'static str,
    relay: Streamer,
    shuffler: Shuffler,
    target: Target,
    kills: u64,
    _state: Folder,
}

struct Soak {
    routes: Vec<Route>,
    rig: Rig,
    dice: Dice,
    streamer_kills: u64,
    /// Replays that an operator ran, because a lane had halted.
    commands: u64,
    /// When the next one may.
    operator: Instant,
}

/// An operator waits so long for the rows of one replay before running another.
const OPERATOR_WAIT: Duration = Duration::from_secs(15);

impl Soak {
    async fn start(bed: &Bed, url: &str, seed: u64, most: usize) -> Result<Self, Failed> {
        let mut dice = Dice::new(seed);
        let mysqld = bed.mysqld(Options::default()).await?;
        prepare(&mysqld, binary()).await?;
        mysqld.execute(&SCHEMA).await?;
        let settings = [
            ("message.lanes", "2"),
            ("filter.tables", "paid.*"),
            ("canary.enabled", "true"),
            ("canary.interval", "1s"),
        ];
        let settings = settings.map(|(key, value)| (key, value.to_owned()));
        // Which names topics and queues have does not matter, but each run has its own.
        let topic = format!("{}-{seed}", bed.topic_name());
        let rig = Rig::start_at(url, &topic, mysqld, Topic::Standard, &settings).await?;
        let mut routes = Vec::new();
        for (name, target) in targets(bed).await?.into_iter().take(most) {
            routes.push(Route::start(&rig, &topic, name, target, dice.fork().next()).await?);
        }
        let operator = Instant::now();
        Ok(Self { routes, rig, dice, streamer_kills: 0, commands: 0, operator })
    }

    async fn run(&mut self, length: Duration) -> Outcome {
        // Each lane has begun before something is lost: a lane's first row is known by nothing else.
        self.rig.mysqld.execute(&changes(0)).await?;
        self.until_equal().await?;
        println!("each lane has begun: messages are lost from here on");
        for route in &self.routes {
            route.shuffler.lose_one_in(LOSE_ONE_IN);
        }
        let give_up = Instant::now() + length;
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (session, dice) = (self.rig.mysqld.connect().await?, self.dice.fork());
            writers.spawn(write(session, dice, give_up));
        }
        while Instant::now() < give_up {
            sleep(Duration::from_millis(self.dice.between(300, 2_000))).await;
            self.kill().await?;
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        println!("nothing more is written or killed");
        self.until_equal().await?;
        self.judge()
    }

    /// Kills the streamer or a relay, and starts it again after a moment.
    async fn kill(&mut self) -> Result<(), Failed> {
        let at = usize::try_from(self.dice.below(1 + self.routes.len() as u64))?;
        let down = Duration::from_millis(self.dice.below(1_000));
        let process = match self.routes.get_mut(at) {
            Some(route) => {
                route.kills += 1;
                &mut route.relay
            }
            None => {
                self.streamer_kills += 1;
                &mut self.rig.streamer
            }
        };
        process.must_run()?;
        process.kill().await?;
        sleep(down).await;
        Ok(process.start_again().await?)
    }

    /// Waits until every target has what the source has.
    async fn until_equal(&mut self) -> Outcome {
        let wanted = mysql_rows(&self.rig.mysqld).await?;
        let give_up = Instant::now() + DRAIN;
        loop {
            let mut wrong = Vec::new();
            for route in &mut self.routes {
                route.relay.must_run()?;
                let found = route.target.rows().await?;
                let wanted = route.target.told(&wanted);
                if found != wanted {
                    let (missing, more) = (first(&wanted, &found), first(&found, &wanted));
                    wrong.push(format!("{}: lacks {missing}, has {more}", route.name));
                }
            }
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() > give_up {
                let wrong = wrong.join("; ");
                let history = self.history(&wrong);
                return Err(format!("not equal after {DRAIN:?}: {wrong}\n{history}").into());
            }
            self.operate().await?;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What the webhook was told of the first row that is wrong.
    fn history(&self, wrong: &str) -> String {
        let row = wrong.split_once('(').map_or("", |(_, rest)| rest);
        let mut fields = row.split('|');
        let (Some("charge"), Some(id)) = (fields.next(), fields.next()) else {
            return String::new();
        };
        let of_row = |row: &&Value| {
            let is = |image: &Value| text(&image["id"]) == id;
            row["table"] == "charges" && (is(&row["before"]) || is(&row["after"]))
        };
        let webhooks = self.routes.iter().filter_map(|route| match &route.target {
            Target::Webhook(webhook) => Some(webhook.received()),
            Target::Mysql(_) | Target::Postgres(_) => None,
        });
        let lines = webhooks.flat_map(|received| {
            let rows = received.rows.iter().filter(of_row).map(Value::to_string);
            rows.collect::<Vec<_>>()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What an operator does: runs the replay of which a halted lane tells.
    async fn operate(&mut self) -> Result<(), Failed> {
        if Instant::now() < self.operator {
            return Ok(());
        }
        for route in &self.routes {
            // One that has just been started does not answer yet.
            let Ok(status) = route.relay.status().await else { continue };
            let lanes = status["lanes"].as_array().cloned().unwrap_or_default();
            for lane in lanes.iter().filter(|lane| lane["state"] == "halted") {
                let name = lane["lane"].as_str().and_then(|text| text.splitn(3, '/').nth(2));
                let numbers = format!("{}-{}", lane["missing"][0], lane["missing"][1]);
                let name = name.unwrap_or_default();
                let arguments =
                    ["--lane", name, "--numbers", &numbers, "--same-topics", "--for", route.name];
                let arguments = arguments.map(str::to_owned);
                let (code, output) = replay(&mut self.rig.streamer, &arguments).await?;
                println!("an operator replays {numbers} of {name} for {}: {code:?}", route.name);
                if code != Some(0) {
                    return Err(output.into());
                }
                self.commands += 1;
                self.operator = Instant::now() + OPERATOR_WAIT;
            }
        }
        Ok(())
    }

    /// What must hold at the end besides.
    fn judge(&self) -> Outcome {
        let lost: u64 = self.routes.iter().map(|route| route.shuffler.done().lost).sum();
        let copies: u64 = self.routes.iter().map(|route| route.shuffler.done().copies).sum();
        let kills: u64 = self.routes.iter().map(|route| route.kills).sum();
        if lost == 0 || copies == 0 || kills + self.streamer_kills == 0 {
            return Err("nothing was lost, repeated or killed: this says nothing".into());
        }
        for route in &self.routes {
            let Target::Webhook(webhook) = &route.target else { continue };
            let received = webhook.received();
            let ids: BTreeSet<_> = received.rows.iter().map(|row| row["id"].to_string()).collect();
            if ids.len() != received.rows.len() {
                return Err("a row came under two ids of requests".into());
            }
            if let Some((id, _)) = received.bodies.iter().find(|(_, bodies)| bodies.len() > 1) {
                return Err(format!("other rows under the same id: {id}").into());
            }
        }
        Ok(())
    }

    fn report(&self) -> String {
        let routes = self.routes.iter().map(|route| {
            let (name, kills, done) = (route.name, route.kills, route.shuffler.done());
            format!("{name}: {kills} kills, {done:?}")
        });
        let all: Vec<_> = routes.collect();
        let (kills, commands) = (self.streamer_kills, self.commands);
        format!("streamer: {kills} kills; {commands} replays by hand\n{}", all.join("\n"))
    }

    fn logs(&self) -> String {
        let streamer = format!("streamer:\n{}", warnings(&self.rig.streamer));
        let routes = self.routes.iter();
        let routes = routes.map(|route| format!("{}:\n{}", route.name, warnings(&route.relay)));
        std::iter::once(streamer).chain(routes).collect::<Vec<_>>().join("\n")
    }
}

/// What a program has logged that is not for information alone.
fn warnings(process: &Streamer) -> String {
    let log = std::fs::read_to_string(process.folder().path().join("log")).unwrap_or_default();
    let lines = log.lines().filter(|line| !line.contains(r#""level":"INFO""#));
    lines.collect::<Vec<_>>().join("\n")
}

/// Changes rows until it is time to end.
async fn write(
    mut session: mysql_async::Conn,
    mut dice: Dice,
    give_up: Instant,
) -> Result<(), mysql_async::Error> {
    while Instant::now() < give_up {
        let statements = changes(dice.between(1, 1_000));
        let some = usize::try_from(dice.between(1, 12)).unwrap_or(1);
        let begin = usize::try_from(dice.below(statements.len() as u64)).unwrap_or_default();
        let is_transaction = dice.one_in(3);
        if is_transaction {
            session.query_drop("BEGIN").await?;
        }
        for statement in statements.iter().skip(begin).take(some) {
            match session.query_drop(statement).await {
                // The other session was in its way: the transaction is rolled back.
                Err(mysql_async::Error::Server(error)) if error.code == 1213 => break,
                result => result?,
            }
        }
        session.query_drop("COMMIT").await?;
        sleep(Duration::from_millis(dice.between(20, 200))).await;
    }
    Ok(())
}

/// All targets that there are here; one that is not is named.
async fn targets(bed: &Bed) -> Result<Vec<(&'static str, Target)>, Failed> {
    let mut targets = vec![("webhook", Target::Webhook(Webhook::start().await?))];
    let mysql = bed.mysqld(Options::default()).await?;
    mysql.execute(&["CREATE DATABASE relay"]).await?;
    targets.push(("mysql", Target::Mysql(mysql)));
    let servers = Installed::find()?.servers;
    match servers.iter().find(|server| server.flavor == Flavor::Mariadb) {
        Some(server) => {
            let mariadb = Mysqld::start(server, Options::default()).await?;
            mariadb.execute(&["CREATE DATABASE relay"]).await?;
            targets.push(("mariadb", Target::Mysql(mariadb)));
        }
        None => crate::private::skipped("MariaDB"),
    }
    let postgres = tokio::task::spawn_blocking(postgres).await?;
    targets.extend(postgres.map(|postgres| ("postgres", Target::Postgres(postgres))));
    Ok(targets)
}

impl Route {
    async fn start(
        rig: &Rig,
        topic: &str,
        name: &'static str,
        target: Target,
        seed: u64,
    ) -> Result<Self, Failed> {
        let aws: &Aws = &rig.aws;
        let policy = json!({
            "kind": ["change", "canary", "suppressed"],
            "replay": [{ "exists": false }, name],
        });
        let from = format!("{topic}-{name}-sns");
        let (from, _) =
            aws.subscribe_filtered(&rig.topic_arn, &from, Some(policy.to_string())).await?;
        let queue = aws.create_queue(&format!("{topic}-{name}")).await?;
        let how = Shuffling { seed, copies_max: COPIES_MAX };
        let shuffler = Shuffler::start(aws.clone(), from, queue.clone(), how);
        let state = Folder::create()?;
        let mut settings = vec![
            ("relay.name", name.to_owned()),
            ("relay.queue", queue),
            ("relay.state", format!("file:{}", state.path().join("state").display())),
            ("relay.streamer_url", format!("http://{}", rig.streamer.address())),
            ("relay.first_wait", String::from("12s")),
            ("relay.reorder_wait", String::from("1s")),
            // The last row of a lane: no row behind it tells that it is late.
            ("relay.gap_wait", String::from("5s")),
            ("relay.visibility_timeout", String::from("10s")),
            ("relay.snapshots", String::from("false")),
            ("sns.region", Standin::REGION.to_owned()),
            ("sns.endpoint_url", rig.endpoint_url.clone()),
        ];
        settings.extend(target.settings());
        let command: Command = command("relay", settings);
        let relay = Streamer::start(command)?;
        Ok(Self { name, relay, shuffler, target, kills: 0, _state: state })
    }
}

impl Target {
    fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Mysql(mysqld) => vec![
                ("relay.to.kind", String::from("mysql")),
                ("relay.to.url", format!("mysql://{}/relay", mysqld.address())),
                ("relay.to.user", String::from("root")),
            ],
            Self::Postgres(postgres) => vec![
                ("relay.to.kind", String::from("postgres")),
                ("relay.to.url", format!("postgres://127.0.0.1:{}/postgres", postgres.port)),
                ("relay.to.user", String::from("postgres")),
            ],
            Self::Webhook(webhook) => webhook.settings(),
        }
    }

    /// What it is to have of these rows. A webhook is told times, bytes and documents in JSON's own way:
    /// the other columns are compared.
    fn told(&self, rows: &[String]) -> Vec<String> {
        let cut = |row: &String| {
            let fields = match row.split('|').next() {
                Some("link") => 3,
                _ => 4,
            };
            row.split('|').take(fields).collect::<Vec<_>>().join("|")
        };
        match self {
            Self::Webhook(_) => rows.iter().map(cut).collect(),
            Self::Mysql(_) | Self::Postgres(_) => rows.to_vec(),
        }
    }

    /// Its rows, sorted.
    async fn rows(&self) -> Result<Vec<String>, Failed> {
        match self {
            Self::Mysql(mysqld) => mysql_rows(mysqld).await,
            Self::Postgres(postgres) => postgres_rows(postgres.port).await,
            Self::Webhook(webhook) => Ok(webhook_rows(&webhook.received().rows)),
        }
    }
}

async fn mysql_rows(mysqld: &Mysqld) -> Result<Vec<String>, Failed> {
    let mut session = mysqld.connect().await?;
    let mut all = Vec::new();
    for [query, _] in ROWS {
        match session.query::<String, _>(query).await {
            Ok(rows) => all.extend(rows),
            // Neither database nor table is there before the first row.
            Err(mysql_async::Error::Server(error)) if [1049, 1146].contains(&error.code) => {}
            Err(error) => return Err(error.into()),
        }
    }
    all.sort_unstable();
    Ok(all)
}

async fn postgres_rows(port: u16) -> Result<Vec<String>, Failed> {
    let address = format!("host=127.0.0.1 port={port} user=postgres");
    let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let mut all = Vec::new();
    for [_, query] in ROWS {
        match client.query(query, &[]).await {
            Ok(rows) => all.extend(rows.iter().map(|row| row.get::<_, String>(0))),
            // Neither schema nor table is there before the first row.
            Err(error)
                if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    connection.abort();
    all.sort_unstable();
    Ok(all)
}

/// What the rows of requests, in their order, make of the tables.
fn webhook_rows(rows: &[Value]) -> Vec<String> {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let keys: &[&str] = match row["table"].as_str() {
            Some("charges") => &["id"],
            Some("notes") => &["a", "b"],
            Some("links") => &["x"],
            _ => continue,
        };
        let key = |image: &Value| {
            let key: Vec<_> = keys.iter().map(|name| text(&image[*name])).collect();
            format!("{} {}", row["table"], key.join(" "))
        };
        if row["before"].is_object() {
            tables.remove(&key(&row["before"]));
        }
        if row["after"].is_object() {
            tables.insert(key(&row["after"]), line(&row["table"], &row["after"]));
        }
    }
    let mut all: Vec<_> = tables.into_values().collect();
    all.sort_unstable();
    all
}

/// A row as [`Target::told`] has it.
fn line(table: &Value, row: &Value) -> String {
    let of =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| text(&row[*name])).collect() };
    match table.as_str() {
        Some("charges") => format!("charge|{}", of(&["id", "amount", "note"]).join("|")),
        Some("notes") => format!("note|{}", of(&["a", "b", "text"]).join("|")),
        _ => format!("link|{}", of(&["x", "y"]).join("|")),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How many rows of the one are not in the other, with an example.
fn first(of: &[String], lacking_in: &[String]) -> String {
    let other: BTreeSet<_> = lacking_in.iter().collect();
    let mut missing = of.iter().filter(|row| !other.contains(row));
    let example = missing.next();
    let count = missing.count() + usize::from(example.is_some());
    format!("{count} ({})", example.map_or("", |row| row.as_str()))
}
