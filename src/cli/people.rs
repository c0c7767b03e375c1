//! Changes as people read them on a terminal: a line for each transaction, and below it its rows with their
//! values, aligned, and broken between values. Pure.

use chrono::DateTime;

use super::style::{DIM, GREEN, RED, YELLOW, bold, coloured, columns, cut, dim, plain};
use crate::change::{
    Cell, Change, Image, LogicalType, Op, Position, Table, Transaction, TransactionId,
};
use crate::encode::json::put_cell;

/// Columns of a table's name, at most.
const NAME_MAX: usize = 32;
/// Columns of a value; of a longer one the front is shown, and how long it is.
const VALUE_MAX: usize = 160;
/// Bytes of a value that are looked at: a multiple of three, for base64.
const FRONT: usize = 768;
/// Columns in front of a table's name.
const INDENT: usize = 10;

/// Writes changes for people.
#[derive(Debug, Default)]
pub(super) struct People {
    /// The transaction whose line was written last.
    last: Option<(TransactionId, Position)>,
    /// Columns of the widest name so far: what follows stands below each other.
    name: usize,
    value: Vec<u8>,
}

impl People {
    /// Appends a row. `width`: of the terminal.
    pub(super) fn change(
        &mut self,
        table: &Table,
        transaction: &Transaction,
        change: &Change<'_>,
        out: &mut Vec<u8>,
        width: usize,
    ) {
        self.head(transaction, out, width);
        let (colour, op) = match change.op {
            Op::Insert => (GREEN, "INSERT"),
            Op::Update => (YELLOW, "UPDATE"),
            Op::Delete => (RED, "DELETE"),
            Op::Read => (GREEN, "READ  "),
        };
        let line = format!("  {}  {}", bold(colour, op), self.name(table));
        let indent = columns(&line);
        // A narrow terminal has no room for columns.
        let indent = if indent > width / 2 { INDENT } else { indent };
        let mut flow = Flow::new(line, indent, width);
        for (value, has_changed) in self.values(table, change) {
            flow.add(&value, has_changed.then_some(YELLOW));
        }
        flow.end(out);
    }

    /// Appends a statement.
    pub(super) fn schema(
        &mut self,
        database: &str,
        statement: &str,
        transaction: &Transaction,
        out: &mut Vec<u8>,
        width: usize,
    ) {
        self.head(transaction, out, width);
        let text = plain(&statement.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut line = format!("  {}", bold(YELLOW, "DDL   "));
        if database.is_empty() {
            line.push(' ');
        } else {
            line.extend(["  ", &plain(database)]);
        }
        let mut flow = Flow::new(line, INDENT, width);
        for word in text.split(' ') {
            flow.add(word, None);
        }
        flow.end(out);
    }

    /// The line of a transaction, where it is another one.
    fn head(&mut self, transaction: &Transaction, out: &mut Vec<u8>, width: usize) {
        let place = (transaction.id, transaction.start.clone());
        if self.last.as_ref() == Some(&place) {
            return;
        }
        let at = DateTime::from_timestamp_micros(transaction.committed_at_us).unwrap_or_default();
        let at = at.format("%Y-%m-%d %H:%M:%S%.6f UTC").to_string();
        let mut flow = Flow::new(dim(&at), INDENT, width);
        let parts = transaction.id.text().into_iter().chain([transaction.start.to_string()]);
        for part in parts {
            flow.add("", None);
            flow.add(&part, Some(DIM));
        }
        flow.end(out);
        self.last = Some(place);
    }

    /// A table's name, as wide as the widest so far.
    fn name(&mut self, table: &Table) -> String {
        let whole = plain(&format!("{}.{}", table.database, table.name));
        let name = if columns(&whole) > NAME_MAX {
            format!("{}~", cut(&whole, NAME_MAX - 1))
        } else {
            whole
        };
        self.name = self.name.max(columns(&name));
        let pad = " ".repeat(self.name - columns(&name));
        name + &pad
    }

    /// `column=value` of each column; of an update `column=before->after` where it changed. With whether it
    /// did.
    fn values(&mut self, table: &Table, change: &Change<'_>) -> Vec<(String, bool)> {
        let mut values = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let (before, after) = (cell(change.before, at), cell(change.after, at));
            let name = plain(&column.name);
            let is_text = has_quotes(column.logical_type);
            let has_changed = change.before.map(|image| image.cell(at))
                != change.after.map(|image| image.cell(at));
            match (before.0, after.0) {
                (Cell::Absent, Cell::Absent) => {}
                (_, Cell::Absent) => {
                    values.push((format!("{name}={}", self.value(before, is_text)), false));
                }
                (Cell::Absent, _) => {
                    values.push((format!("{name}={}", self.value(after, is_text)), false));
                }
                (_, _) if has_changed => {
                    let (before, after) = (self.value(before, is_text), self.value(after, is_text));
                    values.push((format!("{name}={before}->{after}"), true));
                }
                (_, _) => values.push((format!("{name}={}", self.value(after, is_text)), false)),
            }
        }
        values
    }

