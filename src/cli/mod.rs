//! What is typed: one file per command, and the only door to clap.

mod bundle;
mod check;
mod control;
mod decode;
mod exit;
mod flags;
mod generate;
mod ha;
mod health;
mod init;
mod limits;
mod lines;
mod listen;
mod maintenance;
mod manual;
mod people;
mod probe;
mod progress;
mod redrive;
mod relay;
mod reload;
mod replay;
mod run;
mod send;
mod service;
mod shadow;
mod snapshot;
mod style;
mod tail;
mod terminal;
mod verdict;
mod watch;

pub use exit::Exit;
pub use generate::{commands, exit_codes, reference};

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use crate::config::{Origin, Values};
use crate::telemetry::logs;
use style::say;

const ABOUT: &str =
    "Streams MySQL row changes to Amazon SNS, and proves whether a silent database is quiet";

const LONG_ABOUT: &str = "\
Streams the row changes of a MySQL or MariaDB database to Amazon SNS, and proves whether a
database that sends nothing is quiet, or which hop is broken.

Example:
  binpulse check   --config binpulse.toml
  binpulse run     --config binpulse.toml
  binpulse verdict --config binpulse.toml";

const AFTER_HELP: &str = "\
Every setting is a key of the TOML file, an environment variable and a flag, for example
heartbeat.interval, BINPULSE_HEARTBEAT_INTERVAL, --heartbeat-interval. A flag overrides the
environment, which overrides the file. Secrets come from the environment or from files,
never from flags.

`binpulse COMMAND -h` shows the command's own options, `--help` also its settings.";

/// The whole command line, also the source of completions and the manual page.
pub fn command() -> Command {
    Command::new("binpulse")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::list()))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run::command())
        .subcommand(check::command())
        .subcommand(init::command())
        .subcommand(tail::command())
        .subcommand(verdict::command())
        .subcommand(verdict::status_command())
        .subcommand(bundle::command())
        .subcommand(decode::command())
        .subcommand(redrive::command())
        .subcommand(replay::command())
        .subcommand(send::command())
        .subcommand(listen::command())
        .subcommand(probe::command())
        .subcommand(relay::command())
        .subcommand(health::command())
        .subcommand(ha::command())
        .subcommand(maintenance::command())
        .subcommand(control::suppress_command())
        .subcommand(control::rate_command())
        .subcommand(control::pause_command())
        .subcommand(control::release_command())
        .subcommand(control::controls_command())
        .subcommand(reload::command())
        .subcommand(snapshot::command())
        .subcommand(snapshot::verify_command())
        .subcommand(shadow::command())
        .subcommand(generate::settings_command())
        .subcommand(generate::completions_command())
        .subcommand(generate::man_command())
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    match command().try_get_matches() {
        Ok(matches) => {
            limits::prepare().map_or_else(ExitCode::from, |()| dispatch(&matches).into())
        }
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nothing can be done about a closed terminal.
            drop(error.print());
            exit.into()
        }
    }
}

fn dispatch(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("run", matches)) => run::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("init", matches)) => init::run(matches),
        Some(("tail", matches)) => tail::run(matches),
        Some(("verdict", matches)) => verdict::run(matches),
        Some(("status", matches)) => verdict::status(matches),
        Some(("bundle", matches)) => bundle::run(matches),
        Some(("decode", matches)) => decode::run(matches),
        Some(("redrive", matches)) => redrive::run(matches),
        Some(("send", matches)) => send::run(matches),
        Some(("listen", matches)) => listen::run(matches),
        Some(("replay", matches)) => replay::run(matches),
        Some(("probe", matches)) => probe::run(matches),
        Some(("relay", matches)) => relay::run(matches),
        Some(("health", matches)) => health::run(matches),
        Some(("ha", matches)) => ha::run(matches),
        Some(("maintenance", matches)) => maintenance::run(matches),
        Some(("suppress", matches)) => control::suppress(matches),
        Some(("rate", matches)) => control::rate(matches),
        Some(("pause", matches)) => control::pause(matches),
        Some(("release", matches)) => control::release(matches),
        Some(("controls", matches)) => control::controls(matches),
        Some(("reload", matches)) => reload::run(matches),
        Some(("snapshot", matches)) => snapshot::run(matches),
        Some(("verify", matches)) => snapshot::run_verify(matches),
        Some(("shadow", matches)) => shadow::run(matches),
        Some(("settings", matches)) => generate::settings(matches),
        Some(("completions", matches)) => generate::completions(matches),
        Some(("man", matches)) => generate::man(matches),
        // clap has refused anything else.
        Some(_) | None => Exit::Usage,
    }
}

/// `--config FILE`.
fn config_file() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("BINPULSE_CONFIG")
        .help("TOML file with settings")
}

/// The threads that everything runs on, and the one TLS provider.
fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    // An error means that one is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        say!("binpulse: can't start the runtime: {error}");
        Exit::Bug
    })
}

/// Starts logging as the settings say.
fn logs(values: &Values) -> Result<(), Exit> {
    let format = match values.text_opt("log.format") {
        Some("text") => logs::Format::Text,
        Some("json") => logs::Format::Json,
        Some(_) | None => logs::Format::Auto,
    };
    let level =
        values.text_opt("log.level").filter(|_| values.origin("log.level") != Origin::Default);
    logs::before_each_line(style::erase_progress);
    logs::init(level, format).map_err(|error| {
        say!("binpulse: {error}");
        Exit::Usage
    })
}
