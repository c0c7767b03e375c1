//! One SQL session.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, Params, Value};

use super::{Error, HostPort, Secret, Tls};

/// Idle time after which the kernel asks whether the peer is there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where and how to log in.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The server.
    pub host: HostPort,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// TLS, already loaded.
    pub tls: Tls,
    /// Default schema.
    pub database: Option<String>,
    /// Deadline of the connect: name, TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// Deadline of each statement unless the call says otherwise.
    pub query_timeout: Duration,
}

impl ConnectOptions {
    fn driver(&self, tls: bool) -> Opts {
        let ssl = if tls { self.tls.driver_options() } else { None };
        OptsBuilder::default()
            .ip_or_hostname(self.host.host.clone())
            .tcp_port(self.host.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.now().expose()))
            .db_name(self.database.clone())
            .ssl_opts(ssl)
            // Else a connection to the loopback address would move to a unix socket, past proxies.
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEP_ALIVE))
            // Both spare the question that the driver would ask the server after the login.
            .max_allowed_packet(Some(1 << 30))
            .wait_timeout(Some(28_800))
            .connect_attribute("program_name", "binpulse")
            .into()
    }
}

/// A session with a deadline on everything. After a time-out it is of no further use: the answer
/// to the abandoned statement could be taken for the next one's.
///
/// The same holds when the future of a statement is dropped. Whoever wants to give up waiting, but
/// learn the statement's fate later, asks with a long deadline and keeps the future.
#[derive(Debug)]
pub struct Session {
    connection: Option<Conn>,
    host: HostPort,
    query_timeout: Duration,
}

impl Session {
    /// Connects and logs in.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let step = || format!("connecting to {}", options.host);
        let (wanted, fallback) = (options.driver(true), options.driver(false));
        let may_fall_back = options.tls.may_fall_back();
        let connection = deadline(options.connect_timeout, step, async move {
            match Conn::new(wanted).await {
                Err(error) if may_fall_back && is_about_tls(&error) => Conn::new(fallback).await,
                other => other,
            }
        });
        let connection =
            connection.await?.map_err(|error| Error::from_driver(&options.host, error))?;
        Ok(Self {
            connection: Some(connection),
            host: options.host.clone(),
            query_timeout: options.query_timeout,
        })
    }

    /// The server's number for this session, as in its process list.
    pub fn id(&self) -> Option<u32> {
        self.connection.as_ref().map(Conn::id)
    }

    /// The server that it was opened to.
    pub fn host(&self) -> &HostPort {
        &self.host
    }

    /// Runs one statement as text; all its rows.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.query_within(sql, self.query_timeout).await
    }

    /// As [`Session::query`], with a deadline of its own.
    pub async fn query_within(&mut self, sql: &str, after: Duration) -> Result<Vec<Row>, Error> {
        let mut connection = self.connection.take().ok_or(Error::Abandoned)?;
        let statement = sql.to_owned();
        let (outcome, connection) = deadline(after, || quote(sql), async move {
            let outcome = connection.query::<mysql_async::Row, _>(statement).await;
            (outcome, connection)
        })
        .await?;
        let rows = self.take_back(outcome, connection)?;
        Ok(rows.into_iter().map(|row| Row(row.unwrap())).collect())
    }

    /// As [`Session::query`], with the names of the columns; for answers whose columns differ from
    /// version to version.
    pub async fn query_named(&mut self, sql: &str) -> Result<Table, Error> {
        let mut connection = self.connection.take().ok_or(Error::Abandoned)?;
        let statement = sql.to_owned();
        let (outcome, connection) = deadline(self.query_timeout, || quote(sql), async move {
            let outcome = connection.query::<mysql_async::Row, _>(statement).await;
            (outcome, connection)
        })
        .await?;
        let rows = self.take_back(outcome, connection)?;
        let columns = rows.first().map(mysql_async::Row::columns_ref).unwrap_or_default();
        let names = columns.iter().map(|column| column.name_str().into_owned()).collect();
        Ok(Table { names, rows: rows.into_iter().map(|row| Row(row.unwrap())).collect() })
    }

    /// The first row of one statement as text.
    pub async fn query_first(&mut self, sql: &str) -> Result<Option<Row>, Error> {
        Ok(self.query(sql).await?.into_iter().next())
    }

    /// Runs one prepared statement with its parameters; all its rows.
    pub async fn exec(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.exec_within(sql, values, self.query_timeout).await
    }

    /// As [`Session::exec`], with a deadline of its own.
    pub async fn exec_within(
        &mut self,
        sql: &str,
        values: Vec<Value>,
        after: Duration,
    ) -> Result<Vec<Row>, Error> {
        let mut connection = self.connection.take().ok_or(Error::Abandoned)?;
        let parameters = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
        let statement = sql.to_owned();
        let (outcome, connection) = deadline(after, || quote(sql), async move {
            let outcome = connection.exec::<mysql_async::Row, _, _>(statement, parameters).await;
            (outcome, connection)
        })
        .await?;
        let rows = self.take_back(outcome, connection)?;
        Ok(rows.into_iter().map(|row| Row(row.unwrap())).collect())
    }

    /// Rows that the last statement changed.
    pub fn affected_rows(&self) -> u64 {
        self.connection.as_ref().map_or(0, Conn::affected_rows)
    }

    /// Says goodbye, within a second.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            // The server finds out by itself when the goodbye does not get through.
            drop(tokio::time::timeout(Duration::from_secs(1), connection.disconnect()).await);
        }
    }

    fn take_back<T>(
        &mut self,
        outcome: Result<T, mysql_async::Error>,
        connection: Conn,
    ) -> Result<T, Error> {
        let outcome = outcome.map_err(|error| Error::from_driver(&self.host, error));
        if !outcome.as_ref().is_err_and(Error::is_fatal) {
            self.connection = Some(connection);
        }
        outcome
    }
}

