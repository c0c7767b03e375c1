//! Settings of outbox tables.

use super::Errors;
use super::filter::table_patterns;
use crate::config::{Error, Values};
use crate::encode::is_attribute_of_outbox;
use crate::filter::OutboxConfig;
use crate::sink::topic::Template;

/// Columns that may become attributes: a queue takes a message with ten, and five are taken.
const ATTRIBUTES_MAX: usize = 4;

/// Outbox tables, and the topic of their messages where it is another.
pub(super) fn plan(
    values: &Values,
    errors: &mut Errors,
) -> Option<(OutboxConfig, Option<Template>)> {
    let tables = table_patterns(values, "outbox.tables", errors);
    let attributes = errors.take(attributes(values));
    let topic = errors.take(topic(values));
    let names = errors.take(names(values));
    let topic = topic?;
    let config = OutboxConfig {
        tables: tables?,
        attributes: attributes?,
        needs_aggregate_type: topic.as_ref().is_some_and(Template::has_aggregate_type),
        ..names?
    };
    Some((config, topic))
}

fn names(values: &Values) -> Result<OutboxConfig, Error> {
    let name = |key| values.text(key).map(str::to_owned);
    Ok(OutboxConfig {
        id: name("outbox.columns.id")?,
        aggregate_id: name("outbox.columns.aggregate_id")?,
        payload: name("outbox.columns.payload")?,
        aggregate_type: name("outbox.columns.aggregate_type")?,
        event_type: name("outbox.columns.type")?,
        headers: name("outbox.columns.headers")?,
        halts_on_update: values.text("outbox.on_update")? == "halt",
        ..OutboxConfig::default()
    })
}

/// Names of attributes, each with its column.
fn attributes(values: &Values) -> Result<Vec<(String, String)>, Error> {
    const KEY: &str = "outbox.attributes";
    let found = values.list(KEY).iter().map(|text| {
        let (column, name) = text.split_once(':').unwrap_or((text, text));
        let is_allowed = is_attribute_of_outbox(name);
        (!column.is_empty() && is_allowed).then(|| (name.to_owned(), column.to_owned())).ok_or_else(
            || {
                values.invalid(
                    KEY,
                    format!(
                        "column or column:attribute, the attribute of ASCII letters, digits, `_`, \
                         `-` and `.` and none of binpulse's own, not `{text}`"
                    ),
                )
            },
        )
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if found.len() > ATTRIBUTES_MAX {
        return Err(values.invalid(
            KEY,
            format!("at most {ATTRIBUTES_MAX} columns: a queue takes a message with 10 attributes"),
        ));
    }
    Ok(found)
}

fn topic(values: &Values) -> Result<Option<Template>, Error> {
    let Some(text) = values.text_opt("outbox.topic") else { return Ok(None) };
    let parsed = Template::parse_of_outbox(text);
    parsed.map(Some).map_err(|error| Error::Rule(format!("outbox.topic: {error}")))
}
