//! `check` says what `run` will do: both are started on the same bad set-ups, and their exit codes
//! compared.

mod accounts;
mod files;
mod places;
mod settings;
mod topics;

use std::process::Stdio;

use binpulse_demo::{Mysqld, get, settings_for};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bed::SOON;
use crate::cli::command;
use crate::suite::{Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    [settings::tests(), files::tests(), places::tests(), accounts::tests(), topics::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Set-ups that are tried at the same time.
const AT_ONCE: usize = 4;

/// Wrong invocation or configuration.
const USAGE: Option<i32> = Some(64);
/// Source or sink can't be used.
const UNAVAILABLE: Option<i32> = Some(69);
/// An operator has to choose.
const OPERATOR: Option<i32> = Some(75);
/// It starts.
const STARTS: Option<i32> = None;

type Settings = Vec<(&'static str, String)>;

/// A set-up, and how `run` ends on it.
#[derive(Debug, Clone)]
struct Case {
    name: &'static str,
    settings: Settings,
    exit: Option<i32>,
}

/// A case that differs from the usual by these settings.
fn case(name: &'static str, exit: Option<i32>, settings: &[(&'static str, &str)]) -> Case {
    let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Case { name, settings, exit }
}

/// What all set-ups have, of which each changes something.
struct Bench {
    usual: Settings,
    folder: TempDir,
}

impl Bench {
    fn new(of_source: Settings) -> std::io::Result<Self> {
        let mut usual = of_source;
        for (key, value) in [
            ("source.start_patience", "0ms"),
            ("source.connect_timeout", "2s"),
            ("source.heartbeat_period", "200ms"),
            ("heartbeat.interval", "500ms"),
            ("heartbeat.write_deadline", "400ms"),
            ("canary.enabled", "false"),
            ("sink.kind", "null"),
            ("shutdown.on_halt", "exit"),
        ] {
            usual.push((key, value.to_owned()));
        }
        Ok(Self { usual, folder: tempfile::tempdir()? })
    }

    fn of(mysqld: &Mysqld) -> std::io::Result<Self> {
        Self::new(settings_for(mysqld))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// All settings of a case: a stream, an address and a checkpoint of its own unless it says so.
    fn settings(&self, case: &Case) -> std::io::Result<Settings> {
        let name = case.name.replace(' ', "-");
        // Free a moment ago.
        let listen = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut all = self.usual.clone();
        all.push(("stream.name", name.clone()));
        all.push(("http.listen", listen.to_string()));
        all.push(("checkpoint.path", self.path(&format!("{name}.checkpoint"))));
        all.retain(|(key, _)| !case.settings.iter().any(|(other, _)| other == key));
        all.extend_from_slice(&case.settings);
        Ok(all)
    }

    /// Runs both on each case and compares.
    async fn agree(&self, cases: Vec<Case>) -> Outcome {
        let (mut running, mut wrong) = (JoinSet::<Result<(), String>>::new(), Vec::new());
        for case in cases {
            if running.len() == AT_ONCE
                && let Some(done) = running.join_next().await
            {
                wrong.extend(done?.err());
            }
            let settings = self.settings(&case)?;
            running.spawn(async move { compare(case, settings).await });
        }
        while let Some(done) = running.join_next().await {
            wrong.extend(done?.err());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
    }

    /// Runs until the stream has begun, so that there is a checkpoint.
    async fn begin(&self, case: &Case) -> Outcome {
        let settings = self.settings(case)?;
        let (exit, log) = run(case, &settings).await?;
        if exit.is_some() { Err(format!("{case:?}: {exit:?} {log}").into()) } else { Ok(()) }
    }
}

fn program(name: &str, settings: &Settings) -> Command {
    let mut command = command(name, settings);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// How `run` ends, and its last words; `None`: it streams, and was killed.
async fn run(case: &Case, settings: &Settings) -> std::io::Result<(Option<i32>, String)> {
    let mut child = program("run", settings).spawn()?;
    let address = settings.iter().find(|(key, _)| *key == "http.listen").expect("an address");
    let give_up = Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait()? {
            let log = child.wait_with_output().await?.stderr;
            return Ok((status.code(), String::from_utf8_lossy(&log).into_owned()));
        }
        // One that is to end may stream for a moment before.
        let streams = case.exit.is_none()
            && get(&address.1, "/status")
                .await
                .is_ok_and(|answer| answer.body.contains("\"state\": \"running\""));
        if streams || Instant::now() > give_up {
            child.start_kill()?;
            let log = child.wait_with_output().await?.stderr;
            return Ok((None, String::from_utf8_lossy(&log).into_owned()));
        }
        tokio::task::yield_now().await;
    }
}

async fn compare(case: Case, settings: Settings) -> Result<(), String> {
    let name = case.name;
    let told = |error: std::io::Error| format!("{name}: {error}");
    let mut check = program("check", &settings);
    check.stdout(Stdio::piped());
    let checked =
        timeout(SOON, check.output()).await.map_err(|_| format!("{name}: check hangs"))?;
    let checked = checked.map_err(told)?;
    let (exit, log) = run(&case, &settings).await.map_err(told)?;
    let expected = match exit {
        None => Some(0),
        Some(64) => Some(64),
        Some(_) => Some(1),
    };
    if exit == case.exit && checked.status.code() == expected {
        return Ok(());
    }
    let wrong: Vec<_> = String::from_utf8_lossy(&checked.stdout)
        .lines()
        .filter(|line| line.contains("\"refuses\":true"))
        .map(str::to_owned)
        .collect();
    let tail: String = log.chars().rev().take(800).collect::<Vec<_>>().into_iter().rev().collect();
    Err(format!(
        "{name}: run ended with {exit:?}, expected {:?}, and check with {:?}\n  check: {}{}\n  run: {tail}",
        case.exit,
        checked.status.code(),
        wrong.join("\n  "),
        String::from_utf8_lossy(&checked.stderr),
    ))
}
