//! `relay`: the messages of one queue to one target.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::progress::{Progress, Unit};
use super::service::Service;
use super::style::say;
use super::{Exit, check, flags, logs, run, runtime};
use crate::app::{self, PARKED_HEADER, RedrivePlan, Redriven, RelayPlan};

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
reads one queue, so that a slow target holds up nobody else.

With --check it delivers nothing: it looks at queue, state, target and subscription, prints all
findings (as JSON lines when not on a terminal), and exits 0, or 1 if the relay could not work.
It receives no message and sends no request; tables or the file of relay.state are made if they
are missing.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("relay")
            .about("Deliver the messages of a queue to a webhook, a copy, another queue or stdout")
            .long_about(LONG_ABOUT)
            .arg(
                Arg::new("check")
                    .long("check")
                    .action(ArgAction::SetTrue)
                    .help("Check everything that the relay needs, and print each problem with its fix"),
            )
            .arg(
                Arg::new("topic")
                    .long("topic")
                    .value_name("ARN")
                    .requires("check")
                    .help("Topic whose subscription is checked [default: those that the queue's policy names]"),
            )
            .subcommand(parked_command())
            .subcommand(redrive_command()),
        flags::Reads::Only(&[
            "relay.",
            "formats.",
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
            say!("binpulse: {error}");
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

const REDRIVE_ABOUT: &str = "\
Moves the messages of a dead letter queue back to relay.queue, where a running relay delivers
them: bodies and attributes unchanged, groups too. Each is sent first and deleted then. The
relay skips rows that it has delivered, and puts the others into their order.

The dead letter queue may be that of relay.queue or of its subscription. Fix first what put
the messages there. It stops when the queue is empty, and prints how many were moved and how
many are left.

Example:
  binpulse relay redrive --config relay.toml --rate 20 \\
    --from https://sqs.eu-central-1.amazonaws.com/123456789012/partners-dead

It needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and
sqs:GetQueueAttributes on the dead letter queue, and sqs:SendMessage on relay.queue.

Exit codes: 0 the queue is empty; 1 messages are left, such as those that came meanwhile;
69 a queue refused or could not be reached, or it was interrupted.";

fn redrive_command() -> Command {
    let command = Command::new("redrive")
        .about("Move the messages of a dead letter queue back to the relay's queue")
        .long_about(REDRIVE_ABOUT)
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URL")
                .required(true)
                .help("URL of the dead letter queue"),
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .default_value("50")
                .value_parser(value_parser!(u32).range(1..=1_000))
                .help("Messages a second, at most"),
        );
    let reads = flags::Reads::Only(&["relay.queue", "sns.region", "sns.endpoint_url", "log."]);
    flags::with_settings(command, reads)
}

/// Moves a dead letter queue.
fn redrive(matches: &ArgMatches) -> Exit {
    let from = matches.get_one::<String>("from").map(String::as_str).unwrap_or_default();
    let rate = matches.get_one::<u32>("rate").copied().unwrap_or(1);
    let plan = run::plan_by(matches, |values| RedrivePlan::new(values, from, rate));
    let Some((values, plan)) = plan else { return Exit::Usage };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    run::to_the_end(async |stop| {
        let mut progress = Progress::new(Unit::Things("messages"), false);
        let tell = move |moved, total| {
            if progress.is_wanted() {
                progress.at("Moving", moved, Some(total), "");
            } else {
                say!("binpulse: {moved} of about {total} messages moved");
            }
        };
        match Box::pin(app::redrive_queue(&plan, &stop, tell)).await {
            Ok(Redriven { moved, left, interrupted }) => {
                println!("{moved} messages moved to the relay's queue; about {left} are left");
                match (interrupted, left) {
                    (true, _) => Exit::Unavailable,
                    (false, 0) => Exit::Done,
                    (false, _) => Exit::Failed,
                }
            }
            Err(error) => {
                say!("binpulse: {error}");
                Exit::Unavailable
            }
        }
    })
}

/// Looks, and prints.
fn checked(plan: &RelayPlan, topic: Option<&str>) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Bug };
    check::conclude(&runtime.block_on(app::check_relay(plan, topic)))
}

/// Delivers until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("parked", matches)) => return parked(matches),
        Some(("redrive", matches)) => return redrive(matches),
        Some(_) | None => {}
    }
    let Some((values, plan)) = run::plan_by(matches, RelayPlan::new) else { return Exit::Usage };
    if matches.get_flag("check") {
        return checked(&plan, matches.get_one::<String>("topic").map(String::as_str));
    }
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Ok(runtime) = runtime() else { return Exit::Bug };
    run::until_stopped(runtime, |stop| app::relay(plan, stop))
}
