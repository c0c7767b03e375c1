//! Finds marked rows among those of the operator's tables. Pure.

use std::sync::Arc;

use super::{CanaryPath, Mark, Marked};
use crate::change::{Cell, Change, Image, NameCase, Op, Table};
use crate::freshness::Phase;

/// Knows which column of which table carries marks. For tables that carry none it costs a comparison
/// for each event, and nothing for a row.
#[derive(Debug, Clone)]
pub struct Marks {
    mark: Mark,
    paths: Vec<CanaryPath>,
    /// How the server compares names.
    names: NameCase,
    /// The table that was asked for last: rows of a table come in runs.
    last: Option<(Arc<Table>, Option<Arc<MarkedTable>>)>,
}

/// A table whose rows may be marked.
#[derive(Debug, Clone)]
pub struct MarkedTable {
    /// Name of the path.
    pub path: Arc<str>,
    mark: Mark,
    column: usize,
}

/// What a row of such a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrigin {
    /// A user's row: published as it is.
    User,
    /// A canary of this stream.
    Canary {
        /// Its number; 0 when it has none.
        number: u64,
        /// What happened to it.
        phase: Phase,
    },
    /// Another stream's: published by nobody but that stream.
    Foreign,
    /// An update gave a user's row a mark: to consumers it is gone, a delete.
    Leaves,
    /// An update took the mark from a row: to consumers it is new, an insert.
    Enters,
}

impl Marks {
    /// Marks in the columns of these paths.
    pub fn new(mark: Mark, paths: Vec<CanaryPath>) -> Self {
        Self { mark, paths, names: NameCase::default(), last: None }
    }

    /// Whether rows of this table may be marked, and by which column. Once for each event of rows.
    #[inline]
    pub fn of(&mut self, table: &Arc<Table>) -> Option<&Arc<MarkedTable>> {
        if self.paths.is_empty() {
            return None;
        }
        self.look_up(table)
    }

    /// From here on names are compared as this server does.
    pub fn compare_names(&mut self, case: NameCase) {
        (self.names, self.last) = (case, None);
    }

    /// Whether a table of this name has rows that may be marked.
    pub fn has(&self, database: &str, table: &str) -> bool {
        self.path(database, table).is_some()
    }

    fn path(&self, database: &str, table: &str) -> Option<&CanaryPath> {
        let same = |one: &str, other: &str| self.names.same(one, other);
        self.paths.iter().find(|path| same(&path.database, database) && same(&path.table, table))
    }

    fn look_up(&mut self, table: &Arc<Table>) -> Option<&Arc<MarkedTable>> {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, table));
        if !is_last {
            let found = self.find(table);
            self.last = Some((Arc::clone(table), found));
        }
        self.last.as_ref().and_then(|(_, found)| found.as_ref())
    }

    fn find(&self, table: &Table) -> Option<Arc<MarkedTable>> {
        let path = self.path(&table.database, &table.name)?;
        let is_it = |name: &str| NameCase::Insensitive.same(name, &path.column);
        let column = table.columns.iter().position(|column| is_it(&column.name));
        let Some(column) = column else {
            tracing::error!(
                path = %path.name,
                table = path.table_name(),
                column = path.column,
                "the table has no such column: its marked rows can't be recognised"
            );
            return None;
        };
        let (path, mark) = (Arc::clone(&path.name), self.mark.clone());
        Some(Arc::new(MarkedTable { path, mark, column }))
    }
}

/// What an image says of the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkState {
    /// It does not carry the column.
    Untold,
    Unmarked,
    Marked(Marked),
}

