//! `suppress`, `pause`, `rate`, `release` and `controls`: which tables an operator holds back.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use chrono::DateTime;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::service::{Service, show};
use super::style::{fitted, is_dumb, say};
use super::style::{over, print};
use super::{Exit, flags};
use crate::config::{Kind, Value};
use crate::control;
use crate::platform::wall_us;
use crate::telemetry::duration;
use crate::telemetry::http::{CONTROL_HEADER, CONTROL_PATH, in_header};
use crate::telemetry::status::{ControlState, ControlStatus};

const SUPPRESS_LONG_ABOUT: &str = "\
Stops publishing rows of tables, at once: the kill switch. The running service numbers and
counts their rows, and does not send them; everything else continues. Consumers are told by
messages of kind `suppressed` which numbers do not come, so that they see no gap.

Examples:
  binpulse suppress shop.prices --reason 'wrong currency, ticket 4711'
  binpulse suppress 'shop.*' --reason 'migration' --by ada
  binpulse suppress all --reason 'stop everything'

It holds until it is released, also across restarts and failovers. Messages that wait for SNS
already are still sent. Heartbeats, canaries, statements and the verdict continue.

Exits 0 when it is in force and saved, 1 if it was refused or the service does not answer.
See docs/operate/controls.md.";

const PAUSE_LONG_ABOUT: &str = "\
Lets the rows of tables wait; everything else continues. When the pause ends they are read from
the source's binary logs and sent, in order and under their numbers; then the tables are live.
Consumers are told by messages of kind `suppressed` which numbers do not come for now.

It ends by `binpulse release`, or by itself: after --for, or when a quarter of the time is left
for which the source keeps its logs, so that nothing is purged that waits. --for can be up to
three quarters of that time (7 days at most). `pause` again changes reason and end.

Examples:
  binpulse pause shop.prices --reason 'the consumer moves' --for 30m
  binpulse pause 'shop.*' --reason 'migration' --by ada
  binpulse pause all --reason 'maintenance of the topic' --for 2h

It holds across restarts and failovers. To keep rows from ever being sent: `suppress`.

Exits 0 when it is in force and saved, 1 if it was refused or the service does not answer.
See docs/operate/controls.md.";

const RATE_LONG_ABOUT: &str = "\
Limits how many rows a second are sent of some tables, so that a mass update of one does not
hold up the others. Rows that come faster wait in the source's binary logs, and are read from
there and sent at this rate, in order and under their numbers; everything else continues. Once
they are sent, rows are sent as they come again. 10 seconds' worth of rows may come at once.

The limit is for all tables of the pattern together. `rate` again changes it, also while rows
wait; `binpulse release` ends it, and sends what waits as fast as can be.

Examples:
  binpulse rate shop.orders 500 --reason 'the mass update of ticket 4711'
  binpulse rate 'archive.*' 2000 --reason 'must not hold up orders'

It holds until it is released, also across restarts and failovers. Who writes more than the
rate for days lets rows wait until the source would soon purge them: then they are sent as fast
as can be.

Exits 0 when it is in force and saved, 1 if it was refused or the service does not answer.
See docs/operate/controls.md.";

const RELEASE_LONG_ABOUT: &str = "\
Ends what `suppress`, `pause` or `rate` began, by the pattern that it was given. Rows are sent again
from here on. Those that were suppressed are not sent, and consumers have been told so.

With --send, and at the end of a pause or a rate in any case, those that were held back are read again
from the source's binary logs and sent first, in order and under their numbers, as if for the
first time; then the tables are live. Newer rows are held back meanwhile. For the last step all
tables wait for a moment. --give-up ends a pause or a rate without the rows that wait.

Examples:
  binpulse release shop.prices
  binpulse release shop.prices --send
  binpulse resume shop.prices
  binpulse controls --watch

Exits 0 when it is done and saved (when rows are sent: when that has begun), 1 if it was refused
or the service does not answer. `binpulse controls --watch` shows how far it is.
See docs/operate/controls.md.";

const CONTROLS_LONG_ABOUT: &str = "\
Shows which tables an operator holds back, or limits the rate of: since when, by whom and why, how many rows, and how
long the source still keeps them; as JSON with --json.

Examples:
  binpulse controls
  binpulse controls --watch
  binpulse controls --json

Exits 0 if nothing is held back, 1 if something is, 2 if the service does not answer. With
--watch it prints each second until nothing is held back.";

/// For how long a command waits until it is saved.
const SAVED_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks.
const REFRESH: Duration = Duration::from_millis(200);
/// The same with --watch.
const WATCH: Duration = Duration::from_secs(1);

fn pattern() -> Arg {
    let help = "Tables as database.table, a pattern as in filter.tables; or `all`";
    Arg::new("pattern").value_name("PATTERN").required(true).help(help)
}

fn by() -> Arg {
    let help = "Who asks, for the log and /status [default: the user and host]";
    Arg::new("by").long("by").value_name("NAME").help(help)
}

fn reason() -> Arg {
    let help = "Why, for the log, /status and consumers";
    Arg::new("reason").long("reason").value_name("TEXT").required(true).help(help)
}

