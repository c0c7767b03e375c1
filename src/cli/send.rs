//! `send`: messages of the conformance suite to a consumer under test.

use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, ArgMatches, Command};

use super::style::say;
use super::{Exit, flags, run};
use crate::app::send::{Envelope, Fixture, Queue, fixtures, post};

const LONG_ABOUT: &str = "\
Sends messages that binpulse's own encoder made to a consumer, so that it can be tested
without a database: rows with every type and its edges, canaries, parts of snapshots, kinds
of later versions.

Examples:
  binpulse send --fixture list
  binpulse send --fixture every-type --to -
  binpulse send --fixture all --to https://sqs.eu-central-1.amazonaws.com/123456789012/test
  binpulse send --fixture all --as lambda \\
    --to http://localhost:9000/2015-03-31/functions/function/invocations
  binpulse send --fixture conformance/hostile.json --to -

What the messages mean is in conformance/README.md. A file has cases in the form of
messages.json, or with `name`, `body` and `attributes`.

Exit codes: 0 all were taken; 1 some were not; 64 no such fixture; 69 no credentials.";

/// The command.
pub(super) fn command() -> Command {
    let required = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("send")
        .about("Send messages of the conformance suite to a consumer")
        .long_about(LONG_ABOUT)
        .arg(
            required(
                "fixture",
                "NAME|FILE|all|list",
                "A case, all of them, those of a file; or list their names",
            )
            .required(true),
        )
        .arg(
            required(
                "to",
                "QUEUE_URL|http://...|-",
                "A queue of SQS, an address that gets a POST, or standard output",
            )
            .default_value("-"),
        )
        .arg(
            required("as", "ENVELOPE", "What is put around the body")
                .value_parser(["raw", "sns", "lambda"])
                .default_value("raw"),
        )
        .arg(
            required("form", "FORM", "Form of the body, where the case has it")
                .value_parser(["frame", "frame-zstd", "json"])
                .default_value("frame-zstd"),
        );
    flags::with_settings(command, flags::Reads::Only(&["sns.region", "sns.endpoint_url"]))
}

/// Sends.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let fixtures = match chosen(text("fixture"), text("form")) {
        Ok(fixtures) => fixtures,
        Err(error) => {
            say!("binpulse: --fixture: {error}");
            return Exit::Usage;
        }
    };
    if text("fixture") == "list" {
        return print(fixtures.iter().map(|fixture| fixture.name.as_str()));
    }
    let envelope = match text("as") {
        "sns" => Envelope::Sns,
        "lambda" => Envelope::Lambda,
        _ => Envelope::Raw,
    };
    let to = text("to");
    if to == "-" {
        let bodies: Vec<String> =
            fixtures.iter().map(|fixture| fixture.in_envelope(envelope)).collect();
        return print(bodies.iter().map(String::as_str));
    }
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let region = values.text_opt("sns.region").map(str::to_owned);
    let endpoint_url = values.text_opt("sns.endpoint_url");
    run::to_the_end(async |stop| {
        // A stand-in for SQS may speak plain HTTP.
        let is_queue = to.starts_with("https://") || endpoint_url.is_some();
        let queue = if is_queue {
            match Queue::open(to, region, endpoint_url).await {
                Ok(queue) => Some(queue),
                Err(error) => {
                    say!("binpulse: {error}");
                    return Exit::Unavailable;
                }
            }
        } else {
            None
        };
        let sent = async {
            let mut refused = 0;
            for fixture in &fixtures {
                let sent = match &queue {
                    Some(queue) => queue.send(fixture, envelope).await,
                    None => post(to, &fixture.in_envelope(envelope)).await,
                };
                if let Err(why) = sent {
                    say!("binpulse: {}: {why}", fixture.name);
                    refused += 1;
                }
            }
            say!("binpulse: {} sent, {refused} of them refused", fixtures.len());
            if refused == 0 { Exit::Done } else { Exit::Failed }
        };
        tokio::select! {
            () = stop.cancelled() => Exit::Failed,
            exit = sent => exit,
        }
    })
}

/// The fixtures of this name, or of the file with this name.
fn chosen(name: &str, form: &str) -> Result<Vec<Fixture>, String> {
    if Path::new(name).extension().is_some_and(|extension| extension == "json") {
        let text = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
        return fixtures(Some(&text), form).map_err(|error| format!("{name}: {error}"));
    }
    let mut all = fixtures(None, form)?;
    if !["all", "list"].contains(&name) {
        all.retain(|fixture| fixture.name == name);
    }
    if all.is_empty() {
        Err(format!("no case is named {name:?}; `list` names them"))
    } else {
        Ok(all)
    }
}

fn print<'a>(lines: impl Iterator<Item = &'a str>) -> Exit {
    let mut out = io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Ok(()) => {}
            // Who reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
            Err(error) => {
                say!("binpulse: standard output: {error}");
                return Exit::Unavailable;
            }
        }
    }
    Exit::Done
}
