//! Which topic a table's messages go to: one ARN, or a template with `{database}` and `{table}`.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::sns::TopicArn;

/// Longest identifier of MySQL, characters (manual, "Identifier Length Limits").
const IDENTIFIER_CHARACTERS_MAX: usize = 64;
/// What a cleaned identifier has at its end: a dash and 8 hexadecimal digits.
const MARK_BYTES: usize = 9;

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic {text:?}: {why}")]
pub struct TemplateError {
    text: String,
    why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Database,
    Table,
    /// Of a row of an outbox table.
    AggregateType,
}

/// What a topic may depend on, by its name in braces.
const TABLES: [(&str, Part); 2] = [("database", Part::Database), ("table", Part::Table)];
const OUTBOXES: [(&str, Part); 3] =
    [("aggregate_type", Part::AggregateType), ("database", Part::Database), ("table", Part::Table)];

/// A topic ARN whose name may depend on the table.
///
/// Topic names have only `A-Za-z0-9_-`. Other characters of a database's or table's name become
/// `_`, and `-` with 8 hexadecimal digits of the name's SHA-256 follows, so that two names that
/// differ only in such characters do not meet in one topic. Names that need no cleaning stay as
/// they are, so `{database}-{table}` gives one topic for `a-b`.`c` and `a`.`b-c`; messages carry
/// both names, so that does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads and checks a template; whatever the table, the result is a valid ARN.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &TABLES)
    }

    /// The same of the topic of outbox tables, which may depend on the type of the aggregate too.
    pub fn parse_of_outbox(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &OUTBOXES)
    }

    fn parse_with(text: &str, names: &[(&str, Part)]) -> Result<Self, TemplateError> {
        let error = |why: String| TemplateError { text: text.to_owned(), why };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| error("a brace is opened and not closed".to_owned()))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((_, part)) = names.iter().find(|(known, _)| *known == name) else {
                let names: Vec<_> = names.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(error(format!("{{{name}}} is not one of {}", names.join(", "))));
            };
            parts.push(part.clone());
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let template = Self { parts };
        // The longest and most awkward names there can be.
        let worst = "é".repeat(IDENTIFIER_CHARACTERS_MAX);
        TopicArn::parse(&template.resolve_of_outbox(&worst, &worst, &worst)).map_err(
            |invalid| {
                error(format!("with the longest names, of {} bytes: {invalid}", worst_bytes()))
            },
        )?;
        Ok(template)
    }

    /// The ARN if it does not depend on the table.
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The ARN for a table.
    pub fn resolve(&self, database: &str, table: &str) -> String {
        self.resolve_of_outbox(database, table, "")
    }

    /// Whether it depends on the type of the aggregate.
    pub fn has_aggregate_type(&self) -> bool {
        self.parts.contains(&Part::AggregateType)
    }

    /// The ARN for a row of an outbox table.
    pub fn resolve_of_outbox(&self, database: &str, table: &str, aggregate_type: &str) -> String {
        let mut arn = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => arn.push_str(text),
                Part::Database => clean(database, &mut arn),
                Part::Table => clean(table, &mut arn),
                Part::AggregateType => clean(aggregate_type, &mut arn),
            }
        }
        arn
    }
}

/// Bytes of the longest cleaned name.
const fn worst_bytes() -> usize {
    IDENTIFIER_CHARACTERS_MAX + MARK_BYTES
}

/// Appends `name` as topic names allow it.
fn clean(name: &str, out: &mut String) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '_' });
    // Types of aggregates may be longer than identifiers.
    out.extend(plain.take(IDENTIFIER_CHARACTERS_MAX));
    if name.len() <= IDENTIFIER_CHARACTERS_MAX && name.chars().all(is_plain) {
        return;
    }
    out.push('-');
    for byte in Sha256::digest(name.as_bytes()).iter().take(4) {
        for digit in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(digit.into(), 16));
        }
    }
}

