//! Settings of the source: hosts, login, TLS, where to begin.

use std::path::Path;
use std::time::Duration;

use super::Errors;
use crate::config::{Error, Values};
use crate::mysql::{HostPort, Secret, Tls, TlsConfig, TlsMode};
use crate::source;
use crate::source::resume::Wanted;

/// How far a time to start from may lie ahead of this machine's clock: two clocks differ.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// How to talk to the source.
pub(super) fn config(values: &Values, errors: &mut Errors) -> Option<source::Config> {
    let hosts = hosts(values, errors);
    let tls = errors.take(tls(values));
    let stream = errors.take(values.text("stream.name"));
    let user = errors.take(values.text("source.user"));
    let timeouts = errors.take(timeouts(values));
    let (deadlines, heartbeat_period) = timeouts?;
    let number = |key| values.integer(key).unwrap_or_default();
    Some(source::Config {
        hosts: hosts?,
        user: user?.to_owned(),
        password: secret(values, "source.password").unwrap_or_default(),
        tls: tls?,
        stream: stream?.to_owned(),
        server_id: u32::try_from(number("source.server_id")).ok().filter(|id| *id > 0),
        replica_uuid: None,
        report_host: values.text_opt("source.report_host").map_or_else(host_name, str::to_owned),
        report_port: u16::try_from(number("source.report_port")).unwrap_or(0),
        heartbeat_period,
        send_timeout: source::Config::SEND_TIMEOUT,
        deadlines,
    })
}

/// A password, and the file that it is read from again with each connection.
pub(super) fn secret(values: &Values, key: &str) -> Option<Secret> {
    let text = values.text_opt(key)?;
    let file = values.file_of(key).map(Path::to_owned);
    Some(file.map_or_else(|| Secret::new(text), |file| Secret::in_file(text, file)))
}

fn hosts(values: &Values, errors: &mut Errors) -> Option<Vec<HostPort>> {
    const KEY: &str = "source.hosts";
    let given = values.list(KEY);
    if given.is_empty() {
        errors.push(values.invalid(KEY, "at least one host:port"));
    }
    let mut hosts = Vec::new();
    for text in given {
        hosts.extend(errors.take(host_port(values, KEY, text)));
    }
    (!hosts.is_empty() && hosts.len() == given.len()).then_some(hosts)
}

/// One host of the setting `key`.
pub(super) fn host_port(values: &Values, key: &'static str, text: &str) -> Result<HostPort, Error> {
    text.parse().map_err(|_| {
        values.invalid(key, format!("host:port, such as db.example.org:3306, not `{text}`"))
    })
}

fn timeouts(values: &Values) -> Result<(source::Deadlines, Duration), Error> {
    let connect = values.duration("source.connect_timeout")?;
    let deadlines = source::Deadlines {
        connect,
        login: connect,
        query: connect,
        first_event: values.duration("source.first_event_timeout")?,
        silence: None,
    };
    Ok((deadlines, values.duration("source.heartbeat_period")?))
}

/// This machine's name, as far as the kernel knows it.
pub(in crate::app) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().chars().take(60).collect())
}

fn tls(values: &Values) -> Result<Tls, Error> {
    let config = TlsConfig {
        mode: values.text("source.tls")?.parse().unwrap_or(TlsMode::Required),
        ca_file: values.path_opt("source.tls_ca"),
        client_certificate_file: values.path_opt("source.tls_certificate"),
        client_key_file: values.path_opt("source.tls_key"),
        get_server_public_key: values.flag("source.get_server_public_key")?,
    };
    config.load().map_err(|error| Error::Rule(format!("source.tls: {error}")))
}

/// Where to begin without a checkpoint.
pub(super) fn start(values: &Values) -> Result<Wanted, Error> {
    let text = values.text("source.start")?;
    let expected = "now, earliest, gtid:SET, position:FILE:OFFSET or time:RFC3339";
    let wrong = || values.invalid("source.start", expected);
    match text.split_once(':') {
        None if text == "now" => Ok(Wanted::Now),
        None if text == "earliest" => Ok(Wanted::Earliest),
        Some(("gtid", set)) => set
            .parse()
            .map(Wanted::Gtid)
            .or_else(|_| set.parse().map(Wanted::Maria))
            .map_err(|_| wrong()),
        Some(("position", place)) => {
            let (file, offset) = place.rsplit_once(':').ok_or_else(wrong)?;
            let offset = offset.parse().map_err(|_| wrong())?;
            Ok(Wanted::Position(crate::change::Position::new(file, offset)))
        }
        Some(("time", time)) => match chrono::DateTime::parse_from_rfc3339(time) {
            Ok(time) if time > chrono::Utc::now() + CLOCK_SLACK => {
                Err(values.invalid("source.start", "a time that is not in the future"))
            }
            Ok(time) => Ok(Wanted::Time(time.timestamp_micros())),
            Err(_) => Err(wrong()),
        },
        Some(_) | None => Err(wrong()),
    }
}
