//! The relay as a program: from a real server through the stand-in to a webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use binpulse_demo::{Aws, Folder, Mysqld, Options, Standin, Streamer, prepare};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic, binary, command};
use crate::suite::{Outcome, tests};

tests! {
    each_row_reaches_a_webhook_under_one_id_whatever_is_killed on [Mysql97, Mariadb1011];
    what_a_webhook_refuses_is_parked_with_what_follows_it_and_can_be_retried on [Mysql97];
    a_parked_request_holds_up_each_of_its_keys_until_it_is_delivered on [Mysql97];
    a_copy_equals_its_source_whatever_is_killed on [Mysql97, Mysql80, Mariadb1011];
    a_copy_begins_with_a_snapshot on [Mysql97];
    two_relays_share_a_queue_and_one_takes_over_from_the_other on [Mysql97, Mariadb118];
    two_relays_with_files_of_their_own_on_one_queue_are_told on [Mysql97];
}

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A webhook that keeps what it was sent.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bodies by the id of their request: all that came under it.
    pub(crate) bodies: BTreeMap<String, BTreeSet<String>>,
    /// Rows in the order in which they were first accepted.
    pub(crate) rows: Vec<Value>,
    requests: u64,
    /// Each so-manieth request is refused with this status.
    pub(crate) refuse: Option<(u64, u16)>,
    /// Rows with this text are refused.
    pub(crate) refuse_text: Option<&'static str>,
    /// Headers of messages of outboxes, by the id of their request.
    pub(crate) headers: BTreeMap<String, BTreeSet<String>>,
}

pub(crate) struct Webhook {
    port: u16,
    received: Arc<Mutex<Received>>,
}

impl Webhook {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let received: Arc<Mutex<Received>> = Arc::default();
        let shared = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { port, received })
    }

    /// Settings of a relay that delivers to it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("relay.to.kind", String::from("webhook")),
            ("relay.to.url", format!("http://127.0.0.1:{}/hook?token=x", self.port)),
            ("relay.to.secret", String::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            ("relay.egress.allow", String::from("127.0.0.0/8")),
            ("relay.egress.ports", self.port.to_string()),
            ("relay.egress.https_only", String::from("false")),
        ]
    }

    pub(crate) fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().expect("no test panics while it holds it")
    }
}

