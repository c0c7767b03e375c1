//! Finds heartbeats and canaries among the rows of the stream. Pure.

use std::sync::Arc;

use crate::change::{Cell, Change, Image, NameCase, Op, Table};

use super::canary::path::{Mark, MarkedTable, Marks};
use super::canary::values::{Shape, columns, expected};
use super::schema::{CANARY, HEARTBEAT, LEASE, SchemaName};
use super::{CanaryStep, Phase};

/// A heartbeat row as seen on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRow {
    /// Its number.
    pub number: u64,
    /// The process that wrote it.
    pub instance: String,
    /// When, by the writer's clock, microseconds since 1970 UTC.
    pub written_at_us: i64,
    /// The server as the writer saw it.
    pub server_uuid: String,
}

/// A canary row as seen on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRow {
    /// Its number.
    pub number: u64,
    /// The step.
    pub phase: Phase,
    /// The process that wrote it.
    pub instance: String,
    /// When, by the writer's clock, microseconds since 1970 UTC.
    pub written_at_us: i64,
    /// Names of the columns whose value is another than what was written.
    pub mismatches: Vec<String>,
}

/// A marked row of an operator's table as seen on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRow {
    /// Which step of which canary.
    pub step: CanaryStep,
    /// When it was committed, by the source's clock, microseconds since 1970 UTC: the row has no room
    /// for its writer's.
    pub written_at_us: i64,
}

/// A row of binpulse's own schema, or a marked one of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// This stream's heartbeat.
    Heartbeat(HeartbeatRow),
    /// This stream's canary.
    Canary(CanaryRow),
    /// This stream's canary through an operator's table.
    CanaryPath(PathRow),
    /// A lease on a stream.
    Lease,
    /// Something else of the schema: another stream's row, a checkpoint, a removed heartbeat.
    Own,
}

/// Columns before the values: stream, n, instance, phase, written_at_us.
const CANARY_HEAD: usize = 5;
/// Columns of a heartbeat: stream, n, instance, written_at_us, server_uuid.
const HEARTBEAT_WIDTH: usize = 5;

/// Knows binpulse's schema and the stream's name.
#[derive(Debug, Clone)]
pub struct Recogniser {
    schema: SchemaName,
    stream: String,
    marks: Marks,
    /// How the server compares names.
    names: NameCase,
}

impl Recogniser {
    /// Looks for rows of `stream` in `schema`.
    pub fn new(schema: SchemaName, stream: impl Into<String>) -> Self {
        let stream = stream.into();
        let marks = Marks::new(Mark::new("", &stream), Vec::new());
        Self { schema, stream, marks, names: NameCase::default() }
    }

