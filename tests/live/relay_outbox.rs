//! Relays that share their work, and the messages of an outbox on their way through relays.

use std::collections::{BTreeMap, BTreeSet};

use binpulse_demo::{Folder, Options, Streamer};
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::relay::{Failed, Webhook, parked, relay, until};
use crate::suite::{Outcome, tests};

tests! {
    relays_that_share_deliver_each_row_and_each_message_of_an_outbox_once on [Mysql97];
    a_message_of_an_outbox_keeps_its_attributes_and_a_copy_says_that_it_has_no_place_for_it on [Mysql97];
}

const OUTBOX: &str = "CREATE TABLE paid.outbox (id INT PRIMARY KEY, aggregatetype VARCHAR(20), \
                      aggregateid VARCHAR(20), type VARCHAR(20), payload JSON, headers JSON, tenant INT)";

async fn rig(bed: &Bed) -> Result<Rig, Failed> {
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings = [
        ("message.lanes", "4"),
        ("filter.tables", "paid.*"),
        ("outbox.tables", "paid.outbox"),
        ("outbox.attributes", "tenant"),
    ];
    let settings = settings.map(|(key, value)| (key, value.to_owned()));
    let rig = Rig::start(bed, mysqld, Topic::Standard, &settings).await?;
    rig.mysqld.execute(&["CREATE DATABASE paid", OUTBOX]).await?;
    Ok(rig)
}

fn message(number: i64, note: &str) -> String {
    let aggregate = number % 8;
    format!(
        "INSERT INTO paid.outbox VALUES ({number}, 'order', 'a-{aggregate}', 'Placed', \
         '{{\"n\": {number}, \"note\": \"{note}\"}}', '{{\"trace\": \"t {number}\"}}', 3)"
    )
}

/// Requests by the number in their payloads: their ids.
fn payloads(webhook: &Webhook) -> BTreeMap<i64, BTreeSet<String>> {
    let mut found: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for (id, bodies) in &webhook.received().bodies {
        for body in bodies {
            let document: Value = serde_json::from_str(body).unwrap_or_default();
            if let Some(number) = document["n"].as_i64() {
                found.entry(number).or_default().insert(id.clone());
            }
        }
    }
    found
}

async fn relays_that_share_deliver_each_row_and_each_message_of_an_outbox_once(
    bed: Bed,
) -> Outcome {
    const ROWS: i64 = 160;
    // Given two relays with a queue and a state of their own, and the parts of a whole
    let rig = rig(&bed).await?;
    let (webhook, folders) = (Webhook::start().await?, [Folder::create()?, Folder::create()?]);
    webhook.received().refuse_text = Some("refused");
    let mut queues = Vec::new();
    for name in ["old", "new"] {
        let name = format!("{}-{name}", bed.topic_name());
        queues.push(rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?);
    }
    let start = |at: usize| {
        let settings = [
            ("sns.endpoint_url", rig.endpoint_url.as_str()),
            ("relay.name", ["old", "new"][at]),
            ("relay.share", ["0.3-1", "0.3"][at]),
            ("relay.max_attempts", "1"),
        ];
        relay(&folders[at], &queues[at], &webhook, &settings)
    };
    let mut relays = [start(0)?, start(1)?];

    // When both are killed while rows and messages come, and one message is refused
    rig.mysqld.execute(&["CREATE TABLE paid.charges (id INT PRIMARY KEY, amount INT)"]).await?;
    for id in 0..ROWS {
        let row = format!("INSERT INTO paid.charges VALUES ({id}, {id})");
        let note = if id == 37 { "refused" } else { "" };
        rig.mysqld.execute(&[row, message(id, note)]).await?;
        if let 60 | 90 = id {
            let at = usize::from(id == 90);
            relays[at].kill().await?;
            relays[at] = start(at)?;
        }
    }

    // Then each row and each message was delivered under one id, by one of them
    let logs = |relays: &[Streamer; 2]| relays.each_ref().map(Streamer::log_tail).join("\n");
    let most = usize::try_from(ROWS)?;
    until("the webhook has all but one", || {
        let received = webhook.received();
        let rows = received.rows.iter().filter_map(|row| row["after"]["id"].as_i64());
        let rows: BTreeSet<_> = rows.collect();
        drop(received);
        (rows.len() == most && payloads(&webhook).len() == most - 1).then_some(())
    })
    .await
    .map_err(|error| format!("{error}\n{}", logs(&relays)))?;
    let own = |row: &Value| row["id"].to_string();
    let rows: Vec<_> = webhook.received().rows.iter().map(own).collect();
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "a row under two ids");
    for relay in &relays {
        let shadow = relay.metric("binpulse_relay_rows_total", &["outcome=\"shadow\""]).await?;
        assert!(shadow > Some(0.0), "{shadow:?}");
    }

    // And what was refused is parked, and delivered when an operator wants it
    webhook.received().refuse_text = None;
    for relay in &relays {
        parked(relay, &["retry", "--all"]).await?;
    }
    until("the refused one comes", || payloads(&webhook).contains_key(&37).then_some(()))
        .await
        .map_err(|error| format!("{error}\n{}", logs(&relays)))?;
    let found = payloads(&webhook);
    let twice: Vec<_> = found.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(twice.is_empty(), "a message under two ids: {twice:?}");
    for relay in &mut relays {
        assert_eq!(relay.stop().await?, Some(0), "{}", relay.log_tail());
    }
    Ok(())
}

