//! Which topic a encoded batch goes to, and what that topic takes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aws;
use crate::encode::{Destination, EncodedBatch, Kind};
use crate::sink::topic::Destinations;

/// Topics by table and kind.
#[derive(Debug)]
pub(crate) struct Topics {
    /// ARN by table.
    pub(crate) tables: Destinations,
    /// Where canaries and statements go.
    pub(crate) control_messages: Arc<str>,
    /// What is known of topics; others are evaluated by their name.
    pub(crate) known: HashMap<Arc<str>, Destination>,
    /// Largest message of a topic that was not asked, bytes.
    pub(crate) message_bytes_max: usize,
}

impl Topics {
    /// Largest message that every topic known takes, bytes.
    pub(crate) fn common_bytes_max(&self) -> usize {
        let known = self.known.values().map(|topic| topic.message_bytes_max);
        known.min().unwrap_or(self.message_bytes_max)
    }

    /// The topic of a encoded batch.
    pub(crate) fn of(&mut self, batch: &EncodedBatch) -> Destination {
        let arn = match (batch.kind(), batch.table()) {
            (Kind::Canary, Some(table)) if batch.is_of_path() => {
                self.tables.of(&table.database, &table.name)
            }
            (Kind::Change, Some(table)) => self.tables.of(&table.database, &table.name),
            // Where the table's changes go.
            (Kind::Snapshot, _) => {
                let (database, table) = batch.subject();
                self.tables.of(database, table)
            }
            (Kind::Change | Kind::Canary | Kind::Heartbeat | Kind::Schema, _) => {
                Arc::clone(&self.control_messages)
            }
        };
        let known = self.known.entry(arn).or_insert_with_key(|arn| Destination {
            arn: Arc::clone(arn),
            fifo: aws::is_fifo(arn),
            message_bytes_max: self.message_bytes_max,
        });
        known.clone()
    }
}
