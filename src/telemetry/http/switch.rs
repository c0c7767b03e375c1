//! What a POST may change: which consumers are evaluated, snapshots, replays, controls, the settings, and
//! which process has the stream.
//!
//! Who may is decided by [`admit`]: only peers on this machine, only with headers of our own, and never a
//! browser: a page there may have made its own name lead to this machine. Replays are asked for by relays,
//! which run on other machines: whoever shows the token may.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper::{HeaderMap, StatusCode};

/// Where maintenance is sent to, by POST.
pub const MAINTENANCE_PATH: &str = "/maintenance";
/// Header with the consumer's name.
pub const CONSUMER_HEADER: &str = "binpulse-consumer";
/// Header with the seconds that it lasts, 0 to [`MAINTENANCE_MAX`]; 0 ends it.
pub const SECONDS_HEADER: &str = "binpulse-seconds";
/// Longest time that a consumer is taken out of evaluation for.
pub const MAINTENANCE_MAX: Duration = Duration::from_hours(24);

/// Where commands of snapshots are sent to, by POST.
pub const SNAPSHOT_PATH: &str = "/snapshot";
/// Header with the command: JSON, what is not ASCII in it escaped.
pub const SNAPSHOT_HEADER: &str = "binpulse-snapshot";
/// Longest command, bytes: with the other headers it fits into a request's head.
pub const SNAPSHOT_BYTES_MAX: usize = 6 * 1024;

/// Where replays are asked for, by POST.
pub const REPLAY_PATH: &str = "/replay";
/// Header with what is to be published again: JSON, what is not ASCII in it escaped.
pub const REPLAY_HEADER: &str = "binpulse-replay";

/// Where a yield is asked for, by POST.
pub const YIELD_PATH: &str = "/ha-yield";
/// Where tables are held back and released, by POST; by GET what is held back.
pub const CONTROL_PATH: &str = "/control";
/// Header with the command: JSON, what is not ASCII in it escaped.
pub const CONTROL_HEADER: &str = "binpulse-control";

/// Where it is asked that the settings are read again, by POST.
pub const RELOAD_PATH: &str = "/reload";
/// Header that says what is wanted: [`RELOAD_APPLY`] or [`RELOAD_CHECK`].
pub const RELOAD_HEADER: &str = "binpulse-reload";
/// The settings are to change.
pub const RELOAD_APPLY: &str = "apply";
/// Only what would change is to be told.
pub const RELOAD_CHECK: &str = "check";

/// JSON as a header may carry it.
pub fn in_header(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && !letter.is_ascii_control() {
            text.push(letter);
        } else {
            let mut units = [0; 2];
            let units = letter.encode_utf16(&mut units);
            text.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The address.
    pub peer: IpAddr,
    /// Whether `http.token` is set, and was shown.
    pub has_token: bool,
}

/// Headers that browsers send with a POST, and nobody else.
const OF_BROWSERS: [&str; 2] = ["origin", "sec-fetch-site"];

/// Who does what requests ask for.
pub trait Switch: Send + Sync + 'static {
    /// Takes `consumer` out for that long, or back in for zero. What was done, or why nothing was, in
    /// words.
    fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String>;
    /// Takes a command for snapshots, JSON. What will be done, or why nothing will be, in words.
    fn snapshot(&self, command: &str) -> Result<String, String>;
    /// Gives the stream to a standby; likewise.
    fn yields(&self) -> Result<String, String>;
    /// Takes a command for a replay, JSON; likewise.
    fn replay(&self, command: &str) -> Result<String, ReplayRefused>;
    /// Takes a command that holds tables back or releases them, JSON; likewise.
    fn control(&self, command: &str) -> Result<String, String>;
    /// Reads the settings again, or with `check` only tells what would follow; likewise.
    fn reload(&self, check: bool) -> Result<String, String>;
}

/// Why rows are not published again, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayRefused {
    /// Not now: ask again.
    Busy(String),
    /// Never.
    Wrong(String),
}

/// The words to refuse a request with.
type PostRefused = (StatusCode, String);

