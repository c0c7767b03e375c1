//! Private database servers for the source's tests.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use binpulse::mysql::{ConnectOptions, HostPort, Row, Secret, Session, Tls, TlsConfig, TlsMode};

/// Every server that the manifest may list.
pub(crate) const ALL: [&str; 5] =
    ["mysql-9.7", "mysql-8.0", "mysql-5.7", "mysql-5.6", "mariadb-10.11"];

/// How long a server may take to come up on a busy machine.
const START: Duration = Duration::from_mins(2);

/// A running server; stopped when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
    child: Child,
    home: tempfile::TempDir,
}

impl Server {
    /// Initialises and starts a server, with the accounts `admin` and `rep`.
    pub(crate) async fn start(name: &'static str, options: &[&str]) -> Self {
        let program = program(name);
        let home = tempfile::tempdir().expect("a temporary folder");
        let data = home.path().join("data");
        fs::create_dir(&data).expect("the data folder");
        let log = fs::File::create(home.path().join("init.log")).expect("a log");
        let status = Command::new(&program)
            .arg("--initialize-insecure")
            .arg(format!("--datadir={}", data.display()))
            .arg("--user=root")
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .expect("the server's launcher runs");
        assert!(status.success(), "{name}: {}", read(&home.path().join("init.log")));

        let accounts = home.path().join("accounts.sql");
        fs::write(&accounts, accounts_sql(name)).expect("a file");
        let port = free_port();
        let log = fs::File::create(home.path().join("server.log")).expect("a log");
        let child = Command::new(&program)
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}/s", home.path().display()))
            .arg(format!("--pid-file={}/pid", home.path().display()))
            .arg(format!("--init-file={}", accounts.display()))
            .arg(format!("--port={port}"))
            .args(["--user=root", "--bind-address=127.0.0.1", "--server-id=1"])
            .args(["--log-bin=binlog", "--binlog-format=ROW"])
            .args(["--max-allowed-packet=128M", "--innodb-buffer-pool-size=32M"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server's launcher runs");
        let mut server = Self { name, port, data, child, home };
        server.wait_until_up().await;
        server
    }

    async fn wait_until_up(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            if let Ok(session) = Session::connect(&self.options("admin")).await {
                return session.close().await;
            }
            let status = self.child.try_wait().expect("a child");
            let log = self.home.path().join("server.log");
            assert!(status.is_none(), "{}: ended: {}", self.name, read(&log));
            assert!(Instant::now() < deadline, "{}: not up: {}", self.name, read(&log));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn host(&self) -> HostPort {
        HostPort::new("127.0.0.1", self.port)
    }

    /// How to log in as an account, whose password is its name and `-pw`.
    pub(crate) fn options(&self, user: &str) -> ConnectOptions {
        ConnectOptions {
            host: self.host(),
            user: user.to_owned(),
            password: Secret::new(format!("{user}-pw")),
            tls: tls_off(),
            database: None,
            connect_timeout: Duration::from_secs(20),
            query_timeout: Duration::from_mins(1),
        }
    }

    pub(crate) async fn session(&self) -> Session {
        Session::connect(&self.options("admin")).await.expect("admin logs in")
    }

    /// Runs statements as admin, in one session; the rows of the last.
    pub(crate) async fn run(&self, statements: &[&str]) -> Vec<Row> {
        let mut session = self.session().await;
        let mut rows = Vec::new();
        for sql in statements {
            rows = session.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        session.close().await;
        rows
    }

    /// Sends the server's process a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    pub(crate) fn is_maria(&self) -> bool {
        self.name.starts_with("mariadb")
    }

    /// The authority that the server made for itself at its first start.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.data.join("ca.pem")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("the child was not waited for");
        self.child.wait().expect("the child ends");
    }
}

/// Options that switch GTIDs on.
pub(crate) fn gtid_options(name: &str) -> &'static [&'static str] {
    if name.starts_with("mariadb") {
        &[]
    } else {
        &["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--log-slave-updates=ON"]
    }
}

pub(crate) fn tls(mode: TlsMode, ca_file: Option<PathBuf>) -> Tls {
    TlsConfig { mode, ca_file, ..TlsConfig::default() }.load().expect("readable files")
}

pub(crate) fn tls_off() -> Tls {
    tls(TlsMode::Off, None)
}

fn accounts_sql(name: &str) -> String {
    let mut sql = String::new();
    for (user, privileges) in
        [("admin", "ALL"), ("rep", "REPLICATION SLAVE, REPLICATION CLIENT"), ("weak", "SELECT")]
    {
        let grant = if user == "admin" { " WITH GRANT OPTION" } else { "" };
        let grant_to = format!("GRANT {privileges} ON *.* TO '{user}'@'%'");
        let password = format!("IDENTIFIED BY '{user}-pw'");
        let statements = if name == "mysql-5.6" || name == "mysql-5.7" || name.starts_with("maria")
        {
            [format!("{grant_to} {password}{grant};\n"), String::new()]
        } else {
            [format!("CREATE USER '{user}'@'%' {password};\n"), format!("{grant_to}{grant};\n")]
        };
        sql.extend(statements);
    }
    sql
}

fn program(name: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/manifest.json");
    let text = fs::read_to_string(&manifest)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make deps`", manifest.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let servers = manifest["servers"].as_array().expect("a list of servers");
    let entry = servers.iter().find(|entry| entry["name"] == name);
    let entry = entry.unwrap_or_else(|| panic!("{name} is not in the manifest"));
    entry["mysqld"].as_str().expect("a path").into()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
