//! Compares what was received with what the source says.

use std::collections::{BTreeMap, HashSet};

use binpulse::demo::{Error, Mysqld};

use crate::collect::{Received, Row};
use crate::truth::{Entry, Truth};
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
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.invented + self.misplaced + self.gaps == 0 && self.wrong.is_empty()
    }

    fn tell(&mut self, already: &mut usize, text: impl FnOnce() -> String) {
        *already += 1;
        if *already <= TOLD_MAX {
            self.wrong.push(text());
        }
    }
}

/// Identities: each row that was committed has come, once by number, in the order of commits.
pub(crate) fn identities(received: &Received, truth: &Truth) -> Findings {
    let mut findings = Findings { written: truth.rows(), ..Findings::default() };
    let mut tables: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for ((epoch, name), lane) in &received.lanes {
        let first = lane.rows.first_key_value().map_or(1, |(number, _)| *number);
        let last = lane.rows.last_key_value().map_or(0, |(number, _)| *number);
        let missing = last - lane.rows.len() as u64;
        if missing > 0 {
            findings.gaps += missing;
            findings.wrong.push(format!("{name} (epoch {epoch}): {missing} of {first}..={last}"));
        }
        let Some(row) = lane.rows.values().next() else { continue };
        if row.schema.database == DATABASE {
            let rows = tables.entry(quoted(row)).or_default();
            rows.extend(lane.rows.values());
        }
    }
    for statement in 1..=received.statements.last_key_value().map_or(0, |(number, _)| *number) {
        if !received.statements.contains_key(&statement) {
            findings.gaps += 1;
        }
    }
    for (table, entries) in &truth.tables {
        let rows = tables.remove(table).unwrap_or_default();
        table_of(table, entries, &rows, truth, &mut findings);
    }
    for (table, rows) in tables {
        findings.received += rows.len() as u64;
        findings.invented += rows.len() as u64;
        findings.wrong.push(format!("{table}: {} rows of a table without any", rows.len()));
    }
    findings
}

fn table_of(table: &str, entries: &[Entry], rows: &[&Row], truth: &Truth, findings: &mut Findings) {
    findings.received += rows.len() as u64;
    let of_source = |entry: &Entry| (truth.gtid(*entry), u64::from(entry.number), entry.op);
    if entries.iter().map(of_source).eq(rows.iter().map(|row| identity(row))) {
        return;
    }
    let known: HashSet<_> = entries.iter().map(of_source).collect();
    let came: HashSet<_> = rows.iter().map(|row| identity(row)).collect();
    let (mut told_lost, mut told_invented) = (0, 0);
    for entry in known.difference(&came) {
        findings.lost += 1;
        findings.tell(&mut told_lost, || format!("{table}: lost {entry:?}"));
    }
    for row in came.difference(&known) {
        findings.invented += 1;
        findings.tell(&mut told_invented, || format!("{table}: invented {row:?}"));
    }
    if came.len() < rows.len() {
        findings.wrong.push(format!("{table}: rows under two numbers"));
    }
    let pairs = entries.iter().map(of_source).zip(rows.iter().map(|row| identity(row)));
    let misplaced: Vec<_> = pairs.filter(|(source, row)| source != row).collect();
    if told_lost + told_invented == 0 {
        findings.misplaced += misplaced.len() as u64;
        for (source, row) in misplaced.iter().take(TOLD_MAX) {
            findings.wrong.push(format!("{table}: {row:?} stands where {source:?} was committed"));
        }
    }
}

/// Values: a copy that is made from the messages alone equals the source, row by row.
pub(crate) async fn values(
    source: &Mysqld,
    received: &Received,
    findings: &mut Findings,
) -> Result<(), Error> {
    let (copy, wrong) = copy::make(source.server(), received).await?;
    findings.wrong.extend(wrong);
    findings.wrong.extend(oracle::differences(source, &copy, DATABASE).await?);
    let mut session = source.connect().await?;
    let query = format!("SHOW TABLES FROM {DATABASE}");
    let tables: Vec<String> = mysql_async::prelude::Queryable::query(&mut session, query).await?;
    session.disconnect().await?;
    findings.tables = tables.len();
    Ok(())
}

fn identity(row: &Row) -> (&str, u64, i32) {
    (&row.origin.gtid, row.number, row.op)
}

fn quoted(row: &Row) -> String {
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    format!("{}.{}", quote(&row.schema.database), quote(&row.schema.table))
}