/// Destinations by table, resolved once each.
#[derive(Debug)]
pub struct Destinations {
    template: Template,
    by_database: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
}

impl Destinations {
    /// None resolved yet.
    pub fn new(template: Template) -> Self {
        Self { template, by_database: HashMap::new() }
    }

    /// Where messages about this table go. Allocates only the first time.
    pub fn of(&mut self, database: &str, table: &str) -> Arc<str> {
        let known = self.by_database.get(database).and_then(|tables| tables.get(table));
        if let Some(arn) = known {
            return Arc::clone(arn);
        }
        let arn: Arc<str> = self.template.resolve(database, table).into();
        let tables = self.by_database.entry(Arc::from(database)).or_default();
        tables.insert(Arc::from(table), Arc::clone(&arn));
        arn
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: &str = "arn:aws:sns:eu-west-1:123456789012:cdc-{database}-{table}.fifo";

    #[test]
    fn names_go_into_the_topic_and_awkward_ones_are_cleaned_and_kept_apart() {
        let template = Template::parse(TEMPLATE).expect("valid");
        assert_eq!(template.fixed(), None);
        let plain = template.resolve("shop", "order_items");
        assert_eq!(plain, "arn:aws:sns:eu-west-1:123456789012:cdc-shop-order_items.fifo");
        let (a, b) = (template.resolve("shop", "naïve"), template.resolve("shop", "nave "));
        // The digits are the first of the name's SHA-256.
        assert!(a.ends_with(":cdc-shop-na_ve-f86fd89d.fifo"), "{a}");
        let spaced = template.resolve("x y", "t");
        assert!(spaced.ends_with(":cdc-x_y-887fcea6-t.fifo"), "{spaced}");
        assert_ne!(template.resolve("shop", "a.b"), template.resolve("shop", "a:b"));
        assert_ne!(a, b);
    }

    #[test]
    fn topics_of_outboxes_may_depend_on_the_aggregate() {
        let text = "arn:aws:sns:eu-west-1:123456789012:{database}-{aggregate_type}";
        assert!(Template::parse(text).is_err_and(|error| error.to_string().contains("{table}")));
        let template = Template::parse_of_outbox(text).expect("valid");
        assert!(template.has_aggregate_type());
        let plain = template.resolve_of_outbox("shop", "outbox", "order");
        assert_eq!(plain, "arn:aws:sns:eu-west-1:123456789012:shop-order");
        let long = template.resolve_of_outbox("shop", "outbox", &"x".repeat(300));
        assert!(TopicArn::parse(&long).is_ok(), "{long}");
        assert_ne!(long, template.resolve_of_outbox("shop", "outbox", &"x".repeat(301)));
    }

    #[test]
    fn a_plain_arn_is_the_same_for_all_tables() {
        let arn = "arn:aws:sns:eu-west-1:123456789012:changes";
        let template = Template::parse(arn).expect("valid");
        assert_eq!(template.fixed(), Some(arn));
        let mut destinations = Destinations::new(template);
        assert!(Arc::ptr_eq(&destinations.of("a", "b"), &destinations.of("a", "b")));
        assert_eq!(&*destinations.of("c", "d"), arn);
    }

    #[test]
    fn wrong_templates_say_what_is_wrong() {
        let long = format!("arn:aws:sns:r:123456789012:{}{{database}}{{table}}", "x".repeat(200));
        for (text, why) in [
            ("arn:aws:sns:r:123456789012:a-{schema}", "{schema} is not one of"),
            ("arn:aws:sns:r:123456789012:a-{table", "not closed"),
            ("changes", "look like"),
            ("", "look like"),
            (long.as_str(), "1 to 256"),
        ] {
            let error = Template::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_identifier_gives_a_valid_arn(database in ".{1,64}", table in ".{1,64}") {
            let template = Template::parse(TEMPLATE).expect("valid");
            prop_assert!(TopicArn::parse(&template.resolve(&database, &table)).is_ok());
        }
    }
}
