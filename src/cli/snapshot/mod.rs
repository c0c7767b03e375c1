//! `snapshot`: the rows that are already in the tables, read by the running service.

pub(in crate::cli) mod picture;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::service::{self, Service, question};
use super::style::{over, print};
use super::{Exit, flags};
use crate::cli::style::{fitted, is_dumb, say};
use crate::snapshot;
use crate::telemetry::http::{SNAPSHOT_BYTES_MAX, SNAPSHOT_HEADER, SNAPSHOT_PATH, in_header};
use crate::telemetry::snapshot::{SnapshotState, SnapshotStatus, SnapshotTableState};

const LONG_ABOUT: &str = "\
Reads the rows that are already in the tables, beside the stream: tells the running service
to begin, pause, resume or stop, and shows how far it has got. The rows are published as
kind `snapshot`; consumers that filter on kind `change` do not get them.

Examples:
  binpulse snapshot start --tables 'shop.*'
  binpulse snapshot status --watch
  binpulse snapshot pause

See docs/operate/snapshot.md.";

const START_LONG_ABOUT: &str = "\
Begins a snapshot of tables that are published, and prints which ones are read, or why none
is. It continues in the service, also after a restart of it.

Examples:
  binpulse snapshot start --tables 'shop.*'
  binpulse snapshot start --tables shop.orders --where 'id > 1000' --wait
  binpulse snapshot start --tables shop.orders --keys 17,18 --for billing

Exits 0 if it began (with --wait: if all tables are done), 1 if it was refused, its tables are
still looked at after a minute, or the service does not answer (with --wait: also if it was
stopped, or a table was given up).";

const VERIFY_LONG_ABOUT: &str = "\
Publishes digests of the rows of tables, in ranges of their keys, each at its place in the
stream: whoever keeps a copy compares, at that place, the digest of its own rows. Changes that
no binary log has are found so: cascades of foreign keys, sessions with sql_log_bin = 0.
A range that differs is repaired by a snapshot of it.

Examples:
  binpulse verify --tables 'shop.*'
  binpulse verify --tables shop.orders --rows-per-second 5000 --wait
  binpulse snapshot start --tables shop.orders --after 1000 --upto 2000

It runs as a snapshot does: `binpulse snapshot pause`, `resume`, `stop` and `status` are for it
too. Exits 0 if it began (with --wait: if all tables are done), 1 if it was refused or the
service does not answer. See docs/operate/verify.md.";

const STATUS_LONG_ABOUT: &str = "\
Shows how far the newest snapshot has got: its tables, rows a second, the time that is left
and what it waits for; as JSON when not on a terminal.

Examples:
  binpulse snapshot status
  binpulse snapshot status --watch

Exits 0 if it is under way or done, 1 if it was refused or stopped, or a table was given up,
2 if there was none or the service does not answer. With --watch it prints each second, and
ends with the snapshot.";

/// Between two looks.
const REFRESH: Duration = Duration::from_secs(1);
/// For how long `start` waits until the tables were looked at.
const CHECKED_WITHIN: Duration = Duration::from_mins(1);