    /// A value: text in quotes, as JSON has it, so that it can't be taken for another one.
    fn value(&mut self, (cell, bytes): Shortened<'_>, is_text: bool) -> String {
        if matches!(cell, Cell::Null) {
            return "NULL".to_owned();
        }
        self.value.clear();
        put_cell(&mut self.value, cell);
        let whole = plain(&String::from_utf8_lossy(&self.value));
        let bare = whole.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let whole = bare.filter(|_| !is_text).map_or(whole.clone(), str::to_owned);
        let front = cut(&whole, VALUE_MAX);
        match bytes {
            None if front.len() == whole.len() => whole,
            None => format!("{front}... ({} bytes)", whole.len()),
            Some(bytes) => format!("{front}... ({bytes} bytes)"),
        }
    }
}

/// Whether values of this type stand in quotes: what they are is not told by how they look.
fn has_quotes(logical_type: LogicalType) -> bool {
    matches!(
        logical_type,
        LogicalType::Text | LogicalType::Enum | LogicalType::Set | LogicalType::Json
    )
}

/// Words that follow each other, on as many lines as they take.
struct Flow {
    out: String,
    used: usize,
    indent: usize,
    width: usize,
}

impl Flow {
    /// Behind what stands on the line already.
    fn new(line: String, indent: usize, width: usize) -> Self {
        let used = columns(&line);
        Self { out: line, used, indent, width }
    }

    /// Appends a text, whole where a line has room for it.
    fn add(&mut self, text: &str, colour: Option<u8>) {
        let room = self.width.saturating_sub(self.indent + 1).max(1);
        let whole = columns(text);
        if whole <= room {
            self.make_room(whole);
        }
        for word in text.split(' ') {
            let mut left = word;
            loop {
                let first = left.chars().next().map_or(0, char::len_utf8);
                let (piece, more) =
                    left.split_at_checked(cut(left, room).len().max(first)).unwrap_or((left, ""));
                self.make_room(columns(piece));
                let shown = match colour {
                    Some(colour) if !piece.is_empty() => coloured(colour, piece),
                    Some(_) | None => piece.to_owned(),
                };
                // A word that is wider than a line goes on without a gap.
                let gap = if left.len() < word.len() { "" } else { " " };
                self.out.extend([gap, &shown]);
                self.used += columns(piece) + gap.len();
                left = more;
                if left.is_empty() {
                    break;
                }
            }
        }
    }

    /// Another line, where this one has no room for so much.
    fn make_room(&mut self, columns: usize) {
        if self.used + 1 + columns > self.width && self.used > self.indent {
            self.out.extend(["\n", &" ".repeat(self.indent)]);
            self.used = self.indent;
        }
    }

    fn end(mut self, out: &mut Vec<u8>) {
        self.out.push('\n');
        out.extend_from_slice(self.out.as_bytes());
    }
}

/// The front of a value, and how many bytes all of it has where that is more.
type Shortened<'a> = (Cell<'a>, Option<usize>);

