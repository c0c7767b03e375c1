//! `binpulse decode` against `mysqlbinlog -vv`, value by value, over every captured log.

mod lines;
mod pseudo;
mod text;
mod value;

use std::path::{Path, PathBuf};

use lines::Line;
use pseudo::Row;
use value::Verdict;

/// Fixtures in which the server wrote rows that it then took back: their rows are in the log, and
/// rightly not among the changes. What is left must still be there in its order.
const TAKEN_BACK: [&str; 20] = [
    "rollback/mariadb-10.11",
    "rolled_back_temporary/mariadb-10.11",
    "rolled_back_temporary/mariadb-11.8",
    "rolled_back_temporary/mysql-5.6",
    "rolled_back_temporary/mysql-5.7",
    "savepoint/mariadb-10.11",
    "savepoint/mysql-5.6",
    "savepoint/mysql-5.7",
    "savepoint_names/mariadb-10.11",
    "savepoint_names/mariadb-11.8",
    "savepoint_names/mysql-5.6",
    "savepoint_names/mysql-5.7",
    "xa/mariadb-10.11",
    "xa/mariadb-11.8",
    "xa/mysql-5.7",
    "xa/mysql-9.7",
    "xa_across_files/mariadb-10.11",
    "xa_across_files/mysql-9.7",
    "xa_savepoint/mariadb-10.11",
    "xa_savepoint/mariadb-11.8",
];

/// Fixtures whose log is refused on purpose, and what is said of it. Rows from there on are not
/// compared.
const REFUSED: [(&str, &str); 3] = [
    ("old_temporal/mariadb-10.11", "mysql56_temporal_format"),
    ("statement/mariadb-10.11", "statement-based change in the log"),
    ("statement/mysql-9.7", "statement-based change in the log"),
];

/// Captured logs, each a folder `tests/fixtures/<quirk>/<server>`.
fn fixtures() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    crate::fixture::all()
        .into_iter()
        // Signs and character sets are not told there, and tests of the command look at it.
        .filter(|fixture| !fixture.name.starts_with("no_metadata/"))
        .map(|fixture| (fixture.name.clone(), root.join(&fixture.name)))
        .collect()
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut logs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    logs.retain(|path| path.file_stem().is_some_and(|stem| stem == "binlog"));
    logs.sort();
    logs
}

/// What was compared in one log.
#[derive(Default)]
struct Tally {
    rows: usize,
    values: usize,
    /// Values that `mysqlbinlog` can't print, by the reason.
    unprinted: std::collections::BTreeMap<&'static str, usize>,
    /// Rows of theirs that were taken back.
    taken_back: usize,
}

impl Tally {
    /// Compares one row; `Err` is the first difference.
    fn row(&mut self, ours: &Line, theirs: &Row) -> Result<(), String> {
        let name = |table: &str| format!("{} {}", theirs.op, table);
        let table = format!("{}.{}", ours.database, ours.table);
        if name(&table) != name(&theirs.table) || ours.op != theirs.op {
            return Err(format!("{} {table} against {} {}", ours.op, theirs.op, theirs.table));
        }
        let mut tally = (0, Vec::new());
        for (place, ours, cells) in
            [("before", &ours.before, &theirs.before), ("after", &ours.after, &theirs.after)]
        {
            let Some(ours) = ours else {
                if cells.is_empty() {
                    continue;
                }
                return Err(format!("no image {place}"));
            };
            if theirs.cut_short.is_none() && ours.len() != cells.len() {
                return Err(format!("{place}: {} values against {}", ours.len(), cells.len()));
            }
            for cell in cells {
                let column = theirs.column(cell.number);
                let found = ours.iter().find(|(name, _)| *name == column.name);
                let Some((_, found)) = found else {
                    return Err(format!("{place}: no {} in {ours:?}", column.name));
                };
                match value::compare(&theirs.server, column, cell, found) {
                    Verdict::Same => tally.0 += 1,
                    Verdict::Unprinted(reason) => tally.1.push(reason),
                    Verdict::Differs(how) => {
                        return Err(format!("{place} {table}.{}: {how}", column.name));
                    }
                }
            }
            if let Some(reason) = theirs.cut_short {
                tally.1.extend(std::iter::repeat_n(reason, ours.len() - cells.len()));
            }
        }
        self.rows += 1;
        self.values += tally.0;
        for reason in tally.1 {
            *self.unprinted.entry(reason).or_default() += 1;
        }
        Ok(())
    }
}

/// Rows that the log tool does not print because it stopped inside a rows event.
fn behind_a_cut(ours: &Line, last: Option<&Row>) -> Option<&'static str> {
    let last = last?;
    let table = format!("{}.{}", ours.database, ours.table);
    last.cut_short.filter(|_| last.table == table && last.offset == ours.offset)
}

fn compare(name: &str, ours: &[Line], theirs: &[Row]) -> Tally {
    let mut tally = Tally::default();
    let mut rest = theirs.iter();
    let mut last = None;
    for line in ours {
        if let Some(reason) = behind_a_cut(line, last) {
            let values = line.before.iter().chain(&line.after).map(Vec::len).sum::<usize>();
            *tally.unprinted.entry(reason).or_default() += values;
            continue;
        }
        loop {
            let Some(row) = rest.next() else {
                panic!("{name}: a row that mysqlbinlog does not have: {line:?}");
            };
            match tally.row(line, row) {
                Ok(()) => {
                    last = Some(row);
                    break;
                }
                Err(_) if TAKEN_BACK.contains(&name) => tally.taken_back += 1,
                Err(how) => panic!("{name} at {}: {how}", line.offset),
            }
        }
    }
    let refused = REFUSED.iter().any(|(refused, _)| *refused == name);
    let left = rest.count();
    assert!(left == 0 || refused || TAKEN_BACK.contains(&name), "{name}: {left} rows missing");
    tally.taken_back += if refused { 0 } else { left };
    tally
}

#[test]
fn decode_agrees_with_mysqlbinlog_on_every_value() {
    let (mut values, mut unprinted) = (0, std::collections::BTreeMap::new());
    for (name, folder) in fixtures() {
        let logs = logs(&folder);
        let (lines, error) = lines::decode(&logs);
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, words)) => assert!(error.contains(words), "{name}: {error}"),
            None => assert_eq!(error, "", "{name}"),
        }
        let mut tally = Tally::default();
        for log in &logs {
            let file = log.file_name().expect("a name").to_string_lossy().into_owned();
            let mut ours: Vec<_> = lines.iter().filter(|line| line.file == file).collect();
            // A prepared XA transaction comes out when it is committed; here the log's order counts.
            ours.sort_by_key(|line| (line.offset, line.row));
            let ours: Vec<_> = ours.into_iter().cloned().collect();
            let found = compare(&name, &ours, &pseudo::read(&name, log));
            tally.rows += found.rows;
            tally.values += found.values;
            tally.taken_back += found.taken_back;
            for (reason, count) in found.unprinted {
                *tally.unprinted.entry(reason).or_default() += count;
                *unprinted.entry(reason).or_insert(0) += count;
            }
        }
        println!(
            "{name}: {} values of {} rows agree; {} rows taken back; not printed by mysqlbinlog: {:?}",
            tally.values, tally.rows, tally.taken_back, tally.unprinted
        );
        let empty = name.starts_with("old_temporal/");
        assert!(tally.values > 0 || empty, "{name}: nothing was compared");
        values += tally.values;
    }
    println!("{values} values agree; not printed by mysqlbinlog: {unprinted:?}");
    assert!(values > 3000, "only {values} values were compared");
}
