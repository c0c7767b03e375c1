//! Asking the streamer to publish rows again.

use std::pin::Pin;

use binpulse_relay::lane::LaneKey;
use binpulse_relay::route::Heal;
use tokio::net::TcpStream;

use super::plan::STREAMER_DEADLINE;
use crate::local_http::{exchange_over, within};

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

    async fn ask(&self, lane: LaneKey, first: u64, last: u64) -> Result<(), String> {
        let StreamerAddress { address, token } = &self.at;
        let mut headers = format!(
            "X-Binpulse-Replay: lane={} epoch={} from={first} to={last} for={}\r\n",
            lane.lane, lane.epoch, self.route
        );
        if let Some(token) = token {
            headers.extend(["Authorization: Bearer ", token, "\r\n"]);
        }
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            exchange_over(stream, "POST", address, "/replay", &headers).await
        };
        let answer = within(STREAMER_DEADLINE, address, "/replay", exchange).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.code / 100 == 2 {
            return Ok(());
        }
        Err(format!("{address}/replay: {} {}", answer.code, answer.body.trim()))
    }
}

impl Heal for Streamer {
    fn heal(
        &self,
        lane: LaneKey,
        first: u64,
        last: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(self.ask(lane, first, last))
    }
}
