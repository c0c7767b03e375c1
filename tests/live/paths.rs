//! Canaries through a table of the operator's, as the documentation shows them: what becomes of them,
//! of the rows around them, and of a path that can't be walked.

use std::path::Path;

use binpulse_demo::{
    Aws, Command, Consumer, Error, Mysqld, Op, Options, Standin, prepare, settings_for,
};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::bed::{Bed, Rig, SOON, Topic, binary, command};
use crate::rebuild::rebuild;
use crate::receiving::sns;
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    marked_rows_are_canaries_of_their_tables_topic_and_never_changes on [Mysql97];
    a_consumer_that_loses_only_a_path_is_named_and_a_table_that_is_gone_blames_nobody on [Mysql97];
    a_path_that_cannot_be_walked_says_why_and_harms_nothing on [Mysql97];
}

/// The table of the documentation's example.
const ORDERS: [&str; 2] = [
    "CREATE DATABASE billing",
    "CREATE TABLE billing.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, reference VARCHAR(64) \
     NOT NULL UNIQUE, customer VARCHAR(40) NOT NULL, total INT NOT NULL)",
];

/// A row that a process before left behind, and a trigger of the operator's.
const LEFT_BEHIND: [&str; 5] = [
    "CREATE DATABASE audit",
    "CREATE TABLE audit.log (id BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(64))",
    "INSERT INTO billing.orders VALUES (1, 'binpulse-canary.test.41', 'canary', 0)",
    "INSERT INTO binpulse.canary_counter VALUES ('test/orders', 41)",
    "CREATE TRIGGER billing.logged AFTER INSERT ON billing.orders FOR EACH ROW \
             INSERT INTO audit.log (what) SELECT 'placed' WHERE NEW.reference LIKE 'A-%'",
];

/// Business among canaries: mixed in transactions and in statements, and updates that give and take
/// marks. Of the table's own rows 4 are inserted, 3 updated and 2 deleted, seen without the marked ones.
const BUSINESS: [&str; 8] = [
    "BEGIN",
    "INSERT INTO billing.orders (reference, customer, total) VALUES ('A-1', 'c', 1)",
    "INSERT INTO billing.orders (reference, customer, total) VALUES \
             ('binpulse-canary.test.0', 'canary', 0), ('A-2', 'c', 2), \
             ('binpulse-canary.other.7', 'canary', 0), ('A-3', 'c', 3)",
    "COMMIT",
    // Of the rows that it changes four are marked or become so.
    "UPDATE billing.orders SET total = total + 100 WHERE reference LIKE 'A-%' \
             OR reference LIKE 'binpulse-canary.%.0' OR reference LIKE 'binpulse-canary.other.%'",
    "UPDATE billing.orders SET reference = 'binpulse-canary.other.8' WHERE reference = 'A-2'",
    "UPDATE billing.orders SET reference = 'A-4' WHERE reference = 'binpulse-canary.test.0'",
    "DELETE FROM billing.orders WHERE reference IN ('A-3', 'binpulse-canary.other.8')",
];

/// The settings of the documentation's example, but for its queue.
fn documented() -> Vec<(&'static str, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/setup/canaries.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let example =
        text.split("```toml\n[canary]\n").nth(1).and_then(|rest| rest.split("```").next());
    let example: toml::Table = example.expect("an example").parse().expect("TOML");
    let keys = ["canary.paths", "canary.insert", "canary.update", "canary.delete"];
    let value = |key: &'static str| {
        let list = example[key.trim_start_matches("canary.")].as_array().expect("a list");
        let [item] = &list[..] else { panic!("one item of {key}") };
        (key, item.as_str().expect("a text").to_owned())
    };
    keys.map(value).to_vec()
}

/// With short periods, and these settings in the place of usual ones.
fn quick(more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let usual = [
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        ("canary.deadline", "4s".to_owned()),
        ("heartbeat.seen_deadline", "1s".to_owned()),
        ("sns.request_timeout", "2s".to_owned()),
    ];
    let mut all: Vec<_> = documented();
    all.extend(usual);
    all.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
    all.extend_from_slice(more);
    all
}

