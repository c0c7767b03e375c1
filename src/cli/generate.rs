//! `completions`, `man` and `settings`: what is made from the command line's own description.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueEnum, ValueHint, value_parser};
use clap_complete::Shell;

use super::style::say;
use super::{Exit, flags, manual};
use crate::config::{Kind, Origin, SETTINGS, Values};

/// The command `completions`.
pub(super) fn completions_command() -> Command {
    Command::new("completions")
        .about("Print a completion script for a shell")
        .long_about(
            "Prints a completion script for a shell.\n\n\
             Example:\n  binpulse completions bash > /usr/share/bash-completion/completions/binpulse",
        )
        .arg(
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
    let all = super::command();
    let shells = Shell::value_variants().iter().map(|shell| Command::new(shell.to_string()));
    let mut command = offering(&all)
        // Its own name among them would hide the others in fish.
        .mut_subcommand("man", |man| {
            man.subcommands(names(&all).into_iter().filter(|name| name.get_name() != "man"))
        })
        .mut_subcommand("completions", |completions| completions.subcommands(shells));
    clap_complete::generate(*shell, &mut command, "binpulse", &mut script);
    print(&script)
}

/// The same with the words of each setting that takes words, and without the settings that it does not
/// read. Values are checked elsewhere, with the file and the environment.
fn offering(command: &Command) -> Command {
    let words = |arg: Arg| {
        let setting = SETTINGS.iter().find(|setting| arg.get_id() == setting.key);
        let kind = setting.map(|setting| setting.kind);
        let is_file = arg.get_id() == "config" || matches!(kind, Some(Kind::Secret));
        if let Some(Kind::Choice(words)) = kind {
            arg.value_parser(PossibleValuesParser::new(words))
        } else if let Some(Kind::Bool) = kind {
            arg.value_parser(PossibleValuesParser::new(["true", "false"]))
        } else if is_file {
            arg.value_hint(ValueHint::FilePath)
        } else {
            arg
        }
    };
    let read = command.get_arguments().filter(|arg| !arg.is_hide_long_help_set());
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    let aliases: Vec<_> = command.get_visible_aliases().map(str::to_owned).collect();
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .visible_aliases(aliases)
        .args(read.cloned().map(words))
        .subcommands(shown.map(offering))
}

/// The names of the commands below this one, and nothing else of them: not every shell's script offers the
/// words of an argument that has no name.
fn names(command: &Command) -> Vec<Command> {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    let name = |below: &Command| {
        let about = below.get_about().cloned().unwrap_or_default();
        Command::new(below.get_name().to_owned()).about(about).subcommands(names(below))
    };
    shown.map(name).collect()
}

/// The command `man`.
pub(super) fn man_command() -> Command {
    Command::new("man")
        .about("Print the manual page, of the program or of one command")
        .long_about(
            "Prints the manual page, of the program or of one command.\n\n\
             Examples:\n  binpulse man | man -l -\n  binpulse man relay redrive | man -l -\n  \
             binpulse man --all /usr/local/share/man/man1",
        )
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(0..)
                .help("The command, such as relay redrive"),
        )
        .arg(
            Arg::new("all")
                .long("all")
                .value_name("FOLDER")
                .value_hint(ValueHint::DirPath)
                .conflicts_with("command")
                .help("Write the pages of all commands into this folder instead"),
        )
}

/// Prints a manual page, or writes all of them.
pub(super) fn man(matches: &ArgMatches) -> Exit {
    let mut program = super::command();
    // What clap adds by itself is shown too.
    program.build();
    if let Some(folder) = matches.get_one::<String>("all") {
        return written(&program, Path::new(folder));
    }
    let (mut command, mut name) = (&program, PROGRAM.to_owned());
    for word in matches.get_many::<String>("command").into_iter().flatten() {
        let Some(below) = command.find_subcommand(word) else {
            say!("binpulse: there is no command {word:?} in `{name}`; see `{name} --help`");
            return Exit::Usage;
        };
        name = format!("{name}-{}", below.get_name());
        command = below;
    }
    print(manual::page(command, &name).as_bytes())
}

const PROGRAM: &str = "binpulse";

/// Writes all pages into a folder.
fn written(program: &Command, folder: &Path) -> Exit {
    for page in manual::pages(program, PROGRAM) {
        let path = folder.join(page.name + ".1");
        if let Err(error) = std::fs::write(&path, page.text) {
            say!("binpulse: {}: {error}", path.display());
            return Exit::Unavailable;
        }
    }
    Exit::Done
}

/// The command `settings`.
pub(super) fn settings_command() -> Command {
    let command = Command::new("settings")
        .about("Print every setting with its value and its origin")
        .long_about(
            "Prints every setting with its value and where it comes from: default, file, environment or \
             flag. Secrets are not shown.\n\n\
             Example:\n  binpulse settings --config binpulse.toml",
        )
        .arg(
            Arg::new("markdown")
                .long("markdown")
                .action(ArgAction::SetTrue)
                .help("Print the reference of all settings instead"),
        );
    flags::with_settings(command, flags::Reads::All)
}

/// Prints the settings in force, or the reference.
pub(super) fn settings(matches: &ArgMatches) -> Exit {
    if matches.get_flag("markdown") {
        return print(reference().as_bytes());
    }
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    print(settings_text(&values).as_bytes())
}