async fn a_message_of_an_outbox_keeps_its_attributes_and_a_copy_says_that_it_has_no_place_for_it(
    bed: Bed,
) -> Outcome {
    // Given a relay to another queue, a relay from there to a webhook, and a copy
    let rig = rig(&bed).await?;
    let webhook = Webhook::start().await?;
    let name = |end: &str| format!("{}-{end}", bed.topic_name());
    let first = rig.aws.subscribe_queue(&rig.topic_arn, &name("first"), &["outbox"]).await?;
    let second = rig.aws.create_queue(&name("second")).await?;
    let copied = rig.aws.subscribe_queue(&rig.topic_arn, &name("copied"), &[]).await?;
    rig.mysqld.execute(&["CREATE DATABASE relay"]).await?;
    let folders = [Folder::create()?, Folder::create()?, Folder::create()?];
    let endpoint = ("sns.endpoint_url", rig.endpoint_url.as_str());
    let to_queue = [endpoint, ("relay.to.kind", "sqs"), ("relay.to.url", second.as_str())];
    let url = format!("mysql://{}/relay", rig.mysqld.address());
    let to_copy = [
        endpoint,
        ("relay.to.kind", "mysql"),
        ("relay.to.url", url.as_str()),
        ("relay.to.user", "root"),
    ];
    let relays = [
        relay(&folders[0], &first, &webhook, &to_queue)?,
        relay(&folders[1], &second, &webhook, &[endpoint])?,
        relay(&folders[2], &copied, &webhook, &to_copy)?,
    ];

    // When an application writes a message
    rig.mysqld.execute(&[message(1, "")]).await?;

    // Then it arrives with its attributes, whatever is between
    let logs = || relays.each_ref().map(Streamer::log_tail).join("\n");
    let found = until("the message comes", || payloads(&webhook).remove(&1)).await;
    let found = found.map_err(|error| format!("{error}\n{}", logs()))?;
    let id = found.first().cloned().unwrap_or_default();
    let headers = webhook.received().headers.get(&id).cloned().unwrap_or_default();
    let wanted = [
        "outbox-aggregate-id: a-1",
        "outbox-aggregate-type: order",
        "outbox-id: 1",
        "outbox-kind: outbox",
        "outbox-tenant: 3",
        "outbox-trace: t 1",
        "outbox-type: placed",
    ];
    assert_eq!(headers.into_iter().collect::<Vec<_>>(), wanted);

    // And the copy's relay keeps it for an operator, and goes on
    crate::relay::until_parked(&relays[2], 1.0).await?;
    // Which it shows some seconds later.
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let list = parked(&relays[2], &["list"]).await?;
        if list.contains("a message of an outbox") {
            break;
        }
        assert!(tokio::time::Instant::now() < give_up, "{list}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(())
}
