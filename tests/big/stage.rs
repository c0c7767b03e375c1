//! What a case runs on: a source, the endpoint, the streamer, and what came.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binpulse_demo::{
    Command, Error, Installed, Mysqld, Options, Streamer, prepare, settings_for,
    standin_environment,
};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::aws::{Endpoint, REGION, Shared};
use crate::received::{MARKER, NULL, Received, Sum};
use crate::{rss, wrong};

/// What a case comes to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) messages: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) note: String,
}

/// Time for a start.
const SOON: Duration = Duration::from_mins(1);
/// Time in which everything written must have come.
const ARRIVAL_MAX: Duration = Duration::from_mins(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All of it. Dropping it stops what it started.
pub(crate) struct Stage {
    pub(crate) streamer: Streamer,
    pub(crate) endpoint: Endpoint,
    pub(crate) mysqld: Mysqld,
    received: Arc<Mutex<Received>>,
    collecting: JoinHandle<()>,
    marker: i64,
}

/// What differs from case to case.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Further options of the server.
    pub(crate) mysqld: Vec<&'static str>,
    /// Further settings of the streamer.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// A FIFO topic.
    pub(crate) fifo: bool,
}

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_binpulse"))
}

impl Stage {
    pub(crate) async fn start(setup: Setup) -> Result<Self, Error> {
        let installed = Installed::find()?;
        let extra = setup.mysqld.iter().map(|option| (*option).to_owned()).collect();
        let options = Options { extra, ..Options::default() };
        let mysqld = Mysqld::start(installed.server()?, options).await?;
        prepare(&mysqld, binary()).await?;
        let database = format!("CREATE DATABASE {}", MARKER.0);
        let marker = format!("CREATE TABLE {}.{} (i INT PRIMARY KEY)", MARKER.0, MARKER.1);
        mysqld.execute(&[database, marker]).await?;
        let endpoint = Endpoint::start().await;
        let arn = endpoint.topic(if setup.fifo { "big.fifo" } else { "big" }, &[]);
        let settings = settings(&mysqld, &endpoint, &arn, setup.settings);
        let mut streamer = Streamer::start(command(settings))?;
        streamer.until_ready(SOON).await?;
        let received = Arc::new(Mutex::new(Received::default()));
        let collecting = tokio::spawn(collect(Arc::clone(&endpoint.shared), Arc::clone(&received)));
        Ok(Self { streamer, endpoint, mysqld, received, collecting, marker: 0 })
    }