    /// Looks for marked rows too.
    #[must_use]
    pub fn with_marks(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    /// From here on names are compared as this server does.
    pub fn compare_names(&mut self, case: NameCase) {
        self.names = case;
        self.marks.compare_names(case);
    }

    /// Whether rows of this table, which is not binpulse's own, may be marked. To be asked once a
    /// table, not once a row.
    #[inline]
    pub fn marked(&mut self, table: &Arc<Table>) -> Option<&Arc<MarkedTable>> {
        self.marks.of(table)
    }

    /// Whether a table of this name has rows that may be marked.
    pub fn may_mark(&self, database: &str, table: &str) -> bool {
        self.marks.has(database, table)
    }

    /// Whether the table is binpulse's own: its rows are never users' changes. To be asked once a
    /// table, not once a row.
    pub fn is_own(&self, table: &Table) -> bool {
        self.is_own_database(&table.database)
    }

    /// Whether a database is binpulse's own.
    pub fn is_own_database(&self, database: &str) -> bool {
        self.names.same(database, self.schema.as_str())
    }

    /// What a row of one of binpulse's own tables is. Columns are taken by their place, since
    /// without full metadata the binlog carries no names; columns added behind are ignored in the
    /// heartbeat and make a canary unreadable.
    pub fn recognise(&self, table: &Table, change: &Change<'_>) -> Option<Seen> {
        if !self.is_own(table) {
            return None;
        }
        let seen = if table.name.eq_ignore_ascii_case(HEARTBEAT) {
            self.heartbeat(table, change).map(Seen::Heartbeat)
        } else if table.name.eq_ignore_ascii_case(CANARY) {
            self.canary(table, change).map(Seen::Canary)
        } else if table.name.eq_ignore_ascii_case(LEASE) {
            Some(Seen::Lease)
        } else {
            None
        };
        Some(seen.unwrap_or(Seen::Own))
    }

    fn heartbeat(&self, table: &Table, change: &Change<'_>) -> Option<HeartbeatRow> {
        let after = change.after.filter(|_| table.columns.len() >= HEARTBEAT_WIDTH)?;
        let row = Row { before: change.before, after: Some(after) };
        self.is_ours(&row)?;
        Some(HeartbeatRow {
            number: row.unsigned(1)?,
            instance: row.text(2)?,
            written_at_us: row.signed(3)?,
            server_uuid: row.text(4)?,
        })
    }

    fn canary(&self, table: &Table, change: &Change<'_>) -> Option<CanaryRow> {
        let row = Row { before: change.before, after: change.after };
        self.is_ours(&row)?;
        let number = row.unsigned(1)?;
        let phase = match change.op {
            // Own tables are in no snapshot.
            Op::Insert | Op::Read => Phase::Insert,
            Op::Update => Phase::Update,
            Op::Delete => Phase::Delete,
        };
        Some(CanaryRow {
            number,
            phase,
            // A delete with a minimal image carries the key alone.
            instance: row.text(2).unwrap_or_default(),
            written_at_us: row.signed(4).unwrap_or_default(),
            mismatches: mismatches(table, change, number, phase),
        })
    }

    fn is_ours(&self, row: &Row<'_>) -> Option<()> {
        (row.text(0)? == self.stream).then_some(())
    }
}

/// Compares every value that the row carries with what was written.
fn mismatches(table: &Table, change: &Change<'_>, number: u64, phase: Phase) -> Vec<String> {
    let values = table.columns.len().saturating_sub(CANARY_HEAD);
    let Some(shape) = Shape::of_count(values) else {
        return vec![format!("{values} value columns")];
    };
    // What the row held before an update is what the insert wrote; before a delete, the update.
    let before = change.before.map(|image| match phase {
        Phase::Insert | Phase::Update => (image, Phase::Insert),
        Phase::Delete => (image, Phase::Update),
    });
    let after = change.after.map(|image| (image, phase));
    let mut found = Vec::new();
    for (image, phase) in [before, after].into_iter().flatten() {
        // A row that was left behind after its insert is removed without an update.
        let inserted_only = phase == Phase::Update
            && change.op == Op::Delete
            && phase_text(&image) == Some(Phase::Insert.as_str());
        let phase = if inserted_only { Phase::Insert } else { phase };
        for (index, (value, column)) in
            expected(shape, number, phase).iter().zip(columns(shape)).enumerate()
        {
            if !value.agrees(image.cell(CANARY_HEAD + index)) {
                found.push(column.name.to_owned());
            }
        }
    }
    found
}

fn phase_text<'a>(image: &Image<'a>) -> Option<&'a str> {
    let Cell::Text(text) = image.cell(3) else { return None };
    std::str::from_utf8(text).ok()
}

/// A row's newest cells: of the after image, where that is minimal of the before image.
struct Row<'a> {
    before: Option<Image<'a>>,
    after: Option<Image<'a>>,
}

