//! Outbox tables: their rows are messages of an application, and not changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Pattern, Redaction};
use crate::change::{OutboxColumns, Table};
use crate::encode::is_attribute_of_outbox;

/// Which tables are outboxes, and what their columns are called.
#[derive(Debug, Clone, Default)]
pub struct OutboxConfig {
    /// Patterns of two parts; empty: none.
    pub tables: Vec<Pattern>,
    /// Column of the message's id.
    pub id: String,
    /// Column of the aggregate's id.
    pub aggregate_id: String,
    /// Column of the body.
    pub payload: String,
    /// Column of the aggregate's type, where a table has it.
    pub aggregate_type: String,
    /// Column of the message's type, where a table has it.
    pub event_type: String,
    /// Column of a JSON object of attributes, where a table has it.
    pub headers: String,
    /// Names of attributes, each with its column.
    pub attributes: Vec<(String, String)>,
    /// Whether no table may be without the aggregate's type: the topic depends on it.
    pub needs_aggregate_type: bool,
    /// Whether an update of a row ends the stream; else it is left out.
    pub halts_on_update: bool,
}

impl OutboxConfig {
    /// Whether SNS allows this name of an attribute, and it is none of those that messages have anyway.
    pub fn is_attribute(name: &str) -> bool {
        is_attribute_of_outbox(name)
    }
}

/// How the rows of one outbox table, in one shape, become messages.
#[derive(Debug)]
pub struct OutboxTable {
    /// The table, with the places of the columns, and the aggregate's id as its key: rows of one
    /// aggregate share a lane.
    pub table: Arc<Table>,
    /// What is dropped or hashed before.
    pub redaction: Option<Arc<Redaction>>,
    /// Whether an update of a row ends the stream.
    pub halts_on_update: bool,
}

impl OutboxTable {
    /// The outbox that `table` is; or the column that it lacks.
    pub(super) fn of(
        config: &OutboxConfig,
        table: &Table,
        redaction: Option<Redaction>,
    ) -> Result<Self, Arc<str>> {
        let seen = redaction.as_ref().map_or(table, |redaction| &redaction.table);
        let find = |name: &str| {
            seen.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
        };
        let must = |name: &str| find(name).ok_or_else(|| Arc::<str>::from(name));
        let attributes = config.attributes.iter();
        let outbox = OutboxColumns {
            id: must(&config.id)?,
            aggregate_id: must(&config.aggregate_id)?,
            payload: must(&config.payload)?,
            aggregate_type: if config.needs_aggregate_type {
                Some(must(&config.aggregate_type)?)
            } else {
                find(&config.aggregate_type)
            },
            event_type: find(&config.event_type),
            headers: find(&config.headers),
            attributes: attributes
                .map(|(name, column)| Ok((name.clone(), must(column)?)))
                .collect::<Result<_, Arc<str>>>()?,
        };
        let mut hasher = DefaultHasher::new();
        (seen.fingerprint, "outbox").hash(&mut hasher);
        let table = Table {
            primary_key: vec![outbox.aggregate_id],
            fingerprint: hasher.finish(),
            outbox: Some(Arc::new(outbox)),
            ..seen.clone()
        };
        Ok(Self {
            table: Arc::new(table),
            redaction: redaction.map(Arc::new),
            halts_on_update: config.halts_on_update,
        })
    }
}