/// Answers requests of one connection until it is closed.
async fn serve(stream: TcpStream, received: Arc<Mutex<Received>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut id, mut headers) = (0, String::new(), BTreeSet::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            } else if let Some(value) = line.strip_prefix("webhook-id: ") {
                value.clone_into(&mut id);
            } else if line.starts_with("outbox-") {
                headers.insert(line);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        if !headers.is_empty() {
            received
                .lock()
                .expect("no test panics while it holds it")
                .headers
                .insert(id.clone(), headers);
        }
        let status = take(&received, id, String::from_utf8(body).ok()?);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

fn take(received: &Mutex<Received>, id: String, body: String) -> u16 {
    let mut received = received.lock().expect("no test panics while it holds it");
    received.requests += 1;
    let refused = received.refuse.filter(|(each, _)| received.requests.is_multiple_of(*each));
    if let Some((_, status)) = refused {
        return status;
    }
    if received.refuse_text.is_some_and(|text| body.contains(text)) {
        return 422;
    }
    let document: Value = serde_json::from_str(&body).expect("the body is JSON");
    let bodies = received.bodies.entry(id).or_default();
    let is_new = bodies.is_empty();
    bodies.insert(body);
    if is_new {
        let rows = document["data"].as_array().cloned().unwrap_or_default();
        received.rows.extend(rows);
    }
    204
}

/// A relay of this queue to this webhook.
pub(crate) fn relay(
    folder: &Folder,
    queue: &str,
    webhook: &Webhook,
    settings: &[(&'static str, &str)],
) -> Result<Streamer, binpulse_demo::Error> {
    let mut all = vec![
        ("relay.name", String::from("test")),
        ("relay.queue", queue.to_owned()),
        ("relay.state", format!("file:{}", folder.path().join("state").display())),
        ("relay.first_wait", String::from("2s")),
        ("relay.visibility_timeout", String::from("10s")),
        ("sns.region", Standin::REGION.to_owned()),
    ];
    all.extend(webhook.settings());
    all.retain(|(key, _)| !settings.iter().any(|(other, _)| other == key));
    all.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Streamer::start(command("relay", all))
}

pub(crate) async fn until<T>(
    what: &str,
    mut holds: impl FnMut() -> Option<T>,
) -> Result<T, Failed> {
    // Leases and visibility have to end first, on a machine that does much else.
    let within = 4 * SOON;
    let give_up = Instant::now() + within;
    loop {
        if let Some(found) = holds() {
            return Ok(found);
        }
        if Instant::now() > give_up {
            return Err(format!("within {within:?}: {what}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn each_row_reaches_a_webhook_under_one_id_whatever_is_killed(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let name = format!("{}-relay", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    webhook.received().refuse = Some((7, 503));
    let endpoint = rig.endpoint_url.clone();
    let settings = [("sns.endpoint_url", endpoint.as_str()), ("relay.to.rows", "3")];
    let mut relay_process = relay(&folder, &queue, &webhook, &settings)?;

    let mut connection = rig.mysqld.connect().await?;
    connection.query_drop("CREATE DATABASE paid").await?;
    connection
        .query_drop("CREATE TABLE paid.charges (id INT PRIMARY KEY, amount INT, note VARCHAR(20))")
        .await?;
    for round in 0..6 {
        for id in 0..40 {
            let id = round * 40 + id;
            connection
                .query_drop(format!("INSERT INTO paid.charges VALUES ({id}, {id}, 'new')"))
                .await?;
        }
        connection
            .query_drop(format!(
                "UPDATE paid.charges SET amount = amount + 1 WHERE id % 7 = {round}"
            ))
            .await?;
        // Half of what was written may be under way.
        relay_process.kill().await?;
        drop(relay_process);
        relay_process = relay(&folder, &queue, &webhook, &settings)?;
    }
    let amounts: Vec<(i64, i64)> =
        connection.query("SELECT id, amount FROM paid.charges ORDER BY id").await?;
    let wanted: BTreeMap<i64, i64> = amounts.into_iter().collect();
    let copy = |rows: &[Value]| -> BTreeMap<i64, i64> {
        let charges = rows.iter().filter(|row| row["table"] == "charges");
        charges
            .filter_map(|row| {
                Some((row["after"]["id"].as_i64()?, row["after"]["amount"].as_i64()?))
            })
            .collect()
    };
    until("the webhook has what the table has", || {
        (copy(&webhook.received().rows) == wanted).then_some(())
    })
    .await
    .map_err(|error| format!("{error}\n{}", relay_process.log_tail()))?;
    relay_process.must_run()?;
    let received = webhook.received();
    let ids: Vec<_> = received.rows.iter().map(|row| row["id"].to_string()).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "a row came under two ids of requests");
    let changed: Vec<_> = received.bodies.iter().filter(|(_, bodies)| bodies.len() > 1).collect();
    assert!(changed.is_empty(), "other rows under the same id: {changed:?}");
    Ok(())
}

async fn what_a_webhook_refuses_is_parked_with_what_follows_it_and_can_be_retried(
    bed: Bed,
) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let rig = Rig::start(&bed, mysqld, Topic::Fifo, &[]).await?;
    let name = format!("{}-relay.fifo", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    webhook.received().refuse_text = Some("poison");
    let endpoint = rig.endpoint_url.clone();
    let settings = [("sns.endpoint_url", endpoint.as_str()), ("relay.max_attempts", "1")];
    let mut relay_process = relay(&folder, &queue, &webhook, &settings)?;
    let mut connection = rig.mysqld.connect().await?;
    for statement in [
        "CREATE DATABASE paid",
        "CREATE TABLE paid.charges (id INT PRIMARY KEY, note VARCHAR(20))",
        "INSERT INTO paid.charges VALUES (1, 'good'), (2, 'poison'), (3, 'good')",
        "UPDATE paid.charges SET note = 'later' WHERE id IN (2, 3)",
    ] {
        connection.query_drop(statement).await?;
    }
    let notes = |webhook: &Webhook| -> Vec<(i64, String)> {
        let received = webhook.received();
        let after = received.rows.iter().map(|row| &row["after"]);
        after
            .filter_map(|row| Some((row["id"].as_i64()?, row["note"].as_str()?.to_owned())))
            .collect()
    };
    let of = |webhook: &Webhook, id: i64| -> Vec<String> {
        notes(webhook).into_iter().filter(|(of, _)| *of == id).map(|(_, note)| note).collect()
    };
    until("row 3 goes on", || (of(&webhook, 3) == ["good", "later"]).then_some(()))
        .await
        .map_err(|error| format!("{error}\n{}", relay_process.log_tail()))?;
    // Row 2 and what follows it wait for an operator.
    until_parked(&relay_process, 2.0).await?;
    assert!(of(&webhook, 2).is_empty());
    // Told to try again, it sends them in their order.
    webhook.received().refuse_text = None;
    parked(&relay_process, &["retry", "--all"]).await?;
    until("row 2 comes", || (of(&webhook, 2) == ["poison", "later"]).then_some(()))
        .await
        .map_err(|error| format!("{error}\n{}", relay_process.log_tail()))?;
    assert_eq!(relay_process.stop().await?, Some(0));
    Ok(())
}

/// Waits until so many requests are parked.
pub(crate) async fn until_parked(process: &Streamer, count: f64) -> Result<(), Failed> {
    let give_up = Instant::now() + SOON;
    loop {
        // While it starts nobody answers.
        let parked = process.metric("binpulse_relay_parked", &[]).await.ok().flatten();
        if parked == Some(count) {
            return Ok(());
        }
        if Instant::now() > give_up {
            let log = process.log_tail();
            return Err(format!("{parked:?} parked requests, expected {count}\n{log}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// `binpulse relay parked` with these arguments.
pub(crate) async fn parked(process: &Streamer, arguments: &[&str]) -> Result<String, Failed> {
    let mut tool = command("relay", Vec::new());
    let listen = ["--relay-listen", process.address()];
    let all = std::iter::once("parked").chain(arguments.iter().copied()).chain(listen);
    tool.arguments = all.map(str::to_owned).collect();
    let (code, output) = tool.run_to_end(SOON).await?;
    if code == Some(0) { Ok(output) } else { Err(format!("{code:?}: {output}").into()) }
}

async fn a_parked_request_holds_up_each_of_its_keys_until_it_is_delivered(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let rig = Rig::start(&bed, mysqld, Topic::Fifo, &[]).await?;
    let name = format!("{}-relay.fifo", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    webhook.received().refuse_text = Some("poison");
    let endpoint = rig.endpoint_url.clone();
    let settings = [
        ("sns.endpoint_url", endpoint.as_str()),
        ("relay.max_attempts", "1"),
        ("relay.to.rows", "10"),
    ];
    let relay_process = relay(&folder, &queue, &webhook, &settings)?;
    let mut connection = rig.mysqld.connect().await?;
    for statement in [
        "CREATE DATABASE paid",
        "CREATE TABLE paid.charges (id INT PRIMARY KEY, note VARCHAR(20))",
        // One request of three keys.
        "INSERT INTO paid.charges VALUES (1, 'one'), (2, 'poison'), (3, 'three')",
    ] {
        connection.query_drop(statement).await?;
    }
    until_parked(&relay_process, 1.0).await?;
    // A key may be let go when the relay looks at what is parked: it has looked once it shows it.
    while !parked(&relay_process, &["list"]).await?.contains("refused") {
        sleep(Duration::from_millis(50)).await;
    }
    for (id, parked) in [(1, 2.0), (3, 3.0)] {
        connection
            .query_drop(format!("UPDATE paid.charges SET note = 'later' WHERE id = {id}"))
            .await?;
        until_parked(&relay_process, parked).await?;
    }
    // Another key is free.
    connection.query_drop("INSERT INTO paid.charges VALUES (4, 'four')").await?;
    let ids = |webhook: &Webhook| -> Vec<i64> {
        let received = webhook.received();
        received.rows.iter().filter_map(|row| row["after"]["id"].as_i64()).collect()
    };
    until("row 4 comes", || (ids(&webhook) == [4]).then_some(())).await?;
    // The first is refused once more, and those behind it do not overtake it.
    parked(&relay_process, &["retry", "--all"]).await?;
    let refused_again = |list: &str| list.contains("\"attempts\":2");
    while !refused_again(&parked(&relay_process, &["list"]).await?) {
        sleep(Duration::from_millis(50)).await;
    }
    connection.query_drop("INSERT INTO paid.charges VALUES (5, 'five')").await?;
    until("row 5 comes", || (ids(&webhook) == [4, 5]).then_some(())).await?;
    webhook.received().refuse_text = None;
    parked(&relay_process, &["retry", "--all"]).await?;
    until("all come, in their order", || {
        (ids(&webhook) == [4, 5, 1, 2, 3, 1, 3] || ids(&webhook) == [4, 5, 1, 2, 3, 3, 1])
            .then_some(())
    })
    .await
    .map_err(|error| format!("{error}\n{:?}\n{}", ids(&webhook), relay_process.log_tail()))?;
    until_parked(&relay_process, 0.0).await?;
    connection.query_drop("UPDATE paid.charges SET note = 'free' WHERE id = 2").await?;
    until("row 2 is free", || (ids(&webhook).last() == Some(&2)).then_some(()))
        .await
        .map_err(|error| format!("{error}\n{}", relay_process.log_tail()))?;
    Ok(())
}

/// A relay of this queue into this server.
pub(crate) fn copy_relay(
    queue: &str,
    target: &Mysqld,
    endpoint: &str,
    state: &Folder,
) -> Result<Streamer, binpulse_demo::Error> {
    let settings = vec![
        ("relay.name", String::from("copy")),
        ("relay.queue", queue.to_owned()),
        ("relay.state", format!("file:{}", state.path().join("state").display())),
        ("relay.to.kind", String::from("mysql")),
        ("relay.to.url", format!("mysql://{}/relay", target.address())),
        ("relay.to.user", String::from("root")),
        ("relay.to.concurrency", String::from("3")),
        ("relay.visibility_timeout", String::from("10s")),
        ("sns.region", Standin::REGION.to_owned()),
        ("sns.endpoint_url", endpoint.to_owned()),
    ];
    Streamer::start(command("relay", settings))
}

async fn two_relays_share_a_queue_and_one_takes_over_from_the_other(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    // What the relays write into their state must not come to them as rows again.
    let settings =
        [("message.lanes", String::from("4")), ("filter.tables", String::from("paid.*"))];
    let rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let name = format!("{}-relay", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    let endpoint = rig.endpoint_url.clone();
    rig.mysqld.execute(&["CREATE DATABASE relay", "CREATE DATABASE paid"]).await?;
    let state = format!("mysql://{}/relay", rig.mysqld.address());
    let settings = [
        ("sns.endpoint_url", endpoint.as_str()),
        ("relay.state", state.as_str()),
        ("relay.state_user", "root"),
    ];
    let mut one = relay(&folder, &queue, &webhook, &settings)?;
    let mut other = relay(&folder, &queue, &webhook, &settings)?;
    rig.mysqld.execute(&["CREATE TABLE paid.charges (id INT PRIMARY KEY, amount INT)"]).await?;
    for id in 0..300 {
        rig.mysqld.execute(&[format!("INSERT INTO paid.charges VALUES ({id}, {id})")]).await?;
        match id {
            100 => one.kill().await?,
            // It was paused for longer than its leases hold, and wakes up.
            150 => other.freeze()?,
            160 => one = relay(&folder, &queue, &webhook, &settings)?,
            290 => other.thaw()?,
            _ => {}
        }
    }
    until("the webhook has all rows", || {
        let received = webhook.received();
        let ids: BTreeSet<_> =
            received.rows.iter().filter_map(|row| row["after"]["id"].as_i64()).collect();
        (ids.len() == 300).then_some(())
    })
    .await
    .map_err(|error| format!("{error}\n{}\n{}", one.log_tail(), other.log_tail()))?;
    one.must_run()?;
    other.must_run()?;
    let received = webhook.received();
    let rows: Vec<_> = received.rows.iter().map(|row| row["id"].to_string()).collect();
    let distinct: BTreeSet<_> = rows.iter().collect();
    assert_eq!(distinct.len(), rows.len(), "a row came under two ids of requests");
    assert!(received.bodies.values().all(|bodies| bodies.len() == 1), "other rows under an id");
    Ok(())
}

async fn two_relays_with_files_of_their_own_on_one_queue_are_told(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings =
        [("canary.enabled", String::from("true")), ("canary.interval", String::from("1s"))];
    let rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let name = format!("{}-relay", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let webhook = Webhook::start().await?;
    let endpoint = rig.endpoint_url.clone();
    let settings = [("sns.endpoint_url", endpoint.as_str())];
    let folders = [Folder::create()?, Folder::create()?];
    let mut one = relay(&folders[0], &queue, &webhook, &settings)?;
    let mut other = relay(&folders[1], &queue, &webhook, &settings)?;
    // One of them sees it first; the other one is then alone.
    let exit = tokio::select! {
        exit = one.wait(4 * SOON) => (exit?, one.log_tail()),
        exit = other.wait(4 * SOON) => (exit?, other.log_tail()),
    };
    assert_eq!(exit.0, Some(75), "{}", exit.1);
    assert!(exit.1.contains("queue_shared"), "{}", exit.1);
    Ok(())
}

const TABLES: [&str; 3] = ["charges", "notes", "links"];

/// All rows of the tables, as text.
async fn contents(server: &Mysqld) -> Result<Vec<String>, Failed> {
    let mut connection = server.connect().await?;
    let mut all = Vec::new();
    for table in TABLES {
        let query = format!("SELECT * FROM paid.{table} ORDER BY 1, 2");
        let rows: Result<Vec<mysql_async::Row>, _> = connection.query(query).await;
        all.push(format!("{table}: {:?}", rows.map_err(|error| error.to_string())));
    }
    Ok(all)
}

async fn until_equal(source: &Mysqld, copy: &Mysqld, relay: &mut Streamer) -> Outcome {
    let give_up = Instant::now() + SOON;
    loop {
        relay.must_run()?;
        let (wanted, found) = (contents(source).await?, contents(copy).await?);
        if wanted == found {
            return Ok(());
        }
        if Instant::now() > give_up {
            let log = relay.log_tail();
            return Err(format!("wanted {wanted:#?}\nfound {found:#?}\n{log}").into());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) const SCHEMA: [&str; 4] = [
    "CREATE DATABASE paid",
    "CREATE TABLE paid.charges (id INT PRIMARY KEY, amount DECIMAL(10, 2), note VARCHAR(20), at TIMESTAMP(3) NULL)",
    "CREATE TABLE paid.notes (a VARCHAR(20) COLLATE utf8mb4_bin, b INT UNSIGNED, text TEXT, PRIMARY KEY (a, b))",
    "CREATE TABLE paid.links (x BIGINT UNSIGNED PRIMARY KEY, y ENUM('one', 'two'), z VARBINARY(8), j JSON)",
];

/// Changes of every kind, the same for the same round.
pub(crate) fn changes(round: u64) -> Vec<String> {
    let mut all = Vec::new();
    for at in 0..25 {
        let n = round * 25 + at;
        let (key, other) = (n * 7 % 60, n * 11 % 60);
        all.push(format!(
            "REPLACE INTO paid.charges VALUES ({key}, {n}.25, 'n{n}', FROM_UNIXTIME(1750000000.5 + {n}))"
        ));
        all.push(format!("DELETE FROM paid.charges WHERE id = {other}"));
        all.push(format!(
            "INSERT INTO paid.notes VALUES ('k{key}', {at}, REPEAT('x', {at})) ON DUPLICATE KEY UPDATE text = 'again {n}'"
        ));
        all.push(format!(
            "UPDATE IGNORE paid.notes SET a = 'k{other}' WHERE a = 'k{key}' AND b % 3 = 0"
        ));
        all.push(format!(
            "REPLACE INTO paid.links VALUES (18446744073709551615 - {key}, 1 + {n} % 2, X'00ff{at:02}', '{{\"n\": {n}}}')"
        ));
    }
    all
}

async fn a_copy_equals_its_source_whatever_is_killed(bed: Bed) -> Outcome {
    let (source, copy) =
        tokio::try_join!(bed.mysqld(Options::default()), bed.mysqld(Options::default()))?;
    let rig =
        Rig::start(&bed, source, Topic::Standard, &[("message.lanes", String::from("2"))]).await?;
    let name = format!("{}-copy", bed.topic_name());
    let queue = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    let state = Folder::create()?;
    copy.execute(&["CREATE DATABASE relay"]).await?;
    let mut process = copy_relay(&queue, &copy, &rig.endpoint_url, &state)?;
    rig.mysqld.execute(&SCHEMA).await?;
    for round in 0..5 {
        rig.mysqld.execute(&changes(round)).await?;
        process.kill().await?;
        drop(process);
        process = copy_relay(&queue, &copy, &rig.endpoint_url, &state)?;
    }
    until_equal(&rig.mysqld, &copy, &mut process).await?;
    let parked = process.metric("binpulse_relay_parked", &[]).await?;
    assert_eq!(parked, Some(0.0));
    assert_eq!(process.stop().await?, Some(0));
    Ok(())
}

async fn a_copy_begins_with_a_snapshot(bed: Bed) -> Outcome {
    let (source, copy) =
        tokio::try_join!(bed.mysqld(Options::default()), bed.mysqld(Options::default()))?;
    // Rows that were there before, in more than one chunk.
    prepare(&source, binary()).await?;
    source.execute(&SCHEMA).await?;
    source.execute(&["GRANT SELECT ON paid.* TO 'binpulse'@'%'"]).await?;
    for round in 0..4 {
        source.execute(&changes(round)).await?;
    }
    let settings = [
        ("source.start", String::from("now")),
        ("snapshot.on_start", String::from("all")),
        ("snapshot.chunk_bytes", String::from("64KiB")),
        ("filter.tables", String::from("paid.*")),
    ];
    // The queue is there before the first part is.
    let aws = Aws::at(&bed.standin().await?.url());
    let topic = aws.create_topic(&bed.topic_name()).await?;
    let queue = aws.subscribe_queue(&topic, &format!("{}-copy", bed.topic_name()), &[]).await?;
    let rig = Rig::start_prepared(&bed, source, Topic::Standard, &settings).await?;
    let state = Folder::create()?;
    copy.execute(&["CREATE DATABASE relay"]).await?;
    let mut process = copy_relay(&queue, &copy, &rig.endpoint_url, &state)?;
    for round in 4..6 {
        rig.mysqld.execute(&changes(round)).await?;
    }
    until_equal(&rig.mysqld, &copy, &mut process).await?;
    assert_eq!(process.stop().await?, Some(0));
    Ok(())
}
