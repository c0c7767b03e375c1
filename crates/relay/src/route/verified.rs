//! What `binpulse verify` found of a copy: ranges that differ, until they are found equal.

use serde::Serialize;

use crate::metrics::Metrics;
use crate::target::copy::{Compared, Verdict};

/// Ranges that are kept. Beyond them only the count goes on.
const RANGES_MAX: usize = 1_000;
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

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Verified {
    differing: Vec<Compared>,
    /// Runs that began with the first row of a table, by that table.
    whole: Vec<(String, String)>,
}

impl Verified {
    /// Takes what was compared, in the order of the lanes.
    pub(super) fn note(&mut self, metrics: &Metrics, compared: Vec<Compared>) {
        for found in compared {
            let result = match found.verdict {
                Verdict::Equal => "equal",
                Verdict::Differs => "differing",
                Verdict::Passed => "passed",
            };
            metrics.verified_chunks.with_label_values(&[result]).inc();
            self.take(found);
        }
        let count = i64::try_from(self.differing.len()).unwrap_or(i64::MAX);
        metrics.differing_ranges.set(count);
    }

    fn take(&mut self, found: Compared) {
        let of_table = (found.table.clone(), found.run.clone());
        if found.after.is_empty() {
            self.whole.retain(|(table, _)| *table != found.table);
            self.whole.push(of_table.clone());
            self.whole.truncate(RANGES_MAX);
        }
        let is_older = |known: &Compared| known.table == found.table && known.run != found.run;
        let is_same = |known: &Compared| known.after == found.after && known.upto == found.upto;
        // The end of a run over the whole table: what runs before it found is out of date.
        let ends = found.upto.is_empty() && self.whole.contains(&of_table);
        if found.verdict != Verdict::Passed {
            self.differing.retain(|known| !(is_older(known) && (ends || is_same(known))));
        }
        if found.verdict == Verdict::Differs {
            tracing::warn!(
                table = found.table,
                rows = found.rows,
                rows_here = found.rows_here,
                "a range of the copy differs from its source: the status names it"
            );
            let is_known = self.differing.contains(&found);
            if !is_known && self.differing.len() < RANGES_MAX {
                self.differing.push(found);
            }
        }
    }

    /// The ranges, as they are shown.
    pub(super) fn ranges(&self) -> Vec<DifferingRange> {
        self.differing.iter().take(SHOWN_MAX).map(shown).collect()
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

    fn noted(all: &[Compared]) -> Vec<Vec<String>> {
        let metrics = Metrics::new("test").expect("metrics");
        let mut verified = Verified::default();
        verified.note(&metrics, all.to_vec());
        let ranges = verified.ranges();
        assert_eq!(metrics.differing_ranges.get(), i64::try_from(ranges.len()).expect("few"));
        ranges.into_iter().map(|range| range.upto).collect()
    }

    #[test]
    fn a_range_differs_until_it_is_found_equal() {
        use Verdict::{Differs, Equal, Passed};
        let (head, tail): ([&[&str]; 2], [&[&str]; 2]) = ([&[], &["9"]], [&["9"], &[]]);
        let first = [found("1", head, Differs), found("1", tail, Equal)];
        assert_eq!(noted(&first), [["9"]]);
        // Told twice it is one.
        assert_eq!(noted(&[&first[..], &first].concat()), [["9"]]);
        // Repaired and verified alone.
        assert_eq!(noted(&[&first[..], &[found("2", head, Equal)]].concat()).len(), 0);
        // Whoever can't tell leaves it.
        assert_eq!(noted(&[&first[..], &[found("2", head, Passed)]].concat()), [["9"]]);
        // Another run over the whole table, in other ranges.
        let other: [[&[&str]; 2]; 2] = [[&[], &["5"]], [&["5"], &[]]];
        let again = [found("2", other[0], Equal), found("2", other[1], Differs)];
        assert_eq!(noted(&[&first[..], &again].concat()), [Vec::<String>::new()]);
        // Its end alone does not say so.
        assert_eq!(noted(&[&first[..], &again[1..]].concat()).len(), 2);
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
