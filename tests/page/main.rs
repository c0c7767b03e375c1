//! The status page in a real browser: the service's own HTTP server, statuses of our choice, and a
//! headless Chromium that loads, clicks, presses keys and takes pictures.
//!
//! `BINPULSE_TEST_CHROMIUM` names the browser, which is then required. `BINPULSE_PAGE_PICTURES`
//! names a folder for pictures of some verdicts; the ones in `docs/images` were made so.
#![allow(
    clippy::assigning_clones,
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    clippy::format_push_string,
    reason = "a test is read for what it checks; nothing here is hot"
)]

mod access;
mod browser;
mod contact;
mod history;
#[path = "../support/longest.rs"]
mod longest;
#[path = "../support/terminal.rs"]
mod on_terminal;
mod scale;
mod site;
mod states;
mod terminal;
mod verdicts;

use std::path::Path;
use std::process::ExitCode;

use browser::Browser;
use libtest_mimic::{Arguments, Trial};
use longest::timed;

/// A test and its name.
type Test = (&'static str, fn(&mut Browser));

/// Lists the tests of a module by their functions' names.
macro_rules! tests {
    ($($name:ident,)*) => {
        pub(crate) const TESTS: &[crate::Test] = &[$((stringify!($name), $name),)*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let found = browser::find();
    let tests =
        [verdicts::TESTS, contact::TESTS, history::TESTS, access::TESTS, scale::TESTS].concat();
    let count = tests.len();
    let in_browser = tests.into_iter().map(|test| trial(test, found.as_deref()));
    let trials = in_browser.chain(terminal::trials()).collect();
    let conclusion = longest::run(&arguments, trials);
    if !arguments.list {
        match &found {
            Some(program) => println!("\nthe page's tests ran in {}", program.display()),
            None => println!(
                "\nthe page's tests: NOT RUN, all {count} of them: no Chromium on PATH. Install \
                 one (Debian: chromium), or name one by {}",
                browser::CHROMIUM
            ),
        }
    }
    conclusion.exit_code()
}

fn trial((name, body): Test, program: Option<&Path>) -> Trial {
    let Some(program) = program.map(Path::to_owned) else {
        return Trial::test(name, || Ok(())).with_kind("no browser").with_ignored_flag(true);
    };
    timed(name, move || {
        let mut browser = Browser::start(&program);
        body(&mut browser);
        assert!(browser.errors.is_empty(), "reported by the browser: {:#?}", browser.errors);
        Ok(())
    })
}
