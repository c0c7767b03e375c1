//! What is kept of tables, by their fingerprints.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::Table;

/// Most tables, and most bytes that are kept for them; then all is made anew as rows come.
const TABLES_MAX: usize = 4096;
const BYTES_MAX: usize = 64 << 20;

/// Something that was made of each table once.
#[derive(Debug)]
pub(crate) struct Tables<T> {
    known: HashMap<u64, (Arc<Table>, T)>,
    bytes: usize,
}

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), bytes: 0 }
    }
}

impl<T> Tables<T> {
    /// What was made of this table. `make` also says about how many bytes it takes.
    pub(crate) fn of(&mut self, table: &Arc<Table>, make: impl Fn(&Table) -> (T, usize)) -> &T {
        let is_known = self
            .known
            .get(&table.fingerprint)
            .is_some_and(|(known, _)| Arc::ptr_eq(known, table) || **known == **table);
        if !is_known {
            if self.known.len() >= TABLES_MAX || self.bytes >= BYTES_MAX {
                self.known.clear();
                self.bytes = 0;
            }
            let (fresh, bytes) = make(table);
            self.bytes = self.bytes.saturating_add(bytes);
            self.known.insert(table.fingerprint, (Arc::clone(table), fresh));
        }
        let fresh = || (Arc::clone(table), make(table).0);
        &self.known.entry(table.fingerprint).or_insert_with(fresh).1
    }
}
