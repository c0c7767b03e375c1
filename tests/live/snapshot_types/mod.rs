//! Rows that snapshots select: the same as the stream's, and each of them once.

mod cells;
mod chunks;
mod keys;

use std::time::Duration;

use binpulse::change::{GtidSet, Position};
use binpulse::snapshot::{Armed, ChunkRows, Layout, Range, Read, Reader};

use crate::source::config;
use crate::source::server::Server;
use crate::suite::Test;

/// The tests below this module.
pub(crate) fn tests() -> Vec<Test> {
    [cells::tests(), chunks::tests(), keys::tests()].into_iter().flatten().collect()
}

/// As an account that may read all tables and nothing else.
async fn reader(server: &Server) -> Reader {
    Reader::connect(&config(server, "weak"), 0).await.expect("an account that may log in")
}

/// Of a loop that has processed nothing.
fn nothing_processed(reader: &Reader) -> Armed {
    Armed {
        gtids: GtidSet::new(),
        position: Position::new("binlog.000001", 4),
        server: reader.server().to_owned(),
    }
}

async fn layout(reader: &mut Reader, table: &str) -> Layout {
    let layout = reader.layout("d", table).await.expect("an answer");
    layout.unwrap_or_else(|unreadable| panic!("{table}: {unreadable}"))
}

/// A chunk, read again as long as the server was too slow for it.
async fn chunk(reader: &mut Reader, layout: &Layout, range: Range<'_>) -> ChunkRows {
    let armed = nothing_processed(reader);
    for _ in 0..10 {
        match reader.read(layout, &range, &armed).await {
            Ok(Read::Rows(rows)) => return rows,
            Ok(Read::TooSlow) => {}
            other => panic!("{}: {other:?}", layout.table.name),
        }
    }
    panic!("{}: no chunk of {} rows in time", layout.table.name, range.rows_max);
}

/// Reads a whole table in chunks of so many rows and shows `each` all of them.
async fn read_all(
    reader: &mut Reader,
    layout: &Layout,
    condition: Option<&str>,
    rows_max: u64,
    mut each: impl FnMut(&ChunkRows),
) -> u64 {
    let (mut after, mut chunks) = (None::<String>, 0);
    loop {
        let range = Range {
            after: after.as_deref(),
            condition,
            rows_max,
            bytes_max: 4 << 20,
            ..Range::default()
        };
        let rows = chunk(reader, layout, range).await;
        chunks += 1;
        each(&rows);
        if rows.is_end() {
            return chunks;
        }
        assert_ne!(rows.last_key(), after, "{}: it goes on", layout.table.name);
        after = rows.last_key();
        assert!(chunks < 10_000, "{}: it ends", layout.table.name);
    }
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);
