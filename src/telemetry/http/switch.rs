//! The one thing that a request may change: which consumers are evaluated.
//!
//! Only for peers on this machine, only with headers of our own, and never for a browser: a page there
//! may have made its own name lead to this machine.

use std::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;

/// Where to send it to, by POST.
pub const MAINTENANCE_PATH: &str = "/maintenance";
/// Header with the consumer's name.
pub const CONSUMER_HEADER: &str = "binpulse-consumer";
/// Header with the seconds that it lasts, 0 to [`MAINTENANCE_MAX`]; 0 ends it.
pub const SECONDS_HEADER: &str = "binpulse-seconds";
/// Longest time that a consumer is taken out of judgement for.
pub const MAINTENANCE_MAX: Duration = Duration::from_hours(24);

/// Headers that browsers send with a POST, and nobody else.
const OF_BROWSERS: [&str; 2] = ["origin", "sec-fetch-site"];

/// Who takes consumers out of judgement.
pub trait Switch: Send + Sync + 'static {
    /// Takes `consumer` out for that long, or back in for zero. What was done, or why nothing was, in
    /// words.
    fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String>;
}

/// Does what the request asks for; the words to refuse it with.
pub(super) fn maintenance(
    headers: &HeaderMap,
    peer: IpAddr,
    switch: &dyn Switch,
) -> Result<String, (hyper::StatusCode, String)> {
    let refuse = |code, text: &str| Err((code, text.to_owned()));
    if !peer.to_canonical().is_loopback() {
        return refuse(hyper::StatusCode::FORBIDDEN, "only from the machine that binpulse runs on");
    }
    if OF_BROWSERS.iter().any(|name| headers.contains_key(*name)) {
        return refuse(
            hyper::StatusCode::FORBIDDEN,
            "not from a browser; use `binpulse maintenance`",
        );
    }
    let (consumer, seconds) = (text(headers, CONSUMER_HEADER), text(headers, SECONDS_HEADER));
    let seconds = seconds.and_then(|text| text.parse().ok());
    let (Some(consumer), Some(seconds)) = (consumer, seconds) else {
        return refuse(
            hyper::StatusCode::BAD_REQUEST,
            "headers binpulse-consumer and binpulse-seconds are needed; `binpulse maintenance` sends them",
        );
    };
    let done = switch.maintenance(consumer, Duration::from_secs(seconds));
    done.map_err(|why| (hyper::StatusCode::NOT_FOUND, why))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}
