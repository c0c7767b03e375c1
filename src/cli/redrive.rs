//! `redrive`: quarantined messages, published again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, Unit};
use super::style::say;
use super::{Exit, flags, logs, run};
use crate::aws;
use crate::config::Values;
use crate::sink::quarantine::{self, Entry, Quarantine, Reader};
use crate::sink::redrive::{self, Report};
use crate::sink::sns::{self, Sns, TopicArn};
use crate::sink::{Error as SinkError, OnRefusal};

const LONG_ABOUT: &str = "\
Publishes the messages of the quarantine file again to their topics, unchanged: the same
bodies, attributes, groups and deduplication ids. What a topic accepts is removed from the
file; what it refuses stays, and so do row events that could not be decoded. Consumers
recognise the rows by their lanes and numbers, also when they come late or twice.

Examples:
  binpulse redrive --config binpulse.toml --dry-run     list what is in the file
  binpulse redrive --config binpulse.toml               stop the service first

A running service holds the file: stop it first. It continues from its checkpoint when it is
started again. --dry-run only reads, also while the service runs, and prints one JSON
document a line.

Exit codes: 0 the file is empty; 1 something stays in it; 64 no such file; 65 the file is
damaged; 69 the file is in use, a topic can't be reached, or it was interrupted.";

/// Largest file, bytes: nothing is ever added here.
const ANY_SIZE: u64 = u64::MAX;

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("redrive")
        .about("Publish quarantined messages again")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("quarantine")
                .long("quarantine")
                .value_name("FILE")
                .help("The quarantine file [default: sink.quarantine]"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Print what is in the file and change nothing"),
        );
    flags::with_settings(command, flags::Reads::Only(&["sink.", "sns.", "log."]))
}

/// Why it ended early.
enum Failure {
    Quarantine(quarantine::Error),
    Sink(SinkError),
    Output(io::Error),
    Setting(crate::config::Error),
    Aws(aws::Error),
}

impl From<quarantine::Error> for Failure {
    fn from(error: quarantine::Error) -> Self {
        Self::Quarantine(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl From<redrive::Error> for Failure {
    fn from(error: redrive::Error) -> Self {
        match error {
            redrive::Error::Quarantine(error) => Self::Quarantine(error),
            redrive::Error::Sink(error) => Self::Sink(error),
        }
    }
}

impl From<crate::config::Error> for Failure {
    fn from(error: crate::config::Error) -> Self {
        Self::Setting(error)
    }
}

impl Failure {
    /// Says what it is.
    fn exit(self) -> Exit {
        match self {
            Self::Quarantine(error) => {
                say!("binpulse: {}", chain(&error));
                match error {
                    quarantine::Error::Damaged { .. } => Exit::BadData,
                    quarantine::Error::Io { .. }
                    | quarantine::Error::Broken { .. }
                    | quarantine::Error::InUse { .. }
                    | quarantine::Error::Full { .. } => Exit::Unavailable,
                }
            }
            Self::Sink(error) => {
                say!("binpulse: {}", chain(&error));
                Exit::Unavailable
            }
            // Whoever read it has gone.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(error) => {
                say!("binpulse: can't write: {error}");
                Exit::Unavailable
            }
            Self::Aws(error) => {
                say!("binpulse: {error}");
                Exit::Usage
            }
            Self::Setting(error) => {
                say!("binpulse: {error}");
                Exit::Usage
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Publishes, or prints.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let Some(values) = flags::load(matches) else { return Exit::Usage };
    let named = matches.get_one::<String>("quarantine").map(PathBuf::from);
    let Some(path) = named.or_else(|| values.path_opt("sink.quarantine")) else {
        say!("binpulse: name the file by --quarantine or sink.quarantine");
        return Exit::Usage;
    };
    if !path.is_file() {
        say!("binpulse: there is no quarantine file {}", path.display());
        return Exit::Usage;
    }
    if matches.get_flag("dry-run") {
        return match print(&path, &mut io::stdout().lock()) {
            Ok(0) => Exit::Done,
            Ok(_) => Exit::Failed,
            Err(failure) => failure.exit(),
        };
    }
    if let Err(exit) = logs(&values) {
        return exit;
    }
    run::to_the_end(async |stop| match Box::pin(publish(&values, &path, &stop)).await {
        Ok(report) => tell(&report),
        Err(failure) => failure.exit(),
    })
}

async fn publish(
    values: &Values,
    path: &Path,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let mut quarantine = Quarantine::open(path, ANY_SIZE)?;
    let topics = redrive::topics(path)?;
    let Some(first) = topics.first() else {
        return Ok(Report { undecoded: quarantine.records(), ..Report::default() });
    };
    let region = match values.text_opt("sns.region") {
        Some(region) => region.to_owned(),
        None => TopicArn::parse(first)?.region.to_owned(),
    };
    let aws = aws::Config { region: Some(region), profile: None };
    let shared = aws::Shared::load(&aws).await.map_err(Failure::Aws)?;
    let timeout = values.duration("sns.request_timeout")?;
    let config = sns::Config {
        endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        in_flight_max: values.size("sns.requests_in_flight")?,
        deadlines: aws::Deadlines {
            connect: timeout / 3,
            read: timeout * 3 / 4,
            operation: timeout,
        },
        on_refusal: OnRefusal::GoOn,
        ..sns::Config::default()
    };
    let topics: Vec<Arc<str>> = topics.into_iter().map(Arc::from).collect();
    let sns = Sns::open(config, &shared, &topics).await?;
    let mut progress = Progress::new(Unit::Things("entries"), false);
    let all = Some(quarantine.records());
    let mut tell = |settled| progress.at("Publishing", settled, all, "");
    Ok(redrive::redrive(path, &mut quarantine, sns, stop, &mut tell).await?)
}

fn tell(report: &Report) -> Exit {
    for refused in &report.refused {
        say!("binpulse: stays: {refused}");
    }
    let (accepted, refused, undecoded) = (report.accepted, report.refused.len(), report.undecoded);
    println!(
        "{accepted} messages published again; {refused} refused and {undecoded} undecoded row \
         events stay in the file"
    );
    if report.interrupted {
        say!("binpulse: interrupted; what was accepted is gone from the file, the rest stays");
        Exit::Unavailable
    } else if refused > 0 || undecoded > 0 {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// Prints what is known of each entry, without rows; how many there are.
fn print(path: &Path, out: &mut impl Write) -> Result<u64, Failure> {
    let mut count = 0;
    for entry in Reader::new(path)? {
        let line = match entry? {
            Entry::Message(record) => serde_json::json!({
                "entry": "message",
                "quarantined_at_us": record.quarantined_at_us,
                "error": record.error,
                "topic": record.destination,
                "kind": record.kind,
                "lane": record.lane,
                "sequence_first": record.sequence_first,
                "rows": record.rows,
                "body_bytes": record.body.len(),
            }),
            Entry::Undecoded(event) => serde_json::json!({
                "entry": "undecoded",
                "quarantined_at_us": event.quarantined_at_us,
                "error": event.error,
                "gtid": event.gtid,
                "transaction": event.transaction,
                "position": event.position,
                "database": event.database,
                "table": event.table,
            }),
        };
        writeln!(out, "{line}").map_err(Failure::Output)?;
        count += 1;
    }
    Ok(count)
}
