//! `completions`, `man` and `settings`: what is made from the command line's own description.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Exit;
use super::flags;
use crate::config::{Origin, SETTINGS};

/// The command `completions`.
pub(super) fn completions_command() -> Command {
    Command::new("completions").about("Print a completion script for a shell").arg(
        Arg::new("shell")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("The shell to complete in"),
    )
}

/// Prints the script.
pub(super) fn completions(matches: &ArgMatches) -> Exit {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return Exit::Usage };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut super::command(), "binpulse", &mut script);
    print(&script)
}

/// The command `man`.
pub(super) fn man_command() -> Command {
    Command::new("man").about("Print the manual page, for `man -l -`")
}

/// Prints the manual page.
pub(super) fn man() -> Exit {
    let mut page = Vec::new();
    match clap_mangen::Man::new(super::command()).render(&mut page) {
        Ok(()) => print(&page),
        Err(error) => {
            eprintln!("binpulse: the manual page can't be made: {error}");
            Exit::Bug
        }
    }
}

/// The command `settings`.
pub(super) fn settings_command() -> Command {
    let command = Command::new("settings")
        .about("Print every setting with its value and where that comes from")
        .arg(
            Arg::new("markdown")
                .long("markdown")
                .action(ArgAction::SetTrue)
                .help("Print the reference of all settings instead"),
        );
    flags::with_settings(command)
}

/// Prints the settings in force, or the reference.
pub(super) fn settings(matches: &ArgMatches) -> Exit {
    if matches.get_flag("markdown") {
        return print(reference().as_bytes());
    }
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let mut text = String::new();
    for (key, value) in values.shown() {
        let origin = match values.origin(key) {
            Origin::Default => String::new(),
            origin @ (Origin::File(..) | Origin::Environment(_) | Origin::Flag(_)) => {
                format!("  # {origin}")
            }
        };
        text.push_str(&format!("{key} = {value}{origin}\n"));
    }
    print(text.as_bytes())
}

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting is a key of the TOML file, a flag and an environment variable. Flags outrank\n\
         the environment, which outranks the file. Secrets have no flag with their value: give them\n\
         by environment, or name a file that holds them (`--…-file`, key `…_file`).\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (own, _) = setting.section_and_name();
        if own != section {
            section = own;
            text.push_str(&format!(
                "\n## {section}\n\n| key | flag, environment | value | default | what it is |\n\
                 | --- | --- | --- | --- | --- |\n"
            ));
        }
        let default = setting.default.map_or(String::new(), |default| format!("`{default}`"));
        text.push_str(&format!(
            "| `{}` | `{}`<br>`{}` | {} | {default} | {} |\n",
            setting.key,
            setting.flag(),
            setting.env(),
            setting.kind,
            setting.help.replace('|', "\\|"),
        ));
    }
    text
}

/// Writes to standard output; a reader that has gone away is not an error.
fn print(bytes: &[u8]) -> Exit {
    match io::stdout().write_all(bytes) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            eprintln!("binpulse: can't write to standard output: {error}");
            Exit::Unavailable
        }
    }
}
