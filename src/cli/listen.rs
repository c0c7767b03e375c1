//! `listen`: rows to the terminal or a local webhook, for who writes a receiver.

use std::path::PathBuf;

use binpulse_relay::target::webhook::{Config, SecretSource, Webhook};
use clap::{Arg, ArgMatches, Command};

use super::style::say;
use super::{Exit, flags, run};
use crate::app::listen::{self, ListenError, Target};
use crate::aws;

const LONG_ABOUT: &str = "\
Delivers rows to a webhook on this machine, or prints them, so that a receiver can be written
and tried out without the relay: the same headers, signatures and ids. Rows come from the
lines of `binpulse tail`, which needs no AWS, or from a queue of SQS.

Examples:
  binpulse tail --config binpulse.toml | binpulse listen --to http://127.0.0.1:3000/hook
  binpulse listen --queue https://sqs.eu-central-1.amazonaws.com/123456789012/test

A row is tried five times; then the command ends. It deletes each message of the queue whose
rows were delivered, and keeps no state: a crash repeats rows, under the same ids.

Exit codes: 0 the input ended; 1 a row was refused; 64 a wrong address or secret; 69 the
queue can't be read.";

/// Signs where no secret was given: not one to be used for anything else.
const SECRET: &str = "whsec_YmlucHVsc2UgbGlzdGVuLCBub3QgYSBzZWNyZXQ=";

/// The command.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("listen")
        .about("Deliver rows to a local webhook or the terminal, for development")
        .long_about(LONG_ABOUT)
        .arg(option("queue", "URL", "The queue to read [default: lines from standard input]"))
        .arg(
            option("to", "URL|-", "A webhook on this machine, or standard output")
                .default_value("-"),
        )
        .arg(option("secret", "FILE", "File with the secret that signs (whsec_...)"));
    flags::with_settings(command, flags::Reads::Only(&["sns.region", "sns.endpoint_url"]))
}

/// Listens until the input ends.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let target = match target(text("to").unwrap_or("-"), text("secret")) {
        Ok(target) => target,
        Err(error) => {
            say!("binpulse: {error}");
            return Exit::Usage;
        }
    };
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let config =
        aws::Config { region: values.text_opt("sns.region").map(str::to_owned), profile: None };
    run::to_the_end(async |stop| {
        let listening = async {
            let Some(url) = text("queue") else { return exit(listen::lines(&target).await) };
            match aws::Shared::load(&config).await {
                Ok(shared) => {
                    let endpoint_url = values.text_opt("sns.endpoint_url");
                    exit(listen::queue(&shared, endpoint_url, url, &target).await)
                }
                Err(error) => {
                    say!("binpulse: {error}");
                    Exit::Unavailable
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => Exit::Done,
            exit = Box::pin(listening) => exit,
        }
    })
}

fn exit(ended: Result<(), ListenError>) -> Exit {
    let Err(error) = ended else { return Exit::Done };
    if let ListenError::Stream(error) = &error
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        return Exit::Done;
    }
    say!("binpulse: {error}");
    match error {
        ListenError::Refused(_) => Exit::Failed,
        ListenError::Stream(_) | ListenError::Queue(_) => Exit::Unavailable,
    }
}

fn target(to: &str, secret: Option<&str>) -> Result<Target, String> {
    if to == "-" {
        return Ok(Target::Output);
    }
    let secret = match secret {
        Some(file) => SecretSource::file("--secret", PathBuf::from(file)),
        None => {
            say!("binpulse: requests are signed with {SECRET}");
            SecretSource::new("--secret", || Ok(SECRET.to_owned()))
        }
    };
    let mut config = Config::new(to, vec![secret]);
    // Without TLS nothing but this machine is reached.
    let networks = ["127.0.0.0/8", "::1/128"].iter();
    config.egress.allow = networks.filter_map(|network| network.parse().ok()).collect();
    config.egress.ports = (1..=u16::MAX).collect();
    config.connections = 1;
    let webhook = Webhook::new(config).map_err(|error| format!("--to: {error}"))?;
    Ok(Target::Webhook(Box::new(webhook)))
}
