//! What a person at a terminal is told: what is running, and an outage with its recovery.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Audience, Error, Mysqld, Standin, Streamer};

/// Time between two lines about how far it is.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(5);
/// When the outage begins.
pub(super) const OUTAGE_AFTER: Duration = Duration::from_secs(20);
/// Longest wait for the verdict to change. Longer than any deadline of the demo's settings.
const VERDICT_DEADLINE: Duration = Duration::from_secs(30);
/// Time to read what is said before it continues.
const PAUSE: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A line for those who watch.
pub(super) fn tell(text: &str) {
    // Nothing can be done about a closed terminal.
    drop(writeln!(std::io::stderr(), "demo: {text}"));
}

/// Says what was started, and where to look.
pub(super) fn introduce(
    streamer: &Streamer,
    mysqld: &Mysqld,
    standin: &Standin,
    audience: Audience,
) {
    let (address, port, aws) = (streamer.address(), mysqld.port(), standin.url());
    let client = format!("mysql --protocol=tcp --port={port} --user=root");
    if audience != Audience::Terminal {
        tell(&format!(
            "binpulse is up: http://{address}/status and http://{address}/metrics\n\
             MySQL: {client}\n\
             SNS and SQS: {aws}"
        ));
        return;
    }
    tell(&format!(
        "binpulse is running. Open http://{address}/ in a browser: the page shows live whether \
         the\ndatabase is quiet or down, and where.\n\nA small shop writes to MySQL   \
         ({client})\nbinpulse reads the binary log  (http://{address}/status, \
         http://{address}/metrics)\nand publishes to SNS; a consumer receives from SQS, both a \
         stand-in  ({aws})\n\nEvery {} s a line compares the rows that the shop wrote with those \
         that the consumer\nreceived. A canary is a test row that binpulse writes and waits for at \
         the other end. After\n{} s MySQL is frozen for a moment, to show how an outage looks. \
         Ctrl-C ends the demo.\n",
        TELL_EVERY.as_secs(),
        OUTAGE_AFTER.as_secs(),
    ));
}

/// Freezes the server until the verdict says so, lets it continue, and tells what the verdict says.
/// `stop` ends it early; the server always continues.
pub(super) async fn stage_outage(
    streamer: &mut Streamer,
    mysqld: &mut Mysqld,
    stop: &CancellationToken,
) -> Result<(), Error> {
    tell(
        "\nAn outage: the MySQL process is frozen now, as on a machine that hangs. Connections stay\n\
         open and no error is reported; most tools would show a lag of 0.",
    );
    mysqld.freeze()?;
    let told = stop.run_until_cancelled(tell_when(streamer, false)).await;
    if told.is_some() {
        stop.run_until_cancelled(sleep(PAUSE)).await;
    }
    mysqld.thaw()?;
    let Some(told) = told else { return Ok(()) };
    told?;
    tell("MySQL continues. Rows that the shop could not write meanwhile are written now.");
    if let Some(told) = stop.run_until_cancelled(tell_when(streamer, true)).await {
        told?;
        tell("Nothing was lost: the counts below agree again. Press Ctrl-C to end the demo.\n");
    }
    Ok(())
}

/// Waits until the verdict is healthy or is not, and prints it.
async fn tell_when(streamer: &mut Streamer, healthy: bool) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        streamer.must_run()?;
        let status = streamer.status().await?;
        let verdict = &status["verdict"];
        let took = start.elapsed();
        if (verdict["grade"] == "healthy") == healthy || took > VERDICT_DEADLINE {
            let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
            tell(&format!(
                "After {:.1} s binpulse says `{}`: {}",
                took.as_secs_f64(),
                text("state"),
                text("sentence")
            ));
            if !healthy && verdict["next_step"].as_str().is_some_and(|step| !step.is_empty()) {
                tell(&format!("Its advice: {}", text("next_step")));
            }
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The state of the verdict in a status document.
pub(super) fn state_of(status: &Value) -> String {
    status["verdict"]["state"].as_str().unwrap_or("unknown").to_owned()
}
