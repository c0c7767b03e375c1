//! What a newcomer sees: servers come up, a shop gets busy, a consumer receives it all, and a last
//! line says whether that is true.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::guide::{self, TELL_EVERY, state_of, tell};
use super::roles::{ECHO, TOPIC};
use super::sample::Sample;
use super::{
    Audience, Aws, Command, Consumer, Error, Installed, Mysqld, Options, Standin, Streamer, Tally,
    Workload, prepare, settings_for, standin_environment,
};

/// Pause between two steps of the workload.
const STEP_EVERY: Duration = Duration::from_millis(20);
/// Rows of the big transaction.
const BULK_ROWS: u32 = 20_000;
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Time for the last rows to arrive once nothing is written any more.
const ARRIVAL_DEADLINE: Duration = Duration::from_mins(1);

/// The last line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Rows that the workload wrote and committed.
    pub rows_written: u64,
    /// Rows that the consumer received, each counted once.
    pub changes_received: u64,
    /// Canaries that the streamer sent.
    pub canaries_sent: u64,
    /// Canaries that the consumer received.
    pub canaries_received: u64,
    /// Median time from writing a canary's row to its arrival at the consumer, milliseconds.
    pub canary_roundtrip_ms_p50: Option<f64>,
    /// The streamer's verdict at the end.
    pub state: String,
    /// Whether every row that was written was received, by table and kind, and nothing else was.
    #[serde(skip)]
    pub complete: bool,
}

/// Shows the demo with `binary` as the streamer, and prints the summary as the last line: for people on a
/// terminal in words. Stops in
/// order at Ctrl-C or SIGTERM, at once at the second.
pub async fn run(binary: &Path, audience: Audience) -> Result<Summary, Error> {
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    let summary = tokio::select! {
        biased;

        // 1. Nothing is left running: dropping the story ends all that it started.
        () = now.cancelled() => return Err(Error::Interrupted),
        // 2. Only listens; an error means that signals can't be had at all.
        error = interruptions(&stop, &now) => return Err(error),
        // 3. The story itself.
        summary = Story::tell(binary, audience, &stop, &now) => summary?,
    };
    if audience == Audience::Terminal {
        tell(&summary.words());
        return Ok(summary);
    }
    let line =
        serde_json::to_string(&summary).map_err(|error| Error::Message(error.to_string()))?;
    say(&line)?;
    Ok(summary)
}

impl Summary {
    /// The same for people.
    fn words(&self) -> String {
        let Self { rows_written, changes_received, canaries_sent, canaries_received, .. } = self;
        let verdict = if self.complete { "each row was received once" } else { "THEY DIFFER" };
        let trip = self.canary_roundtrip_ms_p50;
        let trip = trip.map(|ms| format!(", half of them within {ms:.0} ms")).unwrap_or_default();
        format!(
            "\n{rows_written} rows were written and {changes_received} received: {verdict}.\n\
             {canaries_received} of {canaries_sent} canaries came back{trip}. The last verdict: {}.",
            self.state
        )
    }
}

/// The first interruption asks to stop, the second insists. Never ends but by an error.
async fn interruptions(stop: &CancellationToken, now: &CancellationToken) -> Error {
    let failed = |source| Error::Program { program: "listening to signals".to_owned(), source };
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut int, mut term, mut hup] = match kinds.map(signal) {
        [Ok(int), Ok(term), Ok(hup)] => [int, term, hup],
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return failed(error),
    };
    loop {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        if stop.is_cancelled() {
            now.cancel();
        }
        stop.cancel();
    }
}

/// Everything that was started. Fields are dropped in their order: the streamer first.
struct Story {
    streamer: Streamer,
    consumer: Consumer,
    workload: Workload,
    _standin: Standin,
    mysqld: Mysqld,
}

impl Story {
    async fn tell(
        binary: &Path,
        audience: Audience,
        stop: &CancellationToken,
        now: &CancellationToken,
    ) -> Result<Summary, Error> {
        let mut story = tokio::select! {
            biased;

            // A stop during the start has nothing to drain.
            () = stop.cancelled() => return Err(Error::Interrupted),
            story = Box::pin(Self::start(binary, audience)) => story?,
        };
        let told = story.go_on(audience, stop, now).await;
        match told {
            Ok(()) => story.end().await,
            Err(error) => {
                tell(&format!("the streamer's log ends:\n{}", story.streamer.log_tail()));
                Err(error)
            }
        }
    }