impl MarkedTable {
    /// What a row is.
    #[inline]
    pub fn origin_of(&self, change: &Change<'_>) -> RowOrigin {
        let (before, after) =
            (self.mark_state(change.before.as_ref()), self.mark_state(change.after.as_ref()));
        let phase = match change.op {
            Op::Insert | Op::Read => return self.of_one(after, Phase::Insert),
            Op::Delete => return self.of_one(before, Phase::Delete),
            Op::Update => Phase::Update,
        };
        match (before, after) {
            // An image that carries only what changed: the column is as it was.
            (known, MarkState::Untold) | (MarkState::Untold, known) => self.of_one(known, phase),
            (MarkState::Unmarked, MarkState::Marked(_)) => RowOrigin::Leaves,
            (MarkState::Marked(_), MarkState::Unmarked) => RowOrigin::Enters,
            (MarkState::Unmarked, MarkState::Unmarked) => RowOrigin::User,
            (MarkState::Marked(Marked::Ours(_)), MarkState::Marked(Marked::Foreign)) => {
                self.of_one(before, phase)
            }
            (MarkState::Marked(_), MarkState::Marked(_)) => self.of_one(after, phase),
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the table")]
    fn of_one(&self, mark_state: MarkState, phase: Phase) -> RowOrigin {
        match mark_state {
            MarkState::Untold | MarkState::Unmarked => RowOrigin::User,
            MarkState::Marked(Marked::Ours(number)) => RowOrigin::Canary { number, phase },
            MarkState::Marked(Marked::Foreign) => RowOrigin::Foreign,
        }
    }

    #[inline]
    fn mark_state(&self, image: Option<&Image<'_>>) -> MarkState {
        match image.map_or(Cell::Absent, |image| image.cell(self.column)) {
            Cell::Absent => MarkState::Untold,
            Cell::Text(value) | Cell::Bytes(value) | Cell::Malformed(value) => {
                self.mark.read(value).map_or(MarkState::Unmarked, MarkState::Marked)
            }
            Cell::Null
            | Cell::Int(_)
            | Cell::UInt(_)
            | Cell::Float(_)
            | Cell::Double(_)
            | Cell::Json(_)
            | Cell::JsonDiff(_)
            | Cell::Vector(_)
            | Cell::Omitted { .. } => MarkState::Unmarked,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::change::{Area, BytesKind, Column, LogicalType, RowBuffer, Slot};

    fn column(name: &str) -> Column {
        Column {
            name: name.into(),
            logical_type: LogicalType::Text,
            mysql_type: String::new(),
            nullable: true,
            unsigned: false,
            collation: 0,
            charset: "",
            members: Vec::new(),
            visible: true,
        }
    }

    fn table(name: &str, columns: &[&str]) -> Arc<Table> {
        Arc::new(Table {
            database: Arc::from("shop"),
            name: Arc::from(name),
            columns: columns.iter().map(|name| column(name)).collect(),
            primary_key: Vec::new(),
            named: true,
            fingerprint: 0,
            outbox: None,
        })
    }

    fn marks() -> Marks {
        let path = CanaryPath {
            name: "orders".into(),
            database: "shop".into(),
            table: "Orders".into(),
            column: "Reference".into(),
            steps: None,
        };
        let mut marks = Marks::new(Mark::new("m", "main"), vec![path]);
        marks.compare_names(NameCase::Insensitive);
        marks
    }

    /// A row of one number and one text, as far as the image carries them.
    type Row<'a> = Option<Option<&'a str>>;

    fn row_origin(op: Op, before: Option<Row<'_>>, after: Option<Row<'_>>) -> RowOrigin {
        let mut buffer = RowBuffer::default();
        let mut scratch = Vec::new();
        let mut put = |slots: &mut Vec<Slot>, row: Row<'_>| {
            slots.push(Slot::Int(1));
            slots.push(match row {
                None => Slot::Absent,
                Some(None) => Slot::Null,
                Some(Some(text)) => {
                    let start = u32::try_from(scratch.len()).expect("small");
                    scratch.extend_from_slice(text.as_bytes());
                    let end = u32::try_from(scratch.len()).expect("small");
                    Slot::Span { kind: BytesKind::Text, area: Area::Scratch, start, end }
                }
            });
        };
        if let Some(row) = before {
            put(&mut buffer.before, row);
        }
        if let Some(row) = after {
            put(&mut buffer.after, row);
        }
        let image = |slots| Image::new(slots, &[], &scratch);
        let change = Change {
            op,
            row: 0,
            before: before.map(|_| image(&buffer.before)),
            after: after.map(|_| image(&buffer.after)),
        };
        let orders = table("orders", &["id", "reference"]);
        marks().of(&orders).expect("it is marked").origin_of(&change)
    }

    #[test]
    fn only_the_tables_of_paths_are_looked_into_by_the_server_s_case() {
        let mut marks = marks();
        let orders = table("ORDERS", &["id", "REFERENCE"]);
        assert!(marks.of(&orders).is_some());
        assert!(marks.of(&table("items", &["id", "reference"])).is_none());
        assert!(marks.of(&orders).is_some());
        assert!(marks.of(&table("orders", &["id"])).is_none(), "the column is gone");
        marks.compare_names(NameCase::Sensitive);
        assert!(marks.of(&orders).is_none(), "it is another table");
        assert!(marks.of(&table("Orders", &["id", "REFERENCE"])).is_some());
    }

    #[test]
    fn a_row_is_judged_by_its_mark_before_and_after() {
        let (ours, next) = (Some(Some("m.main.7")), Some(Some("m.main.8")));
        let (theirs, plain, null) = (Some(Some("m.other.7")), Some(Some("A-1")), Some(None));
        let canary = |number, phase| RowOrigin::Canary { number, phase };
        for (op, before, after, expected) in [
            (Op::Insert, None, Some(ours), canary(7, Phase::Insert)),
            (Op::Insert, None, Some(theirs), RowOrigin::Foreign),
            (Op::Insert, None, Some(plain), RowOrigin::User),
            (Op::Insert, None, Some(null), RowOrigin::User),
            (Op::Delete, Some(ours), None, canary(7, Phase::Delete)),
            (Op::Delete, Some(plain), None, RowOrigin::User),
            (Op::Update, Some(ours), Some(ours), canary(7, Phase::Update)),
            (Op::Update, Some(ours), Some(next), canary(8, Phase::Update)),
            (Op::Update, Some(theirs), Some(ours), canary(7, Phase::Update)),
            (Op::Update, Some(ours), Some(theirs), canary(7, Phase::Update)),
            (Op::Update, Some(theirs), Some(theirs), RowOrigin::Foreign),
            (Op::Update, Some(plain), Some(ours), RowOrigin::Leaves),
            (Op::Update, Some(null), Some(theirs), RowOrigin::Leaves),
            (Op::Update, Some(ours), Some(plain), RowOrigin::Enters),
            (Op::Update, Some(theirs), Some(null), RowOrigin::Enters),
            (Op::Update, Some(plain), Some(null), RowOrigin::User),
            // Images that carry only what changed.
            (Op::Update, Some(ours), Some(None), canary(7, Phase::Update)),
            (Op::Update, Some(None), Some(ours), canary(7, Phase::Update)),
            (Op::Update, Some(None), Some(None), RowOrigin::User),
            (Op::Delete, Some(None), None, RowOrigin::User),
        ] {
            assert_eq!(row_origin(op, before, after), expected, "{op:?} {before:?} {after:?}");
        }
    }

    proptest! {
        /// Whatever is done to rows and their marks, a consumer that applies what it gets has the
        /// table without its marked rows.
        #[test]
        fn what_consumers_get_is_the_table_without_marked_rows(
            steps in proptest::collection::vec((0_u8..4, 0_usize..5), 0..200),
        ) {
            const VALUES: [&str; 5] = ["A-1", "B-2", "m.main.1", "m.other.1", "m.main.2"];
            let is_marked = |text: &&str| text.starts_with("m.");
            let mut source: BTreeMap<u8, &str> = BTreeMap::new();
            let mut copy: BTreeMap<u8, &str> = BTreeMap::new();
            for (key, value) in steps {
                let (before, after) = (source.get(&key).copied(), VALUES[value]);
                // A row that is there is removed by the value that it has.
                let (op, after) = match before {
                    None => (Op::Insert, Some(after)),
                    Some(before) if before == after => (Op::Delete, None),
                    Some(_) => (Op::Update, Some(after)),
                };
                match after {
                    Some(after) => source.insert(key, after),
                    None => source.remove(&key),
                };
                let row = |text: Option<&'static str>| text.map(|text| Some(Some(text)));
                let told = match row_origin(op, row(before), row(after)) {
                    RowOrigin::User => Some(op),
                    RowOrigin::Leaves => Some(Op::Delete),
                    RowOrigin::Enters => Some(Op::Insert),
                    RowOrigin::Canary { .. } | RowOrigin::Foreign => None,
                };
                match (told, after) {
                    (Some(Op::Insert), Some(after)) => {
                        prop_assert_eq!(copy.insert(key, after), None);
                    }
                    (Some(Op::Update), Some(after)) => {
                        prop_assert!(copy.insert(key, after).is_some());
                    }
                    (Some(_), _) => prop_assert!(copy.remove(&key).is_some()),
                    (None, _) => {}
                }
            }
            source.retain(|_, text| !is_marked(text));
            prop_assert_eq!(copy, source);
        }
    }
}
