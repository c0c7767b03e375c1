//! `run`: the service.

use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::style::say;
use super::{Exit, flags, logs, runtime};
use crate::app::plan::Reload;
use crate::app::{self, Outcome, Plan};
use crate::config::{Error, Values};
use crate::shutdown::{Hangups, Signals};

const LONG_ABOUT: &str = "\
Streams the source's row changes to the sink until SIGTERM or SIGINT. Then it delivers what
is in flight, within shutdown.grace, and saves the checkpoint.

Example:
  binpulse run --config binpulse.toml

On SIGHUP it reads its settings again, as `binpulse reload` asks it to.

If another process runs the stream, it refuses with exit code 75 and says where that one is.

If delivery can't continue (position lost, access denied, a message refused), the process
stays up by default, shows the reason and the fix in /status, and waits for SIGTERM.";

/// The command.
pub(super) fn command() -> Command {
    let command =
        Command::new("run").about("Stream row changes to the sink").long_about(LONG_ABOUT);
    let takeover = Arg::new(TAKEOVER)
        .long(TAKEOVER)
        .action(ArgAction::SetTrue)
        .help("Take the stream from another process that runs it: that one is fenced, and stops");
    flags::with_settings(flags::with_new_epoch(command).arg(takeover), flags::Reads::All)
}

const TAKEOVER: &str = "takeover";

/// Runs the service.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((values, mut plan)) = plan(matches, Runs::Service) else { return Exit::Usage };
    plan.new_epoch = flags::new_epoch(matches);
    plan.ha.takes_over = matches.get_flag(TAKEOVER);
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let signal = Arc::new(Notify::new());
    let again = matches.clone();
    let load = Arc::new(move || flags::try_load(&again));
    plan.settings.reload = Some(Reload { load, signal: Arc::clone(&signal) });
    until_stopped(runtime, |stop| async {
        let hangups = async {
            let mut hangups = Hangups::new()?;
            loop {
                hangups.next().await;
                signal.notify_one();
            }
        };
        tokio::select! {
            outcome = app::run(plan, stop) => outcome,
            Err::<(), std::io::Error>(error) = hangups => {
                tracing::error!(%error, "can't listen for SIGHUP");
                Outcome::Bug
            }
        }
    })
}

/// Time for blocking calls that are under way when everything else has ended: a name that is being
/// looked up, or a disk that does not answer, keeps no process.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// Runs a service until a signal stops it, or it ends.
pub(super) fn until_stopped<F: Future<Output = Outcome>>(
    runtime: tokio::runtime::Runtime,
    service: impl FnOnce(CancellationToken) -> F,
) -> Exit {
    let outcome = runtime.block_on(async {
        match stop_on_signal() {
            Ok(stop) => Box::pin(service(stop)).await,
            Err(error) => {
                tracing::error!(%error, "can't listen for signals");
                Outcome::Bug
            }
        }
    });
    runtime.shutdown_timeout(BLOCKED_MAX);
    match outcome {
        Outcome::Stopped | Outcome::StoppedInHaste => Exit::Done,
        Outcome::Unavailable => Exit::Unavailable,
        Outcome::NeedsOperator | Outcome::StandsDown => Exit::Operator,
        Outcome::Bug => Exit::Bug,
    }
}

/// What a command runs besides reading the source. Settings of anything else can't stop it: the
/// container image sets an address for HTTP, and `init` in it serves no HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Everything, as the service does.
    Service,
    /// The sink, but no HTTP.
    Sink,
    /// Neither the sink nor HTTP.
    SourceOnly,
}

impl Runs {
    /// The settings with those of other parts at their defaults.
    fn only(self, values: Values) -> Values {
        match self {
            Self::Service => values,
            Self::Sink => values.with_defaults("http."),
            Self::SourceOnly => {
                let values = values.with_defaults("http.").with_defaults("sns.");
                let values = values.with_defaults("sink.");
                // Without a topic there is no other sink to plan.
                values.clone().with("sink.kind", "null").unwrap_or(values)
            }
        }
    }
}

/// The settings and what follows from them; every mistake is printed.
pub(super) fn plan(matches: &ArgMatches, runs: Runs) -> Option<(Values, Plan)> {
    let values = runs.only(flags::load(matches)?);
    match Plan::new(&values) {
        Ok(plan) => Some((values, plan)),
        Err(errors) => {
            for error in errors {
                say!("binpulse: {error}");
            }
            None
        }
    }
}

/// The settings and what a command of its own kind makes of them; what is wrong is printed.
pub(super) fn plan_by<P>(
    matches: &ArgMatches,
    make: impl FnOnce(&Values) -> Result<P, Error>,
) -> Option<(Values, P)> {
    let values = flags::load(matches)?;
    match make(&values) {
        Ok(plan) => Some((values, plan)),
        Err(error) => {
            say!("binpulse: {error}");
            None
        }
    }
}

/// Does work that ends by itself; a signal to stop cancels what it is given.
pub(super) fn to_the_end<F: Future<Output = Exit>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Bug };
    runtime.block_on(async {
        match stop_on_signal() {
            Ok(stop) => work(stop).await,
            Err(error) => {
                say!("binpulse: can't listen for signals: {error}");
                Exit::Bug
            }
        }
    })
}

/// Cancelled by the first signal to stop. A second one ends the process at once: what is under way
/// comes again from the checkpoint.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::info!(signal, "asked to stop");
        asked.cancel();
        let signal = signals.next().await;
        tracing::warn!(signal, "asked to stop at once");
        // As a shell tells of a process that a signal ended: 128 and the signal's number.
        std::process::exit(if signal == "SIGINT" { 130 } else { 143 });
    });
    Ok(stop)
}
