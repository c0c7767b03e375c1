//! The captured logs, and a plain reading of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use binpulse::change::{Cell, Change, Image, Position};
use binpulse::decode::{Config, Decoder, Error, Step};

/// One captured log: a folder `tests/fixtures/<quirk>/<server>`.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) expected: serde_json::Value,
    /// Name and content of each file, in order.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Every fixture.
pub(crate) fn all() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let quirks = folders(&root);
    let found: Vec<_> =
        quirks.iter().flat_map(|quirk| folders(quirk)).map(|path| load(&path)).collect();
    assert!(found.len() >= 50, "found {} fixtures", found.len());
    found
}

/// The fixture of a quirk on a server.
pub(crate) fn one(quirk: &str, server: &str) -> Fixture {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    load(&root.join(quirk).join(server))
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

fn load(path: &Path) -> Fixture {
    let text = fs::read_to_string(path.join("expected.json")).expect("expected.json");
    let mut files: Vec<_> = fs::read_dir(path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem == "binlog"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a log"))
        })
        .collect();
    files.sort();
    let server = path.file_name().expect("a name").to_string_lossy();
    let quirk = path.parent().and_then(Path::file_name).expect("a name").to_string_lossy();
    Fixture {
        name: format!("{quirk}/{server}"),
        expected: serde_json::from_str(&text).expect("JSON"),
        files,
    }
}

/// Splits a file into raw events; what is left of a damaged file is the last.
pub(crate) fn events(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.get(4..).unwrap_or_default();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = rest.get(9..13).map_or(0, |bytes| {
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
        });
        let length = if length < 19 { rest.len() } else { length.min(rest.len()) };
        let (event, behind) = rest.split_at(length);
        events.push(event);
        rest = behind;
    }
    events
}

/// The configuration for files.
pub(crate) fn config() -> Config {
    Config { contiguous: true, ..Config::default() }
}

/// What comes out of files: one line a step or row, and the error that ended it.
pub(crate) struct Reading {
    pub(crate) lines: Vec<String>,
    pub(crate) error: Option<Error>,
}

/// Reads files from their beginning.
pub(crate) fn read(files: &[(String, Vec<u8>)]) -> Reading {
    read_by(files, config())
}

/// The same by another configuration.
pub(crate) fn read_by(files: &[(String, Vec<u8>)], config: Config) -> Reading {
    let mut decoder = Decoder::new(config);
    let mut lines = Vec::new();
    for (number, (name, file)) in files.iter().enumerate() {
        let start = Position::new(name.as_str(), 4);
        if number == 0 {
            decoder.start_at(start);
        } else {
            decoder.follow_at(start);
        }
        for event in events(file) {
            if let Err(error) = feed(&mut decoder, event, &mut lines) {
                return Reading { lines, error: Some(error) };
            }
        }
    }
    let error = decoder.finish().err();
    Reading { lines, error }
}

/// Feeds one event and writes its steps down.
pub(crate) fn feed(
    decoder: &mut Decoder,
    event: &[u8],
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    let mut steps = decoder.feed(event)?;
    while let Some(step) = steps.next()? {
        write_down(step, lines)?;
    }
    Ok(())
}

/// The same, going on behind what can be passed over.
pub(crate) fn feed_passing_over(
    decoder: &mut Decoder,
    event: &[u8],
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    let mut steps = decoder.feed(event)?;
    loop {
        match steps.next() {
            Ok(Some(step)) => {
                if let Err(error) = write_down(step, lines) {
                    lines.push(format!("kept the rest of {error}"));
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                let Some(passed) = steps.pass_over(&error) else { return Err(error) };
                lines.push(format!("kept {} bytes of {error}", passed.event.len()));
            }
        }
    }
}

fn write_down(step: Step<'_>, lines: &mut Vec<String>) -> Result<(), Error> {
    {
        match step {
            Step::Begin(transaction) => lines.push(format!(
                "begin {} at {}",
                transaction.id.text().unwrap_or_else(|| "anonymous".into()),
                transaction.start.offset
            )),
            Step::Rows(mut rows) => {
                let table = rows.table().clone();
                while let Some(change) = rows.next()? {
                    lines.push(format!("{}.{} {}", table.database, table.name, spell(&change)));
                }
            }
            Step::Schema(statement) => {
                lines.push(format!("schema {} | {}", statement.database, statement.text()));
            }
            // What a reader without filters does.
            Step::Changed(statement) => {
                let about = match statement.written() {
                    Ok(written) => format!("of {:?}", written.tables),
                    Err(unread) => unread.to_string(),
                };
                return Err(statement.refused(about));
            }
            Step::Commit(commit) => {
                let mut line = format!("commit to {}", commit.end);
                for id in commit.resolves {
                    write!(line, " resolves {}", id.text().unwrap_or_default()).expect("text");
                }
                if let Some(open) = commit.open_xa {
                    write!(line, " open since {}", open.offset).expect("text");
                }
                if let Some(xid) = commit.unseen_xa {
                    write!(line, " unseen {xid}").expect("text");
                }
                lines.push(line);
            }
            Step::Idle { position, .. } => lines.push(format!("idle at {position}")),
            Step::Rotate { position, .. } => lines.push(format!("rotate to {position}")),
            Step::Passed { event_type, position, .. } => {
                lines.push(format!("passed {event_type} to {position}"));
            }
        }
    }
    Ok(())
}

fn spell(change: &Change<'_>) -> String {
    let image = |image: Option<Image<'_>>| {
        image.map_or_else(
            || "-".into(),
            |image| image.cells().map(|cell| text(&cell)).collect::<Vec<_>>().join(","),
        )
    };
    format!("{} [{}] -> [{}]", change.op.as_str(), image(change.before), image(change.after))
}

/// A cell as `capture.py` spells it; absent cells are `?`.
pub(crate) fn text(cell: &Cell<'_>) -> String {
    let hex =
        |bytes: &[u8]| bytes.iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02X}"));
    match cell {
        Cell::Absent => "?".into(),
        Cell::Null => "NULL".into(),
        Cell::Int(value) => value.to_string(),
        Cell::UInt(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Double(value) => value.to_string(),
        Cell::Text(bytes)
        | Cell::Json(bytes)
        | Cell::JsonDiff(bytes)
        | Cell::Bytes(bytes)
        | Cell::Vector(bytes)
        | Cell::Malformed(bytes) => hex(bytes),
        Cell::Omitted { .. } => "omitted".into(),
    }
}
