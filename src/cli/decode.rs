//! `decode`: binlog files to lines of JSON, without a server.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::rc::Rc;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::lines::{self, Printer};
use super::progress::{Progress, Unit};
use super::style::{erase_progress, say};
use super::{Exit, flags};
use crate::binlog::BYTES_MAX;
use crate::change::{NameCase, Position};
use crate::config::{Kind, Value};
use crate::decode::{Answer, Config, Decoder, Fault};
use crate::filter::{self, Filter, Pattern};
use crate::source::file::{self, FileReader};

const LONG_ABOUT: &str = "\
Prints one JSON document a line for each change and each statement in binary log files of
MySQL 5.6 to 9.7 and MariaDB, without a server. `-` reads standard input.

Examples:
  binpulse decode binlog.000041 binlog.000042
  binpulse decode --tables 'shop.*' - < binlog.000042

Prepared XA transactions and the format carry over from file to file, so give the files of
one server in their order. Statements (DDL) are printed whatever --tables says: the log does
not tell which tables they change.

Columns have names when the log carries them (binlog_row_metadata=FULL), else @1, @2, ...
MySQL before 8.0, and MariaDB with binlog_row_metadata=NO_LOG, do not log which integers are
unsigned: --unsigned does. Notes on standard error name the columns concerned, and XA
transactions that the files leave undecided or whose rows are in files that were not given.

The JSON document `null` is {\"$json\":null}, SQL's NULL is null.

--format debezium, maxwell or cloudevents prints rows as those do.

On bad bytes, and on an event that is larger than --event-max: the file, the offset, what was
found, and exit code 65. On a file that can't be opened: exit code 64.";

/// What documents name as their stream: a file tells of none.
const NAME: &str = "binpulse";

/// Largest event unless an option says otherwise: two images of a row that a server takes by its defaults
/// (`max_allowed_packet` is 64 MiB), and as much again.
const EVENT_BYTES_MAX: u64 = 256 << 20;

/// Offset of a file's first event.
const FIRST_EVENT: u64 = 4;

/// The command.
pub(super) fn command() -> Command {
    let event_max = Arg::new("event-max").long("event-max").value_name("SIZE").help(
        "Largest event, 1KiB to 1025MiB: a larger one is refused before it is read or decompressed. \
         Each takes memory of about its size, of 2.5 times its size with a JSON column [default: \
         256MiB]",
    );
    let command = Command::new("decode")
        .about("Print the changes in binlog files as JSON lines")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("file")
                .required(true)
                .action(ArgAction::Append)
                .value_name("FILE")
                .help("Binlog files, in their order; - for standard input"),
        )
        .arg(
            Arg::new("tables")
                .long("tables")
                .value_name("PATTERN,...")
                .default_value("*.*")
                .value_delimiter(',')
                .help("Tables to print, as database.table patterns with * and ?"),
        )
        .arg(event_max)
        .arg(
            Arg::new("unsigned")
                .long("unsigned")
                .value_name("PATTERN,...")
                .value_delimiter(',')
                .help(
                    "Unsigned integers, as database.table.@number patterns with * and ?, where the \
                     binlog does not tell",
                ),
        );
    flags::with_format(command, false)
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{file}: {error}")]
    Open { file: String, error: io::Error },
    #[error("{error}{hint}", error = .0, hint = remedy(.0))]
    FileReader(#[from] file::Error),
    #[error("{file}: {error}")]
    Lines { file: String, error: lines::Error },
}

fn remedy(error: &file::Error) -> &'static str {
    if matches!(error, file::Error::TooLarge { .. }) { " (--event-max allows more)" } else { "" }
}

/// The patterns of an option; `None` once it was told that one is none.
fn patterns(matches: &ArgMatches, option: &str, parts: usize, form: &str) -> Option<Vec<Pattern>> {
    let texts = matches.get_many::<String>(option).into_iter().flatten();
    let parsed = texts.map(|text| {
        let pattern = Pattern::parse(text, parts);
        if pattern.is_none() {
            say!("binpulse: --{option}: `{text}` is not a {form} pattern");
        }
        pattern
    });
    parsed.collect()
}

/// How large an event may be; `None` once it was told that this is no size.
fn event_bytes_max(matches: &ArgMatches) -> Option<u64> {
    let Some(text) = matches.get_one::<String>("event-max") else {
        return Some(EVENT_BYTES_MAX);
    };
    match Kind::Bytes(1 << 10, BYTES_MAX).parse(text) {
        Some(Value::Integer(bytes)) => Some(bytes),
        _ => {
            say!("binpulse: --event-max: `{text}` is not a size of 1KiB to 1025MiB");
            None
        }
    }
}

