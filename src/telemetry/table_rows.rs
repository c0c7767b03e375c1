//! Rows of each table: how many were published, and which tables are the busiest. Bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Lanes that are counted one by one; rows of more are counted together.
const LANES_MAX: usize = 4_096;
/// The name of those.
const OTHERS: &str = "others";
/// Samples from which rates are made, ten seconds apart: a minute.
const SAMPLES_MAX: usize = 7;
/// Tables that are told.
const BUSIEST_MAX: usize = 10;

/// Rows that were published, by lane. Cheap to clone; the clones share what they count.
#[derive(Debug, Clone, Default)]
pub struct TableRows(Arc<Mutex<HashMap<Arc<str>, u64>>>);

impl TableRows {
    /// So many rows of this lane were published. Once a message, not once a row.
    pub fn add(&self, lane: &Arc<str>, rows: u64) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = lanes.get_mut(lane) {
            *count += rows;
        } else {
            let lane = if lanes.len() < LANES_MAX { Arc::clone(lane) } else { OTHERS.into() };
            *lanes.entry(lane).or_default() += rows;
        }
    }

    /// The counts as of now, by table.
    pub fn by_table(&self) -> HashMap<Arc<str>, u64> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut tables = HashMap::new();
        for (lane, rows) in lanes {
            // A lane is `database.table#number`.
            let table = lane.rsplit_once('#').map_or(&*lane, |(table, _)| table);
            *tables.entry(table.into()).or_default() += rows;
        }
        tables
    }
}

/// How busy a table is.
#[derive(Debug, Clone, Serialize, PartialEq, Default)]
pub struct TableRate {
    /// Its name, `database.table`.
    pub table: String,
    /// Rows published each second, over the last minute.
    pub rows_per_second: f64,
}

/// Samples of the counts.
#[derive(Debug, Default)]
pub struct TableRates(VecDeque<(i64, HashMap<Arc<str>, u64>)>);

impl TableRates {
    /// Takes the counts as they are at `now_us`.
    pub fn sample(&mut self, counts: HashMap<Arc<str>, u64>, now_us: i64) {
        self.0.push_back((now_us, counts));
        while self.0.len() > SAMPLES_MAX {
            self.0.pop_front();
        }
    }

    /// The busiest tables, the busiest first.
    pub fn busiest(&self) -> Vec<TableRate> {
        let (Some((from_us, before)), Some((to_us, counts))) = (self.0.front(), self.0.back())
        else {
            return Vec::new();
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let seconds = to_us.saturating_sub(*from_us).max(1_000_000) as f64 / 1e6;
        let rate = |(table, count): (&Arc<str>, &u64)| {
            let rows = count.saturating_sub(before.get(table).copied().unwrap_or_default());
            #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
            let rows_per_second = rows as f64 / seconds;
            (rows > 0).then(|| TableRate { table: table.to_string(), rows_per_second })
        };
        let mut rates: Vec<_> = counts.iter().filter_map(rate).collect();
        rates.sort_by(|one, other| {
            let faster = other.rows_per_second.total_cmp(&one.rows_per_second);
            faster.then_with(|| one.table.cmp(&other.table))
        });
        rates.truncate(BUSIEST_MAX);
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_busiest_ten_of_the_last_minute_are_told_by_table() {
        let (rows, mut rates) = (TableRows::default(), TableRates::default());
        let add = |lane: &str, count| rows.add(&lane.into(), count);
        add("shop.old#0", 1_000_000);
        rates.sample(rows.by_table(), 0);
        for step in 1..=20 {
            add("shop.orders#0", 300);
            add("shop.orders#1", 100);
            add("shop.items#0", 20);
            for table in 0..12 {
                add(&format!("crm.t{table}#0"), 1);
            }
            rates.sample(rows.by_table(), step * 10 * SECOND);
        }
        let told = rates.busiest();
        let first: Vec<_> = told.iter().take(2).map(|one| &*one.table).collect();
        assert_eq!((told.len(), first), (10, vec!["shop.orders", "shop.items"]));
        assert!((told[0].rows_per_second - 40.0).abs() < 1e-9, "{told:?}");
        assert!(told.iter().all(|one| one.table != "shop.old"), "{told:?}");
    }

    #[test]
    fn lanes_beyond_the_bound_are_counted_together() {
        let rows = TableRows::default();
        for lane in 0..10_000 {
            rows.add(&format!("d.t{lane}#0").into(), 1);
        }
        let tables = rows.by_table();
        assert_eq!(tables.len(), LANES_MAX + 1);
        assert_eq!(tables.get(OTHERS), Some(&(10_000 - 4_096)));
        assert_eq!(tables.values().sum::<u64>(), 10_000);
    }
}
