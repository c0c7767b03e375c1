//! Settings of what is published.

use std::sync::Arc;

use super::Errors;
use crate::change::NameCase;
use crate::config::Values;
use crate::filter::{self, Pattern};

/// What is published.
pub(super) fn config(values: &Values, errors: &mut Errors) -> Option<filter::Config> {
    let mut patterns = |key: &'static str, parts: usize, form: &str| {
        let found = values.list(key).iter().map(|text| {
            Pattern::parse(text, parts)
                .ok_or_else(|| values.invalid(key, format!("{form}, not `{text}`")))
        });
        let found: Vec<_> = found.map(|pattern| errors.take(pattern)).collect();
        found.into_iter().collect::<Option<Vec<_>>>()
    };
    let (table, column) = ("patterns database.table", "patterns database.table.column");
    let tables = patterns("filter.tables", 2, table);
    let exclude = patterns("filter.exclude", 2, table);
    let drop_columns = patterns("filter.drop_columns", 3, column);
    let hash_columns = patterns("filter.hash_columns", 3, column);
    let hash_key = values.text_opt("filter.hash_key").unwrap_or_default().as_bytes().to_vec();
    if !values.list("filter.hash_columns").is_empty() && hash_key.is_empty() {
        errors.push(values.conflict(
            "filter.hash_columns",
            "filter.hash_key",
            "hashes without a secret key can be guessed; set the key",
        ));
    }
    Some(filter::Config {
        tables: tables?,
        exclude: exclude?,
        only: Vec::new(),
        drop_columns: drop_columns?,
        hash_columns: hash_columns?,
        hash_key,
        outbox: Arc::default(),
        must_match: errors.take(values.flag("filter.strict"))?,
        // The server tells.
        names: NameCase::default(),
    })
}
