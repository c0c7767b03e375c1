//! What the source says that it did, told by MySQL's own `mysqlbinlog` from the files: a path that
//! shares nothing with the stream.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::collect::{Origin, Place, number_of};
use crate::plan::Source;
use crate::workload::DATABASE;

/// A row's identity: transaction (an index into [`Truth::gtids`]), number within it, operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) transaction: u32,
    pub(crate) number: u32,
    /// As in the contract: 1 insert, 2 update, 3 delete.
    pub(crate) op: i32,
}

/// What a transaction is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Gtid(String),
    /// Where it begins, on the one server that there is.
    Place(Place),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gtid(gtid) => f.write_str(gtid),
            Self::Place((file, offset)) => write!(f, "file {file}, offset {offset}"),
        }
    }
}

/// Rows by table, quoted as `mysqlbinlog` quotes it, in the order in which they were committed.
#[derive(Debug)]
pub(crate) struct Truth {
    source: Source,
    /// Transactions in their order.
    names: Vec<Name>,
    order: HashMap<Name, u32>,
    pub(crate) tables: BTreeMap<String, Vec<Entry>>,
    /// XA transactions that were committed, and rolled back.
    pub(crate) xa: (u64, u64),
}

/// Rows of a transaction that has not ended.
type Open = Vec<(String, Entry)>;

struct Reader {
    truth: Truth,
    /// Number of the file, and where in it the event begins that is read.
    place: Place,
    open: Open,
    number: u32,
    prepared: HashMap<String, Open>,
}

impl Truth {
    pub(crate) fn read(
        mysqlbinlog: &Path,
        files: &[PathBuf],
        source: Source,
    ) -> std::io::Result<Self> {
        let truth = Self {
            source,
            names: Vec::new(),
            order: HashMap::new(),
            tables: BTreeMap::new(),
            xa: (0, 0),
        };
        let (open, prepared) = (Open::new(), HashMap::new());
        let mut reader = Reader { truth, place: (0, 0), open, number: 0, prepared };
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            reader.place = (number_of(&name), 0);
            reader.file(mysqlbinlog, file)?;
        }
        Ok(reader.truth)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.tables.values().map(|entries| entries.len() as u64).sum()
    }

    /// A transaction's name.
    pub(crate) fn name(&self, entry: Entry) -> &Name {
        &self.names[usize::try_from(entry.transaction).expect("32 bits")]
    }

    /// What a transaction that was received is known by here.
    pub(crate) fn name_of(&self, gtid: &str, place: Place) -> Name {
        match self.source {
            Source::Gtid | Source::Mariadb => Name::Gtid(gtid.to_owned()),
            Source::Position => Name::Place(place),
        }
    }

    /// The same of a row.
    pub(crate) fn name_of_origin(&self, origin: &Origin) -> Name {
        self.name_of(&origin.gtid, origin.place)
    }

    /// Where in the order of transactions this one stands; behind all others if it is not known.
    pub(crate) fn order(&self, name: &Name) -> u32 {
        self.order.get(name).copied().unwrap_or(u32::MAX)
    }
}

impl Reader {
    fn file(&mut self, mysqlbinlog: &Path, file: &Path) -> std::io::Result<()> {
        let mut child = Command::new(mysqlbinlog)
            .args(["--no-defaults", "--verbose", "--base64-output=DECODE-ROWS"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        for line in BufReader::with_capacity(1 << 18, output).split(b'\n') {
            self.line(&line?);
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(std::io::Error::other(format!("mysqlbinlog of {}: {status}", file.display())))
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(change) = line.strip_prefix(b"### ") {
            let change = String::from_utf8_lossy(change);
            for (words, op) in [("INSERT INTO ", 1), ("UPDATE ", 2), ("DELETE FROM ", 3)] {
                if let Some(table) = change.strip_prefix(words) {
                    self.row(table, op);
                }
            }
        } else if let Some(offset) = line.strip_prefix(b"# at ") {
            let offset = String::from_utf8_lossy(offset);
            self.place.1 = offset.trim().parse().unwrap_or_default();
        } else if let Some(gtid) = line.strip_prefix(b"SET @@SESSION.GTID_NEXT= '") {
            let gtid = gtid.split(|byte| *byte == b'\'').next().unwrap_or_default();
            self.begin(&String::from_utf8_lossy(gtid));
        } else if self.truth.source == Source::Mariadb
            && let Some(gtid) = maria_gtid(line)
        {
            self.begin(&gtid);
        } else if line.starts_with(b"COMMIT") {
            self.commit();
        } else if let Some(decision) = line.strip_prefix(b"XA ") {
            self.xa(&String::from_utf8_lossy(decision));
        }
    }

    fn begin(&mut self, gtid: &str) {
        self.open.clear();
        self.number = 0;
        // Behind each file it says so, which is no transaction.
        if gtid == "AUTOMATIC" {
            return;
        }
        let name = self.truth.name_of(gtid, self.place);
        self.truth.names.push(name.clone());
        let at = self.transaction();
        self.truth.order.insert(name, at);
    }

    fn row(&mut self, table: &str, op: i32) {
        let transaction = self.transaction();
        let entry = Entry { transaction, number: self.number, op };
        self.number += 1;
        if table.starts_with(&format!("`{DATABASE}`.")) {
            self.open.push((table.to_owned(), entry));
        }
    }

    /// The transaction that is being read.
    fn transaction(&self) -> u32 {
        u32::try_from(self.truth.names.len() - 1).expect("few transactions")
    }

    fn commit(&mut self) {
        for (table, entry) in self.open.drain(..) {
            self.truth.tables.entry(table).or_default().push(entry);
        }
    }

    fn xa(&mut self, decision: &str) {
        let decision = decision.trim_end_matches("/*!*/;").trim();
        if let Some(xid) = decision.strip_prefix("PREPARE ") {
            self.prepared.insert(xid.to_owned(), std::mem::take(&mut self.open));
        } else if let Some(xid) = decision.strip_prefix("COMMIT ") {
            self.truth.xa.0 += 1;
            if !xid.ends_with("ONE PHASE") {
                // The rows go under the decision's GTID, with the numbers that they had.
                self.open = self.prepared.remove(xid).unwrap_or_default();
                let transaction = self.transaction();
                for (_, entry) in &mut self.open {
                    entry.transaction = transaction;
                }
            }
            self.commit();
        } else if let Some(xid) = decision.strip_prefix("ROLLBACK ") {
            self.truth.xa.1 += 1;
            self.prepared.remove(xid);
        }
    }
}

/// The GTID of a line as `#261121  6:10:00 server id 1  end_log_pos 413 CRC32 0x1c9be0f5 \tGTID 0-1-2 trans`.
fn maria_gtid(line: &[u8]) -> Option<String> {
    let line = line.strip_prefix(b"#").map(String::from_utf8_lossy)?;
    let (_, gtid) = line.split_once("\tGTID ")?;
    gtid.split_whitespace().next().map(str::to_owned)
}
