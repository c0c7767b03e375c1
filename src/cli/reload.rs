//! `reload`: the running service reads its settings again.

use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::service::{Service, show};
use super::service::{ask, question};
use super::style::say;
use super::{Exit, flags, terminal};
use crate::telemetry::http::{RELOAD_APPLY, RELOAD_CHECK, RELOAD_HEADER, RELOAD_PATH};
use crate::telemetry::status::ReloadState;

const LONG_ABOUT: &str = "\
Makes the running service read its settings again: the file, the environment and the flags that
it was started with. Prints what changes. Filters, masks and log.level change while it runs; with
anything else that differs nothing is changed, and what needs a restart is printed.

New filters and masks hold from the end of a transaction on. The place is saved with the
checkpoint before the next transaction is read, so that a restart and a replay filter each part
of the log as it was filtered the first time. SIGHUP does the same.

Examples:
  binpulse reload --check
  binpulse reload
  kill -HUP $(pidof binpulse)

Secrets, tokens and TLS files are read at each use and need no reload.

Exits 0 when the settings are in force (with --check: can be), 1 if they were refused or the
service does not answer. See docs/operate/reload.md.";

/// For how long the command waits until the settings are in force.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const REFRESH: Duration = Duration::from_millis(100);

/// The command.
pub(super) fn command() -> Command {
    let check = Arg::new("check")
        .long("check")
        .action(ArgAction::SetTrue)
        .help("Only print what would change, and what needs a restart");
    let command = Command::new("reload")
        .about("Make the running service read its settings again")
        .long_about(LONG_ABOUT)
        .arg(check);
    flags::with_settings(command, flags::ASKS)
}

/// Asks, and waits until it is done.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let service = match question(matches) {
        Ok(service) => service,
        Err(exit) => return exit,
    };
    let check = matches.get_flag("check");
    let command = if check { RELOAD_CHECK } else { RELOAD_APPLY };
    let answer = service.tell(RELOAD_PATH, &[(RELOAD_HEADER, command)]);
    let is_taken = answer.as_ref().is_ok_and(|answer| answer.code == 200);
    if check || !is_taken {
        return show(answer);
    }
    wait(&service)
}

fn wait(service: &Service) -> Exit {
    let began = Instant::now();
    loop {
        let reload = match ask(service) {
            Ok(status) => status["reload"].clone(),
            Err(error) => {
                say!("binpulse: {error}");
                return Exit::Failed;
            }
        };
        let told = reload["told"].as_str().unwrap_or_default();
        match terminal::word(&reload["state"]) {
            Some(ReloadState::InForce) => {
                print!("{told}");
                return Exit::Done;
            }
            Some(ReloadState::Refused) => {
                say!("{}", told.trim_end());
                return Exit::Failed;
            }
            Some(ReloadState::Pending) | None => {}
        }
        if began.elapsed() > WITHIN {
            print!("{told}");
            say!(
                "binpulse: not in force yet: the end of a transaction, or the save of the checkpoint, is \
                 waited for; see `reload` in /status"
            );
            return Exit::Failed;
        }
        std::thread::sleep(REFRESH);
    }
}
