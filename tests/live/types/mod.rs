//! Every type: what `SELECT` says of a value equals what the stream says.

mod cases;
pub(crate) mod charsets;
mod mixed;
mod partial;
pub(crate) mod values;

use std::collections::BTreeMap;

use binpulse::change::{Cell, Image, Op, Position};
use binpulse::decode::{Config, Decoder, Step};
use binpulse::source::{Columns, FileReader};

use crate::bed::Bed;
use crate::source::server::Server;
use crate::suite::Test;

/// The tests below this module.
pub(crate) fn tests() -> Vec<Test> {
    [values::tests(), charsets::tests(), partial::tests()].into_iter().flatten().collect()
}

/// Rows of each table as the stream left them, by the number in their first column.
pub(crate) type Rows = BTreeMap<String, BTreeMap<i64, Vec<String>>>;

/// Starts a server whose log names everything that it can name.
pub(crate) async fn start(bed: &Bed) -> Server {
    let told = !matches!(bed.version(), "mysql-5.6" | "mysql-5.7");
    Server::start(bed, if told { &["--binlog-row-metadata=FULL"] } else { &[] }).await
}

/// The rows of all tables by the server's log, which is ended first.
async fn stream(server: &Server) -> Rows {
    stream_with(server, None).await
}

/// As [`stream`], with somebody to ask for tables.
pub(crate) async fn stream_with(server: &Server, mut columns: Option<Columns>) -> Rows {
    server.run(&["FLUSH LOGS"]).await;
    let file = server.data.join("binlog.000001");
    let mut captured = FileReader::open_path(&file).expect("a binlog file");
    let asks_for_schemas = columns.is_some();
    let mut decoder = Decoder::new(Config {
        contiguous: columns.is_none(),
        asks_for_schemas,
        ..Config::default()
    });
    decoder.start_at(Position::new("binlog.000001", 4));
    let mut tables = Rows::new();
    while let Some(event) = captured.next().expect("an event") {
        let mut steps = decoder.feed(event).expect("a sound event");
        loop {
            let step = match steps.next() {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(error) => {
                    let columns = columns.as_mut().expect("somebody to ask");
                    crate::fallback::answer(&mut steps, &error, columns).await;
                    continue;
                }
            };
            let Step::Rows(mut rows) = step else { continue };
            let table = rows.table().name.to_string();
            while let Some(change) = rows.next().expect("a row") {
                assert_ne!(change.op, Op::Delete, "the tests delete nothing");
                let before = change.before.map(show_all);
                let after = show_all(change.after.expect("an after image"));
                let merged = merge(before, after);
                let id = merged[0].parse().expect("a number in the first column");
                tables.entry(table.clone()).or_default().insert(id, merged);
            }
        }
    }
    tables
}

/// The after image, and from the before image what it lacks.
fn merge(before: Option<Vec<String>>, after: Vec<String>) -> Vec<String> {
    let Some(before) = before else { return after };
    let pick = |(old, new): (String, String)| if new == ABSENT { old } else { new };
    before.into_iter().zip(after).map(pick).collect()
}

const NULL: &str = "NULL";
const ABSENT: &str = "absent";

fn show_all(image: Image<'_>) -> Vec<String> {
    image.cells().map(show).collect()
}

/// Numbers in decimal, all else as its kind and the bytes in hexadecimal.
fn show(cell: Cell<'_>) -> String {
    match cell {
        Cell::Absent => ABSENT.into(),
        Cell::Null => NULL.into(),
        Cell::Int(value) => value.to_string(),
        Cell::UInt(value) => value.to_string(),
        Cell::Float(value) => f64::from(value).to_string(),
        Cell::Double(value) => value.to_string(),
        Cell::Text(bytes) | Cell::Json(bytes) => {
            assert!(std::str::from_utf8(bytes).is_ok(), "text is UTF-8");
            format!("text {}", hex(bytes))
        }
        Cell::Malformed(bytes) => format!("malformed {}", hex(bytes)),
        Cell::Bytes(bytes) | Cell::Vector(bytes) => format!("bytes {}", hex(bytes)),
        Cell::JsonDiff(bytes) => format!("diff {}", hex(bytes)),
        Cell::Omitted { .. } => panic!("the decoder omits nothing"),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02X}").expect("strings take everything");
        text
    })
}