fn cell(image: Option<Image<'_>>, at: usize) -> Shortened<'_> {
    image.map_or((Cell::Absent, None), |image| shortened(image.cell(at)))
}

/// What is shown of a value needs no more than its front.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other value is long as it is shown")]
fn shortened(cell: Cell<'_>) -> Shortened<'_> {
    let front = |bytes: &'_ [u8]| bytes.len() > FRONT;
    match cell {
        Cell::Bytes(bytes) if front(bytes) => {
            (Cell::Bytes(bytes.get(..FRONT).unwrap_or_default()), Some(bytes.len()))
        }
        Cell::Text(bytes) if front(bytes) => {
            // Not within a letter.
            let is_begin = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
            let end = (0..=FRONT).rev().find(is_begin).unwrap_or(0);
            (Cell::Text(bytes.get(..end).unwrap_or_default()), Some(bytes.len()))
        }
        whole => (whole, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::BytesKind;
    use crate::encode::testing::{Owned, OwnedChange, column, int, null, table, text, transaction};

    fn orders() -> Table {
        let mut orders = Arc::unwrap_or_clone(table("orders", 0));
        orders.columns = vec![
            column("id", LogicalType::Integer),
            column("total", LogicalType::Decimal),
            column("note", LogicalType::Text),
        ];
        orders
    }

    fn shown(changes: &[(u64, OwnedChange)], width: usize) -> String {
        let (mut people, mut out) = (People::default(), Vec::new());
        for (number, change) in changes {
            people.change(&orders(), &transaction(*number), &change.change(), &mut out, width);
        }
        let text = String::from_utf8(out).expect("UTF-8");
        // The colours are looked at elsewhere.
        crate::cli::style::colourless(&text)
    }

    #[test]
    fn a_transaction_has_a_line_and_its_rows_stand_below_with_what_changed() {
        let row = |id, total: &str, note: Owned| [int(id), text(total), note];
        let changes = [
            (1, OwnedChange::insert(0, &row(7, "9.90", text("a \u{1b}[2Jb")))),
            (1, OwnedChange::delete(1, &row(8, "1.00", null()))),
            (2, OwnedChange::update(0, &row(7, "9.90", null()), &row(7, "8.90", text("NULL")))),
        ];
        let lines = shown(&changes, 200);
        let lines: Vec<_> = lines.lines().collect();
        let source = "abababab-abab-abab-abab-abababababab";
        assert_eq!(
            lines[0],
            format!("2026-11-18 11:06:40.001000 UTC  {source}:1  binlog.000007:304")
        );
        assert_eq!(lines[1], "  INSERT  shop.orders id=7 total=9.90 note=\"a \\u001b[2Jb\"");
        assert_eq!(lines[2], "  DELETE  shop.orders id=8 total=1.00 note=NULL");
        assert!(lines[3].contains(":2  binlog.000007:604"), "{lines:#?}");
        assert_eq!(lines[4], "  UPDATE  shop.orders id=7 total=9.90->8.90 note=NULL->\"NULL\"");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn rows_break_between_values_and_long_values_are_cut() {
        let long = "wörter ".repeat(1_000);
        let bytes = Owned::Bytes(BytesKind::Bytes, vec![1; 5_000]);
        let changes = [
            (1, OwnedChange::insert(0, &[int(1), text("1.5"), text(&long)])),
            (1, OwnedChange::insert(1, &[int(1), text("1.5"), bytes])),
            (1, OwnedChange::insert(2, &[int(123_456_789), text("123456789.55"), text("short")])),
        ];
        let lines = shown(&changes, 60);
        assert!(
            lines.contains("... (8000 bytes)") && lines.contains("... (5000 bytes)"),
            "{lines}"
        );
        let last: Vec<_> = lines.lines().rev().take(2).collect();
        assert_eq!(last[1], "  INSERT  shop.orders id=123456789 total=123456789.55");
        assert!(lines.lines().all(|line| columns(line) <= 60), "{lines}");
        assert!(lines.lines().any(|line| line.ends_with(" wörter wörter")), "{lines}");
        assert_eq!(last[0].trim(), "note=\"short\"");
        assert_eq!(columns(last[0]) - last[0].trim().len(), "  INSERT  shop.orders ".len());
    }

    #[test]
    fn names_stand_below_each_other_and_long_ones_are_cut() {
        let (mut people, long) = (People::default(), table(&"t".repeat(60), 0));
        assert_eq!(people.name(&long).len(), NAME_MAX);
        assert_eq!(people.name(&orders()).len(), NAME_MAX);
        let (mut out, transaction) = (Vec::new(), transaction(1));
        let statement = "ALTER TABLE orders\n  ADD COLUMN note TEXT";
        people.schema("shop", statement, &transaction, &mut out, 30);
        let told = crate::cli::style::colourless(&String::from_utf8_lossy(&out));
        let lines: Vec<_> = told.lines().skip(1).collect();
        let at = lines.iter().position(|line| line.starts_with("  DDL")).expect("a statement");
        assert_eq!(lines[at], "  DDL     shop ALTER TABLE");
        assert!(lines[at + 1..].iter().all(|line| line.starts_with("           ")), "{lines:#?}");
        let (mut out, long) = (Vec::new(), OwnedChange::insert(0, &[text(&"x".repeat(99))]));
        for width in 1..120 {
            people.last = None;
            people.change(&table("t", 1), &transaction, &long.change(), &mut out, width);
        }
        let mut out = Vec::new();
        people.change(&table("t", 1), &transaction, &long.change(), &mut out, 60);
        let text = crate::cli::style::colourless(&String::from_utf8_lossy(&out));
        assert!(text.lines().all(|line| columns(line) <= 60), "a word without an end: {text}");
    }
}
