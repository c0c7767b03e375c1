//! `tail`: changes to standard output as they happen, without a sink and without a checkpoint.

use std::io::{self, IsTerminal};

use clap::{ArgMatches, Command};

use super::lines::{self, Printer};
use super::progress::{Progress, Unit};
use super::style::say;
use super::{Exit, flags, logs, run};
use crate::app::plan::Plan;
use crate::decode::{Agreement, Answer, Config, Decoder, Fault, Unseen};
use crate::encode::formats::FormatOptions;
use crate::filter::Filter;
use crate::platform::wall_us;
use crate::source::{self, Columns, Liveness, Replica, resume};

const LONG_ABOUT: &str = "\
Prints each change and statement, from source.start (default: now) until SIGINT: one JSON
document a line, or on a terminal the transactions with their rows, for people.

Examples:
  binpulse tail --config binpulse.toml --filter-tables shop.orders
  binpulse tail --config binpulse.toml --json | jq .after
  binpulse tail --config binpulse.toml --format debezium

Nothing is published and nothing is saved. It connects as a replica of its own, so it can
run beside the service of the same stream.";

/// The command.
pub(super) fn command() -> Command {
    let command = flags::with_settings(
        Command::new("tail")
            .about("Print changes as they happen, as JSON lines where it is no terminal")
            .long_about(LONG_ABOUT),
        flags::Reads::Only(&["stream.", "source.", "filter.", "decode.", "formats.", "log."]),
    );
    let command = flags::with_json(command, "One JSON document a line, on a terminal too");
    flags::with_format(command, true)
}

/// Why printing ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Lines(#[from] lines::Error),
    /// The source could not be asked for a table.
    #[error("source: {error}; {}", .error.remedy())]
    Source { error: source::Error },
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self::Source { error }
    }
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Lines(_) => Exit::BadData,
            Self::Source { error } => after(error),
        }
    }
}

/// The exit code behind a failure of the source.
fn after(error: &source::Error) -> Exit {
    if error.needs_operator() { Exit::Operator } else { Exit::Unavailable }
}

/// Prints until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some((values, plan)) = run::plan(matches, run::Runs::SourceOnly) else {
        return Exit::Usage;
    };
    let Some(format) = flags::format(matches, &values) else { return Exit::Usage };
    if let Err(exit) = logs(&values) {
        return exit;
    }
    let is_for_people = io::stdout().is_terminal()
        && !matches.get_flag("json")
        && format == FormatOptions::Binpulse;
    run::to_the_end(async |stop| {
        tokio::select! {
            () = stop.cancelled() => Exit::Done,
            exit = Box::pin(print(plan, format, is_for_people)) => exit,
        }
    })
}

async fn print(mut plan: Plan, format: FormatOptions, is_for_people: bool) -> Exit {
    let stream = plan.stream.clone();
    plan.name_apart("tail");
    let dialled = async {
        let (host, resolved) = resume::resolve_any(&plan.source, 0, &plan.start).await?;
        let liveness = Liveness::new();
        let replica = Replica::connect(&plan.source, host, &resolved.start, &liveness).await?;
        let columns = Columns::new(&plan.source, host, replica.identity().name());
        Ok::<_, source::Error>((replica, columns, resolved))
    };
    let (mut replica, mut columns, resolved) = match dialled.await {
        Ok(dialled) => dialled,
        Err(error) => {
            say!("binpulse: source: {error}; {}", error.remedy());
            return after(&error);
        }
    };
    let asks_for_schemas = plan.schema_fallback;
    let mut decoder = Decoder::new(Config {
        verify_checksum: false,
        asks_for_schemas,
        expanded_bytes_max: plan.expanded_event_max,
        xa_spool_folder: Some(std::env::temp_dir()),
        // Told in a note: what was prepared before the start is before it.
        xa_unseen: Unseen::Pass,
        ..Config::default()
    });
    decoder.start_at(resolved.start.place());
    plan.filter.names = resolved.facts.name_case();
    let printer = Printer::new(io::stdout(), Filter::new(plan.filter), format, &stream);
    let mut printer = if is_for_people { printer.for_people() } else { printer };
    let mut catching_up = CatchingUp::new();
    loop {
        let event = match replica.next().await {
            Ok(Some(event)) => event,
            Ok(None) => {
                say!("binpulse: the server ended the stream");
                return Exit::Unavailable;
            }
            Err(error) => {
                say!("binpulse: source: {error}; {}", error.remedy());
                return after(&error);
            }
        };
        let taken = take(&mut decoder, event, &mut columns, &mut printer).await;
        let flushed = if replica.buffered() { Ok(()) } else { printer.flush() };
        match taken.and(flushed.map_err(Error::Lines)) {
            Ok(()) => {}
            Err(Error::Lines(error)) if error.is_closed_pipe() => return Exit::Done,
            Err(error) => {
                say!("binpulse: {error}");
                return error.exit();
            }
        }
        catching_up.at(printer.newest_commit_us(), wall_us());
        tokio::task::yield_now().await;
    }
}

/// Less than this, seconds, is not behind.
const BEHIND: i64 = 5;

/// Shows how far behind the source it is, until it has caught up.
struct CatchingUp {
    progress: Option<Progress>,
    /// Commit time of the first transaction, microseconds since 1970 UTC.
    first_us: i64,
}

impl CatchingUp {
    fn new() -> Self {
        // Rows that go by on the same terminal tell enough.
        let progress = Progress::new(Unit::Log, io::stdout().is_terminal());
        Self { progress: Some(progress).filter(Progress::is_wanted), first_us: 0 }
    }

    fn at(&mut self, newest_us: i64, now_us: i64) {
        if newest_us == 0 {
            return;
        }
        if self.first_us == 0 {
            self.first_us = newest_us;
        }
        let seconds = |to: i64| to.saturating_sub(self.first_us) / 1_000_000;
        let (done, all) = (seconds(newest_us), seconds(now_us));
        if all - done < BEHIND {
            self.progress = None;
        }
        if let Some(progress) = &mut self.progress {
            let [done, all] = [done, all].map(|it| u64::try_from(it).unwrap_or(0));
            progress.at("Catching up", done, Some(all), "");
        }
    }
}

/// Prints what an event says. Tables that the log does not name the columns of are asked for.
async fn take(
    decoder: &mut Decoder,
    event: &[u8],
    columns: &mut Columns,
    printer: &mut Printer<io::Stdout>,
) -> Result<(), Error> {
    let mut steps = decoder.feed(event).map_err(lines::Error::from)?;
    loop {
        match steps.next() {
            Ok(Some(step)) => printer.step(step)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let Fault::SchemaNeeded { database, table } = &error.fault else {
                    return Err(lines::Error::from(error).into());
                };
                let found;
                let answer = if printer.wants(database, table) {
                    found = columns.describe(database, table).await?;
                    let masks = printer.masks(database, table);
                    let described = if masks { Answer::MustBeOlder } else { Answer::Described };
                    found.as_ref().map_or(Answer::Unknown, described)
                } else {
                    Answer::NotNeeded
                };
                let agreement = steps.describe(answer).map_err(lines::Error::from)?;
                if agreement == Agreement::ButChangedSince {
                    tracing::warn!(
                        %database, %table, "names of columns may be newer than the rows"
                    );
                }
            }
        }
    }
}
