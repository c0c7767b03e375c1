//! Rows that no message holds, and messages that the topic does not take.

use std::time::Duration;

use binpulse_demo::{Error, Streamer};

use crate::aws::faults::{Effect, Pick, When};
use crate::stage::{Figures, Setup, Stage};
use crate::wrong;

const SOON: Duration = Duration::from_mins(1);
/// Position lost or halted: an operator is needed.
const EXIT_HALTED: i32 = 75;

const TABLE: &str = "CREATE TABLE big.t (id INT PRIMARY KEY, body LONGBLOB)";

fn insert(id: u32, kibibytes: u32) -> String {
    let bodies: Vec<_> = (0..kibibytes).map(|_| "RANDOM_BYTES(1024)").collect();
    format!("INSERT INTO big.t VALUES ({id}, CONCAT({}))", bodies.join(","))
}

/// Three rows, of which the second is twice the topic's limit.
async fn write(stage: &Stage) -> Result<(), Error> {
    let rows = [insert(1, 1), insert(2, 512), insert(3, 1)];
    stage.mysqld.execute(&[TABLE.to_owned()]).await?;
    stage.mysqld.execute(&rows).await
}

pub(super) async fn a_row_over_the_limit_is_cut_put_elsewhere_or_halts_by_policy(
    _whole: bool,
) -> Result<Figures, Error> {
    let policy = |policy: &str| vec![("sink.oversize", policy.to_owned())];
    let all = "SELECT * FROM big.t";

    // Left out, with size and hash.
    let setup = Setup { settings: policy("omit"), fifo: true, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    write(&stage).await?;
    stage.catch_up().await?;
    let cut = "SELECT id, IF(LENGTH(body) > 200000, \
               CONCAT('omitted ', LENGTH(body), ' ', SHA2(body, 256)), body) FROM big.t";
    stage.compare("big", "t", cut).await?;
    let omitted = stage.end("").await?;

    // Put into S3, with a pointer in its place.
    let mut stage = Stage::start(Setup { fifo: true, ..Setup::default() }).await?;
    stage.endpoint.shared.store().objects.insert("/claims/".to_owned(), Vec::new());
    let mut settings = policy("claim-check");
    settings.push(("sink.claim_check_bucket", "claims".to_owned()));
    settings.push(("sink.claim_check_endpoint_url", stage.endpoint.url()));
    restart(&mut stage.streamer, settings).await?;
    write(&stage).await?;
    stage.catch_up().await?;
    let claims: Vec<String> = {
        let store = stage.endpoint.shared.store();
        let objects = store.objects.iter().filter(|(path, _)| !path.ends_with('/'));
        objects.map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect()
    };
    let pointers = stage.received().claims.len();
    if (claims.len(), pointers) != (1, 1) {
        return wrong(format!("{} objects and {pointers} pointers, expected one", claims.len()));
    }
    stage.received().take_claim(&claims[0]);
    stage.compare("big", "t", all).await?;
    let claimed = stage.end("").await?;

    // Halted before the row: what came before it was delivered, nothing behind it.
    let setup = Setup { settings: policy("halt"), fifo: true, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    write(&stage).await?;
    let code = stage.streamer.wait(SOON).await?;
    let log = stage.streamer.log_tail();
    if code != Some(EXIT_HALTED) || !log.contains("big.t") {
        return wrong(format!("ended with {code:?}, expected {EXIT_HALTED}: {log}"));
    }
    stage.mysqld.execute(&["DELETE FROM big.t WHERE id = 2"]).await?;
    // The operator chose to continue.
    restart(&mut stage.streamer, policy("omit")).await?;
    stage.catch_up().await?;
    let left = "SELECT * FROM big.t";
    // The row that was cut came and went: its after image is the marker, its before image too.
    stage.compare("big", "t", left).await?;
    let halted = stage.end("").await?;
    Ok(Figures {
        rows: omitted.rows + claimed.rows + halted.rows,
        messages: omitted.messages + claimed.messages + halted.messages,
        peak_rss_bytes: [&omitted, &claimed, &halted]
            .map(|figures| figures.peak_rss_bytes)
            .into_iter()
            .max()
            .unwrap_or_default(),
        note: "omit, claim-check, halt and then omit".to_owned(),
    })
}

/// Stops it and starts it with these settings changed.
async fn restart(
    streamer: &mut Streamer,
    changed: Vec<(&'static str, String)>,
) -> Result<(), Error> {
    let settings = &mut streamer.command_mut().settings;
    settings.retain(|(key, _)| !changed.iter().any(|(other, _)| other == key));
    settings.extend(changed);
    streamer.start_again().await?;
    streamer.until_ready(SOON).await
}

const REFUSED: &str = "the row that is refused";

/// A topic that refuses every message with this text for good.
fn refuse(stage: &Stage) {
    let pick = Pick::Index(0);
    let effect = Effect::FailEntries(pick, "InvalidParameter", true);
    stage.endpoint.fault("PublishBatch", When::Nth(1), effect);
}

pub(super) async fn a_lane_whose_head_is_refused_goes_on_or_halts_by_policy(
    _whole: bool,
) -> Result<Figures, Error> {
    let rows = |from: u32| {
        let row = |id: u32| format!("INSERT INTO big.t VALUES ({id}, '{REFUSED} {id}')");
        (from..from + 20).map(row).collect::<Vec<_>>()
    };

    // Into quarantine; the lane continues.
    let folder = binpulse_demo::Folder::create()?;
    let quarantine = folder.path().join("quarantine");
    let settings = vec![
        ("sink.rejected", "quarantine".to_owned()),
        ("sink.quarantine", quarantine.display().to_string()),
        ("message.schema_changes", "false".to_owned()),
    ];
    let mut stage = Stage::start(Setup { settings, fifo: true, ..Setup::default() }).await?;
    stage.mysqld.execute(&[TABLE]).await?;
    stage.catch_up().await?;
    refuse(&stage);
    stage.mysqld.execute(&rows(1)[..1]).await?;
    stage.mysqld.execute(&rows(1)[1..]).await?;
    stage.catch_up().await?;
    let came = stage.received().sum("big", "t").rows;
    let kept = std::fs::read_to_string(&quarantine).unwrap_or_default();
    // How many rows share the message that is refused is a matter of time.
    let entry = kept.get(kept.find('{').unwrap_or(0)..).unwrap_or_default();
    let entry: serde_json::Value = serde_json::from_str(entry.trim()).unwrap_or_default();
    let refused = entry["rows"].as_i64().unwrap_or(0);
    if refused == 0 || came + refused != 20 || kept.lines().count() != 1 {
        return wrong(format!("{came} rows came, quarantined: {kept}"));
    }
    let peak_rss_bytes = stage.peak_rss_bytes();
    drop(stage);

    // Halted: nothing of the lane passes it, and nothing is lost once the topic takes it.
    let settings = vec![("message.schema_changes", "false".to_owned())];
    let mut stage = Stage::start(Setup { settings, fifo: true, ..Setup::default() }).await?;
    stage.mysqld.execute(&[TABLE]).await?;
    stage.catch_up().await?;
    refuse(&stage);
    stage.mysqld.execute(&rows(1)).await?;
    let code = stage.streamer.wait(SOON).await?;
    if code != Some(EXIT_HALTED) {
        return wrong(format!("ended with {code:?}, expected {EXIT_HALTED}"));
    }
    let came = stage.received().sum("big", "t").rows;
    if came != 0 {
        return wrong(format!("{came} rows came behind the refused head"));
    }
    stage.endpoint.heal();
    restart(&mut stage.streamer, Vec::new()).await?;
    stage.catch_up().await?;
    stage.compare("big", "t", "SELECT * FROM big.t").await?;
    let mut figures = stage.end("quarantine, and halt").await?;
    figures.peak_rss_bytes = figures.peak_rss_bytes.max(peak_rss_bytes);
    Ok(figures)
}
