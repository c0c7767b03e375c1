//! What `binpulse verify` found of a copy, for people. The copy keeps it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::Metrics;
use crate::target::copy::{Compared, Verdict};

/// Ranges that are told one by one.
const SHOWN_MAX: usize = 100;

/// A range of keys in which the copy differs from its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DifferingRange {
    /// `database.table`.
    pub table: String,
    /// Above this key, column by column; empty: from the first row on.
    pub after: Vec<String>,
    /// Up to this key, itself included; empty: to the last row.
    pub upto: Vec<String>,
    /// Rows of the source.
    pub rows: u64,
    /// Rows of the copy, as far as they were counted.
    pub rows_here: u64,
    /// What repairs it.
    pub remedy: String,
}

/// See the module: by table.
#[derive(Debug, Default)]
pub(super) struct Verified(BTreeMap<String, Vec<Compared>>);

impl Verified {
    /// Takes what was compared, and what of it is known to differ now.
    pub(super) fn note(
        &mut self,
        metrics: &Metrics,
        compared: &[Compared],
        differing: Vec<(String, Vec<Compared>)>,
    ) {
        for found in compared {
            let result = match found.verdict {
                Verdict::Equal => "equal",
                Verdict::Differs => "differing",
                Verdict::Passed => "passed",
            };
            metrics.verified_chunks.with_label_values(&[result]).inc();
            if found.verdict == Verdict::Differs {
                tracing::warn!(
                    table = found.table,
                    rows = found.rows,
                    rows_here = found.rows_here,
                    "a range of the copy differs from its source: the status names it"
                );
            }
        }
        self.0.extend(differing);
        self.tell(metrics);
    }

    /// All that is known, as the copy has it.
    pub(super) fn read(&mut self, metrics: &Metrics, all: Vec<(String, Vec<Compared>)>) {
        self.0 = all.into_iter().collect();
        self.tell(metrics);
    }

    fn tell(&self, metrics: &Metrics) {
        let count = self.0.values().map(Vec::len).sum::<usize>();
        metrics.differing_ranges.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The ranges, as they are shown.
    pub(super) fn ranges(&self) -> Vec<DifferingRange> {
        self.0.values().flatten().take(SHOWN_MAX).map(shown).collect()
    }
}

fn shown(found: &Compared) -> DifferingRange {
    DifferingRange {
        table: found.table.clone(),
        after: found.after.clone(),
        upto: found.upto.clone(),
        rows: found.rows,
        rows_here: found.rows_here,
        remedy: remedy(found),
    }
}

/// Ranges can be given for keys of one column; else the table is read as a whole.
fn remedy(found: &Compared) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut command = format!("binpulse snapshot start --tables {}", quoted(&found.table));
    for (flag, key) in [("--after", &found.after), ("--upto", &found.upto)] {
        if let [key] = key.as_slice() {
            command = format!("{command} {flag} {}", quoted(key));
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(run: &str, range: [&[&str]; 2], verdict: Verdict) -> Compared {
        let [after, upto] = range.map(|key| key.iter().map(|text| (*text).to_owned()).collect());
        let table = "shop.orders".to_owned();
        Compared { table, run: run.to_owned(), after, upto, verdict, rows: 3, rows_here: 4 }
    }

    #[test]
    fn the_remedy_names_the_range() {
        let one = remedy(&found("1", [&["it's"], &["9"]], Verdict::Differs));
        let expected =
            "binpulse snapshot start --tables 'shop.orders' --after 'it'\\''s' --upto '9'";
        assert_eq!(one, expected);
        let pair = remedy(&found("1", [&["1", "2"], &[]], Verdict::Differs));
        assert_eq!(pair, "binpulse snapshot start --tables 'shop.orders'");
    }
}
