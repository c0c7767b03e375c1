//! `probe`: freshness as one consumer sees it.

use clap::{ArgMatches, Command};

use super::{Exit, flags, logs, run, runtime};
use crate::app::{self, ProbePlan};

const LONG_ABOUT: &str = "\
Watches freshness for one consumer: reads canaries from an SQS queue of its own
(probe.queue), which is subscribed to the topic like the consumer's queue, and serves
/metrics and /healthz at probe.listen until SIGTERM or SIGINT.

Example:
  binpulse probe --probe-queue https://sqs.eu-central-1.amazonaws.com/123456789012/billing-probe

With probe.copy it reads the canaries that the relay has written into a copy instead, and so
evaluates the copy.

It uses the canaries alone, and asks neither the streamer nor the source. /healthz answers
200 while the newest canary of each stream is younger than probe.deadline, else 503 with a
sentence that names what was missed. Until the first canary is due it answers 200.

It deletes whatever it reads of a queue: never give it one that anything else reads.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("probe")
            .about("Watch freshness for one consumer, by the canaries in a queue of its own")
            .long_about(LONG_ABOUT),
        flags::Reads::Only(&["probe.", "sns.region", "sns.endpoint_url", "http.", "log."]),
    )
}

/// Reads until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((values, plan)) = run::plan_by(matches, ProbePlan::new) else { return Exit::Usage };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Ok(runtime) = runtime() else { return Exit::Bug };
    run::until_stopped(runtime, |stop| app::probe(plan, stop))
}