    async fn start(binary: &Path, audience: Audience) -> Result<Self, Error> {
        let installed = Installed::find()?;
        let server = installed.server()?;
        tell(&format!("starting {} {} and a stand-in of SNS and SQS", server.name, server.version));
        let (mysqld, standin) = tokio::try_join!(
            Mysqld::start(server, Options::default()),
            Standin::start(installed.standin()?)
        )?;
        prepare(&mysqld, binary).await?;

        let aws = Aws::at(&standin.url());
        let topic = aws.create_topic(TOPIC).await?;
        let queue = aws.subscribe_queue(&topic, TOPIC, &[]).await?;
        let echo = aws.subscribe_queue(&topic, ECHO, &["canary"]).await?;

        let mut streamer = Streamer::start(command(binary, &mysqld, &standin, &topic, &echo))?;
        streamer.until_ready(READY_DEADLINE).await?;
        guide::introduce(&streamer, &mysqld, &standin, audience);
        let workload = Workload::open(mysqld.connect().await?, 1).await?;
        let consumer = Consumer::new(aws, queue);
        Ok(Self { streamer, consumer, workload, _standin: standin, mysqld })
    }

    /// Writes, receives and watches, until it is time to stop and all has arrived.
    async fn go_on(
        &mut self,
        audience: Audience,
        stop: &CancellationToken,
        now: &CancellationToken,
    ) -> Result<(), Error> {
        let (written, watched) = watch::channel((Tally::default(), false));
        let (received, seen) = watch::channel((0, 0));
        let watching = async {
            tokio::select! {
                result = watch_over(
                    &mut self.streamer, &mut self.mysqld, audience, stop, watched.clone(), seen
                ) => result,
                both = async {
                    tokio::try_join!(
                        keep_shop(&mut self.workload, audience, stop, &written),
                        consume(&mut self.consumer, audience, watched.clone(), &received, now),
                    )
                } => both.map(drop),
            }
        };
        watching.await
    }

    /// Asks the streamer for its view, stops it, and sums up.
    async fn end(mut self) -> Result<Summary, Error> {
        let status = self.streamer.status().await?;
        let sent = self.streamer.metric("binpulse_canary_sent_total", &[]).await?;
        let code = self.streamer.stop().await?;
        if code != Some(0) {
            tell(&format!("the streamer ended with {code:?}:\n{}", self.streamer.log_tail()));
        }
        // A person may have written to tables of their own.
        let written = self.workload.written();
        let received = self.consumer.received().of_tables_in(written);
        let differences = received.differences(written);
        tell(&format!("rows written:\n{written}"));
        for difference in &differences {
            tell(&format!("received of {difference}"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a counter: whole, positive, small"
        )]
        let canaries_sent = sent.unwrap_or_default() as u64;
        Ok(Summary {
            rows_written: written.total(),
            changes_received: received.total(),
            canaries_sent,
            canaries_received: self.consumer.canaries(),
            canary_roundtrip_ms_p50: self.consumer.roundtrip_ms_p50(),
            state: state_of(&status),
            complete: differences.is_empty() && code == Some(0),
        })
    }
}

/// The streamer's settings.
fn command(binary: &Path, mysqld: &Mysqld, standin: &Standin, topic: &str, echo: &str) -> Command {
    let mut settings = settings_for(mysqld);
    let more = [
        ("stream.name", "demo"),
        // From the first row on, so that it does not matter who comes up first.
        ("source.start", "earliest"),
        ("source.heartbeat_period", "500ms"),
        ("heartbeat.interval", "1s"),
        ("heartbeat.write_deadline", "500ms"),
        ("canary.interval", "2s"),
        ("sns.topic", topic),
        ("sns.endpoint_url", &standin.url()),
        ("canary.echo", &format!("demo={echo}")),
    ];
    settings.extend(more.map(|(key, value)| (key, value.to_owned())));
    Command {
        binary: PathBuf::from(binary),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: standin_environment(),
    }
}

/// Runs the shop until it is told to stop or its time is over; says what has been written after
/// each step, and at last that this was all.
async fn keep_shop(
    workload: &mut Workload,
    audience: Audience,
    stop: &CancellationToken,
    written: &watch::Sender<(Tally, bool)>,
) -> Result<(), Error> {
    let start = Instant::now();
    let (alter_at, bulk_at) = audience.highlights();
    let mut bulk_done = false;
    workload.stock().await?;
    let mut pace = interval(STEP_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;

            // A step is never cancelled half-way: it would be unknown whether it was committed.
            () = stop.cancelled() => break,
            _ = pace.tick() => workload.step().await?,
        }
        if start.elapsed() >= alter_at {
            workload.alter().await?;
        }
        if start.elapsed() >= bulk_at && !bulk_done {
            tell(&format!("one transaction of {BULK_ROWS} rows"));
            workload.take_stock(BULK_ROWS).await?;
            bulk_done = true;
        }
        written.send_replace((workload.written().clone(), false));
        if matches!(audience, Audience::Script(whole) if start.elapsed() >= whole) {
            break;
        }
    }
    written.send_replace((workload.written().clone(), true));
    tell("nothing more is written; waiting for the last rows");
    Ok(())
}

