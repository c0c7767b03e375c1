//! `check`: the doctor. Looks at everything that `run` needs, and prints all that is wrong at once.

use std::io::IsTerminal;

use clap::{ArgMatches, Command};

use super::{Exit, flags, run, runtime};
use crate::app::check::{self, Report};

const LONG_ABOUT: &str = "\
Looks at every server variable, grant and topic that `run` needs: what was found, what is needed,
and the statement that mends it. Prints everything that is wrong at once; JSON lines when not on a
terminal. Exits 0 when `run` would start, 1 when it would refuse.";

/// The command.
pub(super) fn command() -> Command {
    flags::with_settings(
        Command::new("check")
            .about("Say what is missing before `run` can work, and how to mend it")
            .long_about(LONG_ABOUT),
    )
}

/// Looks, and prints.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((_, plan)) = run::plan(matches) else { return Exit::Usage };
    let Ok(runtime) = runtime() else { return Exit::Bug };
    let reports = runtime.block_on(check::run(&plan));
    let people = std::io::stdout().is_terminal();
    let mut refuses = false;
    for report in &reports {
        refuses |= report.refuses;
        if people { print_text(report) } else { println!("{}", report.json()) }
    }
    if refuses { Exit::Failed } else { Exit::Done }
}

fn print_text(report: &Report) {
    let mark = match (report.ok, report.refuses) {
        (true, _) => "\u{1b}[32mok  \u{1b}[0m",
        (false, true) => "\u{1b}[31mFAIL\u{1b}[0m",
        (false, false) => "\u{1b}[33mwarn\u{1b}[0m",
    };
    println!("{mark} {}: {}", report.what, report.found);
    if !report.ok {
        println!("       needed: {}", report.needed);
        println!("       to mend: {}", report.mend);
    }
}
