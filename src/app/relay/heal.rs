//! Asking the streamer to publish rows again.

use std::pin::Pin;
use std::time::Duration;

use binpulse_relay::route::{Heal, HealError, Missing};
use tokio::net::TcpStream;

use crate::app::replay::Command;
use crate::excerpt::excerpt;
use crate::local_http::{exchange_over, within};
use crate::telemetry::http::{REPLAY_HEADER, REPLAY_PATH};

/// Longest wait for an answer of the streamer.
const STREAMER_DEADLINE: Duration = Duration::from_secs(30);

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
        let Self { address, token } = self;
        let token = token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            exchange_over(stream, "GET", address, "/status", &token.unwrap_or_default()).await
        };
        let answer = within(STREAMER_DEADLINE, address, "/status", exchange).await;
        match answer.map_err(|error| error.to_string())?.code {
            200 => Ok(address.clone()),
            401 => Err(format!("{address}: it requires another token")),
            code => Err(format!("{address}/status: {code}")),
        }
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
        let StreamerAddress { address, token } = &self.at;
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
        let command = serde_json::to_string(&command);
        let command = command.map_err(|error| HealError::Refused(error.to_string()))?;
        if !command.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let why = format!("the lane {lane} has letters that no lane has");
            return Err(HealError::Refused(why));
        }
        let mut headers = format!("{REPLAY_HEADER}: {command}\r\n");
        if let Some(token) = token {
            headers.extend(["Authorization: Bearer ", token, "\r\n"]);
        }
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            exchange_over(stream, "POST", address, REPLAY_PATH, &headers).await
        };
        let answer = within(STREAMER_DEADLINE, address, REPLAY_PATH, exchange).await;
        let answer = answer.map_err(|error| HealError::Later(error.to_string()))?;
        let (code, body) = (answer.code, excerpt(answer.body.trim()));
        let why = format!("{address}{REPLAY_PATH}: {code} {body}");
        match code {
            200..=299 => Ok(()),
            429 | 500..=599 => Err(HealError::Later(why)),
            _ => Err(HealError::Refused(why)),
        }
    }
}

impl Heal for Streamer {
    fn heal(
        &self,
        missing: Missing,
    ) -> Pin<Box<dyn Future<Output = Result<(), HealError>> + Send + '_>> {
        Box::pin(self.ask(missing))
    }
}