impl<'a> Row<'a> {
    fn cell(&self, ordinal: usize) -> Cell<'a> {
        let cell =
            |image: Option<Image<'a>>| image.map_or(Cell::Absent, |image| image.cell(ordinal));
        let newest = cell(self.after);
        if newest == Cell::Absent { cell(self.before) } else { newest }
    }

    fn text(&self, ordinal: usize) -> Option<String> {
        let Cell::Text(text) = self.cell(ordinal) else { return None };
        String::from_utf8(text.to_vec()).ok()
    }

    fn unsigned(&self, ordinal: usize) -> Option<u64> {
        let cell = self.cell(ordinal);
        if let Cell::UInt(value) = cell {
            return Some(value);
        }
        // Without metadata the sign is not known (MySQL 5.7 and older).
        let Cell::Int(value) = cell else { return None };
        u64::try_from(value).ok()
    }

    fn signed(&self, ordinal: usize) -> Option<i64> {
        let cell = self.cell(ordinal);
        if let Cell::Int(value) = cell {
            return Some(value);
        }
        let Cell::UInt(value) = cell else { return None };
        i64::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Area, BytesKind, Column, LogicalType, RowBuffer, Slot};
    use crate::freshness::canary::values::Value;

    fn table(name: &str, width: usize) -> Table {
        let column = Column {
            name: "@".into(),
            logical_type: LogicalType::Text,
            mysql_type: String::new(),
            nullable: true,
            unsigned: false,
            collation: 0,
            charset: "",
            members: Vec::new(),
            visible: true,
        };
        Table {
            database: Arc::from("BinPulse"),
            name: Arc::from(name),
            columns: vec![column; width],
            primary_key: Vec::new(),
            named: false,
            fingerprint: 0,
            outbox: None,
        }
    }

    fn push(slots: &mut Vec<Slot>, scratch: &mut Vec<u8>, cell: &Value) {
        let mut span = |kind, bytes: &[u8]| {
            let start = u32::try_from(scratch.len()).expect("small");
            scratch.extend_from_slice(bytes);
            let end = u32::try_from(scratch.len()).expect("small");
            Slot::Span { kind, area: Area::Scratch, start, end }
        };
        slots.push(match cell {
            Value::Null => Slot::Null,
            Value::Int(value) => Slot::Int(*value),
            Value::UInt(value) => Slot::UInt(*value),
            Value::Float(value) => Slot::Float(*value),
            Value::Double(value) => Slot::Double(*value),
            Value::Literal(text) | Value::Text(text) | Value::Labels(text, _) => {
                span(BytesKind::Text, text.as_bytes())
            }
            Value::Json(text) => span(BytesKind::Json, text.as_bytes()),
            Value::Bytes(bytes) => span(BytesKind::Bytes, bytes),
            Value::Point(..) | Value::Vector(_) => Slot::Absent,
        });
    }

    fn head(stream: &str, number: u64, phase: &str) -> Vec<Value> {
        vec![
            Value::Text(stream.into()),
            Value::UInt(number),
            Value::Text("me".into()),
            Value::Text(phase.into()),
            Value::Int(17),
        ]
    }

    fn recognise(table: &Table, op: Op, before: &[Value], after: &[Value]) -> Option<Seen> {
        let mut buffer = RowBuffer::default();
        for cell in before {
            push(&mut buffer.before, &mut buffer.scratch, cell);
        }
        for cell in after {
            push(&mut buffer.after, &mut buffer.scratch, cell);
        }
        let image = |slots: &'_ [Slot]| !slots.is_empty();
        let change = Change {
            op,
            row: 0,
            before: image(&buffer.before).then(|| Image::new(&buffer.before, &[], &buffer.scratch)),
            after: image(&buffer.after).then(|| Image::new(&buffer.after, &[], &buffer.scratch)),
        };
        let mut recogniser = Recogniser::new(SchemaName::default(), "shop");
        assert!(
            !recogniser.is_own_database("BinPulse"),
            "names differ unless the server folds them"
        );
        recogniser.compare_names(NameCase::Insensitive);
        recogniser.recognise(table, &change)
    }

    #[test]
    fn a_canary_is_known_in_every_phase_and_its_cells_are_checked() {
        let shape = Shape { json: true, vector: true };
        let table = table("canary", 5 + columns(shape).count());
        let row = |phase: Phase| {
            let mut row = head("shop", 9, phase.as_str());
            row.extend(expected(shape, 9, phase));
            row
        };
        let (inserted, updated) = (row(Phase::Insert), row(Phase::Update));
        for (op, before, after, phase) in [
            (Op::Insert, &[][..], &inserted[..], Phase::Insert),
            (Op::Update, &inserted, &updated, Phase::Update),
            (Op::Delete, &updated, &[], Phase::Delete),
            (Op::Delete, &inserted, &[], Phase::Delete),
        ] {
            let Some(Seen::Canary(seen)) = recognise(&table, op, before, after) else {
                panic!("{phase:?} was not recognised");
            };
            assert_eq!((seen.number, seen.phase, seen.written_at_us), (9, phase, 17));
            assert_eq!(seen.mismatches, Vec::<String>::new());
        }
        let mut wrong = inserted;
        wrong[5 + 4] = Value::Int(16_777_215);
        let Some(Seen::Canary(seen)) = recognise(&table, Op::Insert, &[], &wrong) else {
            panic!("it was not recognised");
        };
        assert_eq!(seen.mismatches, ["v_mediumint"]);
    }

    #[test]
    fn only_this_streams_newest_heartbeat_cells_count() {
        let table = table("heartbeat", 5);
        let row = |stream: &str| {
            vec![
                Value::Text(stream.into()),
                Value::Int(41),
                Value::Text("me".into()),
                Value::Int(17),
                Value::Text("server".into()),
            ]
        };
        let seen = recognise(&table, Op::Update, &row("shop"), &row("shop"));
        let Some(Seen::Heartbeat(seen)) = seen else { panic!("it was not recognised") };
        assert_eq!((seen.number, seen.instance.as_str()), (41, "me"));
        assert_eq!(recognise(&table, Op::Update, &[], &row("bank")), Some(Seen::Own));
        assert_eq!(recognise(&table, Op::Delete, &row("shop"), &[]), Some(Seen::Own));
    }

    #[test]
    fn other_tables_are_told_apart_from_ours() {
        let mut other = table("heartbeat", 5);
        other.database = Arc::from("shop");
        assert_eq!(recognise(&other, Op::Insert, &[], &head("shop", 1, "insert")), None);
        let odd = table("canary", 7);
        let Some(Seen::Canary(seen)) = recognise(&odd, Op::Insert, &[], &head("shop", 1, "insert"))
        else {
            panic!("it was not recognised");
        };
        assert_eq!(seen.mismatches, ["2 value columns"]);
        assert_eq!(recognise(&table("checkpoint", 3), Op::Insert, &[], &[]), Some(Seen::Own));
        assert_eq!(recognise(&table("lease", 11), Op::Update, &[], &[]), Some(Seen::Lease));
    }
}
