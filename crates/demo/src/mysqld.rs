//! A private MySQL or MariaDB: own folder, free port on this machine only, gone with its owner.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::{Instant, sleep, timeout};

use super::datadir::{option, provide, small};
use super::process::{POLL, Process, Program, Signal};
use super::{Error, Flavor, Folder, Server};

/// Deadline until a server takes connections; recovery after a kill is included.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Deadline of a clean shutdown.
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// Deadline of one connection attempt while it starts.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A free port can be taken by others between the look and the start.
const START_ATTEMPTS_MAX: u32 = 3;

/// Keeps the servers' own files small: the redo log alone has 100 MB by default.
pub(super) const SMALL: &[(&str, &[&str])] = &[
    ("MySQL from 8.1", &["--innodb-redo-log-capacity=16M"]),
    ("older, and MariaDB", &["--innodb-log-file-size=8M"]),
];

/// How a server is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line, independent")]
pub struct Options {
    /// Whether it writes a binary log.
    pub binlog: bool,
    /// Whether MySQL runs with `gtid_mode=ON`; MariaDB always has GTIDs.
    pub gtid: bool,
    /// Whether the binary log names columns and more, where the version can; its default is not to.
    pub full_metadata: bool,
    /// Whether it makes TLS keys of its own, which takes a moment; else all servers of a version share
    /// theirs.
    pub own_keys: bool,
    /// Whether each commit reaches the disk; tests are faster without.
    pub durable: bool,
    /// Replication id; `None`: one that no other server of this process has.
    pub server_id: Option<u32>,
    /// Further options, which win over those above.
    pub extra: Vec<String>,
    /// Variables added to its environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binlog: true,
            gtid: true,
            full_metadata: true,
            own_keys: false,
            durable: false,
            server_id: None,
            extra: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A running server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Mysqld {
    // Dropped in this order: the server ends before its data goes away.
    process: Process,
    folder: Folder,
    server: Server,
    options: Options,
    port: u16,
}

impl Mysqld {
    /// Starts a server with empty data and waits until it takes connections.
    pub async fn start(server: &Server, options: Options) -> Result<Self, Error> {
        static SERVER_ID: AtomicU32 = AtomicU32::new(1);
        let mut options = options;
        options.server_id.get_or_insert_with(|| SERVER_ID.fetch_add(1, Ordering::Relaxed));
        let folder = Folder::create()?;
        let data = folder.path().join("data");
        provide(server, &options, &data).await?;
        if options.own_keys {
            remove_keys(&data)?;
        }
        let (process, port) = spawn(server, &options, &folder, None).await?;
        Ok(Self { process, folder, server: server.clone(), options, port })
    }

    /// What runs.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its data, binary logs included.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// How it is run, to be changed before [`Self::start_again`].
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// A session of `root`.
    pub async fn connect(&self) -> Result<Conn, Error> {
        connect(self.port).await
    }

    /// Runs statements as `root`, in a session of their own.
    pub async fn execute<S: AsRef<str>>(&self, statements: &[S]) -> Result<(), Error> {
        let mut session = self.connect().await?;
        for statement in statements {
            session.query_drop(statement.as_ref()).await?;
        }
        session.disconnect().await?;
        Ok(())
    }

    /// Kills it, as a power cut would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// Shuts it down in order.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.process.stop(STOP_DEADLINE).await.map(drop)
    }

    /// Starts it again on the same data and port, after [`Self::kill`] or [`Self::stop`].
    pub async fn start_again(&mut self) -> Result<(), Error> {
        self.process.kill().await?;
        let port = Some(self.port);
        let (process, _) = spawn(&self.server, &self.options, &self.folder, port).await?;
        self.process = process;
        Ok(())
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Stop)
    }

    /// Lets it continue after [`Self::freeze`].
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::Cont)
    }
}

/// Without them, a server makes new ones when it starts.
fn remove_keys(data: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(data).map_err(Error::file(data))? {
        let path = entry.map_err(Error::file(data))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            std::fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}

/// A session of `root` on a private server.
async fn connect(port: u16) -> Result<Conn, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("root"))
        .prefer_socket(false);
    Ok(Conn::new(options).await?)
}

