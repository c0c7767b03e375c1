//! `check`: the doctor. Looks at everything that `run` needs, and prints all that is wrong at once.

use std::io::{IsTerminal, Write};

use clap::{ArgMatches, Command};

use super::style::{GREEN, RED, YELLOW, coloured, fitted, plain, say};
use super::{Exit, flags, run, runtime};
use crate::app::check::{self, Report};

const LONG_ABOUT: &str = "\
Checks everything that `run` needs: servers, accounts, grants, tables, files, addresses and
topics, and whether the source still has the binary log that comes next. For each problem it
prints what it found, what is needed, and the fix. It prints all problems at once, as JSON
lines when not on a terminal.

Example:
  binpulse check --config binpulse.toml

It changes nothing. Beside a running service it reports that the checkpoint and the port are
in use. Exits 0 if `run` would start, 1 if it would refuse.";

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("check")
        .about("Check everything that `run` needs, and print each problem with its fix")
        .long_about(LONG_ABOUT);
    flags::with_settings(flags::with_new_epoch(command), flags::Reads::All)
}

/// Looks, and prints.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((_, mut plan)) = run::plan(matches, run::Runs::Service) else { return Exit::Usage };
    plan.new_epoch = flags::new_epoch(matches);
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let reports = runtime.block_on(check::run(&plan));
    conclude(&reports)
}

/// Prints the reports, and exits as they say.
pub(super) fn conclude(reports: &[Report]) -> Exit {
    let people = std::io::stdout().is_terminal();
    let refuses = reports.iter().any(|report| report.refuses);
    match print(reports, people) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            say!("binpulse: can't write the findings: {error}");
            Exit::Unavailable
        }
        // Who has read enough has the exit code still.
        Ok(()) | Err(_) if refuses => Exit::Failed,
        Ok(()) | Err(_) => Exit::Done,
    }
}

fn print(reports: &[Report], people: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for report in reports {
        if people {
            write_text(&mut out, report)?;
        } else {
            writeln!(out, "{}", report.json())?;
        }
    }
    out.flush()
}

fn write_text(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let mark = match (report.ok, report.refuses) {
        (true, _) => coloured(GREEN, "ok"),
        (false, true) => coloured(RED, "FAIL"),
        (false, false) => coloured(YELLOW, "warn"),
    };
    let pad = if report.ok { "   " } else { " " };
    let mut text = format!("{mark}{pad} {}: {}\n", plain(&report.what), plain(&report.found));
    if !report.ok {
        text += &["  needed: ", &plain(&report.needed), "\n"].concat();
        text += &["  fix:    ", &plain(&report.remedy), "\n"].concat();
    }
    out.write_all(fitted(&text).as_bytes())
}