/// Does what the POST asks for; `None`: nothing can be changed at this path.
pub(super) fn act(
    path: &str,
    headers: &HeaderMap,
    caller: Caller,
    switch: &dyn Switch,
) -> Option<Result<String, PostRefused>> {
    let (act, is_for_others): (fn(_, _) -> _, _) = match path {
        MAINTENANCE_PATH => (maintenance, false),
        SNAPSHOT_PATH => (snapshot, false),
        YIELD_PATH => (yields, false),
        REPLAY_PATH => (replay, true),
        CONTROL_PATH => (control, false),
        RELOAD_PATH => (reload, false),
        _ => return None,
    };
    let command = path.trim_start_matches('/');
    let is_admitted = is_for_others && caller.has_token;
    let peer = if is_admitted { Ipv4Addr::LOCALHOST.into() } else { caller.peer };
    let admitted = admit(headers, peer, command);
    Some(admitted.and_then(|()| act(headers, switch)))
}

/// Whether such a request may change anything: from this machine, and not from a browser.
pub fn admit(headers: &HeaderMap, peer: IpAddr, command: &str) -> Result<(), (StatusCode, String)> {
    let refuse = |text: String| Err((StatusCode::FORBIDDEN, text));
    if !peer.to_canonical().is_loopback() {
        return refuse("only from the machine that binpulse runs on".to_owned());
    }
    if OF_BROWSERS.iter().any(|name| headers.contains_key(*name)) {
        return refuse(format!("not from a browser; use `binpulse {command}`"));
    }
    Ok(())
}

fn maintenance(headers: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    let (consumer, seconds) = (text(headers, CONSUMER_HEADER), text(headers, SECONDS_HEADER));
    let seconds = seconds.and_then(|text| text.parse().ok());
    let (Some(consumer), Some(seconds)) = (consumer, seconds) else {
        let needed = "the headers binpulse-consumer and binpulse-seconds are required; `binpulse \
                      maintenance` sends them";
        return Err((StatusCode::BAD_REQUEST, needed.to_owned()));
    };
    let done = switch.maintenance(consumer, Duration::from_secs(seconds));
    done.map_err(|why| (StatusCode::NOT_FOUND, why))
}

fn snapshot(headers: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    let Some(command) = text(headers, SNAPSHOT_HEADER) else {
        let needed = "header binpulse-snapshot is needed; `binpulse snapshot` sends it";
        return Err((StatusCode::BAD_REQUEST, needed.to_owned()));
    };
    switch.snapshot(command).map_err(|why| (StatusCode::CONFLICT, why))
}

fn yields(_: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    switch.yields().map_err(|why| (StatusCode::CONFLICT, why))
}

fn replay(headers: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    let Some(command) = text(headers, REPLAY_HEADER) else {
        let needed = "header binpulse-replay is needed; a relay sends it";
        return Err((StatusCode::BAD_REQUEST, needed.to_owned()));
    };
    switch.replay(command).map_err(|refused| match refused {
        ReplayRefused::Busy(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        ReplayRefused::Wrong(why) => (StatusCode::CONFLICT, why),
    })
}

fn control(headers: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    let Some(command) = text(headers, CONTROL_HEADER) else {
        let needed = "header binpulse-control is needed; `binpulse suppress`, `pause` and `release` \
                      send it";
        return Err((StatusCode::BAD_REQUEST, needed.to_owned()));
    };
    switch.control(command).map_err(|why| (StatusCode::CONFLICT, why))
}

fn reload(headers: &HeaderMap, switch: &dyn Switch) -> Result<String, PostRefused> {
    let check = match text(headers, RELOAD_HEADER) {
        Some(RELOAD_CHECK) => true,
        Some(RELOAD_APPLY) => false,
        Some(_) | None => {
            let needed =
                "header binpulse-reload is needed, `apply` or `check`; `binpulse reload` sends it";
            return Err((StatusCode::BAD_REQUEST, needed.to_owned()));
        }
    };
    switch.reload(check).map_err(|why| (StatusCode::CONFLICT, why))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}
