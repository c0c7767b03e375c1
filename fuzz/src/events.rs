//! Events as a stream brings them, and files of them.

use binpulse::change::Position;
use binpulse::decode::{Config, Decoder, Error, Step};
use binpulse::source::file::FileReader;

use super::cells;
use super::log;

/// Feeds whole events until one is refused. Rows that come out are of the right types; what the
/// steps say of themselves is consistent.
/// How many there were.
pub(crate) fn feed<E: AsRef<[u8]>>(events: impl IntoIterator<Item = E>) -> u64 {
    let mut decoder = Decoder::new(config());
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut rows = 0;
    for event in events {
        if take(&mut decoder, event.as_ref(), &mut rows).is_err() {
            break;
        }
    }
    rows
}

fn config() -> Config {
    Config { xa_spool_bytes_max: 1 << 20, ..Config::default() }
}

fn take(decoder: &mut Decoder, event: &[u8], count: &mut u64) -> Result<(), Error> {
    let mut is_inside = decoder.in_transaction();
    let mut steps = decoder.feed(event)?;
    while let Some(step) = steps.next()? {
        match step {
            Step::Begin(_) => is_inside = true,
            Step::Rows(mut rows) => {
                assert!(is_inside, "rows come inside a transaction");
                let table = rows.table().clone();
                while let Some(change) = rows.next()? {
                    cells::check(&table, &change);
                    *count += 1;
                }
            }
            Step::Schema(statement) => drop(statement.text().into_owned()),
            Step::Changed(statement) => drop(statement.written()),
            Step::Commit(commit) => {
                assert!(is_inside, "a commit ends a transaction");
                is_inside = false;
                drop(commit.transaction.id.text());
            }
            Step::Idle { .. } | Step::Rotate { .. } | Step::Passed { .. } => {}
        }
    }
    Ok(())
}

/// A log file's events with their lengths and checksums put right: damage that no checksum shows.
pub fn events(input: &[u8]) -> u64 {
    let mut events: Vec<_> = log::split(input).into_iter().map(log::repaired).collect();
    if events.first().is_none_or(|event| log::kind_of(event) != log::kind::FORMAT_DESCRIPTION) {
        let is_maria = input.first().is_some_and(|byte| byte & 1 == 1);
        let log = if is_maria { log::MARIADB } else { log::MYSQL };
        events.insert(0, log::format_description(log));
    }
    feed(events)
}

/// A file as it is.
pub fn file(input: &[u8]) -> u64 {
    let Ok(mut file) = FileReader::open(input, "fuzzed") else { return 0 };
    let mut rows = 0;
    let mut decoder = Decoder::new(Config { contiguous: true, ..config() });
    decoder.start_at(Position::new("fuzzed", 4));
    while let Ok(Some(event)) = file.next() {
        if take(&mut decoder, event, &mut rows).is_err() {
            break;
        }
    }
    rows
}
