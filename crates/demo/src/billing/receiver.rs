//! The receiver: a program of its own, as a customer would write it.

use std::ffi::OsString;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::super::launch::free_port;
use super::super::process::POLL;
use super::super::{Error, Folder, Installed, Process, Program, http};

const SOURCE: &str = include_str!("receiver.py");
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Seen {
    /// Ids of webhooks.
    pub(super) ids: u64,
    /// Requests whose signature was right.
    pub(super) requests: u64,
    /// Ids that came in more than one request.
    pub(super) ids_again: u64,
    /// Requests that it answered with 500, or too late.
    pub(super) failed: u64,
    /// Charges that were made, each counted once.
    pub(super) charges: u64,
    /// Charges that were made, each time counted.
    pub(super) charged: u64,
    /// Charges that were made more than once.
    pub(super) twice: u64,
    /// The sum.
    pub(super) cents: u64,
}

/// A running receiver with a database of its own.
pub(super) struct Receiver {
    process: Process,
    port: u16,
    _folder: Folder,
}

impl Receiver {
    /// Secret of the signatures, for demos.
    pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

    pub(super) async fn start(installed: &Installed, seed: u64) -> Result<Self, Error> {
        let python = installed.python.as_ref().ok_or_else(|| Error::Missing {
            what: "Python with the package standardwebhooks".to_owned(),
            remedy: "run `make deps`",
        })?;
        let (folder, port) = (Folder::create()?, free_port()?);
        let source = folder.path().join("receiver.py");
        std::fs::write(&source, SOURCE).map_err(Error::file(&source))?;
        let variable = |name: &str, value: OsString| (OsString::from(name), value);
        let program = Program {
            name: "the receiver".to_owned(),
            command: vec![python.clone().into(), source.into()],
            environment: vec![
                variable("PORT", port.to_string().into()),
                variable("SEED", seed.to_string().into()),
                variable("WEBHOOK_SECRET", Self::SECRET.into()),
                variable("DATABASE", folder.path().join("charges.db").into()),
            ],
            without: vec!["PYTHON"],
            log: folder.path().join("log"),
        };
        let process = Process::start(&program, &folder)?;
        let mut receiver = Self { process, port, _folder: folder };
        let give_up = Instant::now() + START_DEADLINE;
        while let Err(error) = receiver.seen().await {
            receiver.process.must_run()?;
            if Instant::now() >= give_up {
                return Err(error);
            }
            sleep(POLL).await;
        }
        Ok(receiver)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/charges", self.port)
    }

    /// What it has seen up to now.
    pub(super) async fn seen(&self) -> Result<Seen, Error> {
        let answer = http::get(&format!("127.0.0.1:{}", self.port), "/").await?;
        serde_json::from_str(&answer.body).map_err(|error| {
            let text =
                format!("of the receiver: {error}; its log ends:\n{}", self.process.log_tail());
            Error::Message(text)
        })
    }
}
