//! What is typed: the demo as a whole, or one part of it by itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::roles::{self, Role};
use crate::{Audience, Error, run};

const LONG_ABOUT: &str = "\
Starts a private MySQL and a stand-in of SNS and SQS, streams what a small shop writes, and shows
what a consumer receives as JSON lines. On a terminal it goes on until Ctrl-C; elsewhere it runs
DEMO_SECONDS (default 30). The last line counts rows written and received; exit code 0 only if they
are the same. Whatever was started is stopped at the end.

`make deps` fetches the servers; BINPULSE_TEST_MYSQLD=/path/to/mysqld uses one that you have.";

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
        .arg(
            Arg::new("binpulse")
                .long("binpulse")
                .value_name("PROGRAM")
                .value_parser(value_parser!(PathBuf))
                .help("The streamer to show [default: `binpulse` in the folder of this program]"),
        )
        .arg(role("role").value_parser(["topics", "shop", "consumer"]))
        .arg(role("endpoint-url").default_value("http://127.0.0.1:4566"))
        .arg(role("mysql").default_value("127.0.0.1:3306"))
        .arg(role("user").default_value("shop"))
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
            None => Box::pin(show(&matches)).await,
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

async fn show(matches: &ArgMatches) -> Result<bool, Error> {
    let audience = Audience::of_this_process()?;
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
    run(&binary, audience).await.map(|summary| summary.complete)
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
    let listen = |kind| {
        signal(kind)
            .map_err(|source| Error::Program { program: "listening to signals".to_owned(), source })
    };
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