/// Receives until all that was written has come, or time is over: the summary tells which.
async fn consume(
    consumer: &mut Consumer,
    audience: Audience,
    written: watch::Receiver<(Tally, bool)>,
    received: &watch::Sender<(u64, u64)>,
    now: &CancellationToken,
) -> Result<(), Error> {
    let mut sample = Sample::new(std::time::Instant::now());
    let mut give_up = None;
    // A reader that went away, as `head` does, ends the demo as Ctrl-C does.
    let mut known = BTreeSet::new();
    let mut show = |topic: &str, line: String| {
        // A person gets one example of each topic, a script a sample of all.
        if audience == Audience::Terminal {
            if known.insert(topic.to_owned()) {
                tell(&format!("The first message of {topic} that the consumer received:"));
                if say(&line).is_err() {
                    now.cancel();
                }
            }
            return;
        }
        for line in sample.choose(std::time::Instant::now(), topic, line) {
            if say(&line).is_err() {
                now.cancel();
            }
        }
    };
    loop {
        {
            let written = written.borrow();
            if written.1 {
                let deadline = *give_up.get_or_insert_with(|| Instant::now() + ARRIVAL_DEADLINE);
                let all = consumer.received().of_tables_in(&written.0) == written.0;
                if all || Instant::now() >= deadline {
                    break;
                }
            }
        }
        let until = give_up.unwrap_or_else(|| Instant::now() + ARRIVAL_DEADLINE);
        if let Ok(result) = timeout_at(until, consumer.receive(&mut show)).await {
            result?;
        }
        received.send_replace((consumer.received().total(), consumer.canaries()));
    }
    if let Some(line) = sample.rest() {
        say(&line)?;
    }
    Ok(())
}

/// Tells how it goes, now and then. Ends only by an error: when the streamer has ended.
async fn watch_over(
    streamer: &mut Streamer,
    mysqld: &mut Mysqld,
    audience: Audience,
    stop: &CancellationToken,
    written: watch::Receiver<(Tally, bool)>,
    received: watch::Receiver<(u64, u64)>,
) -> Result<(), Error> {
    let mut tell_at = Instant::now() + TELL_EVERY;
    let mut outage_at =
        (audience == Audience::Terminal).then(|| Instant::now() + guide::OUTAGE_AFTER);
    loop {
        sleep(super::process::POLL * 10).await;
        streamer.must_run()?;
        if outage_at.is_some_and(|at| Instant::now() >= at) {
            outage_at = None;
            guide::stage_outage(streamer, mysqld, stop).await?;
        }
        if Instant::now() < tell_at {
            continue;
        }
        tell_at = Instant::now() + TELL_EVERY;
        let state = match streamer.status().await {
            Ok(status) => state_of(&status),
            Err(error) => error.to_string(),
        };
        let rows = written.borrow().0.total();
        let (changes, canaries) = *received.borrow();
        tell(&format!(
            "{state}: {rows} rows written, {changes} received; {canaries} canaries back"
        ));
    }
}

/// A line for those who listen on: standard output carries JSON lines only.
pub(super) fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::file("standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_exactly_the_promised_keys_in_their_order() {
        let summary = Summary {
            rows_written: 3,
            changes_received: 3,
            canaries_sent: 2,
            canaries_received: 2,
            canary_roundtrip_ms_p50: Some(12.5),
            state: "live".to_owned(),
            complete: true,
        };
        assert_eq!(
            serde_json::to_string(&summary).expect("text"),
            r#"{"rows_written":3,"changes_received":3,"canaries_sent":2,"canaries_received":2,"canary_roundtrip_ms_p50":12.5,"state":"live"}"#
        );
        assert_eq!(
            summary.words(),
            "\n3 rows were written and 3 received: each row was received once.\n2 of 2 canaries came \
             back, half of them within 12 ms. The last verdict: live."
        );
        let lost = Summary { complete: false, ..summary };
        assert!(lost.words().contains("THEY DIFFER"), "{}", lost.words());
    }
}
