//! A session on the copy: statements as text, answers as text, and what an error means.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Value};
use tokio_postgres::SimpleQueryMessage;

use super::CopyError;
use super::dialect::Dialect;
use super::tls::Tls;

/// A value of a row as the server prints it; `None` for NULL.
pub(super) type Text = Option<Vec<u8>>;

/// Why a transaction did not come through.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server ended it for another one: tried again at once.
    Conflict(String),
    /// The server is away or busy.
    Away(String),
    /// The server refuses a statement. Its words may hold values of rows, unless it is one of a schema.
    Said {
        /// The error's number.
        code: String,
        /// The server's words.
        words: String,
    },
    /// What is known of the copy's tables is no longer so.
    Stale(String),
    /// An operator is needed.
    Unfit { found: String, needed: String, remedy: String },
    /// Rows that never fit.
    Refused {
        unit: Option<usize>,
        table: String,
        found: String,
        needed: &'static str,
        remedy: &'static str,
    },
}

impl Failure {
    /// No session although there was one.
    pub(super) fn none() -> Self {
        Self::Away("no session".to_owned())
    }

    pub(super) fn refused(
        table: &str,
        found: impl Into<String>,
        needed: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self::Refused { unit: None, table: table.to_owned(), found: found.into(), needed, remedy }
    }

    pub(super) fn unfit(
        found: impl Into<String>,
        needed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Unfit { found: found.into(), needed: needed.into(), remedy: remedy.into() }
    }

    /// Says which unit it was, where that is certain: rows that the server refused may be of another
    /// unit, whose rows it was given only now.
    pub(super) fn of_unit(mut self, index: usize) -> Self {
        if let Self::Refused { unit, found, .. } = &mut self
            && !found.starts_with(SERVER_ERROR)
        {
            *unit = Some(index);
        }
        self
    }
}

/// How the words on an error of the server's begin.
const SERVER_ERROR: &str = "error ";
/// What a session of MySQL is set to. Zero and invalid dates: a copy takes what the source has.
const MYSQL_SETUP: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
     time_zone = '+00:00', foreign_key_checks = 0, autocommit = 1, innodb_lock_wait_timeout = 20",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];
const POSTGRES_SETUP: &str = "SET standard_conforming_strings = on; SET TimeZone = 'UTC'; \
    SET client_encoding = 'UTF8'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; \
    SET bytea_output = 'hex'; SET lock_timeout = '20s'; SET statement_timeout = '60s'";
/// Bytes of one statement, unless a single row is larger.
const STATEMENT_BYTES: usize = 1 << 20;
/// Bytes of the packet around a statement.
const PACKET_EXTRA_BYTES: usize = 1 << 10;

#[derive(Debug)]
enum Connection {
    Mysql(Box<Conn>),
    Postgres(tokio_postgres::Client),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    pub(super) dialect: Dialect,
    /// Most bytes that a statement may have.
    pub(super) statement_bytes_max: usize,
    /// Bytes at which a statement is sent.
    pub(super) statement_bytes: usize,
    /// MySQL's names of collations by their ids; empty in PostgreSQL.
    pub(super) collations: Vec<(u16, String)>,
}

/// The copy without user and password.
pub(super) fn place_of(url: &str) -> Result<String, CopyError> {
    let wrong = || CopyError::Unfit {
        place: "(unknown)".to_owned(),
        found: "an address of another form".to_owned(),
        needed: "mysql://USER:PASSWORD@HOST/DATABASE or postgres://USER:PASSWORD@HOST/DATABASE"
            .to_owned(),
        remedy: "change relay.to.url".to_owned(),
    };
    if url.starts_with("mysql://") {
        let opts = Opts::from_url(url).map_err(|_| wrong())?;
        let database = opts.db_name().ok_or_else(wrong)?;
        return Ok(format!("mysql://{}:{}/{database}", opts.ip_or_hostname(), opts.tcp_port()));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong());
    }
    let (url, _) = without_authorities(url);
    let config: tokio_postgres::Config = url.parse().map_err(|_| wrong())?;
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
        None => return Err(wrong()),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    Ok(format!("postgres://{host}:{port}/{database}"))
}