/// A server with our schema and the table, and what `init --print` says of it granted.
async fn server(bed: &Bed) -> Result<Mysqld, Error> {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    mysqld.execute(&ORDERS).await?;
    let (code, printed) = ask(&mysqld, "init", &["--print"], &documented()).await?;
    let grants =
        printed.lines().filter(|line| line.starts_with("GRANT") && line.contains("orders"));
    let grants: Vec<_> = grants.map(|line| line.trim_end_matches(';').to_owned()).collect();
    assert_eq!((code, grants.len()), (Some(0), 1), "{printed}");
    mysqld.execute(&grants).await?;
    Ok(mysqld)
}

/// Runs a command to its end; exit code and output.
async fn ask(
    mysqld: &Mysqld,
    name: &str,
    arguments: &[&str],
    more: &[(&'static str, String)],
) -> Result<(Option<i32>, String), Error> {
    let mut settings = settings_for(mysqld);
    settings.extend_from_slice(more);
    settings.push(("sink.kind", "null".to_owned()));
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Command { arguments, ..command(name, settings) }.run_to_end(SOON).await
}

/// What `check` says of the path.
async fn checked(mysqld: &Mysqld, more: &[(&'static str, String)]) -> Result<Vec<Value>, Error> {
    let (_, printed) = ask(mysqld, "check", &[], &quick(more)).await?;
    let documents = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(documents
        .filter(|it| it["what"].as_str().is_some_and(|it| it.contains("canary path")))
        .collect())
}

/// What a queue brought: rows by the consumer's tally, canaries as lines.
async fn receive(
    consumer: &mut Consumer,
    canaries: &mut Vec<Value>,
    what: &str,
    holds: impl Fn(&Consumer, &[Value]) -> bool,
) -> Result<(), Error> {
    let give_up = Instant::now() + SOON;
    while !holds(consumer, canaries) {
        let mut take = |kind: &str, line: String| {
            if kind == "canary" {
                canaries.push(serde_json::from_str(&line).expect("a line of JSON"));
            }
        };
        let received = timeout_at(give_up, consumer.receive(&mut take)).await;
        let Ok(received) = received else {
            let what = format!("{what}; received {:?} and {canaries:?}", consumer.received());
            return Err(Error::Deadline { what, seconds: SOON.as_secs() });
        };
        received?;
    }
    Ok(())
}

/// Lets a queue get what another topic sends too.
async fn subscribe_too(standin: &Standin, topic: &str, queue: &str, policy: &str) -> Outcome {
    let queue_arn = Standin::topic_arn(queue).replace(":sns:", ":sqs:");
    let request = sns(standin).subscribe().topic_arn(topic).protocol("sqs").endpoint(queue_arn);
    let request = request.attributes("RawMessageDelivery", "true");
    request.attributes("FilterPolicy", policy).send().await?;
    Ok(())
}

/// What `replay` would publish since then: lanes, with first and last number.
async fn replayed(rig: &mut Rig, since: &str) -> Result<Value, Error> {
    let service = rig.streamer.command_mut();
    let settings = service.settings.iter().filter(|(key, _)| *key != "http.listen").cloned();
    let command = Command {
        binary: service.binary.clone(),
        command: "replay".to_owned(),
        settings: settings.collect(),
        arguments: ["--since", since, "--dry-run"].map(str::to_owned).to_vec(),
        environment: service.environment.clone(),
    };
    let (code, printed) = command.run_to_end(SOON).await?;
    let report = printed.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let report = report.ok_or_else(|| Error::Message(format!("{code:?}: {printed}")))?;
    Ok(report["lanes"].clone())
}

async fn marked_rows_are_canaries_of_their_tables_topic_and_never_changes(bed: Bed) -> Outcome {
    // Given a topic for each table, a consumer that echoes from that of the canaries and that of the
    // marked table, by the policy of a business's subscription
    let mysqld = server(&bed).await?;
    let standin = bed.standin().await?;
    let (aws, name) = (Aws::at(&standin.url()), bed.topic_name());
    let template = Standin::topic_arn(&format!("{name}-{{database}}-{{table}}"));
    let canary_topic = aws.create_topic(&name).await?;
    let topic = aws.create_topic(&format!("{name}-billing-orders")).await?;
    let audit_topic = aws.create_topic(&format!("{name}-audit-log")).await?;
    let echo = aws.subscribe_queue(&canary_topic, &format!("{name}-echo"), &["canary"]).await?;
    let policy = r#"{"kind": ["change", "canary"], "table": ["orders"]}"#;
    subscribe_too(standin, &topic, &format!("{name}-echo"), policy).await?;
    let queue = aws.subscribe_queue(&topic, &format!("{name}-orders"), &[]).await?;
    let for_copy = aws.subscribe_queue(&topic, &format!("{name}-copy"), &[]).await?;
    let audit_queue = aws.subscribe_queue(&audit_topic, &format!("{name}-audit"), &[]).await?;

    // And a row that a process before left behind, and a trigger of the operator's
    mysqld.execute(&LEFT_BEHIND).await?;
    let settings = quick(&[
        ("sns.topic", template),
        ("canary.topic", canary_topic.clone()),
        ("canary.echo", format!("billing={echo}")),
        ("canary.deadline", "20s".to_owned()),
        ("filter.drop_columns", "billing.orders.customer".to_owned()),
        ("message.schema_changes", "false".to_owned()),
    ]);
    let since = chrono::Utc::now().to_rfc3339();
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &settings).await?;

    // When business is done among canaries: mixed in transactions, in statements, and by updates that
    // give and take marks
    rig.mysqld.execute(&BUSINESS).await?;
    let walked = |status: &Value| {
        let path = &status["paths"][0];
        path["name"] == "orders" && path["canary"]["seen"].as_u64() >= Some(45)
    };
    rig.streamer.until("canaries through the path", SOON, walked).await?;
    let echoed = |status: &Value| {
        let account = status["consumers"].as_array().and_then(|all| all.get(1));
        account.is_some_and(|it| it["name"] == "billing/orders" && it["last"].as_u64() >= Some(43))
    };
    let status = rig.streamer.until("echoes of the path", SOON, echoed).await?;
    assert_eq!(status["paths"][0]["canary"]["last_result"], "ok", "{status}");

    // Then the table's topic has the canaries, each step of each number once, from the row left behind
    // on, and the business's rows as if there were no others
    let mut consumer = Consumer::new(aws.clone(), queue);
    let mut canaries = Vec::new();
    let ops = [(Op::Insert, 4), (Op::Update, 3), (Op::Delete, 2)];
    receive(&mut consumer, &mut canaries, "the table's topic", |consumer, canaries| {
        let done = |op: &(Op, u64)| consumer.received().of("billing.orders", op.0) >= op.1;
        let last = |it: &Value| it["number"] == 45 && it["phase"] == "insert";
        ops.iter().all(done) && canaries.iter().any(last)
    })
    .await?;
    let received = consumer.received();
    assert_eq!(received.total(), 9, "{received:?}");
    for (op, count) in ops {
        assert_eq!(received.of("billing.orders", op), count, "{op:?}: {received:?}");
    }
    assert!(canaries.iter().all(|it| it["path"] == "orders"), "{canaries:?}");
    let steps = |number: u64| {
        let of_number = canaries.iter().filter(|it| it["number"] == number);
        let mut phases: Vec<_> = of_number.filter_map(|it| it["phase"].as_str()).collect();
        phases.sort_unstable();
        phases
    };
    assert_eq!(steps(41), ["delete", "insert"], "what was left behind is removed");
    for number in 42..=44 {
        assert_eq!(steps(number), ["delete", "insert", "update"], "{number}");
    }
    assert_eq!(steps(0), ["insert", "update"], "a mark without a number of ours");

    // And the trigger's rows are the business's, on their own topic
    let mut audit = Consumer::new(aws, audit_queue);
    receive(&mut audit, &mut Vec::new(), "the audit's rows", |consumer, _| {
        consumer.received().of("audit.log", Op::Insert) == 3
    })
    .await?;

    // And a copy made from the changes is the table without the marked rows, and without what is masked
    rig.streamer.stop().await?;
    let lanes = replayed(&mut rig, &since).await?;
    let expected = serde_json::json!({"audit.log#0": [1, 3], "billing.orders#0": [1, 9]});
    assert_eq!(lanes, expected, "what is published once more has no canary, and its numbers");
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let report = rebuild(&bed, &rig, &for_copy, &copy, 9).await?;
    assert_eq!((&report["rows"], &report["complete"]), (&9.into(), &true.into()), "{report}");
    rig.mysqld
        .execute(&[
            "DELETE FROM billing.orders WHERE reference LIKE 'binpulse-canary.%'",
            "ALTER TABLE billing.orders DROP COLUMN customer",
        ])
        .await?;
    let differences = oracle::differences(&rig.mysqld, &copy, "billing").await?;
    assert!(differences.is_empty(), "{}\n{report}", differences.join("\n"));
    Ok(())
}

async fn a_consumer_that_loses_only_a_path_is_named_and_a_table_that_is_gone_blames_nobody(
    bed: Bed,
) -> Outcome {
    // Given two consumers, of which one's policy lets the built-in canaries pass and not the table
    let mysqld = server(&bed).await?;
    let standin = bed.standin().await?;
    let (aws, name) = (Aws::at(&standin.url()), bed.topic_name());
    let topic = aws.create_topic(&name).await?;
    let billing = aws.subscribe_queue(&topic, &format!("{name}-b"), &["canary"]).await?;
    let other = aws.create_topic(&format!("{name}-none")).await?;
    let search = aws.subscribe_queue(&other, &format!("{name}-s"), &["none"]).await?;
    let policy = r#"{"kind": ["canary"], "table": [{"anything-but": ["orders"]}]}"#;
    subscribe_too(standin, &topic, &format!("{name}-s"), policy).await?;
    let settings = quick(&[("canary.echo", format!("billing={billing},search={search}"))]);

    // When canaries have gone by
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &settings).await?;
    let lost = |status: &Value| {
        let accounts = status["consumers"].as_array();
        let counted = |it: &Value| it["name"] == "search/orders" && it["lost"].as_u64() >= Some(2);
        status["verdict"]["state"] == "canary_lost"
            && accounts.is_some_and(|accounts| accounts.iter().any(counted))
    };
    let status = rig.streamer.until("a lost path", SOON, lost).await?;

    // Then the verdict names the path of that consumer, and nothing else
    assert_eq!(status["verdict"]["reason"], "search/orders", "{}", status["verdict"]);
    let count = async |name: &str, account: &str| {
        let account = format!("consumer=\"{account}\"");
        rig.streamer.metric(&format!("binpulse_canary_{name}_total"), &[&account]).await
    };
    for account in ["billing", "search", "billing/orders"] {
        assert!(count("resolved", account).await? >= Some(1.0), "{account}");
        for name in ["lost", "late", "duplicate"] {
            assert_eq!(count(name, account).await?, Some(0.0), "{name} of {account}");
        }
    }

    // And when the table is gone, that is told of the path, while the verdict has nothing against
    // anybody any more
    rig.mysqld.execute(&["DROP TABLE billing.orders"]).await?;
    let quiet = |status: &Value| {
        let state = &status["verdict"]["state"];
        let words = status["paths"][0]["canary"]["last_result"].as_str().unwrap_or_default();
        (state == "quiet" || state == "live") && words.starts_with("schema_missing")
    };
    rig.streamer.until("a healthy verdict beside a failing path", SOON, quiet).await?;
    let failing = rig.streamer.metric("binpulse_canary_path_failing", &["path=\"orders\""]).await?;
    assert_eq!(failing, Some(1.0));
    Ok(())
}

async fn a_path_that_cannot_be_walked_says_why_and_harms_nothing(bed: Bed) -> Outcome {
    // Given a path, and all that can be wrong with it: `check` names each, and what fixes it
    let mysqld = server(&bed).await?;
    let good = checked(&mysqld, &[]).await?;
    assert!(good.len() == 1 && good[0]["ok"] == true, "{good:?}");
    let insert = |sql: &str| ("canary.insert", format!("orders={sql}"));
    let excluded = || ("filter.exclude", "billing.*".to_owned());
    let column = |name: &str| ("canary.paths", format!("orders=billing.orders.{name}"));
    for (setting, found, remedy) in [
        (excluded(), "keep billing.orders out", "include the table"),
        (insert("INSERT INTO billing.gone VALUES ('{mark}')"), "'gone'", "canary.insert"),
        (insert("INSERT INTO billing.orders (ref) VALUES ('{mark}')"), "ref", "canary.insert"),
        (column("missing"), "no column billing.orders.missing", "name the column"),
        (column("total"), "of type int", "VARCHAR"),
        (column("customer"), "room for 40 characters", "a wider column"),
    ] {
        // A name that makes a mark too long for the narrow column.
        let stream = ("stream.name", "a-stream-of-a-long-name".to_owned());
        let told = checked(&mysqld, &[setting, stream]).await?;
        let [told] = &told[..] else { panic!("{found}: {told:?}") };
        let has = |key: &str, words: &str| told[key].as_str().is_some_and(|it| it.contains(words));
        assert!(told["ok"] == false && told["refuses"] == false, "{told}");
        assert!(has("found", found) && has("remedy", remedy), "{told}");
    }
    mysqld.execute(&["REVOKE DELETE ON billing.orders FROM 'binpulse'@'%'"]).await?;
    let told = checked(&mysqld, &[]).await?;
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON `billing`.`orders` TO 'binpulse'@'%';";
    assert!(told.iter().any(|it| it["remedy"] == grant), "{told:?}");
    mysqld.execute(&[grant.trim_end_matches(';')]).await?;

    // When a path is filtered out, then nothing is written through it, and that is said
    let filtered = quick(&[excluded()]);
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &filtered).await?;
    let walked = |status: &Value| status["canary"]["seen"].as_u64() >= Some(2);
    let status = rig.streamer.until("the built-in canary", SOON, walked).await?;
    let words = &status["paths"][0]["canary"]["last_result"];
    assert_eq!(*words, "not written: the filters keep the table out");
    let failing = rig.streamer.metric("binpulse_canary_path_failing", &["path=\"orders\""]).await?;
    assert_eq!(failing, Some(1.0));

    // And SQL that meets other rows than its own is undone, and told
    rig.streamer.stop().await?;
    rig.mysqld
        .execute(&["INSERT INTO billing.orders VALUES (1, 'A-1', 'c', 1), (2, 'A-2', 'c', 2)"])
        .await?;
    let settings = &mut rig.streamer.command_mut().settings;
    settings.retain(|(key, _)| !matches!(*key, "filter.exclude" | "canary.delete"));
    let delete = "orders=DELETE FROM billing.orders WHERE reference = '{mark}' OR total > 0";
    settings.push(("canary.delete", delete.to_owned()));
    rig.streamer.start_again().await?;
    let undone = |status: &Value| {
        let words = status["paths"][0]["canary"]["last_result"].as_str().unwrap_or_default();
        words.starts_with("other: rolled back: it changed 3 rows, expected")
    };
    rig.streamer.until("a step that is rolled back", SOON, undone).await?;
    let mut session = rig.mysqld.connect().await?;
    let query = "SELECT reference FROM billing.orders WHERE reference LIKE 'A-%' ORDER BY id";
    let rows: Vec<String> = session.query(query).await?;
    session.disconnect().await?;
    assert_eq!(rows, ["A-1", "A-2"]);
    Ok(())
}
