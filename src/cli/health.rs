//! `health`: whether the service on this machine is alive, for container engines.

use clap::{ArgMatches, Command};

use super::service::{Service, show};
use super::style::say;
use super::{Exit, flags};

const LONG_ABOUT: &str = "\
Asks the running service for /healthz at http.listen, and exits 0 if the answer is 200, else
1. It is the health check of the container image, which has no shell.

Examples:
  binpulse health
  binpulse health --http-listen 127.0.0.1:9188     the probe's";

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("health")
        .about("Ask the running service whether its process is healthy")
        .long_about(LONG_ABOUT);
    flags::with_settings(command, flags::ASKS)
}

/// Asks.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let service = match Service::for_health(&values) {
        Ok(service) => service,
        Err(error) => {
            say!("binpulse: {error}");
            return Exit::Usage;
        }
    };
    match service.ask("/healthz") {
        Ok(answer) if answer.code == 200 => Exit::Done,
        sick => show(sick),
    }
}
