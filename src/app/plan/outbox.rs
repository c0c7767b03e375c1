//! Settings of outbox tables.

use std::collections::HashSet;

use super::Errors;
use super::filter::table_patterns;
use crate::config::{Error, Values};
use crate::encode::{ATTRIBUTES_MAX, is_attribute_of_outbox};
use crate::filter::OutboxConfig;
use crate::sink::topic::Template;

/// Attributes that a message may have besides: kind, id, aggregate_type, aggregate_id, type,
/// payload_encoding, replay, and headers as a whole.
const OTHERS: usize = 8;

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
    let mut names = HashSet::new();
    if let Some((name, _)) = found.iter().find(|(name, _)| !names.insert(name)) {
        return Err(values.invalid(KEY, format!("one column for the attribute `{name}`")));
    }
    // A payload that is put into S3 has one attribute more.
    let is_claim_check = values.text("sink.oversize")? == "claim-check";
    let most = ATTRIBUTES_MAX - OTHERS - usize::from(is_claim_check);
    if found.len() > most {
        let because = if is_claim_check { " with sink.oversize = claim-check" } else { "" };
        return Err(values.invalid(
            KEY,
            format!(
                "at most {most} of them{because}: SNS drops a message with more than \
                 {ATTRIBUTES_MAX} attributes on its way to a queue with raw message delivery, and \
                 {OTHERS} may be there already; put the others into the headers column"
            ),
        ));
    }
    Ok(found)
}

fn topic(values: &Values) -> Result<Option<Template>, Error> {
    let Some(text) = values.text_opt("outbox.topic") else { return Ok(None) };
    let parsed = Template::parse_of_outbox(text);
    parsed.map(Some).map_err(|error| Error::Rule(format!("outbox.topic: {error}")))
}

#[cfg(test)]
mod tests {
    use super::attributes;
    use crate::config::{Environment, load};

    fn read(columns: &str, oversize: &str) -> Result<usize, String> {
        let flags =
            [("outbox.attributes", columns.to_owned()), ("sink.oversize", oversize.to_owned())];
        let values = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
        let found = attributes(&values.expect("settings"));
        found.map(|found| found.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_that_would_be_too_many_attributes_are_refused() {
        assert_eq!(read("a,b:c", "omit"), Ok(2));
        assert_eq!(read("a", "claim-check"), Ok(1));
        let refused = [
            ("a,b,c", "omit", "at most 2 of them"),
            ("a,b", "claim-check", "at most 1 of them with sink.oversize = claim-check"),
            ("a:x,b:x", "omit", "one column for the attribute `x`"),
        ];
        for (columns, oversize, expected) in refused {
            let error = read(columns, oversize).expect_err(columns);
            assert!(error.contains(expected), "{error}");
        }
    }
}
