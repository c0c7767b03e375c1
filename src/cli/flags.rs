//! Settings as flags: made from the table, so that no flag can be forgotten.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::style::say;
use crate::app::plan::formats::format_options;
use crate::config::{self, Environment, Kind, SETTINGS, Setting, Values};
use crate::encode::formats::FormatOptions;
use crate::snapshot::{AUDIENCE, is_audience};

/// Settings that a command reads, by the beginning of their keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    /// Everything.
    All,
    /// Only those that begin so. The others are accepted too, because every command takes the same
    /// file and environment, but its help does not list them.
    Only(&'static [&'static str]),
}

impl Reads {
    fn contains(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
        }
    }
}

/// What asks the running service: its address, token and certificate.
pub(super) const ASKS: Reads = Reads::Only(&["http."]);

const ELSEWHERE: &str = "\
Every setting is accepted, so that one file and environment serve all commands. Only those
that this command reads are listed here; `binpulse run --help` lists all.";

/// Adds `--config` and a flag for every setting. `-h` lists none of them, `--help` those that the
/// command reads.
pub(super) fn with_settings(command: Command, reads: Reads) -> Command {
    let command = match reads {
        Reads::All => command,
        Reads::Only(_) => command.after_long_help(ELSEWHERE),
    };
    let flags = SETTINGS.iter().map(|setting| {
        let help = format!("{} [env: {}]", help(setting), setting.env());
        flag(setting).hide_long_help(!reads.contains(setting.key)).help(help)
    });
    command.arg(super::config_file()).args(flags)
}

fn flag(setting: &'static Setting) -> Arg {
    let (section, _) = setting.section_and_name();
    Arg::new(setting.key)
        .long(setting.flag().trim_start_matches("--").to_owned())
        .value_name(value_name(setting.kind, setting.is_secret()))
        .help_heading(format!("{HEADING}{section}"))
        .hide_short_help(true)
}

fn help(setting: &Setting) -> String {
    let mut help = setting.help.to_owned();
    if setting.is_secret() {
        help = format!("File with: {help}");
    }
    if let Some(default) = setting.default {
        help = format!("{help} [default: {default}]");
    }
    help
}

/// Who rows that are sent again are for.
pub(super) fn audience(typed: &str) -> Result<String, String> {
    if is_audience(typed) { Ok(typed.to_owned()) } else { Err(format!("expected {AUDIENCE}")) }
}

/// Adds `--json`: for a command that prints otherwise for people on a terminal.
pub(super) fn with_json(command: Command, help: &'static str) -> Command {
    command.arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help(help))
}

/// Keys of the settings of formats.
const FORMATS: &str = "formats.";

/// Adds `--format`, and unless all settings are flags already, those of formats.
pub(super) fn with_format(command: Command, has_settings: bool) -> Command {
    let command = command.arg(
        Arg::new("format")
            .long("format")
            .value_name("WORD")
            .value_parser(FormatOptions::NAMES)
            .default_value("binpulse")
            .help("Whose documents; only binpulse's tell of statements"),
    );
    if has_settings {
        return command;
    }
    let settings = SETTINGS.iter().filter(|setting| setting.key.starts_with(FORMATS));
    command.args(settings.map(|setting| flag(setting).help(help(setting))))
}

/// The format that `--format` names, with its settings among `values`; mistakes are printed.
pub(super) fn format(matches: &ArgMatches, values: &Values) -> Option<FormatOptions> {
    let name = matches.get_one::<String>("format").map_or("binpulse", String::as_str);
    match format_options(values, name) {
        Ok(options) => options,
        Err(error) => {
            say!("binpulse: {error}");
            None
        }
    }
}

/// The settings of formats, of a command that has no others; mistakes are printed.
pub(super) fn format_settings(matches: &ArgMatches) -> Option<Values> {
    let settings = SETTINGS.iter().filter(|setting| setting.key.starts_with(FORMATS));
    let flags: Vec<_> = settings
        .filter_map(|setting| Some((setting.key, matches.get_one::<String>(setting.key)?.clone())))
        .collect();
    shown(config::load(None, &Environment::new(), &flags, &|path| std::fs::read_to_string(path)))
}

/// What the headings of settings begin with in the help.
pub(super) const HEADING: &str = "Settings: ";

/// Adds `--new-epoch`.
pub(super) fn with_new_epoch(command: Command) -> Command {
    command.arg(
        Arg::new(NEW_EPOCH)
            .long(NEW_EPOCH)
            .value_name("EPOCH")
            .value_parser(clap::value_parser!(u64))
            .help(
                "Start without a checkpoint although the stream has run before: once, for the epoch \
                 that the refusal names",
            ),
    )
}

/// The epoch after which a stream may begin again.
pub(super) fn new_epoch(matches: &ArgMatches) -> Option<u64> {
    matches.get_one::<u64>(NEW_EPOCH).copied()
}

const NEW_EPOCH: &str = "new-epoch";

fn value_name(kind: Kind, secret: bool) -> &'static str {
    match kind {
        _ if secret => "FILE",
        Kind::Secret | Kind::Text | Kind::Form(..) => "TEXT",
        Kind::Integer(..) => "N",
        Kind::Duration(..) => "DURATION",
        Kind::Bytes(..) => "SIZE",
        Kind::Bool => "BOOL",
        Kind::Choice(_) => "WORD",
        Kind::List => "A,B,...",
        Kind::Statements => "NAME=SQL;...",
    }
}

/// Joins file, environment and flags; prints every mistake and returns `None` if there is one.
pub(super) fn load(matches: &ArgMatches) -> Option<Values> {
    shown(try_load(matches))
}

fn shown(loaded: Result<Values, Vec<config::Error>>) -> Option<Values> {
    match loaded {
        Ok(values) => Some(values),
        Err(errors) => {
            for error in errors {
                say!("binpulse: {error}");
            }
            None
        }
    }
}

/// The same, and prints nothing.
pub(super) fn try_load(matches: &ArgMatches) -> Result<Values, Vec<config::Error>> {
    let path = matches.get_one::<String>("config");
    let (text, unreadable) = match path.map(std::fs::read_to_string).transpose() {
        Ok(text) => (text, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let file = path.zip(text.as_ref()).map(|(path, text)| (path.as_str(), text.as_str()));
    let environment: Environment =
        std::env::vars().filter(|(name, _)| name.starts_with("BINPULSE_")).collect();
    let flags: Vec<_> = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting.key, matches.get_one::<String>(setting.key)?.clone())))
        .collect();
    let loaded = config::load(file, &environment, &flags, &|path| std::fs::read_to_string(path));
    let Some((path, reason)) = path.zip(unreadable) else { return loaded };
    // The other mistakes are shown with it.
    let mut errors = vec![config::Error::Unreadable { path: path.clone(), reason }];
    errors.extend(loaded.err().unwrap_or_default());
    Err(errors)
}