/// An address without `sslrootcert`, which the client does not know, and that.
fn without_authorities(url: &str) -> (String, Option<String>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut authorities = None;
    let others: Vec<_> = query
        .split('&')
        .filter(|pair| {
            let path = pair.strip_prefix("sslrootcert=");
            authorities = path.map(str::to_owned).or(authorities.take());
            path.is_none()
        })
        .collect();
    let address = if others.is_empty() {
        address.to_owned()
    } else {
        format!("{address}?{}", others.join("&"))
    };
    (address, authorities)
}

impl Session {
    pub(super) async fn connect(url: &str) -> Result<Self, Failure> {
        if url.starts_with("mysql://") { Self::mysql(url).await } else { Self::postgres(url).await }
    }

    async fn mysql(url: &str) -> Result<Self, Failure> {
        let opts = Opts::from_url(url).map_err(|_| Failure::none())?;
        let builder = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .client_found_rows(true)
            .setup(MYSQL_SETUP.to_vec());
        let conn = Conn::new(builder).await.map_err(mysql_failure)?;
        let mut session = Self {
            connection: Connection::Mysql(Box::new(conn)),
            dialect: Dialect::Mysql,
            statement_bytes_max: STATEMENT_BYTES,
            statement_bytes: STATEMENT_BYTES,
            collations: Vec::new(),
        };
        let said = session.rows(b"SELECT @@version, @@max_allowed_packet").await?;
        let texts: Vec<String> = said.iter().flatten().map(text).collect();
        if texts.first().is_some_and(|version| version.to_ascii_lowercase().contains("mariadb")) {
            session.dialect = Dialect::Mariadb;
        }
        let packet = texts.get(1).and_then(|packet| packet.parse::<usize>().ok());
        if let Some(packet) = packet {
            session.statement_bytes_max = packet.saturating_sub(PACKET_EXTRA_BYTES);
            session.statement_bytes = STATEMENT_BYTES.min(session.statement_bytes_max);
        }
        let query =
            b"SELECT ID, COLLATION_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL";
        for row in session.rows(query).await? {
            if let [id, name] = row.as_slice()
                && let Ok(id) = text(id).parse()
            {
                session.collations.push((id, text(name)));
            }
        }
        Ok(session)
    }

    async fn postgres(url: &str) -> Result<Self, Failure> {
        let (url, authorities) = without_authorities(url);
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| Failure::none())?;
        config.connect_timeout(Duration::from_secs(10)).application_name("binpulse relay");
        let tls = Tls::new(authorities.as_deref()).map_err(|found| {
            Failure::unfit(found, "certificates of authorities in PEM", "change sslrootcert")
        })?;
        let connected = config.connect(tls).await;
        let (client, connection) = connected.map_err(|error| postgres_failure(&error))?;
        // Ends when the client is dropped.
        drop(tokio::spawn(connection));
        client.batch_execute(POSTGRES_SETUP).await.map_err(|error| postgres_failure(&error))?;
        Ok(Self {
            connection: Connection::Postgres(client),
            dialect: Dialect::Postgres,
            // The server takes 1 GB.
            statement_bytes_max: 1 << 29,
            statement_bytes: STATEMENT_BYTES,
            collations: Vec::new(),
        })
    }

    /// Runs a statement; how many rows it met.
    pub(super) async fn run(&mut self, sql: &[u8]) -> Result<u64, Failure> {
        match &mut self.connection {
            Connection::Mysql(conn) => {
                conn.query_drop(sql).await.map_err(mysql_failure)?;
                Ok(conn.affected_rows())
            }
            Connection::Postgres(client) => {
                let messages = client.simple_query(utf8(sql)?).await;
                let messages = messages.map_err(|error| postgres_failure(&error))?;
                let mut met = 0;
                for message in &messages {
                    if let SimpleQueryMessage::CommandComplete(rows) = message {
                        met += rows;
                    }
                }
                Ok(met)
            }
        }
    }

    /// Runs a query.
    pub(super) async fn rows(&mut self, sql: &[u8]) -> Result<Vec<Vec<Text>>, Failure> {
        match &mut self.connection {
            Connection::Mysql(conn) => {
                let rows: Vec<mysql_async::Row> = conn.query(sql).await.map_err(mysql_failure)?;
                let texts = rows.into_iter().map(|row| {
                    let values = row.unwrap_raw().into_iter();
                    values.map(|value| value.and_then(mysql_text)).collect()
                });
                Ok(texts.collect())
            }
            Connection::Postgres(client) => {
                let messages = client.simple_query(utf8(sql)?).await;
                let messages = messages.map_err(|error| postgres_failure(&error))?;
                let mut rows = Vec::new();
                for message in &messages {
                    if let SimpleQueryMessage::Row(row) = message {
                        let cell = |at| row.get(at).map(|text| text.as_bytes().to_vec());
                        rows.push((0..row.len()).map(cell).collect());
                    }
                }
                Ok(rows)
            }
        }
    }
}

