//! `run`: the service.

use clap::{ArgMatches, Command};

use super::{Exit, flags, logs, runtime};
use crate::app::{self, Outcome, Plan};
use crate::shutdown;

const LONG_ABOUT: &str = "\
Streams the source's changes to the sink until SIGTERM or SIGINT, then delivers what is under way
within shutdown.grace and saves the checkpoint.

When delivery can't go on (position lost, access denied, a message refused), the process stays up
by default, serves /status with the reason and what mends it, and waits for SIGTERM.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("run").about("Stream changes to the sink").long_about(LONG_ABOUT),
    )
}

/// Runs the service.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((values, plan)) = plan(matches) else { return Exit::Usage };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let outcome = runtime.block_on(async {
        let stop = match shutdown::on_signal() {
            Ok(stop) => stop,
            Err(error) => {
                tracing::error!(%error, "can't listen for signals");
                return Outcome::Bug;
            }
        };
        Box::pin(app::run(plan, stop)).await
    });
    match outcome {
        Outcome::Stopped | Outcome::StoppedInHaste => Exit::Done,
        Outcome::Unavailable => Exit::Unavailable,
        Outcome::NeedsOperator => Exit::Operator,
        Outcome::Bug => Exit::Bug,
    }
}

/// The settings and what follows from them; every mistake is printed.
pub(super) fn plan(matches: &ArgMatches) -> Option<(crate::config::Values, Plan)> {
    let values = flags::load(matches)?;
    match Plan::new(&values) {
        Ok(plan) => Some((values, plan)),
        Err(errors) => {
            for error in errors {
                eprintln!("binpulse: {error}");
            }
            None
        }
    }
}