/// Starts a server on the data in `folder` and waits until it takes connections.
pub(super) async fn spawn(
    server: &Server,
    options: &Options,
    folder: &Folder,
    port: Option<u16>,
) -> Result<(Process, u16), Error> {
    let mut attempt = 1;
    loop {
        let port = port.map_or_else(free_port, Ok)?;
        let program = program(server, options, folder, port);
        let mut process = Process::start(&program, folder)?;
        match until_ready(&mut process, port).await {
            Ok(()) => return Ok((process, port)),
            Err(Error::Ended { log, .. })
                if attempt < START_ATTEMPTS_MAX && log.contains("already in use") =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn until_ready(process: &mut Process, port: u16) -> Result<(), Error> {
    let give_up = Instant::now() + START_DEADLINE;
    loop {
        process.must_run()?;
        let refused = match timeout(CONNECT_DEADLINE, connect(port)).await {
            Ok(Ok(session)) => {
                session.disconnect().await?;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= give_up {
            let log = process.log_tail();
            let what = format!("the private server ({refused}); its log ends:\n{log}");
            return Err(Error::Deadline { what, seconds: START_DEADLINE.as_secs() });
        }
        sleep(POLL).await;
    }
}

/// A port that nobody listens on just now.
pub(super) fn free_port() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Program { program: "looking for a free port".to_owned(), source })
}

fn program(server: &Server, options: &Options, folder: &Folder, port: u16) -> Program {
    let mut command = vec![server.mysqld.clone().into_os_string()];
    let mut add = |text: &str| command.push(OsString::from(text));
    add("--no-defaults");
    for fixed in FIXED {
        add(fixed);
    }
    add(&format!("--port={port}"));
    for text in small(server) {
        add(text);
    }
    if !options.durable {
        add("--innodb-flush-log-at-trx-commit=0");
        add("--sync-binlog=0");
    }
    if folder.is_of_root() {
        add("--user=root");
    }
    if options.binlog {
        for text in binlog_options(server, options) {
            add(&text);
        }
    } else {
        add("--skip-log-bin");
    }
    command.push(option("--datadir=", &folder.path().join("data")));
    command.push(option("--socket=", &folder.path().join("socket")));
    command.push(option("--pid-file=", &folder.path().join("pid")));
    command.push(option("--tmpdir=", folder.path()));
    command.extend(options.extra.iter().map(OsString::from));
    Program {
        name: server.name.clone(),
        command,
        environment: options
            .environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        without: vec!["MYSQL_", "LD_LIBRARY_PATH", "LD_PRELOAD"],
        log: folder.path().join("log"),
    }
}

const FIXED: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=64M",
    "--character-set-server=utf8mb4",
];

fn binlog_options(server: &Server, options: &Options) -> Vec<String> {
    let mut chosen = vec![
        format!("--server-id={}", options.server_id.unwrap_or(1)),
        "--log-bin=binlog".to_owned(),
        "--binlog-format=ROW".to_owned(),
    ];
    if options.full_metadata && (server.is_mysql(8, 0) || server.is_mariadb(10, 5)) {
        chosen.push("--binlog-row-metadata=FULL".to_owned());
    }
    if server.flavor == Flavor::Mysql && !server.is_mysql(8, 0) {
        // GTIDs needed it up to 5.6, and it became the default in 8.0.
        chosen.push("--log-slave-updates".to_owned());
    }
    if server.flavor == Flavor::Mysql && options.gtid {
        chosen.push("--gtid-mode=ON".to_owned());
        chosen.push("--enforce-gtid-consistency=ON".to_owned());
    } else if server.is_mysql(9, 0) {
        // Some of these releases have it on.
        chosen.push("--gtid-mode=OFF".to_owned());
        chosen.push("--enforce-gtid-consistency=OFF".to_owned());
    }
    if server.flavor == Flavor::Mariadb {
        chosen.push("--log-slave-updates=ON".to_owned());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(flavor: Flavor, version: &str) -> Server {
        Server {
            name: "test".to_owned(),
            flavor,
            version: version.to_owned(),
            mysqld: PathBuf::from("/mysqld"),
            mysqlbinlog: None,
            client: None,
        }
    }

    #[test]
    fn each_version_gets_only_options_that_it_knows() {
        let options = |flavor, version, gtid| {
            let options = Options { gtid, ..Options::default() };
            binlog_options(&server(flavor, version), &options).join(" ")
        };
        let old = options(Flavor::Mysql, "5.6.24", true);
        assert!(!old.contains("metadata") && old.contains("log-slave-updates"), "{old}");
        let new = options(Flavor::Mysql, "9.7.4", true);
        assert!(new.contains("metadata") && !new.contains("slave"), "{new}");
        let maria = options(Flavor::Mariadb, "10.11.18", true);
        assert!(!maria.contains("gtid-mode"), "{maria}");
        assert!(!options(Flavor::Mysql, "8.0.31", false).contains("gtid"));
    }
}