/// Whether the server offers no TLS, or none that we can speak.
pub(super) fn is_about_tls(error: &mysql_async::Error) -> bool {
    let mysql_async::Error::Io(failure) = error else {
        return matches!(error, mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer));
    };
    match failure {
        IoError::Tls(_) => true,
        IoError::Io(failure) => match failure.get_ref() {
            Some(inner) => inner.is::<rustls::Error>(),
            None => false,
        },
    }
}

async fn deadline<T>(
    after: Duration,
    step: impl FnOnce() -> String,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    // On the heap: the driver's futures are large, and callers nest them.
    let mut work = Box::pin(work);
    match tokio::time::timeout(after, &mut work).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => {
            discard(work);
            Err(Error::TimedOut { step: step(), after })
        }
    }
}

/// Drops work that holds a connection, and so closes its socket at once.
///
/// Dropped where a runtime is at hand, the driver starts a task that first waits for the answer to
/// the abandoned statement: with a server that hangs, each time-out would leave one behind.
fn discard(work: impl Send + 'static) {
    let dropped =
        std::thread::Builder::new().name("mysql-discard".to_owned()).spawn(move || drop(work));
    // Without a thread the closure, and the work in it, is dropped right here: slower to close.
    drop(dropped);
}

/// The beginning of a statement, for messages.
fn quote(sql: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let short: String = sql.chars().take(CHARACTERS_MAX).collect();
    if short.len() < sql.len() { format!("`{short}...`") } else { format!("`{short}`") }
}

/// One row of an answer. Columns count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// The column as the driver gives it; NULL when there is no such column.
    pub fn value(&self, column: usize) -> &Value {
        self.0.get(column).unwrap_or(&Value::NULL)
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no column.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As text; `None` for NULL. Bytes that are not UTF-8 are replaced: fit for names and
    /// variables, not for users' data.
    pub fn text(&self, column: usize) -> Option<String> {
        match self.value(column) {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::UInt(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Double(number) => Some(number.to_string()),
            other @ (Value::Date(..) | Value::Time(..)) => Some(other.as_sql(true)),
        }
    }

    /// As an unsigned number; `None` for NULL.
    pub fn unsigned(&self, column: usize) -> Result<Option<u64>, Error> {
        self.parse(column, "an unsigned number")
    }

    /// As a signed number; `None` for NULL.
    pub fn signed(&self, column: usize) -> Result<Option<i64>, Error> {
        self.parse(column, "a number")
    }

    fn parse<T: std::str::FromStr>(
        &self,
        column: usize,
        expected: &'static str,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(column) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::Unexpected { column, found: text, expected }),
        }
    }
}

/// Rows, and the names of their columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names, in the order of the columns; empty when there is no row.
    names: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// The column of this name, in any case of letters, as text; `None` for NULL and for columns that
    /// are not there.
    pub fn text(&self, row: usize, name: &str) -> Option<String> {
        let column = self.names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        self.rows.get(row)?.text(column)
    }

    /// A table of texts, for tests.
    #[cfg(test)]
    pub(crate) fn of_texts<const N: usize>(names: &[&str; N], rows: &[[&str; N]]) -> Self {
        let bytes = |text: &&str| Value::Bytes(text.as_bytes().to_vec());
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows.iter().map(|row| Row(row.iter().map(bytes).collect())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Value, quote};

    #[test]
    fn columns_are_read_in_either_protocol() {
        let row = Row(vec![Value::Bytes(b"12".to_vec()), Value::Int(-3), Value::NULL]);
        assert_eq!(row.unsigned(0).expect("a number"), Some(12));
        assert_eq!(row.signed(1).expect("a number"), Some(-3));
        assert!(row.unsigned(1).is_err());
        assert_eq!(row.text(2), None);
        assert_eq!(row.text(7), None);
    }

    #[test]
    fn long_statements_are_shortened_in_messages() {
        assert_eq!(quote("SELECT 1"), "`SELECT 1`");
        assert!(quote(&"é".repeat(200)).ends_with("...`"));
    }
}
