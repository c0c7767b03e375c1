//! Outbox tables: their rows are messages of an application, and not changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Mask, Pattern};
use crate::change::{OutboxColumns, Table};

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

/// How the rows of one outbox table, in one shape, become messages.
#[derive(Debug)]
pub struct OutboxTable {
    /// The table, with the places of the columns, and the aggregate's id as its key: rows of one
    /// aggregate share a lane.
    pub table: Arc<Table>,
    /// What is dropped or hashed before.
    pub mask: Option<Arc<Mask>>,
    /// Whether an update of a row ends the stream.
    pub halts_on_update: bool,
}

impl OutboxTable {
    /// The outbox that `table` is; or the column that it lacks.
    pub(super) fn of(
        config: &OutboxConfig,
        table: &Table,
        mask: Option<Mask>,
    ) -> Result<Self, Arc<str>> {
        let seen = mask.as_ref().map_or(table, |mask| &mask.table);
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
            mask: mask.map(Arc::new),
            halts_on_update: config.halts_on_update,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::testing::table;
    use crate::filter::{Config, Filter, Route};

    fn config(drop: &[&str]) -> Config {
        let patterns = |texts: &[&str], parts| {
            let parsed = texts.iter().map(|text| Pattern::parse(text, parts).expect(text));
            parsed.collect::<Vec<_>>()
        };
        Config {
            tables: patterns(&["*.*"], 2),
            drop_columns: patterns(drop, 3),
            outbox: Arc::new(OutboxConfig {
                tables: patterns(&["shop.outbox"], 2),
                id: "c0".to_owned(),
                aggregate_id: "C2".to_owned(),
                payload: "c3".to_owned(),
                event_type: "not there".to_owned(),
                attributes: vec![("tenant".to_owned(), "c4".to_owned())],
                ..OutboxConfig::default()
            }),
            ..Config::default()
        }
    }

    #[test]
    fn rows_of_an_outbox_are_found_by_names_and_go_by_their_aggregate() {
        let source = table("outbox", 5);
        let mut filter = Filter::new(config(&["shop.outbox.c1"]));
        let Route::Outbox(outbox) = filter.route(&source) else { panic!("an outbox") };
        let columns = outbox.table.outbox.as_ref().expect("places of columns");
        assert_eq!((columns.id, columns.aggregate_id, columns.payload), (0, 1, 2));
        assert_eq!(
            (columns.event_type, columns.attributes.clone()),
            (None, vec![("tenant".to_owned(), 3)])
        );
        assert_eq!(outbox.table.primary_key, [1], "rows of an aggregate share a lane");
        assert!(outbox.mask.is_some());
        assert_ne!(outbox.table.fingerprint, source.fingerprint);
        let orders = Arc::new(Table { fingerprint: 9, ..Table::clone(&table("orders", 5)) });
        assert!(matches!(filter.route(&orders), Route::Publish));
    }

    #[test]
    fn an_outbox_that_lacks_a_column_or_names_says_so() {
        let mut filter = Filter::new(config(&["shop.outbox.c3"]));
        let route = filter.route(&table("outbox", 5));
        assert!(matches!(&route, Route::NoOutbox(column) if **column == *"c3"), "{route:?}");
        let unnamed = Table { named: false, ..Table::clone(&table("outbox", 5)) };
        let mut filter = Filter::new(config(&[]));
        assert!(matches!(filter.route(&Arc::new(unnamed)), Route::Unnamed));
    }
}
