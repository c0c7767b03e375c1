//! A server that answers by the question.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::binlog::tests::description;
use crate::mysql::server_side::{END, OK, greeting, packets, read, result_set};
use crate::mysql::{HostPort, Secret, Session, TlsConfig};
use crate::source::{Config, Deadlines};

/// What it says to a statement.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These rows; `None` is NULL.
    Rows(Vec<Vec<Option<String>>>),
    /// The same, under these names.
    Named(Vec<&'static str>, Vec<Vec<Option<String>>>),
    Refused,
    /// It goes away.
    Gone,
}

/// Rows of texts.
pub(crate) fn rows<const N: usize>(rows: &[[&str; N]]) -> Answer {
    let texts = |row: &[&str; N]| row.iter().map(|text| Some((*text).to_owned())).collect();
    Answer::Rows(rows.iter().map(texts).collect())
}

/// A server that runs for as long as the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Statements and requests for streams (as text) that it heard.
    heard: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

impl Server {
    /// Of this version. A stream brings a format description with the time that `begun` tells of the
    /// file, then `events`, then it ends.
    pub(crate) async fn start(
        version: &'static str,
        answers: impl Fn(&str) -> Answer + Send + Sync + 'static,
        begun: fn(&str) -> u32,
        events: Vec<Vec<u8>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (answers, notes): (Answers, _) = (Arc::new(answers), Arc::clone(&heard));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let guest = Guest {
                    stream,
                    version,
                    answers: Arc::clone(&answers),
                    heard: Arc::clone(&notes),
                    begun,
                    events: events.clone(),
                };
                tokio::spawn(guest.serve());
            }
        });
        Self { port, heard }
    }

    /// Of this version, for statements only.
    pub(crate) async fn answering(
        version: &'static str,
        answers: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(version, answers, |_| 0, Vec::new()).await
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test panics with it").clone()
    }

    pub(crate) fn config(&self) -> Config {
        config(&[self.port])
    }

    pub(crate) async fn session(&self) -> Session {
        let options = self.config().session(0).expect("a host");
        Session::connect(&options).await.expect("it answers")
    }
}

/// To servers at these ports. None of the waits is ever to be waited out.
pub(crate) fn config(ports: &[u16]) -> Config {
    let wait = Duration::from_mins(1);
    Config {
        hosts: ports.iter().map(|port| HostPort::new("127.0.0.1", *port)).collect(),
        user: "binpulse".to_owned(),
        password: Secret::new("secret"),
        tls: TlsConfig::default().load().expect("no files"),
        stream: "orders".to_owned(),
        server_id: None,
        replica_uuid: None,
        report_host: "here".to_owned(),
        report_port: 1,
        heartbeat_period: Duration::from_secs(2),
        send_timeout: Config::SEND_TIMEOUT,
        deadlines: Deadlines {
            connect: wait,
            login: wait,
            query: wait,
            first_event: wait,
            silence: Some(wait),
        },
    }
}

struct Guest {
    stream: TcpStream,
    version: &'static str,
    answers: Answers,
    heard: Arc<Mutex<Vec<String>>>,
    begun: fn(&str) -> u32,
    events: Vec<Vec<u8>>,
}

impl Guest {
    async fn serve(mut self) -> Option<()> {
        self.say(0, [greeting(self.version)]).await?;
        self.hear().await?;
        self.say(2, [OK]).await?;
        loop {
            let command = self.hear().await?;
            let (first, rest) = command.split_first()?;
            match first {
                3 => {
                    let sql = String::from_utf8(rest.to_vec()).ok()?;
                    self.heard.lock().ok()?.push(sql.clone());
                    let answer = (self.answers)(&sql);
                    self.answer(answer).await?;
                }
                0x15 => {
                    self.heard.lock().ok()?.push(format!("REGISTER {rest:?}"));
                    self.say(1, [OK]).await?;
                }
                0x12 | 0x1e => return self.dump(&command).await,
                _ => return None,
            }
        }
    }

    async fn answer(&mut self, answer: Answer) -> Option<()> {
        let (names, rows) = match answer {
            Answer::Rows(rows) => (vec!["c"; rows.first().map_or(1, Vec::len)], rows),
            Answer::Named(names, rows) => (names, rows),
            Answer::Refused => {
                return self.say(1, [b"\xff\xcb\x04#42000You may not"]).await;
            }
            Answer::Gone => return None,
        };
        self.say(1, result_set(names, rows)).await
    }

    async fn dump(mut self, request: &[u8]) -> Option<()> {
        let file = match request.split_first()? {
            (0x12, rest) => String::from_utf8(rest.get(10..)?.to_vec()).ok()?,
            (_, rest) => {
                let length = usize::from(*rest.get(6)?);
                String::from_utf8(rest.get(10..10 + length)?.to_vec()).ok()?
            }
        };
        self.heard.lock().ok()?.push(format!("DUMP {file} {request:?}"));
        let mut described = description(self.version, 1, 0);
        described[..4].copy_from_slice(&(self.begun)(&file).to_le_bytes());
        let length = described.len();
        let sum = crc32fast::hash(&described[..length - 4]);
        described[length - 4..].copy_from_slice(&sum.to_le_bytes());
        let events = std::iter::once(&described).chain(&self.events);
        let mut payloads: Vec<_> = events.map(|event| [&[0], event.as_slice()].concat()).collect();
        payloads.push(END.to_vec());
        self.say(1, payloads).await?;
        while self.hear().await.is_some() {}
        None
    }

    async fn say(
        &mut self,
        first: u8,
        payloads: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Option<()> {
        self.stream.write_all(&packets(first, payloads)).await.ok()
    }

    async fn hear(&mut self) -> Option<Vec<u8>> {
        read(&mut self.stream).await.ok()
    }
}