/// Decodes the files.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(tables) = patterns(matches, "tables", 2, "database.table") else {
        return Exit::Usage;
    };
    let Some(unsigned) = patterns(matches, "unsigned", 3, "database.table.@number") else {
        return Exit::Usage;
    };
    let Some(event_bytes_max) = event_bytes_max(matches) else { return Exit::Usage };
    let settings = flags::format_settings(matches);
    let Some(format) = settings.and_then(|values| flags::format(matches, &values)) else {
        return Exit::Usage;
    };
    let filter = Filter::new(filter::Config { tables, ..filter::Config::default() });
    let mut decoding = Decoding {
        decoder: Decoder::new(Config {
            // The reader of the file has checked it.
            verify_checksum: false,
            contiguous: true,
            asks_for_schemas: !unsigned.is_empty(),
            expanded_bytes_max: event_bytes_max,
            xa_spool_folder: Some(std::env::temp_dir()),
            xa_unseen: crate::decode::Unseen::Pass,
            ..Config::default()
        }),
        printer: Printer::new(io::stdout().lock(), filter, format, NAME),
        unsigned,
        event_bytes_max,
        is_first: true,
        // Rows that go by on the same terminal tell enough.
        progress: Progress::new(Unit::Bytes, io::stdout().is_terminal()),
        read: Rc::default(),
        all: bytes(matches.get_many::<String>("file").into_iter().flatten()),
    };
    let mut files = matches.get_many::<String>("file").into_iter().flatten();
    let outcome = files.try_for_each(|file| decoding.file(file));
    erase_progress();
    // What was decoded before an error is printed before it.
    let flushed = decoding.printer.flush();
    let passed = decoding.printer.passed_statements();
    if passed > 0 {
        lines::note(&format!(
            "{passed} statement-based changes of tables that --tables excludes were skipped"
        ));
    }
    match (outcome, flushed) {
        (Ok(()), Ok(())) => {
            decoding.note_undecided();
            Exit::Done
        }
        (Err(Error::Lines { error, .. }), _) | (_, Err(error)) if error.is_closed_pipe() => {
            Exit::Done
        }
        (Ok(()), Err(error)) => {
            say!("binpulse: {error}");
            Exit::Unavailable
        }
        (Err(error), _) => {
            say!("binpulse: {error}");
            error.exit()
        }
    }
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } => Exit::Usage,
            Self::Lines { error: lines::Error::Output(_), .. } => Exit::Unavailable,
            Self::FileReader(_) | Self::Lines { error: lines::Error::Decode(_), .. } => {
                Exit::BadData
            }
        }
    }
}

/// Bytes of all these files, where each of them tells.
fn bytes<'a>(files: impl Iterator<Item = &'a String>) -> Option<u64> {
    files.map(|file| std::fs::metadata(file).ok().map(|about| about.len())).sum()
}

/// Ordinals of the columns that are named as unsigned.
fn unsigned(patterns: &[Pattern], database: &str, table: &str) -> Vec<usize> {
    let is_named = |ordinal: &usize| {
        let column = format!("@{}", ordinal + 1);
        patterns
            .iter()
            .any(|pattern| pattern.matches(&[database, table, &column], NameCase::default()))
    };
    (0..COLUMNS_MAX).filter(is_named).collect()
}

struct Decoding<W> {
    decoder: Decoder,
    printer: Printer<W>,
    /// Columns that are unsigned, as database.table.@number.
    unsigned: Vec<Pattern>,
    event_bytes_max: u64,
    is_first: bool,
    progress: Progress,
    /// Bytes that were read.
    read: Rc<Cell<u64>>,
    /// Bytes of all files, where that is known.
    all: Option<u64>,
}

/// Counts what is read: one input may have several logs, each with its own offsets.
struct Counted<R> {
    input: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// Most columns that a table can have.
const COLUMNS_MAX: usize = 4096;

impl<W: io::Write> Decoding<W> {
    fn file(&mut self, file: &str) -> Result<(), Error> {
        if file == "-" {
            let input = Counted { input: io::stdin().lock(), read: Rc::clone(&self.read) };
            self.events(FileReader::open(input, "standard input")?)
        } else {
            let wrong = |error| Error::Open { file: file.to_owned(), error };
            let opened = File::open(file).map_err(wrong)?;
            if opened.metadata().map_err(wrong)?.is_dir() {
                return Err(wrong(io::ErrorKind::IsADirectory.into()));
            }
            let input = Counted { input: opened, read: Rc::clone(&self.read) };
            self.events(FileReader::open(input, file)?)
        }
    }

    fn events<R: Read>(&mut self, captured: FileReader<R>) -> Result<(), Error> {
        let mut captured = captured.limited(self.event_bytes_max);
        let file = captured.file().to_owned();
        let name = Path::new(&file)
            .file_name()
            .map_or(file.clone(), |name| name.to_string_lossy().into_owned());
        let start = Position::new(name, FIRST_EVENT);
        if std::mem::take(&mut self.is_first) {
            self.decoder.start_at(start);
        } else {
            self.decoder.follow_at(start);
        }
        let wrong = |error: lines::Error| Error::Lines { file: file.clone(), error };
        loop {
            self.progress.at("Decoding", self.read.get(), self.all, "");
            let Some(event) = captured.next()? else { break };
            let mut steps = self.decoder.feed(event).map_err(|error| wrong(error.into()))?;
            loop {
                match steps.next() {
                    Ok(Some(step)) => self.printer.step(step).map_err(wrong)?,
                    Ok(None) => break,
                    Err(error) => {
                        let Fault::SchemaNeeded { database, table } = &error.fault else {
                            return Err(wrong(error.into()));
                        };
                        let ordinals = unsigned(&self.unsigned, database, table);
                        let answered = steps.describe(Answer::Unsigned(&ordinals));
                        answered.map_err(|error| wrong(error.into()))?;
                    }
                }
            }
        }
        self.decoder.finish().map_err(|error| wrong(error.into()))
    }

    /// Tells of rows that are in the files and were not printed, as nobody knows yet whether they count.
    fn note_undecided(&self) {
        if let Some(oldest) = self.decoder.open_xa() {
            lines::note(&format!(
                "{} XA transactions are prepared and not decided in these files, the oldest at \
                 {oldest}: their rows are not printed",
                self.decoder.prepared_xa()
            ));
        }
    }
}
