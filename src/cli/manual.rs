//! Manual pages: of the program and of each command, in the language of `man`. Each has its options, its
//! environment and its exit codes. Pure.

use clap::{Arg, Command};
use std::fmt::Write as _;

use super::exit::Exit;
use super::flags;
use crate::config::SETTINGS;

/// Why writing to a string can't fail.
const FITS: &str = "a string has room";

/// A page and the name of its file without the section.
pub(super) struct Page {
    /// Such as `binpulse-relay-redrive`.
    pub(super) name: String,
    /// The page.
    pub(super) text: String,
}

/// The pages of a command, named so, and of all below it.
pub(super) fn pages(command: &Command, name: &str) -> Vec<Page> {
    let mut pages = vec![Page { name: name.to_owned(), text: page(command, name) }];
    for below in listed(command) {
        pages.extend(pages_below(below, name));
    }
    pages
}

fn pages_below(command: &Command, name: &str) -> Vec<Page> {
    pages(command, &format!("{name}-{}", command.get_name()))
}

/// Commands that are shown.
fn listed(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

/// The page of one command.
pub(super) fn page(command: &Command, name: &str) -> String {
    let typed = name.replace('-', " ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let title = name.to_uppercase();
    let mut out = Roff::default();
    out.request(&format!(".TH \"{}\" 1 \"\" \"binpulse {version}\" \"binpulse\"", escaped(&title)));
    out.section("NAME");
    out.text(&format!("{name} - {about}"));
    out.section("SYNOPSIS");
    synopsis(&mut out, command, &typed);
    out.section("DESCRIPTION");
    let long = command.get_long_about().map(ToString::to_string).unwrap_or(about);
    out.paragraphs(&long);
    let below: Vec<_> = listed(command).collect();
    if !below.is_empty() {
        out.section("COMMANDS");
        for below in below {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            out.term(&format!("{}(1)", bold(&format!("{name}-{}", below.get_name()))), &about);
        }
    }
    options(&mut out, command);
    environment(&mut out, command);
    out.section("EXIT STATUS");
    for exit in Exit::ALL {
        let (code, meaning, next) = (exit.code(), exit.meaning(), exit.next());
        let meaning = capital(meaning);
        out.term(&bold(&code.to_string()), &format!("{meaning}. What to do: {next}."));
    }
    out.term(
        &bold("130, 143"),
        "A second Ctrl-C or SIGTERM came before it had stopped. A restart repeats what was in flight.",
    );
    out.section("SEE ALSO");
    let parent = name.rsplit_once('-').map(|(parent, _)| parent);
    let mut others: Vec<String> = parent.map(str::to_owned).into_iter().collect();
    others.extend(["binpulse-settings".to_owned()].into_iter().filter(|it| it != name));
    let others: Vec<_> = others.iter().map(|other| format!("{}(1)", bold(other))).collect();
    out.raw(&others.join(", "));
    out.0
}

/// What can be typed: the command's own options; those of settings are counted as one.
fn synopsis(out: &mut Roff, command: &Command, typed: &str) {
    let mut line = bold(typed);
    let (settings, own): (Vec<&Arg>, Vec<&Arg>) =
        arguments(command).partition(|arg| is_setting(arg));
    for arg in own.iter().filter(|arg| !arg.is_positional()) {
        let shown = option(arg);
        let shown = if arg.is_required_set() { shown } else { format!("[{shown}]") };
        line.extend([" ", &shown]);
    }
    if !settings.is_empty() {
        line += " [";
        line += &italic("--SETTING VALUE");
        line += "]...";
    }
    for arg in own.iter().filter(|arg| arg.is_positional()) {
        let shown = italic(&value(arg).unwrap_or_default());
        let shown = if arg.is_required_set() { shown } else { format!("[{shown}]") };
        let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1)
            || matches!(arg.get_action(), clap::ArgAction::Append);
        line.extend([" ", &shown, if many { "..." } else { "" }]);
    }
    if listed(command).next().is_some() {
        let shown = italic("COMMAND");
        let shown = if command.is_subcommand_required_set() { shown } else { format!("[{shown}]") };
        line.extend([" ", &shown]);
    }
    out.raw(&line);
}

/// Its own options first, then those of the settings that it reads.
fn options(out: &mut Roff, command: &Command) {
    let mut heading = None;
    let mut all: Vec<&Arg> = arguments(command).collect();
    all.sort_by_key(|arg| is_setting(arg));
    for arg in all {
        let of = arg.get_help_heading().filter(|_| is_setting(arg));
        if heading.is_none() {
            out.section("OPTIONS");
        }
        if let Some(of) = of.filter(|of| heading != Some(*of)) {
            out.request(&format!(".SS \"{}\"", escaped(of)));
        }
        heading = Some(of.unwrap_or_default());
        let term =
            if arg.is_positional() { italic(&value(arg).unwrap_or_default()) } else { option(arg) };
        out.term(&term, &help(arg));
    }
}

/// What an option is for, with its default and its words.
fn help(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> =
        arg.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    if arg.get_action().takes_values() && !words.is_empty() {
        write!(text, " [one of: {}]", words.join(", ")).expect(FITS);
    }
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        write!(text, " [default: {}]", defaults.join(",")).expect(FITS);
    }
    text
}