/// The command.
pub(super) fn command() -> Command {
    let plain = |name: &'static str, about: &'static str, more: &'static str| {
        let long = format!("{about}.\n\nExample:\n  binpulse snapshot {name}\n\n{more}");
        flags::with_settings(Command::new(name).about(about).long_about(long), flags::ASKS)
    };
    Command::new("snapshot")
        .about("Read the rows that are already in the tables")
        .long_about(LONG_ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(start_command())
        .subcommand(plain(
            "pause",
            "Read nothing more until `resume`",
            "It stays paused when the service is restarted.",
        ))
        .subcommand(plain(
            "resume",
            "Continue a snapshot that was paused",
            "It continues behind the last chunk that was published.",
        ))
        .subcommand(plain(
            "stop",
            "End the snapshot",
            "Tables that are not done are given up. What was published stays valid.",
        ))
        .subcommand(status_command())
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// The command `verify`.
pub(super) fn verify_command() -> Command {
    let command = Command::new("verify")
        .about("Publish digests of tables, for copies to be compared with")
        .long_about(VERIFY_LONG_ABOUT);
    flags::with_settings(with_range(command), flags::ASKS)
}

/// What a snapshot and its digests have in common.
fn with_range(command: Command) -> Command {
    command
        .arg(
            option("tables", "PATTERNS", "Tables as database.table, patterns as in filter.tables")
                .required(true)
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(option("after", "KEY", "Only rows behind the one with this key; with one table"))
        .arg(option("upto", "KEY", "Only rows up to the one with this key; with one table"))
        .arg(
            option("for", "NAME", "Subscribers that it is for: value of the attribute `replay`")
                .value_parser(flags::audience),
        )
        .arg(
            option("rows-per-second", "N", "Most rows a second [default: the setting]")
                .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(
            Arg::new("lock-keyless").long("lock-keyless").action(ArgAction::SetTrue).help(
                "Read tables without a key under a short lock, as snapshot.keyless = lock does",
            ),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Show it until it is over, as `snapshot status --watch` does"),
        )
}

fn start_command() -> Command {
    let command = Command::new("start")
        .about("Begin a snapshot of tables")
        .long_about(START_LONG_ABOUT)
        .arg(option("where", "SQL", "Only rows that meet this condition; with one table"))
        .arg(
            option("keys", "A,B,...", "Only rows with these values of the key; with one table")
                .value_delimiter(',')
                .action(ArgAction::Append),
        );
    flags::with_settings(with_range(command), flags::ASKS)
}

fn status_command() -> Command {
    let command = Command::new("status")
        .about("Show how far the newest snapshot has got")
        .long_about(STATUS_LONG_ABOUT)
        .arg(
            Arg::new("watch")
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Refresh each second until it is over"),
        );
    flags::with_settings(command, flags::ASKS)
}

/// Tells, or shows.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((name, matches)) = matches.subcommand() else { return Exit::Usage };
    let Ok(service) = question(matches) else { return Exit::Usage };
    match name {
        "start" => start(request(matches), matches.get_flag("wait"), &service),
        "status" if matches.get_flag("watch") => watch(&service),
        "status" => status(&service),
        "pause" => told(&service, &snapshot::Command::Pause {}),
        "resume" => told(&service, &snapshot::Command::Resume {}),
        "stop" => told(&service, &snapshot::Command::Stop {}),
        // clap has refused anything else.
        _ => Exit::Usage,
    }
}

/// Has digests published.
pub(super) fn run_verify(matches: &ArgMatches) -> Exit {
    let Ok(service) = question(matches) else { return Exit::Usage };
    let request = snapshot::Request { verify: true, ..range(matches) };
    start(request, matches.get_flag("wait"), &service)
}

fn request(matches: &ArgMatches) -> snapshot::Request {
    let keys = matches.get_many::<String>("keys").into_iter().flatten().cloned();
    snapshot::Request {
        condition: matches.get_one::<String>("where").cloned(),
        keys: keys.collect(),
        ..range(matches)
    }
}

fn range(matches: &ArgMatches) -> snapshot::Request {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let tables = matches.get_many::<String>("tables").into_iter().flatten().cloned();
    snapshot::Request {
        tables: tables.collect(),
        audience: text("for"),
        rows_per_second: matches.get_one("rows-per-second").copied(),
        lock_keyless: matches.get_flag("lock-keyless"),
        after: text("after"),
        upto: text("upto"),
        ..snapshot::Request::default()
    }
}

/// Begins one, and waits until its tables were looked at.
fn start(request: snapshot::Request, waits: bool, service: &Service) -> Exit {
    let before = match ask(service) {
        Ok(before) => before.map(|status| status.id),
        Err(error) => return failed(&error),
    };
    let command = snapshot::Command::Start(request);
    let asked = Instant::now();
    let exit = told(service, &command);
    if exit != Exit::Done {
        return exit;
    }
    loop {
        std::thread::sleep(REFRESH / 5);
        let status = match ask(service) {
            Ok(status) => status,
            Err(error) => return failed(&error),
        };
        let own = status.filter(|status| before.as_ref() != Some(&status.id));
        match own {
            Some(status) if status.state == SnapshotState::Refused => {
                let why = status.reason.unwrap_or_default();
                return failed(&format!("refused: {why}"));
            }
            Some(status) if status.state != SnapshotState::Checking => {
                print(&picture::begun(&status));
                break;
            }
            _ if asked.elapsed() > CHECKED_WITHIN => {
                return failed("its tables are still looked at: see `binpulse snapshot status`");
            }
            _ => {}
        }
    }
    if waits { watch(service) } else { Exit::Done }
}

/// Posts a command, and prints what the service says to it.
fn told(service: &Service, command: &snapshot::Command) -> Exit {
    let json = match serde_json::to_string(command) {
        Ok(json) => in_header(&json),
        Err(error) => return failed(&error.to_string()),
    };
    if json.len() > SNAPSHOT_BYTES_MAX {
        let given = json.len();
        say!(
            "binpulse: the command has {given} bytes, {SNAPSHOT_BYTES_MAX} at most: name fewer --keys, \
             or give a condition by --where"
        );
        return Exit::Usage;
    }
    match service.tell(SNAPSHOT_PATH, &[(SNAPSHOT_HEADER, &json)]) {
        Ok(answer) if answer.code == 200 => {
            print!("{}", answer.body);
            Exit::Done
        }
        Ok(answer) => failed(answer.body.trim_end()),
        Err(error) => failed(&error),
    }
}

fn status(service: &Service) -> Exit {
    match ask(service) {
        Ok(Some(status)) => {
            print(&fitted(&shown(&status)));
            exit(&status)
        }
        Ok(None) => none(),
        Err(error) => unknown(&error),
    }
}

/// Shows it until it is over. A service that does not answer is asked again.
fn watch(service: &Service) -> Exit {
    let is_terminal = io::stdout().is_terminal();
    let is_screen = is_terminal && !is_dumb();
    if is_screen {
        print("\u{1b}[2J");
    }
    loop {
        let asked = Instant::now();
        let (text, ended) = match ask(service) {
            Ok(None) => return none(),
            Ok(Some(status)) => (shown(&status), status.state.is_over().then(|| exit(&status))),
            Err(error) if is_terminal => (super::terminal::silence(&error, None), None),
            Err(error) => {
                unknown(&error);
                (String::new(), None)
            }
        };
        let written = print(&match (is_screen, is_terminal) {
            (true, _) => over(&text),
            (false, true) => fitted(&text) + "\n",
            (false, false) => text,
        });
        if let Some(exit) = ended {
            return exit;
        }
        if written != Exit::Done {
            return Exit::Unknown;
        }
        std::thread::sleep(REFRESH.saturating_sub(asked.elapsed()));
    }
}

fn shown(status: &SnapshotStatus) -> String {
    if io::stdout().is_terminal() {
        return picture::picture(status, crate::platform::wall_us());
    }
    serde_json::to_string(status).map_or_else(|error| error.to_string(), |json| json + "\n")
}

/// How a look at it ends.
fn exit(status: &SnapshotStatus) -> Exit {
    let is_given_up = |state| state == SnapshotTableState::Abandoned;
    match status.state {
        SnapshotState::Refused | SnapshotState::Stopped => Exit::Failed,
        SnapshotState::Done if status.tables.iter().any(|table| is_given_up(table.state)) => {
            Exit::Failed
        }
        SnapshotState::Done
        | SnapshotState::Checking
        | SnapshotState::Running
        | SnapshotState::Paused => Exit::Done,
    }
}

/// The newest snapshot.
fn ask(service: &Service) -> Result<Option<SnapshotStatus>, String> {
    let mut document = service::ask(service)?;
    serde_json::from_value(document["snapshot"].take())
        .map_err(|error| format!("{}/status: snapshot: {error}", service.address()))
}

fn none() -> Exit {
    say!("binpulse: there was no snapshot; `binpulse snapshot start` begins one");
    Exit::Unknown
}

fn unknown(error: &str) -> Exit {
    say!("binpulse: {error}");
    Exit::Unknown
}

fn failed(error: &str) -> Exit {
    say!("binpulse: {error}");
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> ArgMatches {
        let arguments = ["snapshot", "start"].iter().chain(arguments);
        let matches = command().try_get_matches_from(arguments).expect("it parses");
        matches.subcommand_matches("start").expect("start").clone()
    }

    #[test]
    fn what_is_typed_arrives_at_the_service_as_it_was_typed() {
        let typed = parsed(&[
            "--tables",
            "shop.*,größe.t",
            "--where",
            "name <> '\u{1f600}\u{7f}\n'",
            "--keys",
            "17,18",
            "--for",
            "billing",
            "--rows-per-second",
            "5",
        ]);
        let command = snapshot::Command::Start(request(&typed));
        let json = in_header(&serde_json::to_string(&command).expect("JSON"));
        assert!(json.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{json}");
        let arrived: snapshot::Command = serde_json::from_str(&json).expect("the same");
        assert_eq!(arrived, command);
        let snapshot::Command::Start(request) = arrived else { panic!("{arrived:?}") };
        assert_eq!((request.tables.len(), request.keys.len()), (2, 2));
        assert_eq!(request.rows_per_second, Some(5));
        for few in [&["--rows-per-second", "0", "--tables", "a.b"][..], &[]] {
            let arguments = ["snapshot", "start"].iter().chain(few);
            assert!(super::command().try_get_matches_from(arguments).is_err(), "{few:?}");
        }
    }

    #[test]
    fn a_look_ends_with_0_unless_something_was_given_up() {
        use picture::tests::{status, table};
        for (state, last, expected) in [
            (SnapshotState::Running, SnapshotTableState::Reading, Exit::Done),
            (SnapshotState::Paused, SnapshotTableState::Waiting, Exit::Done),
            (SnapshotState::Done, SnapshotTableState::Done, Exit::Done),
            (SnapshotState::Done, SnapshotTableState::Abandoned, Exit::Failed),
            (SnapshotState::Stopped, SnapshotTableState::Done, Exit::Failed),
            (SnapshotState::Refused, SnapshotTableState::Waiting, Exit::Failed),
        ] {
            let mut status = status(vec![table("a", SnapshotTableState::Done), table("b", last)]);
            status.state = state;
            assert_eq!(exit(&status), expected, "{state:?} {last:?}");
        }
    }
}
