//! The stand-in of SNS and SQS: an independent implementation in Python, private to its owner.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::installed::Standin as Installed;
use super::launch::free_port;
use super::process::{POLL, Process, Program, Signal};
use super::{Error, Folder, http};

/// Deadline until it serves.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Account number of its ARNs.
const ACCOUNT: &str = "000000000000";
/// Its credentials: any do.
pub(super) const ACCESS_KEY: &str = "demo";

/// A running stand-in. Dropping it kills it; what it holds is gone then.
#[derive(Debug)]
pub struct Standin {
    process: Process,
    _folder: Folder,
    port: u16,
}

impl Standin {
    /// Region of its ARNs.
    pub const REGION: &str = "us-east-1";

    /// Starts it on a free port and waits until it serves.
    pub async fn start(installed: &Installed) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let port = free_port()?;
        let mut environment: Vec<(OsString, OsString)> =
            installed.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        environment.push(("GATEWAY_PORT".into(), port.to_string().into()));
        // It leaves files in the temporary folder.
        environment.push(("TMPDIR".into(), folder.path().into()));
        let program = Program {
            name: "the stand-in of SNS and SQS".to_owned(),
            command: installed.command.iter().map(OsString::from).collect(),
            environment,
            without: vec!["AWS_", "PYTHON"],
            log: folder.path().join("log"),
        };
        let process = Process::start(&program, &folder)?;
        let mut standin = Self { process, _folder: folder, port };
        standin.until_ready(&installed.ready_path).await?;
        Ok(standin)
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// ARN of a topic by name.
    pub fn topic_arn(name: &str) -> String {
        format!("arn:aws:sns:{}:{ACCOUNT}:{name}", Self::REGION)
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Freezes it: it accepts connections and never answers.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Stop)
    }

    /// Lets it continue after [`Self::freeze`].
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Cont)
    }

    async fn until_ready(&mut self, path: &str) -> Result<(), Error> {
        let give_up = Instant::now() + START_DEADLINE;
        loop {
            self.process.must_run()?;
            let seen = match http::get(&self.address(), path).await {
                Ok(answer) if answer.code == 200 => return Ok(()),
                Ok(answer) => format!("answers {}", answer.code),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up {
                let what = format!("the stand-in ({seen}); its log ends:\n{}", self.log_tail());
                return Err(Error::Deadline { what, seconds: START_DEADLINE.as_secs() });
            }
            sleep(POLL).await;
        }
    }
}
