//! `decode`: binlog files to lines of JSON, without a server.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Exit;
use super::lines::{self, Printer};
use crate::change::Position;
use crate::decode::{Config, Decoder};
use crate::filter::{self, Filter, Pattern};
use crate::source::captured::{self, Captured};

const LONG_ABOUT: &str = "\
Reads binlog files of MySQL 5.6 to 9.7 and MariaDB in the order given, and prints one JSON document
a line for each change and each statement. `-` reads standard input. Prepared XA transactions and
the format go on from file to file, so give the files of one server in their order.

Statements (DDL) are printed whatever --tables says: which tables they touch is not in the log.

Columns have names when the binlog carries them (binlog_row_metadata=FULL), else @1, @2, ...

On bad bytes: the file, the offset, what was found, and exit code 65. On a file that can't be
opened: exit code 64.";

/// Offset of a file's first event.
const FIRST_EVENT: u64 = 4;

/// The command.
pub(super) fn command() -> Command {
    Command::new("decode")
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
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{file}: {error}")]
    Open { file: String, error: io::Error },
    #[error(transparent)]
    Captured(#[from] captured::Error),
    #[error("{file}: {error}")]
    Lines { file: String, error: lines::Error },
}

/// Decodes the files.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let mut tables = Vec::new();
    for text in matches.get_many::<String>("tables").into_iter().flatten() {
        let Some(pattern) = Pattern::parse(text, 2) else {
            eprintln!("binpulse: --tables: `{text}` is not a database.table pattern");
            return Exit::Usage;
        };
        tables.push(pattern);
    }
    let filter = Filter::new(filter::Config { tables, ..filter::Config::default() });
    let mut decoding = Decoding {
        decoder: Decoder::new(Config {
            // The reader of the file has checked it.
            verify_checksum: false,
            contiguous: true,
            xa_spool_folder: Some(std::env::temp_dir()),
            xa_unseen: crate::decode::Unseen::Pass,
            ..Config::default()
        }),
        printer: Printer::new(io::stdout().lock(), filter),
        is_first: true,
    };
    let mut files = matches.get_many::<String>("file").into_iter().flatten();
    let outcome = files.try_for_each(|file| decoding.file(file));
    // What was decoded before an error is printed before it.
    let flushed = decoding.printer.flush();
    match (outcome, flushed) {
        (Ok(()), Ok(())) => Exit::Done,
        (Err(Error::Lines { error, .. }), _) | (_, Err(error)) if error.is_closed_pipe() => {
            Exit::Done
        }
        (Ok(()), Err(error)) => {
            eprintln!("binpulse: {error}");
            Exit::Unavailable
        }
        (Err(error), _) => {
            eprintln!("binpulse: {error}");
            error.exit()
        }
    }
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } => Exit::Usage,
            Self::Lines { error: lines::Error::Output(_), .. } => Exit::Unavailable,
            Self::Captured(_) | Self::Lines { error: lines::Error::Decode(_), .. } => Exit::BadData,
        }
    }
}

struct Decoding<W> {
    decoder: Decoder,
    printer: Printer<W>,
    is_first: bool,
}

impl<W: io::Write> Decoding<W> {
    fn file(&mut self, file: &str) -> Result<(), Error> {
        if file == "-" {
            self.events(Captured::open(io::stdin().lock(), "standard input")?)
        } else {
            let wrong = |error| Error::Open { file: file.to_owned(), error };
            let opened = File::open(file).map_err(wrong)?;
            if opened.metadata().map_err(wrong)?.is_dir() {
                return Err(wrong(io::ErrorKind::IsADirectory.into()));
            }
            self.events(Captured::open(opened, file)?)
        }
    }

    fn events<R: Read>(&mut self, mut captured: Captured<R>) -> Result<(), Error> {
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
        while let Some(event) = captured.next()? {
            let mut steps = self.decoder.feed(event).map_err(|error| wrong(error.into()))?;
            while let Some(step) = steps.next().map_err(|error| wrong(error.into()))? {
                self.printer.step(step).map_err(wrong)?;
            }
        }
        self.decoder.finish().map_err(|error| wrong(error.into()))
    }
}
