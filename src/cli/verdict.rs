//! `verdict` and `status`: what the running service says of itself, in a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{Exit, flags, runtime};
use crate::demo::http;

const LONG_ABOUT: &str = "\
Asks the running service at http.listen whether the database is quiet or out, and prints the verdict
with its evidence and the certificate; as JSON when not on a terminal. For scripts and probes: exits
0 when live or quiet, 1 on an outage, 2 when nobody can say (also while starting, and when data comes
late).";

/// Between two looks of `status --watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// The command `verdict`.
pub(super) fn command() -> Command {
    let command = Command::new("verdict")
        .about("Say whether the database is quiet or out, with the proof")
        .long_about(LONG_ABOUT);
    flags::with_settings(command)
}

/// The command `status`.
pub(super) fn status_command() -> Command {
    let command = Command::new("status").about("Show what the running service is doing").arg(
        Arg::new("watch")
            .long("watch")
            .action(ArgAction::SetTrue)
            .help("Show it anew each second until Ctrl-C"),
    );
    flags::with_settings(command)
}

/// Prints the verdict.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let status = match ask(matches) {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let verdict = &status["verdict"];
    let text =
        if io::stdout().is_terminal() { verdict_text(verdict) } else { format!("{verdict}\n") };
    print(&text);
    match verdict["grade"].as_str() {
        Some("healthy") => Exit::Done,
        Some("outage") => Exit::Failed,
        Some(_) | None => Exit::Unknown,
    }
}

/// Shows the status, once or on and on.
pub(super) fn status(matches: &ArgMatches) -> Exit {
    let terminal = io::stdout().is_terminal();
    loop {
        let status = match ask(matches) {
            Ok(status) => status,
            Err(exit) => return exit,
        };
        let text = if terminal { status_text(&status) } else { format!("{status}\n") };
        if !matches.get_flag("watch") {
            return print(&text);
        }
        // Home and clear, so that the picture stands still.
        let clear = if terminal { "\u{1b}[H\u{1b}[2J" } else { "" };
        if print(&format!("{clear}{text}")) != Exit::Done {
            return Exit::Done;
        }
        std::thread::sleep(REFRESH);
    }
}

fn ask(matches: &ArgMatches) -> Result<Value, Exit> {
    let values = flags::load(matches).ok_or(Exit::Usage)?;
    let address = values.text("http.listen").map_err(|_| Exit::Usage)?;
    let answer = runtime()?.block_on(http::ask(address, "/status")).map_err(|error| {
        eprintln!("binpulse: {error}; is the service running, and http.listen the same?");
        Exit::Unknown
    })?;
    serde_json::from_str(&answer.body).map_err(|error| {
        eprintln!("binpulse: {address}/status is no JSON: {error}");
        Exit::Unknown
    })
}

fn print(text: &str) -> Exit {
    let written = io::stdout().write_all(text.as_bytes());
    if written.is_ok() { Exit::Done } else { Exit::Unavailable }
}

/// A string member as it is, anything else as JSON; `-` for null.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn verdict_text(verdict: &Value) -> String {
    let colour = match verdict["grade"].as_str() {
        Some("healthy") => 32,
        Some("outage") => 31,
        Some(_) | None => 33,
    };
    let reason = verdict["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
    let mut lines = vec![
        format!(
            "\u{1b}[1;{colour}m{}{reason}\u{1b}[0m  for {}",
            show(&verdict["state"]),
            seconds(&verdict["since_seconds"])
        ),
        show(&verdict["sentence"]),
    ];
    let facts = verdict["facts"].as_array().into_iter().flatten();
    lines.extend(facts.map(|fact| format!("  - {}", show(fact))));
    if verdict["hop"] != "none" {
        lines.push(format!("broken hop: {}", show(&verdict["hop"])));
        lines.push(format!("next: {}", show(&verdict["next_step"])));
    }
    lines.push(certificate_text(&verdict["certificate"]));
    lines.join("\n") + "\n"
}

fn certificate_text(certificate: &Value) -> String {
    if certificate.is_null() {
        return "certificate: none yet".to_owned();
    }
    let count = |class: &str| show(&certificate[class]);
    format!(
        "certificate: heartbeat {} ({}) to {} ({}): {} user, {} filtered, {} heartbeat, {} canary \
         transactions; unaccounted: {}",
        count("from_heartbeat"),
        count("from"),
        count("to_heartbeat"),
        count("to"),
        count("user"),
        count("filtered"),
        count("heartbeat"),
        count("canary"),
        count("unaccounted"),
    )
}

fn status_text(status: &Value) -> String {
    let of = |path: &str| show(status.pointer(path).unwrap_or(&Value::Null));
    let age = |path: &str| seconds(status.pointer(path).unwrap_or(&Value::Null));
    let rows = [
        (
            "stream",
            format!("{}  {} for {}", of("/stream"), of("/state"), age("/state_age_seconds")),
        ),
        (
            "source",
            format!("{}  {} {}", of("/source/host"), of("/source/flavor"), of("/source/version")),
        ),
        ("read", of("/progress/read")),
        ("delivered", of("/progress/delivered")),
        (
            "published",
            format!(
                "{} changes in {} messages",
                of("/progress/changes_published"),
                of("/progress/messages_published")
            ),
        ),
        (
            "heartbeat",
            format!(
                "{}, seen {} ago",
                of("/heartbeat/last_result"),
                age("/heartbeat/seen_age_seconds")
            ),
        ),
        (
            "sink",
            format!("{}, accepted {} ago", of("/sink/kind"), age("/sink/last_accept_age_seconds")),
        ),
        (
            "checkpoint",
            format!("{}, {} old", of("/checkpoint/place"), age("/checkpoint/age_seconds")),
        ),
    ];
    let mut lines: Vec<String> =
        rows.into_iter().map(|(name, value)| format!("{name:<11}{value}")).collect();
    for consumer in status["consumers"].as_array().into_iter().flatten() {
        lines.push(format!(
            "consumer   {}: canary {} back {} ago, {} lost",
            show(&consumer["name"]),
            show(&consumer["last"]),
            seconds(&consumer["last_age_seconds"]),
            show(&consumer["lost"]),
        ));
    }
    if !status["halted"].is_null() {
        lines.push(format!("halted     {}; {}", of("/halted/message"), of("/halted/mend")));
    }
    verdict_text(&status["verdict"]) + &lines.join("\n") + "\n"
}
