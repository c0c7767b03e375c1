//! What can be wrong with a configuration.

use super::Origin;

/// A configuration that can't be used. Every message names the key, what was found and what is
/// allowed; the command ends with exit code 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("configuration file {path}: {reason}")]
    Unreadable {
        /// Path as given.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file is not TOML.
    #[error("configuration file {path}, line {line}: not valid TOML: {reason}")]
    Syntax {
        /// Path as given.
        path: String,
        /// Line, from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// A key that no setting has.
    #[error("{origin}: unknown setting `{key}`{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The valid key that is most like it, if one is.
        nearest: Option<String>,
    },
    /// A value out of range, or of the wrong kind.
    #[error("{origin}: `{key}` is {found}; expected {expected}")]
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// The setting's key.
        key: &'static str,
        /// The value, quoted; never a secret's.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A setting without a default that was not given.
    #[error("`{key}` is not set: {help} (flag {flag}, environment {env})")]
    Missing {
        /// The setting's key.
        key: &'static str,
        /// What it is.
        help: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        env: String,
    },
    /// Two settings, each valid, that contradict one another.
    #[error("`{first}` is {first_value} and `{second}` is {second_value}: {rule}")]
    Conflict {
        /// One key.
        first: &'static str,
        /// Its value.
        first_value: String,
        /// The other key.
        second: &'static str,
        /// Its value.
        second_value: String,
        /// The rule that they break, and how to fix it.
        rule: String,
    },
    /// A rule of a part, checked when its share of the configuration was read.
    #[error("{0}")]
    Rule(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}