/// The command `suppress`.
pub(super) fn suppress_command() -> Command {
    let command = Command::new("suppress")
        .about("Stop publishing rows of tables: the kill switch")
        .long_about(SUPPRESS_LONG_ABOUT)
        .arg(pattern())
        .arg(reason())
        .arg(by());
    flags::with_settings(command, flags::ASKS)
}

/// The command `pause`.
pub(super) fn pause_command() -> Command {
    let command = Command::new("pause")
        .about("Let the rows of tables wait, for a limited time")
        .long_about(PAUSE_LONG_ABOUT)
        .arg(pattern())
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("DURATION")
                .default_value("1h")
                .help("After this time it ends by itself, such as 30m"),
        )
        .arg(reason())
        .arg(by());
    flags::with_settings(command, flags::ASKS)
}

/// The command `rate`.
pub(super) fn rate_command() -> Command {
    let rows = "Rows a second, of all these tables together: 10 to 10000000";
    let command = Command::new("rate")
        .about("Limit how many rows of tables are sent a second")
        .long_about(RATE_LONG_ABOUT)
        .arg(pattern())
        .arg(Arg::new("rows").value_name("ROWS").required(true).help(rows))
        .arg(reason())
        .arg(by());
    flags::with_settings(command, flags::ASKS)
}

/// The command `release`.
pub(super) fn release_command() -> Command {
    let command = Command::new("release")
        .visible_alias("resume")
        .about("Publish rows of suppressed, paused or limited tables again")
        .long_about(RELEASE_LONG_ABOUT)
        .arg(pattern())
        .arg(
            Arg::new("send")
                .long("send")
                .action(ArgAction::SetTrue)
                .help("Send the rows that were held back first, then go live in order"),
        )
        .arg(
            Arg::new("give-up")
                .long("give-up")
                .action(ArgAction::SetTrue)
                .conflicts_with("send")
                .help("Do not send the rows that were held back, also those of a pause or a rate"),
        )
        .arg(by());
    flags::with_settings(command, flags::ASKS)
}

/// The command `controls`.
pub(super) fn controls_command() -> Command {
    let command = Command::new("controls")
        .about("Show which tables are suppressed, paused or limited in their rate")
        .long_about(CONTROLS_LONG_ABOUT)
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON"))
        .arg(
            Arg::new("watch")
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Each second, until nothing is held back"),
        );
    flags::with_settings(command, flags::ASKS)
}

/// Suppresses.
pub(super) fn suppress(matches: &ArgMatches) -> Exit {
    let command = control::Command::Suppress {
        pattern: text(matches, "pattern"),
        reason: text(matches, "reason"),
        by: who(matches),
    };
    tell(matches, &command, is_saved)
}

/// Pauses.
pub(super) fn pause(matches: &ArgMatches) -> Exit {
    let given = text(matches, "for");
    let most = u64::try_from(control::PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
    let kind = Kind::Duration(1_000, most);
    let Some(Value::Duration(lasting)) = kind.parse(&given) else {
        return complain(&format!("--for = {given}: expected {kind}"), Exit::Usage);
    };
    let command = control::Command::Pause {
        pattern: text(matches, "pattern"),
        seconds: lasting.as_secs(),
        reason: text(matches, "reason"),
        by: who(matches),
    };
    tell(matches, &command, is_saved)
}

/// Limits a rate.
pub(super) fn rate(matches: &ArgMatches) -> Exit {
    let given = text(matches, "rows");
    let Ok(rows_per_second) = given.strip_suffix("/s").unwrap_or(&given).parse() else {
        let (least, most) = (control::RATE.start(), control::RATE.end());
        let expected = format!("rows a second, {least} to {most}, such as 500");
        return complain(&format!("ROWS = {given}: expected {expected}"), Exit::Usage);
    };
    let command = control::Command::Rate {
        pattern: text(matches, "pattern"),
        rows_per_second,
        reason: text(matches, "reason"),
        by: who(matches),
    };
    tell(matches, &command, is_saved)
}

fn is_saved(all: &[ControlStatus], pattern: &str) -> bool {
    all.iter().any(|it| it.pattern == pattern && it.saved)
}

/// Releases.
pub(super) fn release(matches: &ArgMatches) -> Exit {
    let (send, give_up) = (matches.get_flag("send"), matches.get_flag("give-up"));
    let pattern = text(matches, "pattern");
    let command = control::Command::Release { pattern, send, give_up, by: who(matches) };
    tell(matches, &command, is_released)
}

/// It is gone, or its rows are being sent, and that is saved.
fn is_released(all: &[ControlStatus], pattern: &str) -> bool {
    let is_going = |it: &ControlStatus| it.state == ControlState::Sending && it.saved;
    all.iter().all(|it| it.pattern != pattern || is_going(it))
}

/// Shows.
pub(super) fn controls(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let service = match Service::of(&values) {
        Ok(service) => service,
        Err(error) => return complain(&error, Exit::Usage),
    };
    loop {
        let all = match ask(&service) {
            Ok(all) => all,
            Err(error) => return complain(&error, Exit::Unknown),
        };
        let (is_json, watches) = (matches.get_flag("json"), matches.get_flag("watch"));
        let text = shown(&all, is_json);
        let is_over = all.iter().all(|it| it.state == ControlState::Live);
        let is_screen = watches && !is_json && io::stdout().is_terminal() && !is_dumb();
        let text = if is_screen { over(&text) } else { fitted(&text) };
        if print(&text) != Exit::Done || is_over {
            return Exit::Done;
        }
        if !watches {
            return Exit::Failed;
        }
        std::thread::sleep(WATCH);
    }
}

/// Whether what was asked for is so, and saved.
type IsDone = fn(&[ControlStatus], &str) -> bool;

/// Tells the service, and waits until it is so.
fn tell(matches: &ArgMatches, command: &control::Command, is_done: IsDone) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let header = match serde_json::to_string(command) {
        Ok(json) => in_header(&json),
        Err(error) => return complain(&error.to_string(), Exit::Usage),
    };
    let service = match Service::of(&values) {
        Ok(service) => service,
        Err(error) => return complain(&error, Exit::Usage),
    };
    match service.tell(CONTROL_PATH, &[(CONTROL_HEADER, &header)]) {
        Ok(answer) if answer.code == 200 => print!("{}", answer.body),
        refused => return show(refused),
    }
    let (pattern, began) = (text(matches, "pattern"), Instant::now());
    while began.elapsed() < SAVED_WITHIN {
        match ask(&service) {
            Ok(all) if is_done(&all, &pattern) => return Exit::Done,
            Ok(_) => std::thread::sleep(REFRESH),
            Err(error) => return complain(&error, Exit::Failed),
        }
    }
    let why = "it is in force, but not in the saved checkpoint yet: a restart may undo it; see \
               `binpulse controls` and `binpulse status`";
    complain(why, Exit::Failed)
}