/// The settings in force, each with its origin; secrets are not shown.
pub(super) fn settings_text(values: &Values) -> String {
    let mut text = String::new();
    for (key, value) in values.shown() {
        let origin = match values.origin(key) {
            Origin::Default => String::new(),
            origin @ (Origin::File(..) | Origin::Environment(_) | Origin::Flag(_)) => {
                format!("  # {origin}")
            }
        };
        writeln!(text, "{key} = {value}{origin}").expect(FITS);
    }
    text
}

/// The reference of the commands, in Markdown.
pub fn commands() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Every command also takes `--config FILE` (`BINPULSE_CONFIG`) and every [setting](settings.md) as a\n\
         flag. The settings that it reads are named below. [Exit codes](exit-codes.md) have their own page.\n",
    );
    for command in super::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        document(&mut text, name, command);
        for below in command.get_subcommands() {
            document(&mut text, &format!("{name} {}", below.get_name()), below);
        }
    }
    text
}

/// Appends the section of one command.
fn document(text: &mut String, name: &str, command: &Command) {
    let mut command = command.clone().bin_name(format!("binpulse {name}"));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    write!(text, "\n## {name}\n\n{about}.\n\n```text\n{usage}\n\n{}\n```\n", long.trim_end())
        .expect(FITS);
    let (settings, own): (Vec<&Arg>, Vec<&Arg>) = command
        .get_arguments()
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "config"))
        .partition(|arg| {
            arg.get_help_heading().is_some_and(|heading| heading.starts_with(flags::HEADING))
        });
    let own: Vec<_> = own.into_iter().filter(|arg| !arg.is_hide_set()).collect();
    if !own.is_empty() {
        *text += "\n| option | meaning |\n| --- | --- |\n";
    }
    for arg in own {
        let value = arg.get_value_names().map(|names| format!(" {}", names.join(" ")));
        let value = if arg.get_action().takes_values() { value } else { None };
        let shown = match arg.get_long() {
            Some(long) => format!("--{long}{}", value.unwrap_or_default()),
            None => value.unwrap_or_else(|| arg.get_id().to_string()).trim().to_owned(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if arg.get_action().takes_values() && !default.is_empty() {
            format!(" (default: `{}`)", default.join(","))
        } else {
            String::new()
        };
        writeln!(text, "| `{shown}` | {help}{default} |").expect(FITS);
    }
    let listed = settings.iter().filter(|arg| !arg.is_hide_long_help_set());
    let mut sections: Vec<_> =
        listed.filter_map(|arg| arg.get_help_heading()?.strip_prefix(flags::HEADING)).collect();
    sections.dedup();
    let names: Vec<_> =
        sections.iter().map(|name| format!("[`{name}`](settings.md#{name})")).collect();
    match names.len() {
        0 => {}
        _ if sections.len() == section_count() => *text += "\nReads all settings.\n",
        _ => writeln!(text, "\nReads settings of {}.", names.join(", ")).expect(FITS),
    }
}

/// How many sections the settings have.
fn section_count() -> usize {
    let mut sections: Vec<_> =
        SETTINGS.iter().map(|setting| setting.section_and_name().0).collect();
    sections.dedup();
    sections.len()
}

/// The reference of the exit codes, in Markdown.
pub fn exit_codes() -> String {
    let mut text = String::from(
        "# Exit codes\n\n\
         | code | meaning | what to do |\n\
         | --: | --- | --- |\n",
    );
    for exit in Exit::ALL {
        let (code, meaning, next) = (exit.code(), exit.meaning(), exit.next());
        writeln!(text, "| {code} | {meaning} | {next} |").expect(FITS);
    }
    text += "| 130, 143 | a second Ctrl-C or SIGTERM came before it had stopped | nothing: a restart repeats what \
             was in flight |\n";
    text + "\nWhile `shutdown.on_halt` is `stay` (the default), a [halt](halts.md) leaves the process running; the \
            code 75 (70 for `bug`) follows when it is stopped.\n"
}

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting is a key of the TOML file, an environment variable and a flag. A flag overrides the\n\
         environment, which overrides the file. A secret has no flag with its value: give it by its\n\
         environment variable, or name a file that holds it by the flag `--…-file`, the key `…_file` or the\n\
         variable `…_FILE` (for example `BINPULSE_SOURCE_PASSWORD_FILE`).\n\n\
         Unknown keys are errors, with the nearest valid key named. `binpulse settings` prints the values in\n\
         force and where each comes from.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (own, _) = setting.section_and_name();
        if own != section {
            section = own;
            write!(
                text,
                "\n## {section}\n\n| key | flag, environment | value | default | what it is |\n\
                 | --- | --- | --- | --- | --- |\n"
            )
            .expect(FITS);
        }
        let default = setting.default.map_or(String::new(), |default| format!("`{default}`"));
        writeln!(
            text,
            "| `{}` | `{}`<br>`{}` | {} | {default} | {} |",
            setting.key,
            setting.flag(),
            setting.env(),
            setting.kind,
            setting.help.replace('|', "\\|"),
        )
        .expect(FITS);
    }
    text
}

/// Why writing to a string can't fail.
const FITS: &str = "a String takes any text";

/// Writes to standard output; a reader that has gone away is not an error.
fn print(bytes: &[u8]) -> Exit {
    match io::stdout().write_all(bytes) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            say!("binpulse: can't write to standard output: {error}");
            Exit::Unavailable
        }
    }
}
