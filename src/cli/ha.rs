//! `ha`: which process runs the stream, and how it is given to a standby.

use std::io::{self, IsTerminal};

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::service::show;
use super::service::{ask, question};
use super::style::print;
use super::style::say;
use super::{Exit, flags, terminal};
use crate::telemetry::http::YIELD_PATH;
use crate::telemetry::words::Role;

const LONG_ABOUT: &str = "\
Asks the service on this machine which process runs the stream, or makes it give the stream
to a standby.

Examples:
  binpulse ha status
  binpulse ha yield

See docs/operate/standby.md.";

const STATUS_LONG_ABOUT: &str = "\
Shows what the service on this machine is to its stream (active, or standby of which process),
the age of the lease, and its fence; as JSON when not on a terminal.

Example:
  binpulse ha status

Exits 0 for an active process or a standby, 1 for one without a lease, 2 if the service does
not answer.";

const YIELD_LONG_ABOUT: &str = "\
Makes the service on this machine deliver what is under way, save, give the lease up, and
wait as a standby. A standby takes the stream within a second. Without one the service takes
it again after five lifetimes of the lease.

Example:
  binpulse ha yield

Exits 0 if it yields, 1 if it does not run the stream or has no ha.enabled.";

/// The command.
pub(super) fn command() -> Command {
    let with = |name: &'static str, about: &'static str, long: &'static str| {
        flags::with_settings(Command::new(name).about(about).long_about(long), flags::ASKS)
    };
    Command::new("ha")
        .about("Show which process runs the stream, or give it to a standby")
        .long_about(LONG_ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with("status", "Show who has the lease on the stream", STATUS_LONG_ABOUT))
        .subcommand(with("yield", "Give the stream to a standby", YIELD_LONG_ABOUT))
}

/// Shows, or tells.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("status", matches)) => status(matches),
        Some(("yield", matches)) => yields(matches),
        // clap has refused anything else.
        Some(_) | None => Exit::Usage,
    }
}

fn status(matches: &ArgMatches) -> Exit {
    let status = match question(matches) {
        Ok(service) => ask(&service),
        Err(exit) => return exit,
    };
    let lease = match status {
        Ok(status) => status["lease"].clone(),
        Err(error) => {
            say!("binpulse: {error}");
            return Exit::Unknown;
        }
    };
    let is_terminal = io::stdout().is_terminal();
    let text = if is_terminal { terminal::lease(&lease) } else { lease.to_string() };
    print(&(text + "\n"));
    outcome(&lease)
}

fn outcome(lease: &Value) -> Exit {
    match terminal::word(&lease["role"]) {
        Some(Role::Active | Role::Standby) => Exit::Done,
        Some(Role::None) | None => Exit::Failed,
    }
}

fn yields(matches: &ArgMatches) -> Exit {
    let service = match question(matches) {
        Ok(service) => service,
        Err(exit) => return exit,
    };
    show(service.tell(YIELD_PATH, &[]))
}
