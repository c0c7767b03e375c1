//! `probe`: the consumer's own judge of freshness.

use clap::{ArgMatches, Command};

use super::{Exit, flags, logs, run, runtime};
use crate::app::{self, ProbePlan};

const LONG_ABOUT: &str = "\
Reads canaries from an SQS queue of its own (probe.queue), subscribed to the topic as the consumer's
is, and serves /metrics and /healthz at probe.listen until SIGTERM or SIGINT. It goes by the canaries
alone: it asks neither the streamer nor the source.

/healthz answers 200 while the newest canary of each stream is younger than probe.deadline, else 503
with a sentence that names what was missed. Until the first canary is due it answers 200.

It deletes whatever it reads: never point it at a queue that anybody else reads. It takes
probe.*, log.*, sns.region, sns.endpoint_url, and for its pages the token and certificate of http.*;
the other settings are not looked at.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("probe")
            .about("Judge freshness beside a consumer, by the canaries in a queue of its own")
            .long_about(LONG_ABOUT),
    )
}

/// Reads until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let plan = match ProbePlan::new(&values) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("binpulse: {error}");
            return Exit::Usage;
        }
    };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Ok(runtime) = runtime() else { return Exit::Bug };
    run::until_stopped(runtime, |stop| app::probe(plan, stop))
}
