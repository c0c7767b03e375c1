//! Compares what was received with what the source says.

use std::collections::{BTreeMap, HashMap};

use binpulse_demo::{Error, Mysqld};

use crate::collect::{Lane, Received, Row};
use crate::truth::{Entry, Name, Truth};
use crate::workload::DATABASE;
use crate::{copy, oracle};

/// Findings of a kind that are told in words.
const TOLD_MAX: usize = 5;

/// What came of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) written: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// Rows that the source does not know.
    pub(crate) invented: u64,
    /// Rows of which a lane's numbers have another order than the source's commits.
    pub(crate) misplaced: u64,
    /// Numbers that are missing in lanes.
    pub(crate) gaps: u64,
    /// Tables whose rows were compared value by value.
    pub(crate) tables: usize,
    /// Parts of snapshots that were compared with what the stream has made of their tables.
    pub(crate) parts: usize,
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.invented + self.misplaced + self.gaps == 0 && self.wrong.is_empty()
    }
}

/// Identities: each row that was committed has come, once by number, in the order of commits.
pub(crate) fn identities(received: &Received, truth: &Truth) -> Findings {
    let mut findings = Findings { written: truth.rows(), ..Findings::default() };
    let mut tables: BTreeMap<String, Vec<&Lane>> = BTreeMap::new();
    for ((epoch, name), lane) in &received.lanes {
        let last = lane.rows.last_key_value().map_or(0, |(number, _)| *number);
        let missing = last - lane.rows.len() as u64;
        if missing > 0 {
            findings.gaps += missing;
            findings.wrong.push(format!("{name} (epoch {epoch}): {missing} of 1..={last} missing"));
        }
        let Some(row) = lane.rows.values().next() else { continue };
        if row.schema.database == DATABASE {
            tables.entry(quoted(row)).or_default().push(lane);
        }
    }
    for statement in 1..=received.statements.last_key_value().map_or(0, |(number, _)| *number) {
        if !received.statements.contains_key(&statement) {
            findings.gaps += 1;
        }
    }
    for (table, entries) in &truth.tables {
        let lanes = tables.remove(table).unwrap_or_default();
        Comparison::new(table, entries, truth, &mut findings).run(&lanes);
    }
    for (table, lanes) in tables {
        let rows = lanes.iter().map(|lane| lane.rows.len() as u64).sum::<u64>();
        findings.invented += rows;
        findings.wrong.push(format!("{table}: {rows} rows of a table without any"));
    }
    findings
}

/// Which parts of a committed row have come. An update that moved a row to another lane is a delete
/// in one and an insert in the other.
const WHOLE: u8 = 0b11;
const OLD_HALF: u8 = 0b01;
const NEW_HALF: u8 = 0b10;

/// One table, received and committed.
struct Comparison<'a> {
    table: &'a str,
    entries: &'a [Entry],
    truth: &'a Truth,
    /// Where in `entries` a row stands, by transaction and number.
    at: HashMap<(&'a Name, u64), usize>,
    came: Vec<u8>,
    findings: &'a mut Findings,
    told: usize,
}

impl<'a> Comparison<'a> {
    fn new(
        table: &'a str,
        entries: &'a [Entry],
        truth: &'a Truth,
        findings: &'a mut Findings,
    ) -> Self {
        let key = |entry: &Entry| (truth.name(*entry), u64::from(entry.number));
        let at = entries.iter().enumerate().map(|(at, entry)| (key(entry), at)).collect();
        let came = vec![0; entries.len()];
        Self { table, entries, truth, at, came, findings, told: 0 }
    }

    fn run(mut self, lanes: &[&Lane]) {
        for lane in lanes {
            let mut last = None;
            for row in lane.rows.values() {
                self.row(row, lanes.len() > 1, &mut last);
            }
        }
        for (entry, came) in self.entries.iter().zip(std::mem::take(&mut self.came)) {
            if came == WHOLE {
                self.findings.received += 1;
            } else {
                self.findings.lost += 1;
                let name = self.truth.name(*entry);
                self.tell(|| format!("lost ({name}, row {}, op {})", entry.number, entry.op));
            }
        }
    }

    fn row(&mut self, row: &Row, has_lanes: bool, last: &mut Option<usize>) {
        let name = self.truth.name_of_origin(&row.origin);
        let what = || format!("{name}, row {}, op {}", row.number, row.op);
        let at = self.at.get(&(&name, row.number)).copied();
        let part = at.and_then(|at| match (self.entries[at].op, row.op) {
            (committed, came) if committed == came => Some(WHOLE),
            (2, 3) if has_lanes => Some(OLD_HALF),
            (2, 1) if has_lanes => Some(NEW_HALF),
            _ => None,
        });
        let (Some(at), Some(part)) = (at, part) else {
            self.findings.invented += 1;
            self.tell(|| format!("invented ({})", what()));
            return;
        };
        if self.came[at] & part != 0 {
            self.findings.invented += 1;
            self.tell(|| format!("under two numbers ({})", what()));
        }
        self.came[at] |= part;
        // The two halves may have got into one lane, behind one another.
        if last.is_some_and(|last| last > at || last == at && part == WHOLE) {
            self.findings.misplaced += 1;
            self.tell(|| format!("out of the order of commits ({})", what()));
        }
        *last = Some(at);
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            self.findings.wrong.push(format!("{}: {}", self.table, text()));
        }
    }
}

/// Values: a copy that is made from the messages alone equals the source, row by row.
pub(crate) async fn values(
    source: &Mysqld,
    received: &Received,
    truth: &Truth,
    findings: &mut Findings,
) -> Result<(), Error> {
    let (copy, wrong) = copy::make(source.server(), received, truth).await?;
    findings.wrong.extend(wrong);
    findings.parts = received.parts.len();
    findings.wrong.extend(oracle::differences(source, &copy, DATABASE).await?);
    let mut session = source.connect().await?;
    let query = format!("SHOW TABLES FROM {DATABASE}");
    let tables: Vec<String> = mysql_async::prelude::Queryable::query(&mut session, query).await?;
    session.disconnect().await?;
    findings.tables = tables.len();
    Ok(())
}

fn quoted(row: &Row) -> String {
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    format!("{}.{}", quote(&row.schema.database), quote(&row.schema.table))
}
