//! A shadow beside the live process makes the same of every row, and what it makes otherwise is found.

use std::collections::BTreeMap;

use binpulse_demo::{Command, Error, Options, Streamer, Workload};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::replay::{Failure, until_saved};
use crate::suite::{Outcome, tests};

tests! {
    a_shadow_with_the_same_settings_is_equal_row_for_row on [Mysql97, Mariadb1011];
    other_settings_differ_from_the_first_row_that_they_change on [Mysql97];
}

/// Pause between two questions.
const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// A shop that is streamed by a process that keeps digests.
async fn live(bed: &Bed) -> Result<(Rig, Workload), Failure> {
    let settings = [
        ("shadow.digests", "true".to_owned()),
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "300ms".to_owned()),
    ];
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(bed, mysqld, Topic::Standard, &settings).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 17).await?;
    shop.stock().await?;
    for _ in 0..50 {
        shop.step().await?;
    }
    let rows = shop.written().total();
    rig.receive_some(rows).await?;
    until_saved(&mut rig).await?;
    Ok((rig, shop))
}

/// A shadow of it; `settings` win over those of the live process.
fn shadow_of(rig: &mut Rig, settings: &[(&'static str, String)]) -> Result<Streamer, Error> {
    let live = rig.streamer.command_mut();
    let given = |key: &str| key == "http.listen" || settings.iter().any(|(other, _)| *other == key);
    let mut all: Vec<_> = live.settings.iter().filter(|(key, _)| !given(key)).cloned().collect();
    all.extend_from_slice(settings);
    let checkpoint = rig.mysqld.data().with_extension("shadow").display().to_string();
    Streamer::start(Command {
        binary: live.binary.clone(),
        command: "shadow run".to_owned(),
        settings: all,
        arguments: vec!["--checkpoint".to_owned(), checkpoint],
        environment: live.environment.clone(),
    })
}

/// What `compare` prints, lane by lane, and its exit code.
async fn compared(
    rig: &mut Rig,
    shadow: &Streamer,
) -> Result<(Option<i32>, BTreeMap<String, (String, String)>, String), Error> {
    let live = rig.streamer.command_mut();
    let command = Command {
        binary: live.binary.clone(),
        command: "shadow compare".to_owned(),
        settings: live.settings.clone(),
        arguments: vec!["--shadow".to_owned(), shadow.address().to_owned()],
        environment: live.environment.clone(),
    };
    let (code, output) = command.run_to_end(SOON).await?;
    let told = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lanes =
        told.map(|line| (text(&line["lane"]), (text(&line["result"]), text(&line["rows"]))));
    Ok((code, lanes.collect(), output))
}

/// Waits until both have the rows up to here of each lane of the shop.
async fn until_level(rig: &Rig, shadow: &mut Streamer) -> Outcome {
    let next_of = |text: String| -> Result<BTreeMap<String, u64>, Error> {
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        let lanes = document["lanes"].as_object().cloned().unwrap_or_default();
        let shop = lanes.into_iter().filter(|(lane, _)| lane.starts_with("shop."));
        Ok(shop.map(|(lane, of)| (lane, of["next"].as_u64().unwrap_or_default())).collect())
    };
    let give_up = Instant::now() + SOON;
    loop {
        shadow.must_run()?;
        let live = next_of(rig.streamer.ask("/digests").await?.1)?;
        let other = match shadow.ask("/digests").await {
            Ok((_, text)) => next_of(text)?,
            // It has only just begun.
            Err(_) => BTreeMap::new(),
        };
        if !other.is_empty() && other.iter().all(|(lane, next)| live.get(lane) == Some(next)) {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(format!("{live:?} and {other:?}: {}", shadow.log_tail()).into());
        }
        sleep(ASK_EVERY).await;
    }
}

async fn a_shadow_with_the_same_settings_is_equal_row_for_row(bed: Bed) -> Outcome {
    // Given a live process, and a shadow that began at its checkpoint
    let (mut rig, mut shop) = live(&bed).await?;
    let mut shadow = shadow_of(&mut rig, &[])?;
    shadow.until_ready(SOON).await?;
    let heartbeats = rig
        .streamer
        .until("heartbeats", SOON, |status| status["heartbeat"]["written"].is_u64())
        .await?["heartbeat"]["written"]
        .clone();

    // When rows of all kinds are written, the table is altered, and the shadow is killed meanwhile
    for _ in 0..100 {
        shop.step().await?;
    }
    shop.alter().await?;
    shadow.start_again().await?;
    for _ in 0..200 {
        shop.step().await?;
    }
    let rows = shop.written().total();
    rig.receive_some(rows).await?;
    until_level(&rig, &mut shadow).await?;

    // Then they are the same, and nothing else was published or written
    let (code, lanes, output) = compared(&mut rig, &shadow).await?;
    assert_eq!(code, Some(0), "{output}");
    let equal = lanes.iter().filter(|(_, (result, _))| result == "equal").count();
    assert!(equal >= 2, "{output}");
    assert!(lanes.get("!canary").is_some_and(|(result, _)| result == "equal"), "{output}");
    rig.receive_all(shop.written()).await?;
    let status = rig.streamer.until("a status", SOON, |_| true).await?;
    assert!(status["heartbeat"]["written"].as_u64() > heartbeats.as_u64(), "{status}");
    let reconnects = rig.streamer.metric("binpulse_reconnects_total", &[]).await?;
    assert!(reconnects.unwrap_or(0.0) < 1.0, "{reconnects:?}");
    let writes = shadow.metric("binpulse_heartbeat_writes_total", &[]).await?;
    assert!(writes.unwrap_or(0.0) < 1.0, "{writes:?}");
    Ok(())
}

async fn other_settings_differ_from_the_first_row_that_they_change(bed: Bed) -> Outcome {
    // Given a shadow that masks a column that the live process publishes
    let (mut rig, mut shop) = live(&bed).await?;
    let mask = ("filter.drop_columns", "shop.orders.status".to_owned());
    let mut shadow = shadow_of(&mut rig, &[mask])?;
    shadow.until_ready(SOON).await?;

    // When rows are written
    for _ in 0..60 {
        shop.step().await?;
    }
    until_level(&rig, &mut shadow).await?;

    // Then exactly that table differs, from the first row on
    let (code, lanes, output) = compared(&mut rig, &shadow).await?;
    assert_eq!(code, Some(1), "{output}");
    for (lane, (result, rows)) in &lanes {
        if lane.starts_with("shop.orders#") {
            assert_eq!(result, "differs", "{output}");
            let (first, last) = rows.split_once('-').ok_or("a range")?;
            assert_eq!(first, last, "one row, as long as its own digest is kept: {output}");
        } else {
            assert_ne!(result, "differs", "{output}");
        }
    }
    Ok(())
}
