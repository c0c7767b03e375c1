//! The last lines of the log, for `/log` and the diagnostics bundle. Bounded in lines and in bytes.
//!
//! One for the process, as the log is. Lines below the level `info` are not kept: libraries that are asked
//! for them print whole requests, and so rows.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
const LINES_MAX: usize = 1_000;
/// Bytes of all of them.
const BYTES_MAX: usize = 256 * 1024;
/// Bytes of one of them.
const LINE_BYTES_MAX: usize = 4 * 1024;

static KEPT: Mutex<LastLines> = Mutex::new(LastLines::new());

/// What makes room for a line on a terminal.
static BEFORE_LINE: OnceLock<fn()> = OnceLock::new();

/// Calls this before each line that is written.
pub(super) fn before_each_line(make_room: fn()) {
    // One for the process, as the log is.
    let _is_first = BEFORE_LINE.set(make_room);
}

/// The lines that were written last, the oldest first.
pub(super) fn text() -> String {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).text()
}

/// Writes the log to standard error, and keeps its last lines.
pub(super) struct KeepingWriter;

/// Writes one event.
pub(super) struct EventWriter {
    is_kept: bool,
}

impl<'a> MakeWriter<'a> for KeepingWriter {
    type Writer = EventWriter;

    fn make_writer(&'a self) -> EventWriter {
        EventWriter { is_kept: false }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> EventWriter {
        EventWriter { is_kept: *about.level() <= Level::INFO }
    }
}

impl Write for EventWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    /// An event comes whole, by this.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_kept {
            let text = String::from_utf8_lossy(bytes);
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(&text);
        }
        if let Some(make_room) = BEFORE_LINE.get() {
            make_room();
        }
        io::stderr().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

struct LastLines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl LastLines {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0 }
    }

    fn push(&mut self, text: &str) {
        for line in text.lines() {
            let end = line.floor_char_boundary(LINE_BYTES_MAX);
            let line = without_colours(line.get(..end).unwrap_or_default());
            self.bytes += line.len();
            self.lines.push_back(line);
        }
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(line) = self.lines.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(line.len());
        }
    }

    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// The line as it is where there is no terminal.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_their_bounds_and_without_colours() {
        let mut kept = LastLines::new();
        kept.push("\u{1b}[2m09:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m one\ntwo\n");
        assert_eq!(kept.text(), "09:00  INFO one\ntwo\n");
        for number in 0..5_000 {
            kept.push(&format!("{number}\n"));
        }
        let text = kept.text();
        assert!(text.starts_with("4000\n") && text.ends_with("4999\n"), "{text}");
        for _ in 0..500 {
            kept.push(&"\u{e4}".repeat(10_000));
        }
        let bytes: usize = kept.lines.iter().map(String::len).sum();
        assert!(bytes <= BYTES_MAX && bytes == kept.bytes, "{bytes}");
        assert!(kept.lines.len() > 50 && kept.lines.iter().all(|it| it.len() <= LINE_BYTES_MAX));
    }

    #[test]
    fn what_is_below_the_level_info_is_not_kept() {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(KeepingWriter)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("told-of-info");
            tracing::warn!("told-of-warn");
            tracing::debug!("a request with a row");
        });
        let text = text();
        assert!(text.contains("told-of-info") && text.contains("told-of-warn"), "{text}");
        assert!(!text.contains("a request with a row"), "{text}");
    }
}