/// Variables that the command reads.
fn environment(out: &mut Roff, command: &Command) {
    out.section("ENVIRONMENT");
    for arg in arguments(command) {
        let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        out.term(&bold(&name), &format!("The same as --{}.", arg.get_long().unwrap_or_default()));
    }
    for setting in SETTINGS.iter().filter(|setting| {
        arguments(command).any(|arg| is_setting(arg) && arg.get_id() == setting.key)
    }) {
        let (name, key, flag) = (setting.env(), setting.key, setting.flag());
        let what = if setting.is_secret() {
            format!(
                "Setting {key}, a secret. {name}_FILE names a file that holds it, as {flag} does."
            )
        } else {
            format!("Setting {key}, as {flag}.")
        };
        out.term(&bold(&name), &what);
    }
    out.term(&bold("NO_COLOR"), "If it is set and not empty, nothing is coloured.");
    out.term(&bold("TERM"), "If it is dumb, nothing is coloured, and the cursor is not moved.");
}

/// Arguments that are shown in the long help.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_hide_long_help_set())
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_help_heading().is_some_and(|heading| heading.starts_with(flags::HEADING))
}

/// `--name VALUE`, with its short form.
fn option(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| bold(&format!("-{letter}")) + ", ");
    let name = bold(&format!("--{}", arg.get_long().unwrap_or_default()));
    let value = value(arg).filter(|_| arg.get_action().takes_values());
    let value = value.map(|value| format!(" {}", italic(&value))).unwrap_or_default();
    [short.unwrap_or_default(), name, value].concat()
}

fn value(arg: &Arg) -> Option<String> {
    let names = arg.get_value_names().map(|names| names.join(" "));
    names.or_else(|| Some(arg.get_id().to_string().to_uppercase()))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escaped(text))
}

/// Text that means nothing else to `man`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('"', "\\(dq")
}

/// A page that is written.
#[derive(Default)]
struct Roff(String);

impl Roff {
    fn request(&mut self, line: &str) {
        self.0.extend([line, "\n"]);
    }

    fn section(&mut self, name: &str) {
        self.request(&format!(".SH \"{name}\""));
    }

    /// Words in the language already.
    fn raw(&mut self, line: &str) {
        // A dot or an apostrophe at the front would be a request.
        let front = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        self.0.extend([front, line, "\n"]);
    }

    fn text(&mut self, text: &str) {
        for line in text.lines() {
            self.raw(escaped(line).trim());
        }
    }

    fn term(&mut self, term: &str, text: &str) {
        self.request(".TP");
        self.raw(term);
        self.text(text);
    }

    /// Paragraphs, and examples as they are.
    fn paragraphs(&mut self, text: &str) {
        for (at, part) in text.split("\n\n").enumerate() {
            if at > 0 {
                self.request(".PP");
            }
            let mut is_example = false;
            for line in part.lines() {
                let is_indented = line.starts_with("  ");
                match (is_example, is_indented) {
                    (false, true) => self.request(".RS 4\n.nf"),
                    (true, false) => self.request(".fi\n.RE"),
                    _ => {}
                }
                is_example = is_indented;
                let line = if is_indented { line.trim_start() } else { line };
                self.raw(escaped(line).trim_end());
            }
            if is_example {
                self.request(".fi\n.RE");
            }
        }
    }
}
