//! What is typed: the demo as a whole, or one part of it by itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::roles::{self, Role};
use crate::{Audience, Billing, Error, bill, run};

const LONG_ABOUT: &str = "\
Starts a private MySQL and a stand-in of SNS and SQS, streams what a small shop writes, and shows
what a consumer receives as JSON lines. On a terminal it goes on until Ctrl-C; elsewhere it runs
DEMO_SECONDS (default 30). The last line counts rows written and received; exit code 0 only if they
are the same. Whatever was started is stopped at the end.

`make deps` fetches the servers; BINPULSE_TEST_MYSQLD=/path/to/mysqld uses one that you have.";

const BILLING_ABOUT: &str = "\
Writes charges into a private MySQL. binpulse and its relay bring each of them to a receiver that verifies
Standard Webhooks and charges once for each id, while both are killed, messages come up to three
times and in another order, and the receiver fails now and then. The last lines compare the sums;
exit code 0 only if each charge was made once.";

/// Exit codes, as those of binpulse.
const FAILED: u8 = 1;
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const BUG: u8 = 70;

/// The command line. `--role` plays one part by itself, for containers.
fn command() -> Command {
    let role = |name: &'static str| Arg::new(name).long(name).hide(true);
    Command::new("binpulse-demo")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Watch binpulse work: private MySQL, SNS stand-in, shop workload, consumer")
        .long_about(LONG_ABOUT)
        .arg(binpulse())
        .subcommand(billing())
        .arg(role("role").value_parser(["topics", "shop", "consumer"]))
        .arg(role("endpoint-url").default_value("http://127.0.0.1:4566"))
        .arg(role("mysql").default_value("127.0.0.1:3306"))
        .arg(role("user").default_value("shop"))
}

fn binpulse() -> Arg {
    Arg::new("binpulse")
        .long("binpulse")
        .value_name("PROGRAM")
        .value_parser(value_parser!(PathBuf))
        .help("The streamer to show [default: `binpulse` in the folder of this program]")
}

fn billing() -> Command {
    let number = |name: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64).range(1..))
    };
    Command::new("billing")
        .about("Charge each row of a table once by webhook, under kills, duplicates and reordering")
        .long_about(BILLING_ABOUT)
        .arg(binpulse())
        .arg(
            number("charges").env("BILLING_CHARGES").default_value("100000").help("Rows to charge"),
        )
        .arg(
            number("seed")
                .env("BILLING_SEED")
                .help("Seed of kills and duplicates [default: from the clock]"),
        )
        .arg(
            Arg::new("debezium")
                .long("debezium")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .help("A Debezium Server to show beside it, with the same receiver"),
        )
}

/// Shows the demo, or plays a role, as `arguments` (the program's name first) say.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            drop(error.print());
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("binpulse-demo: can't start the runtime: {error}");
            return BUG.into();
        }
    };
    let outcome = runtime.block_on(async {
        match role(&matches) {
            Some(role) => Box::pin(play(role)).await.map(|()| true),
            None => match matches.subcommand() {
                Some((_, matches)) => Box::pin(charge(matches)).await,
                None => Box::pin(show(&matches)).await,
            },
        }
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAILED.into(),
        Err(error) => {
            eprintln!("binpulse-demo: {error}");
            if matches!(error, Error::Seconds { .. }) {
                USAGE.into()
            } else if matches!(error, Error::Missing { .. }) {
                UNAVAILABLE.into()
            } else {
                FAILED.into()
            }
        }
    }
}

/// The program to show.
fn binary(matches: &ArgMatches) -> Result<PathBuf, Error> {
    let binary = match matches.get_one::<PathBuf>("binpulse") {
        Some(named) => named.clone(),
        None => std::env::current_exe()
            .map_err(|source| Error::Program { program: "binpulse-demo".to_owned(), source })?
            .with_file_name("binpulse"),
    };
    if !binary.is_file() {
        return Err(Error::Missing {
            what: format!("the program {}", binary.display()),
            remedy: "build it (`make build`), or name it with --binpulse",
        });
    }
    Ok(binary)
}

async fn show(matches: &ArgMatches) -> Result<bool, Error> {
    let audience = Audience::of_this_process()?;
    run(&binary(matches)?, audience).await.map(|summary| summary.complete)
}

async fn charge(matches: &ArgMatches) -> Result<bool, Error> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let billing = Billing {
        binary: binary(matches)?,
        charges: number("charges").unwrap_or(1),
        seed: number("seed").unwrap_or(clock.as_secs() % 1_000_000),
        debezium: matches.get_one::<PathBuf>("debezium").cloned(),
    };
    tokio::select! {
        shown = bill(&billing) => shown,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map_err(listening)?;
            Err(Error::Interrupted)
        }
    }
}

fn listening(source: std::io::Error) -> Error {
    Error::Program { program: "listening to signals".to_owned(), source }
}

fn role(matches: &ArgMatches) -> Option<Role> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let endpoint_url = text("endpoint-url");
    match text("role").as_str() {
        "topics" => Some(Role::Topics { endpoint_url }),
        "consumer" => Some(Role::Consumer { endpoint_url }),
        "shop" => {
            let address = text("mysql");
            let (host, port) = address.rsplit_once(':').unwrap_or((&address, "3306"));
            Some(Role::Shop {
                host: host.to_owned(),
                port: port.parse().unwrap_or(3306),
                user: text("user"),
                password: std::env::var("DEMO_PASSWORD").unwrap_or_default(),
            })
        }
        _ => None,
    }
}

async fn play(role: Role) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let listen = |kind| signal(kind).map_err(listening);
    let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let asked = async {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = roles::play(role, &stop) => outcome,
        () = asked => Ok(()),
    }
}
