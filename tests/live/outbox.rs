//! Rows of outbox tables: each is a message, once, whatever is killed and refused.

use std::collections::BTreeMap;

use binpulse_demo::{Mysqld, Options, Standin, Streamer, prepare, settings_for};

use crate::aws::Endpoint;
use crate::aws::entry::Entry;
use crate::bed::{Bed, SOON, binary, command};
use crate::suite::{Outcome, tests};

tests! {
    a_row_of_an_outbox_is_a_message_in_order_and_once_whatever_is_killed on [Mysql97, Mariadb1011];
    what_cannot_be_a_message_is_put_aside_or_halts on [Mysql97];
}

const OUTBOX: [&str; 3] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.outbox (id BIGINT AUTO_INCREMENT PRIMARY KEY, aggregatetype VARCHAR(64), \
     aggregateid VARCHAR(64), type VARCHAR(64), payload JSON, headers JSON, tenant INT, note TEXT)",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY, total INT)",
];

async fn endpoint() -> Endpoint {
    let endpoint = Endpoint::start().await;
    Standin::REGION.clone_into(&mut endpoint.shared.store().region);
    endpoint
}

fn settings(
    mysqld: &Mysqld,
    endpoint: &Endpoint,
    topic: &str,
    own: &[(&'static str, &str)],
) -> Vec<(&'static str, String)> {
    let usual = [
        ("stream.name", "test"),
        ("source.start", "earliest"),
        ("source.heartbeat_period", "200ms"),
        ("canary.enabled", "false"),
        ("checkpoint.interval", "50ms"),
        ("shutdown.on_halt", "exit"),
        ("sns.topic", topic),
        ("outbox.tables", "shop.outbox"),
    ];
    let mut all = settings_for(mysqld);
    for (key, value) in usual.iter().chain(own) {
        all.retain(|(other, _)| other != key);
        all.push((key, (*value).to_owned()));
    }
    all.push(("sns.endpoint_url", endpoint.url()));
    all
}

/// Messages that came from the outbox, duplicates apart.
fn events(endpoint: &Endpoint) -> Vec<(String, Entry)> {
    let store = endpoint.shared.store();
    let all = store.accepted.iter().filter(|accepted| !accepted.is_duplicate);
    let is_event = |entry: &Entry| attribute(entry, "kind") == Some("outbox");
    all.filter(|accepted| is_event(&accepted.entry))
        .map(|accepted| (accepted.topic.to_string(), accepted.entry.clone()))
        .collect()
}

fn attribute<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    let mut attributes = entry.attributes.iter();
    attributes.find(|attribute| attribute.name == name).map(crate::aws::entry::Attribute::value)
}

async fn until(
    endpoint: &Endpoint,
    streamer: &mut Streamer,
    count: usize,
) -> Result<Vec<(String, Entry)>, Box<dyn std::error::Error + Send + Sync>> {
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let changed = endpoint.shared.changed.notified();
        let found = events(endpoint);
        if found.len() >= count {
            return Ok(found);
        }
        streamer.must_run()?;
        tokio::time::timeout_at(give_up, changed)
            .await
            .map_err(|_| format!("{} of {count}; {}", found.len(), streamer.log_tail()))?;
    }
}

