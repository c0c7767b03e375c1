//! Starts a database server: its options, and when it is ready.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tokio::time::{Instant, sleep, timeout};

use super::process::{POLL, Process, Program};
use super::{Error, Flavor, Folder, Server};

/// Deadline until a server takes connections; recovery after a kill is included.
const START_DEADLINE: Duration = Duration::from_mins(1);
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

/// A session of `root` on a private server.
pub(super) async fn connect(port: u16) -> Result<Conn, Error> {
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
    if server.is_mysql(8, 0) {
        for text in WITHOUT_STATISTICS {
            add(text);
        }
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

/// Statistics in the performance schema that nobody here reads: their memory takes a fifth of the processor time
/// of a start, and 140 MB.
const WITHOUT_STATISTICS: &[&str] = &[
    "--loose-performance-schema-digests-size=100",
    "--loose-performance-schema-error-size=0",
    "--loose-performance-schema-max-digest-length=256",
    "--loose-performance-schema-events-stages-history-long-size=10",
    "--loose-performance-schema-events-statements-history-long-size=10",
    "--loose-performance-schema-events-transactions-history-long-size=10",
    "--loose-performance-schema-events-waits-history-long-size=10",
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

/// `--name=` and a path.
pub(super) fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Options that keep the server's own files small: they must be the same for making and running.
pub(super) fn small(server: &Server) -> &'static [&'static str] {
    let (_, options) = if server.is_mysql(8, 1) { SMALL[0] } else { SMALL[1] };
    options
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
