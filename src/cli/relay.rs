//! `relay`: the messages of one queue to one target.

use clap::{ArgMatches, Command};

use super::{Exit, flags, logs, run, runtime};
use crate::app::{self, RelayPlan};

const LONG_ABOUT: &str = "\
Reads one SQS queue (relay.queue) and delivers its rows to one target (relay.to.kind): a
webhook, a copy in MySQL or PostgreSQL, another queue or topic, or standard output. Rows of
a key are delivered in order. A row that was delivered is not delivered again, also after a
crash; where a target can't make that certain, it sees the same request id again.

Example:
  binpulse relay --relay-queue https://sqs.eu-central-1.amazonaws.com/123456789012/partners \\
    --relay-to-kind webhook --relay-to-url https://partner.example/hooks \\
    --relay-to-secret-file /run/secrets/webhook --relay-state file:/var/lib/binpulse/relay

It serves /metrics, /healthz and /status at relay.listen until SIGTERM or SIGINT. One route
reads one queue, so that a slow target holds up nobody else.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("relay")
            .about("Deliver the messages of a queue to a webhook, a copy, another queue or stdout")
            .long_about(LONG_ABOUT),
        flags::Reads::Only(&[
            "relay.",
            "sns.region",
            "sns.endpoint_url",
            "sink.claim_check_endpoint_url",
            "http.",
            "log.",
        ]),
    )
}

/// Delivers until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let plan = match RelayPlan::new(&values) {
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
    run::until_stopped(runtime, |stop| app::relay(plan, stop))
}
