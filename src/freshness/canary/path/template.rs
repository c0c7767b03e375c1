//! SQL of the operator's, with placeholders.

use crate::freshness::Phase;

/// One statement, checked as far as that goes without a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// SQL that can't be a step of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does something else than its step.
    #[error("it must begin with {0}")]
    Verb(&'static str),
    /// It does not say which row is meant.
    #[error("it must contain '{{mark}}', or it could match other rows")]
    NoMark,
    /// It would be more than one statement.
    #[error("it must be one statement, without a semicolon")]
    Several,
    /// A placeholder that there is none of.
    #[error("it contains {{{0}}}; only {{mark}} and {{n}} are replaced")]
    Placeholder(String),
}

const MARK: &str = "{mark}";
const NUMBER: &str = "{n}";

impl Template {
    /// Reads the SQL of a step. It may end in a semicolon, and hold none else: not even in a literal.
    pub fn parse(phase: Phase, text: &str) -> Result<Self, TemplateError> {
        let text = text.trim();
        let text = text.strip_suffix(';').unwrap_or(text).trim_end();
        let verb = match phase {
            Phase::Insert => "INSERT",
            Phase::Update => "UPDATE",
            Phase::Delete => "DELETE",
        };
        let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if !first.eq_ignore_ascii_case(verb) {
            return Err(TemplateError::Verb(verb));
        }
        if text.contains(';') {
            return Err(TemplateError::Several);
        }
        if !text.contains(MARK) {
            return Err(TemplateError::NoMark);
        }
        match unknown_placeholder(text) {
            Some(name) => Err(TemplateError::Placeholder(name.to_owned())),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The statement for this number.
    pub fn fill(&self, mark: &str, number: u64) -> String {
        self.0.replace(MARK, mark).replace(NUMBER, &number.to_string())
    }
}

/// A word of small letters in braces. Braces of JSON are something else.
fn unknown_placeholder(text: &str) -> Option<&str> {
    let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let mut words = words.map(|(word, _)| word).filter(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    });
    words.find(|word| !matches!(*word, "mark" | "n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_braces_of_json_stay() {
        let text = " insert INTO shop.orders (reference, qty, extra) \
                    VALUES ('{mark}', {n} % 100, '{\"a\": {}}') ; ";
        let template = Template::parse(Phase::Insert, text).expect("a template");
        assert_eq!(
            template.fill("m.s.7", 7),
            "insert INTO shop.orders (reference, qty, extra) VALUES ('m.s.7', 7 % 100, '{\"a\": {}}')"
        );
    }

    #[test]
    fn what_can_be_no_step_is_refused_with_the_reason() {
        for (phase, text, words) in [
            (Phase::Insert, "REPLACE INTO t VALUES ('{mark}')", "begin with INSERT"),
            (Phase::Insert, "", "begin with INSERT"),
            (Phase::Insert, "INSERTED INTO t VALUES ('{mark}')", "begin with INSERT"),
            (Phase::Update, "DELETE FROM t WHERE r = '{mark}'", "begin with UPDATE"),
            (Phase::Delete, "TRUNCATE t", "begin with DELETE"),
            (Phase::Delete, "DELETE FROM t", "'{mark}'"),
            (Phase::Delete, "DELETE FROM t WHERE r = '{mark}'; DROP TABLE t", "one statement"),
            (Phase::Insert, "INSERT INTO t VALUES ('{mark}', {number})", "{number}"),
        ] {
            let error = Template::parse(phase, text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
