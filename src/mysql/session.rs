//! One SQL session.

use std::time::Duration;

use mysql_common::value::Value;

use super::wire::{
    self, Answer, Channel, Dial, Dialled, PACKET_BYTES_MAX, RESULT_BYTES_MAX, RowSink, Socket,
};
use super::{Error, HostPort, Row, Secret, Table, Tls};

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

/// A session with a deadline on everything. After a time-out it is of no further use: the answer
/// to the abandoned statement could be taken for the next one's.
///
/// The same holds when the future of a statement is dropped. Whoever wants to give up waiting, but
/// learn the statement's fate later, asks with a long deadline and keeps the future.
#[derive(Debug)]
pub struct Session {
    channel: Option<Channel<Socket>>,
    id: u32,
    depends_on_cache: bool,
    affected_rows: u64,
    host: HostPort,
    query_timeout: Duration,
}

impl Session {
    /// Connects and logs in.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let after = options.connect_timeout;
        let password = options.password.now();
        let dialled = wire::dial(Dial {
            host: &options.host,
            user: &options.user,
            password: &password,
            tls: &options.tls,
            database: options.database.as_deref(),
            connect: after,
            login: after,
        });
        let dialled = tokio::time::timeout(after, Box::pin(dialled)).await;
        let step = || format!("connecting to {}", options.host);
        let dialled = dialled.map_err(|_| Error::TimedOut { step: step(), after })?;
        let dialled = dialled.map_err(|failure| Error::of_wire(&options.host, failure))?;
        let Dialled { mut channel, greeting, depends_on_cache } = dialled;
        channel.allow(RESULT_BYTES_MAX);
        Ok(Self {
            channel: Some(channel),
            id: greeting.connection_id,
            depends_on_cache,
            affected_rows: 0,
            host: options.host.clone(),
            query_timeout: options.query_timeout,
        })
    }

    /// The server's number for this session, as in its process list; `None` once it is of no use.
    pub fn id(&self) -> Option<u32> {
        self.channel.as_ref().map(|_| self.id)
    }

    /// Whether the login worked only since the server has the account in its cache: without TLS a
    /// server that was restarted would ask for more than it gets.
    pub fn depends_on_cache(&self) -> bool {
        self.depends_on_cache
    }

    /// The server that it was opened to.
    pub fn host(&self) -> &HostPort {
        &self.host
    }

    /// Runs one statement; all its rows.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.query_within(sql, self.query_timeout).await
    }

    /// As [`Session::query`], with a deadline of its own.
    pub async fn query_within(&mut self, sql: &str, after: Duration) -> Result<Vec<Row>, Error> {
        Ok(self.run(sql, after).await?.rows)
    }

    /// As [`Session::query`], with the names of the columns; for answers whose columns differ from
    /// version to version.
    pub async fn query_named(&mut self, sql: &str) -> Result<Table, Error> {
        let answer = self.run(sql, self.query_timeout).await?;
        Ok(Table { names: answer.columns, rows: answer.rows })
    }

    /// The first row of one statement.
    pub async fn query_first(&mut self, sql: &str) -> Result<Option<Row>, Error> {
        Ok(self.query(sql).await?.into_iter().next())
    }

    /// Runs one statement with a value for each `?` in it; all its rows.
    pub async fn exec(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let statement = wire::interpolate(sql, &values)
            .ok_or_else(|| Error::Places { statement: quote(sql), values: values.len() })?;
        self.query(&statement).await
    }

    /// Runs one SELECT whose rows go to `sink` as they arrive: the answer may be of any size, and what is
    /// kept of it is the sink's to say. Within the session's usual deadline.
    pub async fn stream(&mut self, sql: &str, sink: &mut impl RowSink) -> Result<(), Error> {
        let after = self.query_timeout;
        let mut channel = self.channel.take().ok_or(Error::Abandoned)?;
        channel.allow(PACKET_BYTES_MAX);
        let ended = tokio::time::timeout(after, wire::stream(&mut channel, sql, sink)).await;
        channel.allow(RESULT_BYTES_MAX);
        // The statement may hold values: it is not quoted.
        let step = || "the answer to a SELECT".to_owned();
        let ended = ended.map_err(|_| Error::TimedOut { step: step(), after })?;
        let ended = ended.map_err(|failure| Error::of_wire(&self.host, failure));
        if !ended.as_ref().is_err_and(Error::is_fatal) {
            self.channel = Some(channel);
        }
        ended
    }

    /// Rows that the last statement changed.
    pub fn affected_rows(&self) -> u64 {
        self.affected_rows
    }

    /// Says goodbye, within a second.
    pub async fn close(mut self) {
        const COM_QUIT: &[u8] = &[1];
        if let Some(mut channel) = self.channel.take() {
            // The server finds out by itself when the goodbye does not get through.
            drop(tokio::time::timeout(Duration::from_secs(1), channel.command(COM_QUIT)).await);
        }
    }

    /// While it runs the session has no channel: whoever gives up waiting closes it.
    async fn run(&mut self, sql: &str, after: Duration) -> Result<Answer, Error> {
        let mut channel = self.channel.take().ok_or(Error::Abandoned)?;
        let answered = tokio::time::timeout(after, wire::run(&mut channel, sql)).await;
        let answered = answered.map_err(|_| Error::TimedOut { step: quote(sql), after })?;
        let answer = answered.map_err(|failure| Error::of_wire(&self.host, failure));
        if !answer.as_ref().is_err_and(Error::is_fatal) {
            self.channel = Some(channel);
        }
        let answer = answer?;
        self.affected_rows = answer.affected_rows;
        Ok(answer)
    }
}

/// The beginning of a statement, for messages.
fn quote(sql: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let short: String = sql.chars().take(CHARACTERS_MAX).collect();
    if short.len() < sql.len() { format!("`{short}...`") } else { format!("`{short}`") }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn long_statements_are_shortened_in_messages() {
        assert_eq!(quote("SELECT 1"), "`SELECT 1`");
        assert!(quote(&"é".repeat(200)).ends_with("...`"));
    }
}