    /// What has come so far.
    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that was written has come: writes a row, waits for that, and then for
    /// what was read before it, since lanes do not wait for each other.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Error> {
        self.marker += 1;
        let marker = self.marker;
        let insert = format!("INSERT INTO {}.{} VALUES ({marker})", MARKER.0, MARKER.1);
        self.mysqld.execute(&[insert]).await?;
        self.until("the marker", |received| received.marker >= marker).await?;
        let read = place(&self.streamer.status().await?, "read");
        let give_up = Instant::now() + ARRIVAL_MAX;
        while place(&self.streamer.status().await?, "delivered") < read {
            if Instant::now() > give_up {
                return wrong(format!("what was read up to {read:?} was not delivered"));
            }
            sleep(LOOK_EVERY).await;
        }
        take(&self.endpoint.shared, &self.received);
        Ok(())
    }

    /// Waits until what came fulfils `holds`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Received) -> bool,
    ) -> Result<(), Error> {
        let give_up = Instant::now() + ARRIVAL_MAX;
        loop {
            self.streamer.must_run()?;
            let (is_here, wrongs) = {
                let received = self.received();
                (holds(&received), received.wrong.clone())
            };
            if !wrongs.is_empty() {
                return wrong(wrongs.join("\n"));
            }
            if is_here {
                return Ok(());
            }
            if Instant::now() > give_up {
                let log = self.streamer.log_tail();
                return wrong(format!("{what} did not come; the streamer's log ends:\n{log}"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Compares a table with what came of it. `select` gives the rows as the stream should have
    /// them, in a session with UTC and `utf8mb4`.
    pub(crate) async fn compare(
        &self,
        database: &str,
        table: &str,
        select: &str,
    ) -> Result<Sum, Error> {
        let mut session = self.session().await?;
        let mut sum = Sum::default();
        let mut result = session.query_iter(select).await?;
        while let Some(row) = result.next().await? {
            sum.add(row_texts(row).into_iter());
        }
        drop(result);
        session.disconnect().await?;
        let came = self.received().sum(database, table);
        if came == sum && sum.rows > 0 {
            return Ok(sum);
        }
        wrong(format!("{database}.{table}: the source has {sum:?}, received {came:?}"))
    }

    /// A session of `root` with UTC and `utf8mb4`.
    pub(crate) async fn session(&self) -> Result<Conn, Error> {
        let mut session = self.mysqld.connect().await?;
        session.query_drop("SET time_zone = '+00:00', NAMES utf8mb4, sql_mode = ''").await?;
        Ok(session)
    }

    /// Peak memory of the streamer so far.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        rss::peak_of(&self.streamer.folder().path().join("checkpoint"))
    }

    /// Catches up, judges everything but the tables' content, stops the streamer.
    pub(crate) async fn end(mut self, note: impl Into<String>) -> Result<Figures, Error> {
        self.catch_up().await?;
        let peak_rss_bytes = self.peak_rss_bytes();
        let code = self.streamer.stop().await?;
        self.collecting.abort();
        take(&self.endpoint.shared, &self.received);
        let received = self.received();
        let mut wrongs = received.wrongs();
        wrongs.extend(self.endpoint.shared.store().violations.iter().cloned());
        if code != Some(0) {
            wrongs.push(format!("the streamer ended with {code:?}:\n{}", self.streamer.log_tail()));
        }
        if !wrongs.is_empty() {
            return wrong(wrongs.join("\n"));
        }
        let (rows, messages) = (received.rows, received.messages);
        Ok(Figures { rows, messages, peak_rss_bytes, note: note.into() })
    }
}

/// The values of a row of the text protocol.
fn row_texts(row: Row) -> Vec<Vec<u8>> {
    let text = |value| match value {
        Value::NULL => NULL.to_vec(),
        Value::Bytes(bytes) => bytes,
        other @ (Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Date(..)
        | Value::Time(..)) => other.as_sql(true).into_bytes(),
    };
    row.unwrap().into_iter().map(text).collect()
}

/// A place in the source's log as `/status` has it, `file:offset`.
fn place(status: &serde_json::Value, name: &str) -> (String, u64) {
    let place = status["progress"][name].as_str().unwrap_or_default();
    let (file, offset) = place.rsplit_once(':').unwrap_or_default();
    (file.to_owned(), offset.parse().unwrap_or_default())
}

async fn collect(shared: Arc<Shared>, received: Arc<Mutex<Received>>) {
    loop {
        take(&shared, &received);
        sleep(LOOK_EVERY).await;
    }
}

/// Folds what the endpoint has accepted, and forgets it.
fn take(shared: &Shared, received: &Mutex<Received>) {
    let accepted = std::mem::take(&mut shared.store().accepted);
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    for accepted in &accepted {
        received.take(accepted);
    }
}

/// The streamer's settings; those given win.
pub(crate) fn settings(
    mysqld: &Mysqld,
    endpoint: &Endpoint,
    topic: &str,
    given: Vec<(&'static str, String)>,
) -> Vec<(&'static str, String)> {
    let usual = [
        ("stream.name", "big".to_owned()),
        ("source.start", "now".to_owned()),
        ("source.heartbeat_period", "500ms".to_owned()),
        ("heartbeat.interval", "2s".to_owned()),
        ("heartbeat.write_deadline", "1s".to_owned()),
        ("canary.enabled", "false".to_owned()),
        ("checkpoint.interval", "200ms".to_owned()),
        ("sns.topic", topic.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("shutdown.on_halt", "exit".to_owned()),
    ];
    let mut all = settings_for(mysqld);
    all.extend(usual);
    all.retain(|(key, _)| !given.iter().any(|(other, _)| other == key));
    all.extend(given);
    all
}

pub(crate) fn command(settings: Vec<(&'static str, String)>) -> Command {
    let mut environment = standin_environment();
    environment.retain(|(name, _)| *name != "AWS_REGION");
    environment.push(("AWS_REGION", REGION.to_owned()));
    Command {
        binary: binary().to_owned(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment,
    }
}
