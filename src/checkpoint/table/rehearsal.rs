//! What opening a store would meet, found out without taking the stream from whoever has it.

use super::{Checkpoint, Error, TableConfig, TableStore};

impl TableStore {
    /// What [`TableStore::open`] and the saves behind it would find, or be refused with, now, without
    /// becoming the owner: a server tells what is wrong with a statement without running it.
    pub async fn rehearse(config: TableConfig) -> Result<Option<Checkpoint>, Error> {
        let TableConfig { table, lane_table, .. } = config.clone();
        let mut store = Self::unopened(config.clone());
        // Refused by a server that takes no writes from this account.
        store.query("write", "START TRANSACTION READ WRITE").await?;
        store.query("write", "ROLLBACK").await?;
        for sql in [
            format!("EXPLAIN INSERT INTO {table} SELECT * FROM {table} WHERE stream = ''"),
            format!(
                "EXPLAIN UPDATE {table} SET saves = saves + 1, snapshot = '' WHERE stream = ''"
            ),
            format!(
                "EXPLAIN INSERT INTO {lane_table} SELECT * FROM {lane_table} WHERE stream = ''"
            ),
            format!("EXPLAIN UPDATE {lane_table} SET next = 1 WHERE stream = ''"),
            format!("EXPLAIN DELETE FROM {lane_table} WHERE stream = ''"),
        ] {
            store.query("write", &sql).await?;
        }
        Self::peek(config).await
    }
}
