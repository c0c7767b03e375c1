//! Private servers with the accounts that the source's tests log in by.

use std::path::PathBuf;
use std::time::Duration;

use binpulse::mysql::{ConnectOptions, HostPort, Row, Secret, Session, Tls, TlsConfig, TlsMode};
use binpulse_demo::{Flavor, Mysqld, Options};

use crate::bed::Bed;

/// A running server with the accounts `admin`, `rep` and `weak`.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) data: PathBuf,
    mysqld: Mysqld,
}

impl Server {
    /// Starts a server as its version is by default, but for `extra`.
    pub(crate) async fn start(bed: &Bed, extra: &[&str]) -> Self {
        let mut options = Options {
            // They are on by default since 9.0.
            gtid: bed.server().is_mysql(9, 0),
            full_metadata: false,
            own_keys: true,
            server_id: Some(1),
            extra: extra.iter().map(|option| (*option).to_owned()).collect(),
            ..Options::default()
        };
        options.extra.push("--max-allowed-packet=128M".to_owned());
        if !bed.server().is_mysql(8, 1) {
            // 5.6 takes rows up to a tenth of its redo log.
            options.extra.push("--innodb-log-file-size=48M".to_owned());
        }
        let mysqld = bed.mysqld(options).await.expect("the server starts");
        let server = Self { name: bed.version(), data: mysqld.data(), mysqld };
        server.create_accounts().await;
        server
    }

    /// Makes the accounts without a trace in the binary log, which belongs to the test.
    async fn create_accounts(&self) {
        let mut statements = vec!["SET sql_log_bin = 0".to_owned()];
        for (user, privileges) in
            [("admin", "ALL"), ("rep", "REPLICATION SLAVE, REPLICATION CLIENT"), ("weak", "SELECT")]
        {
            let option = if user == "admin" { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{user}-pw'"));
            statements.push(format!("GRANT {privileges} ON *.* TO '{user}'@'%'{option}"));
        }
        self.mysqld.execute(&statements).await.expect("accounts are made");
    }

    pub(crate) fn host(&self) -> HostPort {
        HostPort::new("127.0.0.1", self.mysqld.port())
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

    pub(crate) fn freeze(&mut self) {
        self.mysqld.freeze().expect("it runs");
    }

    pub(crate) fn thaw(&mut self) {
        self.mysqld.thaw().expect("it runs");
    }

    pub(crate) fn is_maria(&self) -> bool {
        self.mysqld.server().flavor == Flavor::Mariadb
    }

    /// The authority that the server made for itself at its first start.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.data.join("ca.pem")
    }
}

/// Options that switch GTIDs on.
pub(crate) fn gtid_options(bed: &Bed) -> &'static [&'static str] {
    match bed.server().flavor {
        Flavor::Mariadb => &[],
        Flavor::Mysql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
    }
}

pub(crate) fn tls(mode: TlsMode, ca_file: Option<PathBuf>) -> Tls {
    // Between a test and its server there is nobody.
    TlsConfig { mode, ca_file, get_server_public_key: true, ..TlsConfig::default() }
        .load()
        .expect("readable files")
}

pub(crate) fn tls_off() -> Tls {
    tls(TlsMode::Off, None)
}