async fn a_row_of_an_outbox_is_a_message_in_order_and_once_whatever_is_killed(bed: Bed) -> Outcome {
    const AGGREGATES: u32 = 5;
    const ROUNDS: u32 = 40;
    // Given a stream with an outbox whose messages go to a topic for each type of aggregate
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = endpoint().await;
    let rows = endpoint.topic("rows.fifo", &[]);
    let orders = endpoint.topic("events-order.fifo", &[]);
    let returns = endpoint.topic("events-return.fifo", &[]);
    let template = orders.replace("order", "{aggregate_type}");
    let own = [
        ("outbox.topic", template.as_str()),
        ("outbox.attributes", "tenant"),
        ("filter.drop_columns", "shop.outbox.note"),
        ("message.lanes", "4"),
        ("message.format", "json"),
    ];
    let all = settings(&mysqld, &endpoint, &rows, &own);
    let mut streamer = Streamer::start(command("run", all))?;
    streamer.until_ready(SOON).await?;
    mysqld.execute(&OUTBOX).await?;

    // When an application writes, deletes what it wrote in the same transaction, and the streamer is killed
    for round in 0..ROUNDS {
        let kind = if round % 2 == 0 { "order" } else { "return" };
        let mut statements = vec!["BEGIN".to_owned()];
        for aggregate in 0..AGGREGATES {
            statements.push(format!(
                "INSERT INTO shop.outbox (aggregatetype, aggregateid, type, payload, headers, tenant, \
                 note) VALUES ('{kind}', 'a-{aggregate}', 'Placed', '{{\"round\": {round}}}', \
                 '{{\"trace\": \"t{round}\", \"retries\": 1}}', {aggregate}, 'SECRET')"
            ));
        }
        statements.push(format!("INSERT INTO shop.orders VALUES ({round}, 1)"));
        statements.push("DELETE FROM shop.outbox".to_owned());
        statements.push("COMMIT".to_owned());
        mysqld.execute(&statements).await?;
        if round % 10 == 5 {
            let so_far = usize::try_from(round * AGGREGATES / 2)?;
            until(&endpoint, &mut streamer, so_far).await?;
            streamer.kill().await?;
            streamer.start_again().await?;
        }
    }
    mysqld.execute(&["INSERT INTO shop.orders VALUES (1000, 1)"]).await?;
    let count = usize::try_from(ROUNDS * AGGREGATES)?;
    let found = until(&endpoint, &mut streamer, count).await?;

    // Then each message came once, those of an aggregate in order, with what its row says
    assert_eq!(found.len(), count);
    let mut rounds: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for (topic, entry) in &found {
        let body: serde_json::Value = serde_json::from_str(&entry.body)?;
        let round = body["round"].as_u64().ok_or("no round")?;
        let group = entry.group.clone().unwrap_or_default();
        assert_eq!(attribute(entry, "aggregate_id"), Some(group.as_str()));
        assert_eq!(*topic, if round % 2 == 0 { &*orders } else { &*returns });
        let id = attribute(entry, "id").unwrap_or_default();
        let deduplication = format!("test:shop.outbox:{id}");
        assert_eq!(entry.deduplication.as_deref(), Some(deduplication.as_str()));
        assert_eq!(attribute(entry, "type"), Some("Placed"));
        assert_eq!(attribute(entry, "trace"), Some(format!("t{round}").as_str()));
        assert_eq!(
            attribute(entry, "tenant").map(|tenant| format!("a-{tenant}")),
            Some(group.clone())
        );
        let text = format!("{entry:?}");
        assert!(!text.contains("SECRET"), "{text}");
        rounds.entry((topic.clone(), group)).or_default().push(round);
    }
    assert_eq!(rounds.len(), 2 * usize::try_from(AGGREGATES)?);
    assert!(rounds.values().all(|rounds| rounds.is_sorted()), "{rounds:?}");
    // Rows of other tables are as they were, and nothing else was made of the outbox
    let ignored = streamer.metric("binpulse_outbox_ignored_rows_total", &["op=\"delete\""]).await?;
    assert!(ignored.is_some_and(|ignored| ignored > 0.0), "{ignored:?}");
    let others = endpoint.bodies();
    let others = others.iter().filter(|body| body.contains("\"lane\":\"shop."));
    assert!(others.clone().count() > 0);
    assert!(others.into_iter().all(|body| !body.contains("outbox#")));
    assert_eq!(endpoint.shared.store().violations, Vec::<String>::new());
    Ok(())
}

async fn what_cannot_be_a_message_is_put_aside_or_halts(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let endpoint = endpoint().await;
    let topic = endpoint.topic("changes", &[]);
    let folder = binpulse_demo::Folder::create()?;
    let quarantine = folder.path().join("quarantine");
    let quarantine = quarantine.display().to_string();
    let own = [("sink.rejected", "quarantine"), ("sink.quarantine", quarantine.as_str())];
    let all = settings(&mysqld, &endpoint, &topic, &own);
    let mut streamer = Streamer::start(command("run", all))?;
    streamer.until_ready(SOON).await?;
    mysqld.execute(&OUTBOX).await?;

    // No body, and one that is too large: put aside, and what comes behind goes on
    let insert = |payload: &str| {
        format!(
            "INSERT INTO shop.outbox (aggregatetype, aggregateid, payload) VALUES ('o', 1, {payload})"
        )
    };
    let large = "JSON_OBJECT('x', REPEAT('x', 300000))";
    mysqld.execute(&[insert("NULL"), insert(large), insert("'{}'")]).await?;
    let found = until(&endpoint, &mut streamer, 1).await?;
    assert_eq!(found[0].1.body, "{}");
    assert_eq!(found[0].1.group, None, "of a standard topic");

    // An update is left out with a warning
    mysqld.execute(&["UPDATE shop.outbox SET type = 'x'", &insert("'{}'")]).await?;
    until(&endpoint, &mut streamer, 2).await?;
    let ignored = streamer.metric("binpulse_outbox_ignored_rows_total", &["op=\"update\""]).await?;
    assert_eq!(ignored, Some(3.0));
    assert!(streamer.log_tail().contains("a row of an outbox table was updated"));
    assert_eq!(streamer.stop().await?, Some(0));
    let aside = std::fs::read_to_string(&quarantine)?;
    let errors = ["Empty message", "is over the limit"];
    assert_eq!(aside.lines().count(), errors.len(), "{}", streamer.log_tail());
    assert!(errors.iter().all(|error| aside.contains(error)));

    // Or halts, as a table without the columns does
    let with = |streamer: &mut Streamer, key, value: &str| {
        streamer.command_mut().settings.push((key, value.to_owned()));
    };
    with(&mut streamer, "outbox.on_update", "halt");
    streamer.start_again().await?;
    streamer.until_ready(SOON).await?;
    mysqld.execute(&["UPDATE shop.outbox SET type = 'y'"]).await?;
    assert_eq!(streamer.wait(SOON).await?, Some(75), "{}", streamer.log_tail());
    assert!(streamer.log_tail().contains("outbox.on_update is halt"), "{}", streamer.log_tail());
    with(&mut streamer, "outbox.columns.payload", "body");
    streamer.start_again().await?;
    assert_eq!(streamer.wait(SOON).await?, Some(75), "{}", streamer.log_tail());
    assert!(streamer.log_tail().contains("has no column `body`"), "{}", streamer.log_tail());
    Ok(())
}
