//! Which topic an encoded batch goes to, and what that topic takes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aws;
use crate::encode::{Destination, EncodedBatch, Kind};
use crate::sink::topic::{Destinations, Template};

/// Topics by table and kind.
#[derive(Debug)]
pub(crate) struct Topics {
    /// ARN by table.
    pub(crate) tables: Destinations,
    /// Where canaries and statements go.
    pub(crate) control_messages: Arc<str>,
    /// Where messages of outbox tables go, if not where the tables' changes would.
    pub(crate) outbox: Option<Template>,
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

    /// The topic of an encoded batch.
    pub(crate) fn of(&mut self, batch: &EncodedBatch) -> Destination {
        let arn = match (batch.kind(), batch.table()) {
            (Kind::Canary, Some(table)) if batch.is_of_path() => {
                self.tables.of(&table.database, &table.name)
            }
            (Kind::Change | Kind::Outbox, Some(table)) => {
                self.tables.of(&table.database, &table.name)
            }
            // Where the table's changes go.
            (Kind::Snapshot | Kind::Suppressed, _) => {
                let (database, table) = batch.subject();
                self.tables.of(database, table)
            }
            (Kind::Change | Kind::Outbox | Kind::Canary | Kind::Heartbeat | Kind::Schema, _) => {
                Arc::clone(&self.control_messages)
            }
        };
        self.known(arn)
    }

    /// The topic of a message of an outbox table.
    pub(crate) fn of_outbox(
        &mut self,
        batch: &EncodedBatch,
        aggregate_type: Option<&str>,
    ) -> Destination {
        let Some(template) = &self.outbox else { return self.of(batch) };
        let (database, table) = batch.subject();
        let arn = template.resolve_of_outbox(database, table, aggregate_type.unwrap_or_default());
        self.known(arn.into())
    }

    fn known(&mut self, arn: Arc<str>) -> Destination {
        let known = self.known.entry(arn).or_insert_with_key(|arn| Destination {
            arn: Arc::clone(arn),
            fifo: aws::is_fifo(arn),
            message_bytes_max: self.message_bytes_max,
        });
        known.clone()
    }
}
