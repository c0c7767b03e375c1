//! `verdict` and `status`: what the running service says of itself, in a terminal.

use std::io::{self, IsTerminal};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::service::{Service, ask, ask_all, ask_for, complain, question};
use super::style::{fitted, print};
use super::{Exit, flags, terminal, watch};
use crate::platform::wall_us;
use crate::telemetry::words::Grade;

const LONG_ABOUT: &str = "\
Asks the running service whether the database is quiet or something is broken, and prints
the verdict with its evidence and the certificate; as JSON when not on a terminal.

Example:
  binpulse verdict --config binpulse.toml

For scripts and probes: exits 0 for live or quiet, 1 for an outage, 2 if it is not known
(also while starting, while recovering, when data is late, and when the service does not
answer).";

const STATUS_LONG_ABOUT: &str = "\
Shows what the running service is doing: the verdict, each hop, progress, heartbeat, sink,
checkpoint and consumers; as JSON when not on a terminal.

Examples:
  binpulse status --config binpulse.toml
  binpulse status --watch
  binpulse status --history

With --watch the verdict stays in sight, and the rest can be scrolled (arrows, PgUp, PgDn), the
consumers sorted (s, r), taken apart (e) and searched (/). ? lists the keys.

Exits 2 when the service does not answer.";

/// The command `verdict`.
pub(super) fn command() -> Command {
    let command = Command::new("verdict")
        .about("Print whether the database is quiet or something is broken, with the proof")
        .long_about(LONG_ABOUT);
    flags::with_settings(command, flags::ASKS)
}

/// The command `status`.
pub(super) fn status_command() -> Command {
    let command = Command::new("status")
        .about("Show what the running service is doing")
        .long_about(STATUS_LONG_ABOUT)
        .arg(
            Arg::new("watch")
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Refresh each second until q or Ctrl-C; ? lists the keys"),
        )
        .arg(
            Arg::new("history")
                .long("history")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["watch", "only"])
                .help("Show the last changes of the verdict with their evidence"),
        )
        .arg(Arg::new("only").long("only").value_name("TEXT").help(
            "Of the consumers show those, and their paths, whose name has this text, one by one",
        ));
    flags::with_settings(command, flags::ASKS)
}

/// Prints the verdict.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let status = match question(matches).and_then(|service| ask(&service).map_err(complain)) {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let verdict = &status["verdict"];
    let is_terminal = io::stdout().is_terminal();
    let text = if is_terminal {
        fitted(&terminal::verdict(&status, wall_us())) + &terminal::next(&status)
    } else {
        format!("{verdict}\n")
    };
    print(&text);
    // What was concluded once and is no longer looked at is no conclusion.
    match terminal::word(&status["conclusion"]["grade"]) {
        Some(Grade::Healthy) => Exit::Done,
        Some(Grade::Outage) => Exit::Failed,
        Some(Grade::Intended | Grade::Recovering | Grade::Late | Grade::Unknown) | None => {
            Exit::Unknown
        }
    }
}

/// Shows the status, once or on and on.
pub(super) fn status(matches: &ArgMatches) -> Exit {
    let service = match question(matches) {
        Ok(service) => service,
        Err(exit) => return exit,
    };
    let only = matches.get_one::<String>("only").map(String::as_str);
    if matches.get_flag("history") {
        return history(&service);
    }
    if matches.get_flag("watch") {
        return watch::watch(service, only);
    }
    let is_terminal = io::stdout().is_terminal();
    match if is_terminal { ask_all(&service) } else { ask(&service) } {
        Ok(status) if is_terminal => {
            let text = terminal::status(&status, wall_us(), only);
            print(&(fitted(&text) + &terminal::next(&status)))
        }
        Ok(status) => print(&format!("{status}\n")),
        Err(error) => complain(error),
    }
}

/// Shows what has been.
fn history(service: &Service) -> Exit {
    match ask_for(service, "/history") {
        Ok(told) if io::stdout().is_terminal() => print(&fitted(&terminal::history(&told))),
        Ok(told) => print(&format!("{told}\n")),
        Err(error) => complain(error),
    }
}
