//! What the source says that it did, told by MySQL's own `mysqlbinlog` from the files: a path that
//! shares nothing with the stream.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workload::DATABASE;

/// A row's identity: transaction (an index into [`Truth::gtids`]), number within it, operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) transaction: u32,
    pub(crate) number: u32,
    /// As in the contract: 1 insert, 2 update, 3 delete.
    pub(crate) op: i32,
}

/// Rows by table, quoted as `mysqlbinlog` quotes it, in the order in which they were committed.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) gtids: Vec<String>,
    pub(crate) tables: BTreeMap<String, Vec<Entry>>,
    /// XA transactions that were committed, and rolled back.
    pub(crate) xa: (u64, u64),
}

/// Rows of a transaction that has not ended.
type Open = Vec<(String, Entry)>;

#[derive(Default)]
struct Reader {
    truth: Truth,
    open: Open,
    number: u32,
    prepared: HashMap<String, Open>,
}

impl Truth {
    pub(crate) fn read(mysqlbinlog: &Path, files: &[PathBuf]) -> std::io::Result<Self> {
        let mut child = Command::new(mysqlbinlog)
            .args(["--no-defaults", "--verbose", "--base64-output=DECODE-ROWS"])
            .args(files)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let mut reader = Reader::default();
        for line in BufReader::with_capacity(1 << 20, output).split(b'\n') {
            reader.line(&line?);
        }
        let status = child.wait()?;
        if !status.success() {
            return Err(std::io::Error::other(format!("mysqlbinlog ended with {status}")));
        }
        Ok(reader.truth)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.tables.values().map(|entries| entries.len() as u64).sum()
    }

    /// A transaction's identity.
    pub(crate) fn gtid(&self, entry: Entry) -> &str {
        &self.gtids[usize::try_from(entry.transaction).expect("32 bits")]
    }
}

impl Reader {
    fn line(&mut self, line: &[u8]) {
        if let Some(change) = line.strip_prefix(b"### ") {
            let change = String::from_utf8_lossy(change);
            for (words, op) in [("INSERT INTO ", 1), ("UPDATE ", 2), ("DELETE FROM ", 3)] {
                if let Some(table) = change.strip_prefix(words) {
                    self.row(table, op);
                }
            }
        } else if let Some(gtid) = line.strip_prefix(b"SET @@SESSION.GTID_NEXT= '") {
            let gtid = gtid.split(|byte| *byte == b'\'').next().unwrap_or_default();
            self.begin(&String::from_utf8_lossy(gtid));
        } else if line.starts_with(b"COMMIT") {
            self.commit();
        } else if let Some(decision) = line.strip_prefix(b"XA ") {
            self.xa(&String::from_utf8_lossy(decision));
        }
    }

    fn begin(&mut self, gtid: &str) {
        // Behind each file it says AUTOMATIC, which is no transaction.
        self.open.clear();
        self.number = 0;
        self.truth.gtids.push(gtid.to_owned());
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
        u32::try_from(self.truth.gtids.len() - 1).expect("few transactions")
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
