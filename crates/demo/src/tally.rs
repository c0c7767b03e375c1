//! How many rows of which table were inserted, updated and deleted.

use std::collections::BTreeMap;
use std::fmt;

/// What a change did to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A new row.
    Insert,
    /// A changed row.
    Update,
    /// A removed row.
    Delete,
}

impl Op {
    /// Lower-case name, as in JSON and message attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Counted rows, by table and kind of change. Two tallies of the same rows are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    rows: BTreeMap<(String, &'static str), u64>,
}

impl Tally {
    /// Counts rows of a table, `database.table`.
    pub fn add(&mut self, table: &str, op: Op, rows: u64) {
        if rows > 0 {
            *self.rows.entry((table.to_owned(), op.as_str())).or_default() += rows;
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (key, rows) in &other.rows {
            *self.rows.entry(key.clone()).or_default() += rows;
        }
    }

    /// All rows.
    pub fn total(&self) -> u64 {
        self.rows.values().sum()
    }

    /// Rows of one table and kind.
    pub fn of(&self, table: &str, op: Op) -> u64 {
        self.rows.get(&(table.to_owned(), op.as_str())).copied().unwrap_or_default()
    }

    /// Only the tables that `other` has counted too.
    #[must_use]
    pub fn of_tables_in(&self, other: &Self) -> Self {
        let has = |table: &str| other.rows.keys().any(|(known, _)| known == table);
        let rows = self.rows.iter().filter(|((table, _), _)| has(table));
        Self { rows: rows.map(|(key, rows)| (key.clone(), *rows)).collect() }
    }

    /// Where it differs from `expected`, in words; nothing if it does not.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> =
            self.rows.keys().chain(expected.rows.keys()).collect();
        let of = |tally: &Self, key| tally.rows.get(key).copied().unwrap_or_default();
        keys.into_iter()
            .filter(|key| of(self, *key) != of(expected, *key))
            .map(|key| {
                let (table, op) = key;
                format!("{table}, {op}: {} of {}", of(self, key), of(expected, key))
            })
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((table, op), rows) in &self.rows {
            writeln!(f, "  {table:<28} {op:<8} {rows:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_the_same_rows_are_equal_in_whatever_order_they_were_counted() {
        let (mut one, mut two, mut part) = (Tally::default(), Tally::default(), Tally::default());
        one.add("a.b", Op::Insert, 2);
        one.add("a.b", Op::Delete, 1);
        one.add("a.c", Op::Update, 0);
        part.add("a.b", Op::Insert, 1);
        two.add("a.b", Op::Delete, 1);
        two.add("a.b", Op::Insert, 1);
        two.merge(&part);
        assert_eq!(one, two);
        assert_eq!((one.total(), one.of("a.b", Op::Insert)), (3, 2));
        assert!(one.differences(&two).is_empty());
    }

    #[test]
    fn a_difference_is_told_by_table_and_kind_from_both_sides() {
        let (mut found, mut expected) = (Tally::default(), Tally::default());
        found.add("a.b", Op::Insert, 2);
        expected.add("a.b", Op::Insert, 3);
        expected.add("a.c", Op::Delete, 1);
        assert_eq!(found.differences(&expected), ["a.b, insert: 2 of 3", "a.c, delete: 0 of 1"]);
        found.add("x.y", Op::Update, 1);
        assert_eq!(found.differences(&expected).len(), 3);
        // Rows of tables of which nothing was expected are somebody else's.
        assert_eq!(found.of_tables_in(&expected).differences(&expected).len(), 2);
    }
}
