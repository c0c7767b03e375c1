//! What `mysqlbinlog -vv` prints of rows, taken apart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One row of theirs.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The server's name in the manifest.
    pub(super) server: String,
    pub(super) op: &'static str,
    /// `database.table`.
    pub(super) table: String,
    /// Offset of the last event that was named before it.
    pub(super) offset: u64,
    pub(super) before: Vec<Cell>,
    pub(super) after: Vec<Cell>,
    columns: Vec<Column>,
    /// Why the tool gave the row up, if it did.
    pub(super) cut_short: Option<&'static str>,
}

/// One value of theirs.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// From 1.
    pub(super) number: usize,
    /// As printed, without the comment.
    pub(super) text: Vec<u8>,
    /// The type in the comment: `INT`, `VARSTRING(80)`, `BLOB/TEXT`.
    pub(super) kind: String,
}

/// What the table map tells of a column, as they print it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// The definition behind the name; empty when nothing is told.
    pub(super) definition: Vec<u8>,
    /// Whether signs and character sets are told, if the column has one. (5.x tells neither.)
    pub(super) told: bool,
}

impl Row {
    pub(super) fn column(&self, number: usize) -> &Column {
        &self.columns[number - 1]
    }
}

/// Runs the tool of the log's own family.
fn print(fixture: &str, log: &Path) -> Vec<u8> {
    let server = if fixture.contains("/mariadb") { "mariadb-10.11" } else { "mysql-9.7" };
    let output = Command::new(tool(server))
        .args(["--no-defaults", "-vv", "--base64-output=DECODE-ROWS", "--print-table-metadata"])
        .arg(log)
        .output()
        .expect("mysqlbinlog runs");
    let error = String::from_utf8_lossy(&output.stderr);
    // MariaDB's own tool gives up without a word at its own old temporal types.
    let gives_up = fixture.starts_with("old_temporal/");
    assert_eq!(output.status.success(), !gives_up, "{fixture}: {error}");
    output.stdout
}

fn tool(server: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/manifest.json");
    let text = std::fs::read_to_string(&manifest)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make deps`", manifest.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let servers = manifest["servers"].as_array().expect("a list of servers");
    let entry = servers.iter().find(|entry| entry["name"] == server);
    let entry = entry.unwrap_or_else(|| panic!("{server} is not in the manifest"));
    entry["mysqlbinlog"].as_str().expect("a path").into()
}

/// Every row of a log.
pub(super) fn read(fixture: &str, log: &Path) -> Vec<Row> {
    let server = fixture.rsplit('/').next().expect("a server").to_owned();
    let text = print(fixture, log);
    let mut reader = Reader { server, ..Reader::default() };
    for line in text.split(|byte| *byte == b'\n') {
        reader.line(line);
    }
    reader.rows
}

#[derive(Default)]
struct Reader {
    server: String,
    rows: Vec<Row>,
    offset: u64,
    /// Definitions of each table, by the last table map; whose are being printed.
    tables: HashMap<String, Vec<Column>>,
    table: String,
    in_columns: bool,
    /// Whether values belong to the image before.
    before: bool,
}

/// MySQL's tool knows no spatial types.
const SPATIAL: &str = "mysqlbinlog of MySQL gives up at a spatial value";

impl Reader {
    fn line(&mut self, line: &[u8]) {
        if let Some(rest) = line.strip_prefix(b"### ") {
            self.in_columns = false;
            return self.pseudo(rest);
        }
        if let Some(rest) = line.strip_prefix(b"# Columns(") {
            self.tables.insert(self.table.clone(), Vec::new());
            self.in_columns = true;
            return self.define(rest);
        }
        match line.strip_prefix(b"#         ") {
            Some(rest) if self.in_columns => self.define(rest),
            _ => self.in_columns = false,
        }
        if let Some(at) = line.windows(11).position(|window| window == b"Table_map: ") {
            let table = String::from_utf8_lossy(&line[at + 11..]).replace('`', "");
            table.split(' ').next().unwrap_or_default().clone_into(&mut self.table);
        }
        if let Some(offset) = line.strip_prefix(b"# at ") {
            self.offset = String::from_utf8_lossy(offset).parse().unwrap_or(self.offset);
        }
    }

    /// One line of definitions. MariaDB's tool does not know its own COMPRESSED types, and runs the
    /// definitions behind one together: hence the split at names.
    fn define(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b",").or_else(|| line.strip_suffix(b")")).unwrap_or(line);
        let columns = self.tables.entry(self.table.clone()).or_default();
        let number = columns.len() + 1;
        if !line.starts_with(b"`") {
            let definition = line.to_vec();
            let told = !self.server.starts_with("mysql-5");
            columns.push(Column { name: format!("@{number}"), definition, told });
            return;
        }
        let parts: Vec<_> = line.split(|byte| *byte == b'`').collect();
        for pair in parts[1..].chunks(2) {
            let [name, definition] = pair else { panic!("an odd definition") };
            let name = String::from_utf8(name.to_vec()).expect("a UTF-8 name");
            let definition = definition.trim_ascii().to_vec();
            columns.push(Column { name, definition, told: true });
        }
    }

    fn pseudo(&mut self, line: &[u8]) {
        for (words, op) in
            [(&b"INSERT INTO "[..], "insert"), (b"UPDATE ", "update"), (b"DELETE FROM ", "delete")]
        {
            if let Some(table) = line.strip_prefix(words) {
                let table = String::from_utf8_lossy(table).replace('`', "");
                let columns = self.tables.get(&table).cloned().unwrap_or_default();
                return self.rows.push(Row {
                    server: self.server.clone(),
                    op,
                    table,
                    offset: self.offset,
                    before: Vec::new(),
                    after: Vec::new(),
                    columns,
                    cut_short: None,
                });
            }
        }
        match line {
            b"WHERE" => self.before = true,
            b"SET" => self.before = false,
            _ => {
                // MariaDB's tool also comments out what it leaves to the second phase of an ALTER.
                let value = line.strip_prefix(b"  @");
                assert!(value.is_some() || self.server.starts_with("mariadb"), "a value");
                if let Some(value) = value {
                    self.value(value);
                }
            }
        }
    }

    fn value(&mut self, line: &[u8]) {
        let equals = line.iter().position(|byte| *byte == b'=').expect("a number");
        let number = String::from_utf8_lossy(&line[..equals]).parse().expect("a number");
        let line = &line[equals + 1..];
        let row = self.rows.last_mut().expect("a row");
        if line.starts_with(b"!! Don't know how to handle column type=255") {
            row.cut_short = Some(SPATIAL);
            return;
        }
        let comment = line.windows(4).rposition(|window| window == b" /* ").expect("a comment");
        let (text, comment) = line.split_at(comment);
        let comment = String::from_utf8_lossy(comment);
        let kind = comment.trim_start_matches(" /* ").split(" meta=").next().unwrap_or_default();
        let cell = Cell { number, text: text.to_vec(), kind: kind.to_owned() };
        if self.before { row.before.push(cell) } else { row.after.push(cell) }
    }
}
