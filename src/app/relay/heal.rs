//! Asking the streamer to publish rows again, or to read them again.

use std::pin::Pin;
use std::time::Duration;

use binpulse_relay::route::{Heal, HealError, Missing, MissingParts};
use tokio::net::TcpStream;

use crate::app::replay::{Command, ReadAgain};
use crate::encode::Lane;
use crate::excerpt::excerpt;
use crate::local_http::{Answer, exchange_over, within};
use crate::telemetry::http::{REPLAY_HEADER, REPLAY_PATH, in_header};
use crate::telemetry::snapshot::{SnapshotState, SnapshotStatus, SnapshotTableState};

/// Longest wait for an answer of the streamer.
const STREAMER_DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a snapshot.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Looks in vain before it is asked for again.
const FAILURES_MAX: u32 = 60;

/// Where the streamer answers.
#[derive(Clone)]
pub struct StreamerAddress {
    address: String,
    token: Option<String>,
}

impl std::fmt::Debug for StreamerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamerAddress").field("address", &self.address).finish_non_exhaustive()
    }
}

impl StreamerAddress {
    /// From its URL; what is expected, where it is none.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, &'static str> {
        let expected = "http://host:port of a streamer";
        let address = url.strip_prefix("http://").ok_or(expected)?.trim_end_matches('/');
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self { address: address.to_owned(), token })
            }
            Some(_) | None => Err(expected),
        }
    }

    /// Whether it answers, and takes the token.
    pub(super) async fn try_out(&self) -> Result<String, String> {
        let Self { address, .. } = self;
        match self.answer("GET", "/status", String::new()).await?.code {
            200 => Ok(address.clone()),
            401 => Err(format!("{address}: it requires another token")),
            code => Err(format!("{address}/status: {code}")),
        }
    }

    /// What it answers; `headers` are whole lines.
    async fn answer(&self, method: &str, path: &str, headers: String) -> Result<Answer, String> {
        let Self { address, token } = self;
        let token = token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let headers = headers + &token.unwrap_or_default();
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            exchange_over(stream, method, address, path, &headers).await
        };
        let answer = within(STREAMER_DEADLINE, address, path, exchange).await;
        answer.map_err(|error| error.to_string())
    }
}

/// A streamer.
pub(super) struct Streamer {
    at: StreamerAddress,
    route: String,
}

impl Streamer {
    pub(super) fn new(at: StreamerAddress, route: &str) -> Self {
        Self { at, route: route.to_owned() }
    }

    async fn ask(&self, missing: Missing) -> Result<(), HealError> {
        let Missing { lane, first, last, since_us, until_us } = missing;
        let command = Command {
            lane: lane.lane.to_string(),
            epoch: lane.epoch,
            from: first,
            to: last,
            audience: self.route.clone(),
            since_us,
            until_us,
        };
        self.post(serde_json::to_string(&command)).await
    }

    async fn post(&self, command: serde_json::Result<String>) -> Result<(), HealError> {
        let command = command.map_err(|error| HealError::Refused(error.to_string()))?;
        let headers = format!("{REPLAY_HEADER}: {}\r\n", in_header(&command));
        let answer = self.at.answer("POST", REPLAY_PATH, headers).await;
        let answer = answer.map_err(HealError::Later)?;
        let (code, body) = (answer.code, excerpt(answer.body.trim()));
        let why = format!("{}{REPLAY_PATH}: {code} {body}", self.at.address);
        match code {
            200..=299 => Ok(()),
            429 | 500..=599 => Err(HealError::Later(why)),
            _ => Err(HealError::Refused(why)),
        }
    }

    /// Has keys read again, and waits until the topic has what was read: only then nothing can come between.
    async fn read_keys_again(&self, missing: MissingParts) -> Result<(), HealError> {
        let MissingParts { lane, after, upto, .. } = missing;
        let Some((database, table, _)) = Lane::table_of(&lane.lane) else {
            return Err(HealError::Refused(format!("{lane} is no lane of a table")));
        };
        let before = self.snapshot().await.map_err(HealError::Later)?;
        let before = before.map(|snapshot| snapshot.id);
        let command = ReadAgain {
            database,
            table,
            epoch: lane.epoch,
            after,
            upto,
            audience: self.route.clone(),
        };
        self.post(serde_json::to_string(&command)).await?;
        let mut failures = 0;
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let snapshot = match self.snapshot().await {
                Ok(snapshot) => snapshot.filter(|snapshot| before.as_ref() != Some(&snapshot.id)),
                Err(why) if failures == FAILURES_MAX => return Err(HealError::Later(why)),
                Err(_) => {
                    failures += 1;
                    continue;
                }
            };
            // A streamer that was started again may not have had it saved.
            let own = snapshot.filter(|snapshot| self.is_own(snapshot, &command));
            let Some(own) = own else {
                failures += 1;
                if failures > FAILURES_MAX {
                    let why = "the streamer has not begun to read the rows again".to_owned();
                    return Err(HealError::Later(why));
                }
                continue;
            };
            failures = 0;
            if own.state.is_over() {
                return outcome(&own);
            }
        }
    }

    /// The streamer's newest snapshot.
    async fn snapshot(&self) -> Result<Option<SnapshotStatus>, String> {
        let answer = self.at.answer("GET", "/status", String::new()).await?;
        let address = &self.at.address;
        if answer.code != 200 {
            return Err(format!("{address}/status: {}", answer.code));
        }
        let wrong = |error: serde_json::Error| format!("{address}/status: {error}");
        let mut status: serde_json::Value = serde_json::from_str(&answer.body).map_err(wrong)?;
        serde_json::from_value(status["snapshot"].take()).map_err(wrong)
    }

    fn is_own(&self, snapshot: &SnapshotStatus, command: &ReadAgain) -> bool {
        let is_it = snapshot.audience.as_ref() == Some(&self.route) && !snapshot.verifies;
        // While it is looked at, and where it is refused, it has no tables yet.
        let mut tables = snapshot.tables.iter();
        is_it
            && tables
                .all(|table| table.database == command.database && table.table == command.table)
    }
}

/// How it ended.
fn outcome(snapshot: &SnapshotStatus) -> Result<(), HealError> {
    let are_done = snapshot.tables.iter().all(|table| table.state == SnapshotTableState::Done);
    if snapshot.state == SnapshotState::Done && are_done && !snapshot.tables.is_empty() {
        return Ok(());
    }
    let of_table = snapshot.tables.iter().find_map(|table| table.reason.clone());
    let why = snapshot.reason.clone().or(of_table);
    Err(HealError::Refused(why.unwrap_or_else(|| "the rows were not read again".to_owned())))
}

impl Heal for Streamer {
    fn heal(
        &self,
        missing: Missing,
    ) -> Pin<Box<dyn Future<Output = Result<(), HealError>> + Send + '_>> {
        Box::pin(self.ask(missing))
    }

    fn read_again(
        &self,
        missing: MissingParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), HealError>> + Send + '_>> {
        Box::pin(self.read_keys_again(missing))
    }
}
