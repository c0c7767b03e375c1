//! `demo`: everything on this machine, to be watched.

use clap::{Arg, ArgMatches, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, runtime};
use crate::demo::roles::{self, Role};
use crate::demo::{self, Audience};

const LONG_ABOUT: &str = "\
Starts a private MySQL and a stand-in of SNS and SQS, streams what a small shop writes, and shows
what a consumer receives as JSON lines. On a terminal it goes on until Ctrl-C; elsewhere it runs
DEMO_SECONDS (default 30). The last line counts rows written and received; exit code 0 only if they
are the same. Whatever was started is stopped at the end.

`make deps` fetches the servers; BINPULSE_TEST_MYSQLD=/path/to/mysqld uses one that you have.";

/// The command. `--role` plays one part by itself, for containers.
pub(super) fn command() -> Command {
    let role = |name: &'static str| Arg::new(name).long(name).hide(true);
    Command::new("demo")
        .about("Watch it work: private MySQL, SNS stand-in, shop workload, consumer")
        .long_about(LONG_ABOUT)
        .arg(role("role").value_parser(["topics", "shop", "consumer"]))
        .arg(role("endpoint-url").default_value("http://127.0.0.1:4566"))
        .arg(role("mysql").default_value("127.0.0.1:3306"))
        .arg(role("user").default_value("shop"))
}

/// Shows the demo, or plays a role.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let outcome = runtime.block_on(async {
        match role(matches) {
            Some(role) => Box::pin(play(role)).await.map(|()| true),
            None => Box::pin(show()).await,
        }
    });
    match outcome {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error @ demo::Error::Seconds { .. }) => fail(&error, Exit::Usage),
        Err(error @ demo::Error::Missing { .. }) => fail(&error, Exit::Unavailable),
        Err(error) => fail(&error, Exit::Failed),
    }
}

fn fail(error: &demo::Error, exit: Exit) -> Exit {
    eprintln!("binpulse: {error}");
    exit
}

async fn show() -> Result<bool, demo::Error> {
    let audience = Audience::of_this_process()?;
    let binary = std::env::current_exe()
        .map_err(|source| demo::Error::Program { program: "binpulse".to_owned(), source })?;
    demo::run(&binary, audience).await.map(|summary| summary.complete)
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

async fn play(role: Role) -> Result<(), demo::Error> {
    let stop = CancellationToken::new();
    let listen = |kind| {
        signal(kind).map_err(|source| demo::Error::Program {
            program: "listening to signals".to_owned(),
            source,
        })
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
