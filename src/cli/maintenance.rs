//! `maintenance`: suppresses canary alerts for one consumer.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::service::{Service, show};
use super::style::say;
use super::{Exit, flags};
use crate::config::{Kind, Value};
use crate::telemetry::http::{CONSUMER_HEADER, MAINTENANCE_MAX, MAINTENANCE_PATH, SECONDS_HEADER};

const LONG_ABOUT: &str = "\
Tells the running service that a consumer of canary.echo will not return canaries for some
time. They are not counted as lost, and no alert fires for them, until the time is over or
--end ends it.

Examples:
  binpulse maintenance billing --for 30m
  binpulse maintenance billing --end

Everything else is evaluated as before. A restart of the service ends it too.";

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("maintenance")
        .about("Suppress canary alerts for one consumer for a limited time")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("consumer")
                .value_name("CONSUMER")
                .required(true)
                .help("Its name in canary.echo"),
        )
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("DURATION")
                .default_value("30m")
                .help("How long, at most 24h"),
        )
        .arg(Arg::new("end").long("end").action(ArgAction::SetTrue).help("End it now"));
    flags::with_settings(command, flags::ASKS)
}

/// Tells.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let text = matches.get_one::<String>("for").map_or("", String::as_str);
    let max = u64::try_from(MAINTENANCE_MAX.as_millis()).unwrap_or(u64::MAX);
    let kind = Kind::Duration(1_000, max);
    let lasting = match kind.parse(text) {
        _ if matches.get_flag("end") => Duration::ZERO,
        Some(Value::Duration(lasting)) => lasting,
        Some(_) | None => {
            say!("binpulse: --for = {text}: expected {kind}");
            return Exit::Usage;
        }
    };
    let service = match Service::of(&values) {
        Ok(service) => service,
        Err(error) => {
            say!("binpulse: {error}");
            return Exit::Usage;
        }
    };
    let consumer = matches.get_one::<String>("consumer").map_or("", String::as_str);
    if consumer.bytes().any(|byte| byte.is_ascii_control()) {
        say!("binpulse: a consumer's name has no control characters");
        return Exit::Usage;
    }
    let seconds = lasting.as_secs().to_string();
    let headers = [(CONSUMER_HEADER, consumer), (SECONDS_HEADER, seconds.as_str())];
    show(service.tell(MAINTENANCE_PATH, &headers))
}
