//! `health`: whether the service on this machine is alive, for container engines.

use clap::{ArgMatches, Command};

use super::service::Service;
use super::{Exit, flags};

const LONG_ABOUT: &str = "\
Asks /healthz at http.listen, and ends with 0 if the answer is 200, else with 1. It is what a
container's health check runs: the image has no shell.";

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("health")
        .about("Ask the running service whether it is alive")
        .long_about(LONG_ABOUT);
    flags::with_settings(command)
}

/// Asks.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let service = match Service::for_health(&values) {
        Ok(service) => service,
        Err(error) => {
            eprintln!("binpulse: {error}");
            return Exit::Usage;
        }
    };
    match service.ask("/healthz") {
        Ok(answer) if answer.code == 200 => Exit::Done,
        Ok(answer) => {
            eprint!("{}", answer.body);
            Exit::Failed
        }
        Err(error) => {
            eprintln!("binpulse: {error}");
            Exit::Failed
        }
    }
}
