//! Settings of what is published.

use std::sync::Arc;

use super::Errors;
use crate::change::NameCase;
use crate::config::Values;
use crate::filter::{self, OutboxConfig, Pattern};

/// What is published, with outbox tables among it.
pub(super) fn config(
    values: &Values,
    outbox: Option<OutboxConfig>,
    errors: &mut Errors,
) -> Option<filter::Config> {
    let tables = table_patterns(values, "filter.tables", errors);
    let exclude = table_patterns(values, "filter.exclude", errors);
    let drop_columns = column_patterns(values, "filter.drop_columns", errors);
    let hash_columns = column_patterns(values, "filter.hash_columns", errors);
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
        except: Vec::new(),
        before: None,
        drop_columns: drop_columns?,
        hash_columns: hash_columns?,
        hash_key,
        outbox: Arc::new(outbox?),
        leaves_system_out: true,
        must_match: errors.take(values.flag("filter.strict"))?,
        // The server tells.
        names: NameCase::default(),
    })
}

/// The tables that a setting names.
pub(super) fn table_patterns(
    values: &Values,
    key: &'static str,
    errors: &mut Errors,
) -> Option<Vec<Pattern>> {
    patterns(values, key, 2, "patterns database.table", errors)
}

fn column_patterns(
    values: &Values,
    key: &'static str,
    errors: &mut Errors,
) -> Option<Vec<Pattern>> {
    patterns(values, key, 3, "patterns database.table.column", errors)
}

/// Looks at every pattern before it gives up on one.
fn patterns(
    values: &Values,
    key: &'static str,
    parts: usize,
    form: &str,
    errors: &mut Errors,
) -> Option<Vec<Pattern>> {
    let found = values.list(key).iter().map(|text| {
        Pattern::parse(text, parts)
            .ok_or_else(|| values.invalid(key, format!("{form}, not `{text}`")))
    });
    let found: Vec<_> = found.map(|pattern| errors.take(pattern)).collect();
    found.into_iter().collect()
}
