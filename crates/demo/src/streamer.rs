//! The streamer itself, or a consumer's probe, as the program that it is: a child with settings,
//! asked over HTTP.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::launch::free_port;
use super::{Error, Folder, HttpError, Process, Program, Signal, http};

/// Deadline of an orderly stop, the grace time for delivery included.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What to run, and with which settings.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program.
    pub binary: PathBuf,
    /// `run`, or another command, such as `shadow run`.
    pub command: String,
    /// Settings by key; those that are secret travel in the environment.
    pub settings: Vec<(&'static str, String)>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Further variables, such as credentials.
    pub environment: Vec<(&'static str, String)>,
}

impl Command {
    /// Program, arguments and environment.
    fn program(&self, folder: &Folder) -> Program {
        let mut command = vec![self.binary.clone().into_os_string()];
        command.extend(self.command.split(' ').map(OsString::from));
        let mut environment: Vec<(OsString, OsString)> =
            self.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        for (key, value) in &self.settings {
            if is_secret(key) {
                environment.push((variable(key).into(), value.into()));
            } else {
                command.push(flag(key).into());
                command.push(value.into());
            }
        }
        command.extend(self.arguments.iter().map(OsString::from));
        Program {
            name: format!("binpulse {}", self.command),
            command,
            environment,
            without: vec!["BINPULSE_", "AWS_"],
            log: folder.path().join("log"),
        }
    }

    /// Runs it to its end and returns its exit code and the end of its output.
    pub async fn run_to_end(&self, deadline: Duration) -> Result<(Option<i32>, String), Error> {
        let folder = Folder::create()?;
        let mut process = Process::start(&self.program(&folder), &folder)?;
        let status = process.wait(deadline).await?;
        Ok((status.code(), process.log_tail()))
    }
}

/// A running streamer. Dropping it kills it and removes its checkpoint.
#[derive(Debug)]
pub struct Streamer {
    process: Process,
    folder: Folder,
    command: Command,
    address: String,
}

impl Streamer {
    /// Starts it; where to listen is added to the settings, and where to keep the checkpoint unless
    /// they say it. Does not wait for anything.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let checkpoint = folder.path().join("checkpoint").display().to_string();
        let listen = match command.command.as_str() {
            "probe" => "probe.listen",
            "relay" => "relay.listen",
            _ => "http.listen",
        };
        command.settings.push((listen, address.clone()));
        if !command.settings.iter().any(|(key, _)| *key == "checkpoint.path") {
            command.settings.push(("checkpoint.path", checkpoint));
        }
        let process = Process::start(&command.program(&folder), &folder)?;
        Ok(Self { process, folder, command, address })
    }

    /// Host and port of `/metrics` and `/status`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its settings, to be changed before [`Self::start_again`].
    pub fn command_mut(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Its folder, where the checkpoint lies.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Starts it again with the same checkpoint, killing it first if it runs.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        self.process.kill().await?;
        self.process = Process::start(&self.command.program(&self.folder), &self.folder)?;
        Ok(())
    }

    /// Kills it, as an out-of-memory killer would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// Asks it to stop, waits for its end, and returns its exit code.
    pub async fn stop(&mut self) -> Result<Option<i32>, Error> {
        Ok(self.process.stop(STOP_DEADLINE).await?.code())
    }

    /// Asks it to stop, and does not wait.
    pub fn terminate(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Term)
    }

    /// Waits until it ends by itself, and returns its exit code.
    pub async fn wait(&mut self, deadline: Duration) -> Result<Option<i32>, Error> {
        Ok(self.process.wait(deadline).await?.code())
    }

    /// Freezes it.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Stop)
    }

    /// Lets it continue after [`Self::freeze`].
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Cont)
    }

    /// Asks it to read its settings again.
    pub fn hang_up(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Hup)
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> Result<(), Error> {
        self.process.must_run()
    }

    /// Code and body of its answer at this path.
    pub async fn ask(&self, path: &str) -> Result<(u16, String), Error> {
        let answer = http::get(&self.address, path).await?;
        Ok((answer.code, answer.body))
    }

    /// What it says at `/status`.
    pub async fn status(&self) -> Result<Value, Error> {
        let answer = http::get(&self.address, "/status").await?;
        serde_json::from_str(&answer.body).map_err(|error| {
            let (address, path) = (self.address.clone(), "/status".to_owned());
            HttpError { address, path, reason: error.to_string() }.into()
        })
    }

    /// The sum of a metric's series whose labels contain all of `labels`, as `kind="change"`.
    /// `None` if there is no such series.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<Option<f64>, Error> {
        let answer = http::get(&self.address, "/metrics").await?;
        Ok(sum_of(&answer.body, name, labels))
    }

    /// Waits until a status of it fulfils `holds`, and returns that.
    pub async fn until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Result<Value, Error> {
        let give_up = Instant::now() + deadline;
        loop {
            self.must_run()?;
            let seen = match self.status().await {
                Ok(status) if holds(&status) => return Ok(status),
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up {
                let what = format!("{what}; last seen: {seen}; its log ends:\n{}", self.log_tail());
                return Err(Error::Deadline { what, seconds: deadline.as_secs() });
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Waits until `/readyz` answers 200.
    pub async fn until_ready(&mut self, deadline: Duration) -> Result<(), Error> {
        let give_up = Instant::now() + deadline;
        loop {
            self.must_run()?;
            let seen = match http::get(&self.address, "/readyz").await {
                Ok(answer) if answer.code == 200 => return Ok(()),
                Ok(answer) => answer.body,
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up {
                let log = self.log_tail();
                let what = format!("the streamer to be ready ({seen}); its log ends:\n{log}");
                return Err(Error::Deadline { what, seconds: deadline.as_secs() });
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Whether a setting is a secret, which binpulse takes from the environment or from a file only.
pub fn is_secret(key: &str) -> bool {
    matches!(
        key,
        "filter.hash_key"
            | "heartbeat.password"
            | "http.token"
            | "probe.copy_password"
            | "relay.state_password"
            | "relay.streamer_token"
            | "relay.to.bearer"
            | "relay.to.password"
            | "relay.to.previous_secret"
            | "relay.to.oauth.client_secret"
            | "relay.to.secret"
            | "source.password"
    )
}

/// The flag of a setting, `--source-hosts`.
pub fn flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

/// The environment variable of a setting, `BINPULSE_SOURCE_HOSTS`.
pub fn variable(key: &str) -> String {
    format!("BINPULSE_{}", key.replace('.', "_").to_ascii_uppercase())
}

fn sum_of(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (series, value) = rest.rsplit_once(' ')?;
        let is_it = series.is_empty() || series.starts_with('{');
        let has_all = labels.iter().all(|label| series.contains(label));
        (is_it && has_all).then(|| value.parse::<f64>().ok()).flatten()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_that_have_the_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"1\"} 2\na{x=\"1\",y=\"2\"} 3\na{x=\"2\"} 4\n\
                    a_total 50\nb 6.5\n";
        assert_eq!(sum_of(text, "a", &[]), Some(9.0));
        assert_eq!(sum_of(text, "a", &["x=\"1\""]), Some(5.0));
        assert_eq!(sum_of(text, "b", &[]), Some(6.5));
        assert_eq!(sum_of(text, "c", &[]), None);
    }

    #[test]
    fn secrets_travel_in_the_environment_and_never_on_the_command_line() {
        let folder = Folder::create().expect("folder");
        let command = Command {
            binary: PathBuf::from("/binpulse"),
            command: "run".to_owned(),
            settings: vec![
                ("source.password", "hush".to_owned()),
                ("stream.name", "demo".to_owned()),
            ],
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let program = command.program(&folder);
        let words: Vec<_> = program.command.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words, ["/binpulse", "run", "--stream-name", "demo"]);
        assert_eq!(program.environment, [("BINPULSE_SOURCE_PASSWORD".into(), "hush".into())]);
    }
}
