//! A reader as a program of its own, and what it says: see `benches/peers/README.md`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use binpulse_demo::{Folder, Installed, Server};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::Outcome;
use crate::process::Pid;

/// Deadline of the first row, and of the rest.
const DEADLINE: Duration = Duration::from_mins(1);

/// Its standard error, in a folder of its own, and how much of it is told.
const LOG: &str = "log";
const LOG_CHARS: usize = 600;

/// What is run for a reader, and the file without which it was not fetched.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Whether it asks `SHOW MASTER STATUS`, which MySQL has not known since 8.4.
    pub(crate) is_old: bool,
    needs: PathBuf,
    command: Command,
}

/// Those that `benches/peers/fetch.sh` knows how to get.
pub(crate) fn all() -> Vec<Program> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (fetched, here) = (root.join(".deps/peers"), root.join("benches/peers"));
    let mut programs = vec![
        Program::new("mysql_async, its rows", fetched.join("mysql_async/release/peer-mysql-async")),
        Program::new("go-mysql canal", fetched.join("canal")),
    ];
    for (name, folder, is_old) in
        [("Debezium embedded engine", "debezium", false), ("Maxwell", "maxwell", true)]
    {
        let (lib, classes) =
            (fetched.join(folder).join("lib"), fetched.join(folder).join("classes"));
        let mut java = Program::new(name, classes.join("Reader.class"));
        java.is_old = is_old;
        java.command = Command::new("java");
        java.command.args(["-Xmx512m", "-XX:+UseParallelGC", "-cp"]);
        java.command.arg(format!("{}:{}/*", classes.display(), lib.display())).arg("Reader");
        programs.push(java);
    }
    let mut zongji =
        Program::new("@vlasky/zongji", fetched.join("zongji/node_modules/@vlasky/zongji"));
    zongji.command = Command::new("node");
    zongji.command.arg(here.join("zongji/reader.cjs"));
    zongji.command.env("NODE_PATH", fetched.join("zongji/node_modules"));
    let mut python =
        Program::new("python-mysql-replication", fetched.join("python/pymysqlreplication"));
    python.command = Command::new("python3");
    python.command.arg(here.join("python/reader.py")).env("PYTHONPATH", fetched.join("python"));
    programs.extend([zongji, python]);
    programs
}

/// Debezium's snapshots: `file` of the order is which, `initial` or `incremental`.
pub(crate) fn debezium_snapshots() -> Program {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".deps/peers/debezium");
    let classes = folder.join("classes");
    let mut java = Program::new("Debezium's snapshots", classes.join("Snapshots.class"));
    java.command = Command::new("java");
    java.command.args(["-Xmx512m", "-XX:+UseParallelGC", "-cp"]);
    java.command.arg(format!("{}:{}/*", classes.display(), folder.join("lib").display()));
    java.command.arg("Snapshots");
    java
}

/// The newest server here for those that are old.
pub(crate) fn old_server() -> Outcome<Option<Server>> {
    let mut servers = Installed::find()?.servers;
    servers.retain(|server| server.is_mysql(8, 0) && !server.is_mysql(8, 4));
    Ok(servers.into_iter().next())
}

/// An account for those: they know older logins only, and none without a password.
pub(crate) const OLD_LOGIN: [&str; 2] = [
    "CREATE USER maxwell IDENTIFIED WITH mysql_native_password BY 'maxwell'",
    "GRANT ALL ON *.* TO maxwell",
];

/// What it is to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) port: u16,
    pub(crate) file: &'a str,
    pub(crate) position: u64,
    pub(crate) rows: u64,
    /// It stops there when it has not got all rows.
    pub(crate) seconds: u64,
    /// Whether it tells the age of each row of `bench.ticks`.
    pub(crate) ages: bool,
}

impl Program {
    fn new(name: &'static str, path: PathBuf) -> Self {
        Self { name, is_old: false, command: Command::new(&path), needs: path }
    }

    pub(crate) fn is_fetched(&self) -> bool {
        self.needs.exists()
    }

    pub(crate) fn start(mut self, order: Order<'_>) -> Outcome<Reader> {
        let Order { port, file, position, rows, seconds, ages } = order;
        let numbers = [position, rows, seconds].map(|number| number.to_string());
        self.command.args(["127.0.0.1", &port.to_string(), file]).args(numbers);
        if ages {
            self.command.arg("ages");
        }
        let folder = Folder::create()?;
        let log = fs::File::create(folder.path().join(LOG))?;
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let spawned = piped.kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|error| format!("{}: {error}", self.name))?;
        let pid = Pid::of(child.id().ok_or("it has ended at once")?);
        let input = child.stdin.take().ok_or("it has no input")?;
        let lines = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
        Ok(Reader { name: self.name, child, input, lines, pid, folder, began: Instant::now() })
    }
}

/// A reader that runs.
#[derive(Debug)]
pub(crate) struct Reader {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pid: Pid,
    folder: Folder,
    began: Instant,
}

/// What it said at its end.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    /// Name and version.
    pub(crate) reader: String,
    pub(crate) rows: u64,
    pub(crate) ages_us: Vec<i64>,
}

/// What was seen of it: the time until its first row, and what it took from there to its last.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) said: Said,
    pub(crate) start: Duration,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

impl Reader {
    /// Waits for a line.
    async fn line(&mut self) -> Outcome<String> {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        let line = match line {
            Err(_) => return Err(self.failed(&format!("nothing in {DEADLINE:?}"))),
            Ok(line) => line?,
        };
        line.ok_or_else(|| self.failed("ended early"))
    }

    /// What happened, and the beginning of what it said about itself.
    fn failed(&self, what: &str) -> Box<dyn Error> {
        let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        let log: String = log.chars().take(LOG_CHARS).collect();
        format!("{}: {what}; it said: {log}", self.name).into()
    }

    /// Waits until it says that word.
    pub(crate) async fn says(&mut self, word: &str) -> Outcome {
        match self.line().await? {
            said if said == word => Ok(()),
            other => Err(format!("{}: says {other:?} instead of `{word}`", self.name).into()),
        }
    }

    /// Waits for the first row; how long that took.
    pub(crate) async fn first(&mut self) -> Outcome<Duration> {
        self.says("reading").await?;
        Ok(self.began.elapsed())
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.pid.cpu()
    }

    /// Waits for the last row. It keeps running until all is read that a process has to tell.
    pub(crate) async fn finish(mut self, start: Duration) -> Outcome<Seen> {
        let (began, cpu) = (Instant::now(), self.cpu());
        let line = self.line().await?;
        let wall = began.elapsed();
        let cpu = self.cpu().saturating_sub(cpu);
        let peak_kib = self.pid.resident_kib().0;
        let said = serde_json::from_str(&line)
            .map_err(|error| format!("{}: {line:.100}: {error}", self.name))?;
        drop(self.input);
        timeout(DEADLINE, self.child.wait()).await??;
        Ok(Seen { said, start, wall, cpu, peak_kib })
    }
}
