//! A program that never outlives us, however we end.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, Folder};

/// Pause between two looks at something that can't tell us by itself.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// Bytes of a log's end that an error quotes.
const LOG_TAIL_BYTES_MAX: usize = 2_000;

/// Runs the program as its child and holds its lifeline: words on standard input are signals, and
/// its end means that we are gone, also by SIGKILL; then the program is killed and its folder
/// removed. A parent-death signal would do half of it and needs unsafe code.
const KEEPER: &str = r#"
folder=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
(
    while read -r signal <&3; do kill -s "$signal" "$program"; done
    trap '' TERM
    kill -s KILL "$program"
) 2>/dev/null &
watch=$!
wait "$program"
code=$?
kill "$watch" 2>/dev/null
wait "$watch" 2>/dev/null && rm -rf -- "$folder"
exit "$code"
"#;

/// A signal for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please stop.
    Term,
    /// What Ctrl-C sends.
    Int,
    /// Die at once.
    Kill,
    /// Freeze.
    Stop,
    /// Continue.
    Cont,
    /// Read the settings again.
    Hup,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Hup => "HUP",
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in messages.
    pub name: String,
    /// Path and arguments.
    pub command: Vec<OsString>,
    /// Variables added to our environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables taken out of it, by the start of their names.
    pub without: Vec<&'static str>,
    /// File that its output is appended to.
    pub log: PathBuf,
}

/// A running program in a process group of its own, so that a terminal's Ctrl-C reaches us only.
/// Dropping it kills it and waits for its end.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    lifeline: ChildStdin,
}

impl Process {
    /// Starts the program. `folder` is removed should we die without dropping it.
    pub fn start(program: &Program, folder: &Folder) -> Result<Self, Error> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&program.log)
            .map_err(Error::file(&program.log))?;
        let errors = log.try_clone().map_err(Error::file(&program.log))?;
        let failed = |source| Error::Program { program: program.name.clone(), source };
        let mut command = Command::new("/bin/sh");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().into_owned();
            if program.without.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .args(&program.command)
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let lifeline = child.stdin.take().ok_or_else(|| {
            let source = std::io::Error::other("no pipe to its standard input");
            Error::Program { program: program.name.clone(), source }
        })?;
        Ok(Self { name: program.name.clone(), log: program.log.clone(), child, lifeline })
    }

    /// Sends a signal; to a program that has ended it is an error or has no effect.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        writeln!(self.lifeline, "{}", signal.word())
            .map_err(|source| Error::Program { program: self.name.clone(), source })
    }

    /// How it ended, if it has. A program killed by signal n has code 128 + n.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child
            .try_wait()
            .map_err(|source| Error::Program { program: self.name.clone(), source })
    }

    /// An error if it has ended: for those who wait for something from it.
    pub fn must_run(&mut self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                program: self.name.clone(),
                code: status.code(),
                log: self.log_tail(),
            }),
        }
    }

    /// Waits for its end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let give_up = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= give_up {
                let what = format!("the end of {}; its log ends:\n{}", self.name, self.log_tail());
                return Err(Error::Deadline { what, seconds: deadline.as_secs() });
            }
            sleep(POLL).await;
        }
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::Term)?;
        self.wait(deadline).await
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) -> Result<(), Error> {
        if self.ended()?.is_none() {
            self.signal(Signal::Kill)?;
            self.wait(Duration::from_secs(10)).await?;
        }
        Ok(())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Process");
        shown.field("name", &self.name).field("log", &self.log).finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already; then there is nothing to do.
        drop(self.signal(Signal::Kill));
        if let Err(error) = self.child.wait() {
            tracing::warn!(program = self.name, %error, "cannot wait for its end");
        }
    }
}

/// The last lines of a log, for an error's text.
pub(super) fn log_tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let start = text.len().saturating_sub(LOG_TAIL_BYTES_MAX);
    String::from_utf8_lossy(text.get(start..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Folder) -> Program {
        Program {
            name: "script".to_owned(),
            command: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
            environment: Vec::new(),
            without: Vec::new(),
            log: folder.path().join("log"),
        }
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < give_up, "waited in vain for {what}");
            sleep(POLL).await;
        }
    }

    fn is_running(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn a_program_that_ends_by_itself_is_noticed_with_its_code_and_log() {
        let folder = Folder::create().expect("folder");
        let mut process =
            Process::start(&shell("echo last words; exit 7", &folder), &folder).expect("starts");
        let status = process.wait(Duration::from_secs(10)).await.expect("ends");
        assert_eq!(status.code(), Some(7));
        let error = process.must_run().expect_err("it has ended").to_string();
        assert!(error.contains("last words") && error.contains('7'), "{error}");
        assert!(folder.path().exists(), "a restart needs the folder");
    }

    #[tokio::test]
    async fn signals_reach_the_program() {
        let folder = Folder::create().expect("folder");
        let script = "trap 'echo stopping; exit 3' TERM; echo up; while :; do sleep 0.01; done";
        let mut process = Process::start(&shell(script, &folder), &folder).expect("starts");
        until("the trap", || process.log_tail().contains("up")).await;
        let status = process.stop(Duration::from_secs(10)).await.expect("stops");
        assert_eq!(status.code(), Some(3));
        assert!(process.log_tail().contains("stopping"));
    }

    #[tokio::test]
    async fn dropping_it_kills_even_a_program_that_is_frozen() {
        let folder = Folder::create().expect("folder");
        let mut process =
            Process::start(&shell("echo $$; exec sleep 60", &folder), &folder).expect("starts");
        until("the pid", || process.log_tail().ends_with('\n')).await;
        let pid = process.log_tail().trim().to_owned();
        process.signal(Signal::Stop).expect("freezes");
        drop(process);
        assert!(!is_running(&pid));
        assert!(folder.path().exists(), "the folder is its owner's to remove");
    }

    #[tokio::test]
    async fn nothing_is_left_when_the_starter_vanishes() {
        let folder = Folder::create().expect("folder");
        let mut process =
            Process::start(&shell("echo $$; exec sleep 60", &folder), &folder).expect("starts");
        until("the pid", || process.log_tail().ends_with('\n')).await;
        let pid = process.log_tail().trim().to_owned();

        // The lifeline's end is all that a SIGKILL of the starter lets the keeper see.
        let (end, lifeline) = std::io::pipe().expect("a pipe");
        drop(end);
        drop(std::mem::replace(
            &mut process.lifeline,
            ChildStdin::from(std::os::fd::OwnedFd::from(lifeline)),
        ));

        until("its end", || !is_running(&pid)).await;
        until("the folder's end", || !folder.path().exists()).await;
        std::fs::create_dir(folder.path()).expect("for the folder's own drop");
    }
}
