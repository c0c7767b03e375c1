//! Each type among text of several character sets: the log tells character sets by the number of a
//! column among those that have one, and which those are is each server's own affair.

use binpulse::mysql::{Row, Session};

use super::cases::{Case, Shown};
use super::{Rows, hex};

/// A table's columns, `?` being the type.
struct Layout {
    prefix: char,
    columns: &'static [(&'static str, &'static str)],
}

/// The first makes servers list the character set of each column, the second name a common one and
/// the exceptions.
const LAYOUTS: [Layout; 2] = [
    Layout {
        prefix: 'x',
        columns: &[
            ("p", "VARCHAR(9) CHARACTER SET latin1"),
            ("c", "?"),
            ("q", "CHAR(9) CHARACTER SET ucs2"),
            ("r", "TEXT CHARACTER SET gbk"),
            ("e", "ENUM('a','é') CHARACTER SET latin1"),
            ("s", "SET('a','é') CHARACTER SET utf8mb4"),
            ("z", "VARCHAR(300) CHARACTER SET utf8mb4"),
        ],
    },
    Layout {
        prefix: 'y',
        columns: &[
            ("p", "VARCHAR(9) CHARACTER SET utf8mb4"),
            ("g", "GEOMETRY"),
            ("q", "VARCHAR(9) CHARACTER SET latin1"),
            ("c", "?"),
            ("r", "TEXT CHARACTER SET utf8mb4"),
            ("e", "ENUM('a','é') CHARACTER SET utf8mb4"),
            ("f", "ENUM('a','é') CHARACTER SET utf8mb4"),
            ("s", "SET('a','é') CHARACTER SET latin1"),
            ("h", "ENUM('a','é') CHARACTER SET utf8mb4"),
            ("u", "VARCHAR(9) CHARACTER SET utf8mb4"),
            ("v", "CHAR(9) CHARACTER SET utf8mb4"),
            ("w", "TINYTEXT CHARACTER SET utf8mb4"),
            ("z", "VARCHAR(9) CHARACTER SET ucs2"),
        ],
    },
];

/// Columns of text that every log tells the character set of, that tells any.
const TEXT: [&str; 7] = ["p", "q", "r", "u", "v", "w", "z"];

/// Row written while the log tells all that it can, and while it tells the least.
const FULL: i64 = 0;
const LEAST: i64 = 1;

/// What SELECT says of the type, of each case in each layout.
pub(super) type Selected = Vec<[Vec<Row>; 2]>;

/// Makes the tables. `tells`: the server's log has metadata.
pub(super) async fn fill(session: &mut Session, cases: &[Case], tells: bool) {
    let mut run = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for Layout { prefix, columns } in &LAYOUTS {
            let ddl =
                columns.iter().map(|(name, ddl)| format!("{name} {}", ddl.replace('?', &case.ddl)));
            let ddl = ddl.collect::<Vec<_>>().join(", ");
            run.push(format!("CREATE TABLE {prefix}{number} (id INT PRIMARY KEY, {ddl})"));
            run.push(insert(*prefix, number, columns, case, FULL));
        }
    }
    if tells {
        run.push("SET GLOBAL binlog_row_metadata = MINIMAL".into());
        for (number, case) in cases.iter().enumerate() {
            let rows = LAYOUTS.iter().map(|l| insert(l.prefix, number, l.columns, case, LEAST));
            run.extend(rows);
        }
    }
    for sql in &run {
        session.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn insert(prefix: char, number: usize, columns: &[(&str, &str)], case: &Case, id: i64) -> String {
    let value = |(name, _): &(&str, &str)| match *name {
        "c" => case.values[0].clone(),
        "g" => "NULL".into(),
        _ => "'é'".into(),
    };
    let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {prefix}{number} VALUES ({id}, {values})")
}

/// What SELECT says of the type's values in these tables.
pub(super) async fn select(session: &mut Session, cases: &[Case]) -> Selected {
    let mut selected = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut of_layouts = [Vec::new(), Vec::new()];
        for (rows, layout) in of_layouts.iter_mut().zip(&LAYOUTS) {
            let shown = case.shown.select();
            let sql = format!("SELECT id, {shown} FROM {}{number} ORDER BY id", layout.prefix);
            *rows = session.query(&sql).await.expect("a sound query");
        }
        selected.push(of_layouts);
    }
    selected
}

/// Compares the rows that were written while the log told all, and the text of the others.
pub(super) fn compare(cases: &[Case], selected: &Selected, streamed: &Rows, server: &str) {
    let text = format!("text {}", hex("é".as_bytes()));
    for (number, (case, of_layouts)) in cases.iter().zip(selected).enumerate() {
        for (rows, Layout { prefix, columns }) in of_layouts.iter().zip(&LAYOUTS) {
            let table = &streamed[&format!("{prefix}{number}")];
            assert_eq!(table.len(), rows.len(), "{server}: {}", case.ddl);
            for (row, (id, found)) in rows.iter().zip(table) {
                for ((name, ddl), found) in columns.iter().zip(&found[1..]) {
                    let expected = match *name {
                        "g" => super::NULL.to_owned(),
                        "c" if *id == FULL || tells_itself(case) => {
                            case.shown.expected(row.text(1))
                        }
                        name if *id == FULL || TEXT.contains(&name) => text.clone(),
                        _ => continue,
                    };
                    assert_eq!(*found, expected, "{server}: {ddl} beside {}, row {id}", case.ddl);
                }
            }
        }
    }
}

/// Whether values can be read without labels.
fn tells_itself(case: &Case) -> bool {
    case.shown != Shown::Text || !(case.ddl.starts_with("ENUM") || case.ddl.starts_with("SET"))
}
