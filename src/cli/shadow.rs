//! `shadow`: another version, or other settings, beside the live process, and the proof that both make
//! the same of the source's log.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::service::Service;
use super::style::{print, say};
use super::{Exit, flags, logs, run, runtime};
use crate::app::{self, ReplayError, ShadowError, begin_shadow};
use crate::checkpoint::Recovery;
use crate::shadow::{Comparison, LaneResult, Outcome, PATH, ShadowDocument, compare};

const LONG_ABOUT: &str = "\
Proves, before an upgrade or a change of settings, that it publishes the same rows. A shadow
is a second process that reads the same stream and publishes nothing. Both keep digests of
their newest rows, which are compared row for row.

Example:
  binpulse shadow run --config next.toml --checkpoint shadow.checkpoint --http-listen 127.0.0.1:9190
  binpulse shadow compare --config binpulse.toml --shadow 127.0.0.1:9190";

const RUN_LONG_ABOUT: &str = "\
Streams as the live process with these settings does, but publishes nothing, and writes
nothing to the source: no heartbeats, no canaries, no checkpoint. Run it with another version
of binpulse, or with the settings that are to come.

Example:
  binpulse shadow run --config next.toml --checkpoint shadow.checkpoint --http-listen 127.0.0.1:9190

It begins where the live process's checkpoint is (checkpoint.store and checkpoint.path of the
settings), and keeps its own place in the file that --checkpoint names. On another machine than
a live process whose checkpoint is a file, copy that file first, and set
checkpoint.path to the copy. On the same machine it needs an http.listen of its own.

It ends as `binpulse run` does, with the same exit codes.";

const COMPARE_LONG_ABOUT: &str = "\
Compares the digests of the live process (http.listen of the settings) with those of its
shadow. The live process needs `shadow.digests = true`.

Example:
  binpulse shadow compare --config binpulse.toml --shadow 127.0.0.1:9190

A table of the lanes on a terminal; a line of JSON for each lane elsewhere.

Exit codes: 0 all rows of which both have digests are equal; 1 rows differ: the first range of
each lane is named; 2 nothing could be compared yet, or one of the two does not answer.";

/// The command.
pub(super) fn command() -> Command {
    let run = Command::new("run")
        .about("Stream as the live process does, and publish nothing")
        .long_about(RUN_LONG_ABOUT)
        .arg(
            Arg::new("checkpoint")
                .long("checkpoint")
                .value_name("FILE")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The shadow's own checkpoint; made at the first start"),
        );
    let compare = Command::new("compare")
        .about("Compare the rows of the live process with those of its shadow")
        .long_about(COMPARE_LONG_ABOUT)
        .arg(
            Arg::new("shadow")
                .long("shadow")
                .value_name("ADDRESS")
                .default_value("127.0.0.1:9190")
                .help("Where the shadow serves HTTP"),
        );
    Command::new("shadow")
        .about("Prove that another version, or other settings, publish the same rows")
        .long_about(LONG_ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(flags::with_settings(run, flags::Reads::All))
        .subcommand(flags::with_settings(compare, flags::ASKS))
}

/// Does what was typed.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("run", matches)) => stream(matches),
        Some(("compare", matches)) => compare_both(matches),
        // clap has refused anything else.
        Some(_) | None => Exit::Usage,
    }
}

fn stream(matches: &ArgMatches) -> Exit {
    let Some((values, plan)) = run::plan(matches, run::Runs::Service) else { return Exit::Usage };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let Some(file) = matches.get_one::<PathBuf>("checkpoint") else { return Exit::Usage };
    let begun = match runtime() {
        Ok(runtime) => runtime.block_on(begin_shadow(plan, file)),
        Err(exit) => return exit,
    };
    match (begun, runtime()) {
        (Ok(plan), Ok(runtime)) => run::until_stopped(runtime, |stop| app::run(plan, stop)),
        (Err(error), _) => {
            say!("binpulse: {error}");
            exit(&error)
        }
        (_, Err(exit)) => exit,
    }
}

fn exit(error: &ShadowError) -> Exit {
    match error {
        ShadowError::SameFile { .. } | ShadowError::Live(ReplayError::OtherLanes { .. }) => {
            Exit::Usage
        }
        ShadowError::Own(error) | ShadowError::Live(ReplayError::Checkpoint(error))
            if error.recovery() == Recovery::Halt =>
        {
            Exit::Operator
        }
        ShadowError::Own(_) | ShadowError::Live(_) => Exit::Unavailable,
    }
}

fn compare_both(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let address = matches.get_one::<String>("shadow").map_or("", String::as_str);
    let of_shadow = match values.clone().with("http.listen", address) {
        Ok(of_shadow) => of_shadow,
        Err(error) => {
            say!("binpulse: --shadow: {error}");
            return Exit::Usage;
        }
    };
    let [live, shadow] =
        [&values, &of_shadow].map(|values| Service::of(values).and_then(|service| ask(&service)));
    let compared = live.and_then(|live| compare(&live, &shadow?));
    match compared {
        Ok(compared) => {
            let printed =
                if io::stdout().is_terminal() { table(&compared) } else { lines(&compared) };
            print(&printed);
            match compared.outcome() {
                Outcome::Equal => Exit::Done,
                Outcome::Differs => Exit::Failed,
                Outcome::Unknown => {
                    say!("binpulse: there are no rows yet of which both have digests");
                    Exit::Unknown
                }
            }
        }
        Err(error) => {
            say!("binpulse: {error}");
            Exit::Unknown
        }
    }
}

fn ask(service: &Service) -> Result<ShadowDocument, String> {
    let answer = service.ask(PATH)?;
    let address = service.address();
    match answer.code {
        200 => serde_json::from_str(&answer.body).map_err(|error| {
            format!("{address}{PATH}: not the document that was expected: {error}")
        }),
        404 => Err(format!(
            "{address} keeps no digests: set shadow.digests = true there, and start it again"
        )),
        code => Err(format!("{address}{PATH}: answered with {code}")),
    }
}

/// A word for what came of a lane, and its numbers.
fn told(result: LaneResult) -> (&'static str, String) {
    match result {
        LaneResult::Equal(first, last) => ("equal", format!("{first}-{last}")),
        LaneResult::Differs(first, last) => ("differs", format!("{first}-{last}")),
        LaneResult::Missing(first) => ("missing in the shadow", format!("{first}-")),
        LaneResult::Surplus(first) => ("only in the shadow", format!("{first}-")),
        LaneResult::NotYet => ("no rows in common yet", String::new()),
        LaneResult::Unreadable => ("unreadable", String::new()),
    }
}

fn table(compared: &Comparison) -> String {
    let width = compared.lanes.iter().map(|(lane, _)| lane.chars().count()).max().unwrap_or(0);
    let lines = compared.lanes.iter().map(|(lane, result)| {
        let (word, numbers) = told(*result);
        format!("{lane:width$}  {word:21}  {numbers}").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn lines(compared: &Comparison) -> String {
    let line = |(lane, result): &(String, LaneResult)| {
        let (word, numbers) = told(*result);
        json!({ "lane": lane, "result": word.replace(' ', "_"), "rows": numbers }).to_string()
            + "\n"
    };
    compared.lanes.iter().map(line).collect()
}