/// What the server printed.
pub(super) fn text(value: &Text) -> String {
    value.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn utf8(sql: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(sql).map_err(|_| Failure::Away("a statement that is no UTF-8".to_owned()))
}

/// A value of the text protocol.
fn mysql_text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::UInt(number) => Some(number.to_string().into_bytes()),
        Value::NULL | Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..) => {
            None
        }
    }
}

/// What an error of MySQL or MariaDB means. Only its number is told where its words may hold values.
fn mysql_failure(error: mysql_async::Error) -> Failure {
    let mysql_async::Error::Server(error) = error else {
        return Failure::Away(error.to_string());
    };
    let said = format!("{SERVER_ERROR}{} ({})", error.code, error.state);
    match error.code {
        // Lock wait timeout, deadlock, and a mark that another process inserted.
        // The last ones: another process made the database, table or column at the same moment.
        1205 | 1213 | 1007 | 1050 | 1060 => Failure::Conflict(said),
        1049 | 1051 | 1054 | 1146 => Failure::Stale(said),
        // Access denied, in all its forms; read-only servers are waited for.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => Failure::unfit(
            format!("{said}: {}", binpulse_core::excerpt::excerpt(&error.message)),
            "the privileges of a copy",
            "grant them, see docs/consume/copy.md",
        ),
        // Values that do not fit: null, range, length, form, JSON, geometry, vector, keys, checks.
        1048
        | 1062
        | 1118
        | 1264
        | 1265
        | 1292
        | 1364
        | 1366
        | 1367
        | 1406
        | 1411
        | 1416
        | 1451
        | 1452
        | 1690
        | 3140..=3158
        | 3617
        | 3819
        | 4025
        | 4038
        | 4161
        | 6136..=6140 => Failure::refused(
            "(see the number)",
            said,
            "values that the copy's columns take",
            "compare the copy's column types with the source's, and change them",
        ),
        // Shutdown, kill, too many connections, a full disk, read-only.
        1021
        | 1040
        | 1053
        | 1114
        | 1152
        | 1158..=1161
        | 1184
        | 1203
        | 1290
        | 1317
        | 1792
        | 1836
        | 1927
        | 3024 => Failure::Away(format!("{said}: {}", error.message)),
        _ => Failure::Said { code: said, words: error.message },
    }
}

/// The same of PostgreSQL.
fn postgres_failure(error: &tokio_postgres::Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        // Its own words leave out the cause, such as a certificate that is not trusted.
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        return Failure::Away(format!("{error}{}", cause.unwrap_or_default()));
    };
    let code = db.code().code();
    let mut said = format!("{SERVER_ERROR}{code}");
    for (what, name) in [("column", db.column()), ("constraint", db.constraint())] {
        if let Some(name) = name {
            said = format!("{said} of {what} {name}");
        }
    }
    let table = db.table().unwrap_or("(see the code)");
    match code {
        "40001" | "40P01" | "55P03" | "XX000" => Failure::Conflict(said),
        // Another process made the schema, table, its row type or the column at the same moment. Its
        // name is told for the case that it stays, such as a type of a user with the name of a table.
        "42P06" | "42P07" | "42710" | "42701" => {
            Failure::Conflict(format!("{said}: {}", db.message()))
        }
        "23505" if db.constraint().is_some_and(|constraint| constraint.starts_with("pg_")) => {
            Failure::Conflict(said)
        }
        "42P01" | "42703" | "3F000" => Failure::Stale(said),
        _ if code.starts_with("22") || code.starts_with("23") => Failure::refused(
            table,
            said,
            "values that the copy's columns take",
            "compare the copy's column types with the source's, and change them",
        ),
        _ if code.starts_with("28") || code == "42501" => Failure::unfit(
            format!("{said}: {}", binpulse_core::excerpt::excerpt(db.message())),
            "the privileges of a copy",
            "grant them, see docs/consume/copy.md",
        ),
        // Connections, transactions that may not write, resources, interventions, systems.
        _ if ["08", "25", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            Failure::Away(format!("{said}: {}", db.message()))
        }
        _ => Failure::Said { code: said, words: db.message().to_owned() },
    }
}
