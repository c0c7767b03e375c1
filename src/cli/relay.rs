//! `relay`: the messages of one queue to one target.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::service::Service;
use super::{Exit, flags, logs, run, runtime};
use crate::app::{self, PARKED_HEADER, RelayPlan};

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
            .long_about(LONG_ABOUT)
            .subcommand(parked_command()),
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

const PARKED_ABOUT: &str = "\
Shows what the running relay has parked, and does with it what you say. A request is parked
when the target refused each attempt (relay.max_attempts), when it can't be sent at all, or
when an earlier request of its key is parked. Parked rows are kept in relay.state until they
are retried or dropped.

Examples:
  binpulse relay parked list
  binpulse relay parked show bp_4jzmkvz2xvw3kkq6qg2lq6y3o5r2d7aa
  binpulse relay parked retry --all
  binpulse relay parked drop bp_4jzmkvz2xvw3kkq6qg2lq6y3o5r2d7aa --reason 'refunded by hand'";

fn parked_command() -> Command {
    let ids = || {
        Arg::new("id").value_name("ID").action(ArgAction::Append).help("Ids as `list` shows them")
    };
    let with = |command: Command| {
        flags::with_settings(command, flags::Reads::Only(&["relay.listen", "http."]))
    };
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue).help("All that is parked");
    let reason = Arg::new("reason")
        .long("reason")
        .value_name("TEXT")
        .required(true)
        .help("Why, for the relay's log");
    Command::new("parked")
        .about("Show parked rows, and retry or drop them")
        .long_about(PARKED_ABOUT)
        .subcommand_required(true)
        .subcommand(with(Command::new("list").about("One line of JSON for each parked request")))
        .subcommand(with(
            Command::new("show")
                .about("One parked request with its body")
                .arg(ids().required(true)),
        ))
        .subcommand(with(
            Command::new("retry")
                .about("Send parked requests again, those of a key in their order")
                .arg(ids().required_unless_present("all").conflicts_with("all"))
                .arg(all),
        ))
        .subcommand(with(
            Command::new("drop")
                .about("Remove parked requests: they are never delivered")
                .arg(ids().required(true))
                .arg(reason),
        ))
}

/// Asks the running relay.
fn parked(matches: &ArgMatches) -> Exit {
    let Some((verb, matches)) = matches.subcommand() else { return Exit::Usage };
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let done = Service::of_relay(&values).and_then(|service| ask(&service, verb, matches));
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("binpulse: {error}");
            Exit::Unavailable
        }
    }
}

fn ask(service: &Service, verb: &str, matches: &ArgMatches) -> Result<(), String> {
    let ids = matches.try_get_many::<String>("id").ok().flatten().into_iter().flatten();
    let ids: Vec<_> = ids.map(String::as_str).collect();
    let told = |text: &str| {
        print!("{text}");
        Ok(())
    };
    let refused = |answer: &crate::local_http::Answer| {
        Err(format!("{}: {} {}", service.address(), answer.code, answer.body.trim()))
    };
    match verb {
        "list" => {
            let answer = service.ask("/parked")?;
            let entries: Vec<serde_json::Value> =
                serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
            entries.iter().try_for_each(|entry| told(&format!("{entry}\n")))
        }
        "show" => ids.iter().try_for_each(|id| {
            let answer = service.ask(&format!("/parked/{id}"))?;
            if answer.code == 200 { told(&answer.body) } else { refused(&answer) }
        }),
        _ => {
            let mut command = format!("{verb} {}", ids.join(","));
            if let Ok(Some(reason)) = matches.try_get_one::<String>("reason") {
                command = format!("{command}: {}", reason.replace(['\r', '\n'], " "));
            }
            let answer = service.tell("/parked", &[(PARKED_HEADER, &command)])?;
            if answer.code == 200 { told(&answer.body) } else { refused(&answer) }
        }
    }
}

/// Delivers until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    if let Some(("parked", matches)) = matches.subcommand() {
        return parked(matches);
    }
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