fn ask(service: &Service) -> Result<Vec<ControlStatus>, String> {
    let answer = service.ask(CONTROL_PATH)?;
    if answer.code != 200 {
        return Err(answer.body.trim_end().to_owned());
    }
    serde_json::from_str(&answer.body)
        .map_err(|error| format!("{CONTROL_PATH} of {}: {error}", service.address()))
}

fn shown(all: &[ControlStatus], is_json: bool) -> String {
    if is_json {
        let json = serde_json::to_string_pretty(all);
        return json.map_or_else(|error| format!("{error}\n"), |json| json + "\n");
    }
    if all.is_empty() {
        return "Nothing is held back.\n".to_owned();
    }
    all.iter().map(|control| line(control, wall_us()) + "\n").collect()
}

/// A control, in a few lines.
fn line(control: &ControlStatus, now_us: i64) -> String {
    let ControlStatus { pattern, kind, by, reason, rows, lanes, .. } = control;
    let state = match control.state {
        ControlState::Holding | ControlState::Live => "",
        ControlState::Sending => ", is being sent",
        ControlState::Releasing => ", is being released",
    };
    let since = DateTime::from_timestamp_micros(control.at_us).unwrap_or_default();
    let age = u64::try_from(now_us.saturating_sub(control.at_us)).unwrap_or(0);
    let rate = control.rows_per_second.map(|rate| format!(" {rate} rows/s")).unwrap_or_default();
    let head = format!("{pattern}  {}{rate}{state}", kind.as_str());
    let asked = format!(
        "  since {} ({}) by {by}: {reason}",
        since.format("%Y-%m-%dT%H:%M:%SZ"),
        duration(Duration::from_micros(age).as_secs_f64()),
    );
    let sent = match control.sent_rows {
        0 => String::new(),
        rows => format!(", {rows} were sent"),
    };
    let left = control.purge_margin_seconds.map_or_else(String::new, |margin| {
        format!("; the source keeps them for {} more, at least", duration(margin))
    });
    let is_held = control.state != ControlState::Live;
    let counted =
        is_held.then(|| format!("  {rows} rows of {lanes} lanes are held back{sent}{left}"));
    let is_unsaved = !control.saved && control.state != ControlState::Releasing;
    let until = control.until_us.filter(|_| control.state == ControlState::Holding);
    let until = until.and_then(DateTime::from_timestamp_micros);
    let until = until.map(|at| format!("  ends by itself at {}", at.format("%Y-%m-%dT%H:%M:%SZ")));
    let unsaved = is_unsaved.then(|| "  not in the saved checkpoint yet".to_owned());
    let told = (!control.told.is_empty()).then(|| format!("  {}", control.told));
    let lines: Vec<_> =
        [head, asked].into_iter().chain(counted).chain(until).chain(unsaved).chain(told).collect();
    lines.join("\n")
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// The name that was given, or the user's at this host.
fn who(matches: &ArgMatches) -> String {
    let given = text(matches, "by");
    if !given.is_empty() {
        return given;
    }
    let of = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
    let user = of(["SUDO_USER", "USER"]).unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/etc/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    format!("{user}@{}", host.trim())
}

fn complain(why: &str, exit: Exit) -> Exit {
    say!("binpulse: {why}");
    exit
}
