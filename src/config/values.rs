//! Settings after loading: every key has a value of its kind, or none was given nor defaulted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, SETTINGS, Setting};

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, choice, form, secret.
    Text(String),
    /// Integers and sizes in bytes.
    Integer(u64),
    /// Durations.
    Duration(Duration),
    /// Switches.
    Bool(bool),
    /// Lists.
    List(Vec<String>),
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Path and line, from 1.
    File(String, usize),
    /// Name of the environment variable.
    Environment(String),
    /// The flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{path}, line {line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// Every setting's value and origin.
///
/// Invariant: a key that is present is one of [`SETTINGS`] and its value is of that setting's kind.
#[derive(Clone, Default)]
pub struct Values {
    pub(super) given: BTreeMap<&'static str, (Value, Origin)>,
    /// Files that secrets were read from.
    pub(super) files: BTreeMap<&'static str, PathBuf>,
}

impl fmt::Debug for Values {
    /// Secrets show as `***`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Values {
    /// A copy with `key` set to `text`, as tests do it.
    pub fn with(mut self, key: &'static str, text: &str) -> Result<Self, Error> {
        let setting =
            Setting::find(key).ok_or_else(|| Error::Rule(format!("no setting `{key}`")))?;
        let value = setting.read(text, &Origin::Flag(setting.flag()))?;
        self.given.insert(setting.key, (value, Origin::Flag(setting.flag())));
        self.files.remove(setting.key);
        Ok(self)
    }

    /// A copy in which each key that begins with `section` has its default.
    #[must_use]
    pub fn with_defaults(mut self, section: &str) -> Self {
        for setting in SETTINGS.iter().filter(|setting| setting.key.starts_with(section)) {
            self.files.remove(setting.key);
            let default = setting.default.map(|text| setting.read(text, &Origin::Default));
            match default {
                Some(Ok(value)) => self.given.insert(setting.key, (value, Origin::Default)),
                // A test reads each default, so there is none.
                Some(Err(_)) | None => self.given.remove(setting.key),
            };
        }
        self
    }

    /// Each key with its value as text, secrets hidden, for people to read.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().filter_map(|setting| {
            let (value, _) = self.given.get(setting.key)?;
            Some((setting.key, if setting.is_secret() { HIDDEN.to_owned() } else { show(value) }))
        })
    }

    /// The value of `key` as a flag takes it; `None` for a secret.
    pub fn shown_of(&self, key: &str) -> Option<String> {
        self.shown().find(|(known, text)| *known == key && text != HIDDEN).map(|(_, text)| text)
    }

    /// The values of all secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        SETTINGS.iter().filter(|it| it.is_secret()).filter_map(|it| self.text_opt(it.key))
    }

    /// Where the value of `key` stands.
    pub fn origin(&self, key: &str) -> Origin {
        self.given.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The value of `key` if there is one.
    pub fn text_opt(&self, key: &str) -> Option<&str> {
        match self.given.get(key) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// The file that the secret `key` was read from, if it was.
    pub fn file_of(&self, key: &str) -> Option<&Path> {
        self.files.get(key).map(PathBuf::as_path)
    }

    /// The value of `key`, which must be given.
    pub fn text(&self, key: &str) -> Result<&str, Error> {
        self.text_opt(key).ok_or_else(|| missing(key))
    }

    /// The value of `key` as a path, if there is one.
    pub fn path_opt(&self, key: &str) -> Option<PathBuf> {
        self.text_opt(key).map(PathBuf::from)
    }

    /// The whole number or size of `key`.
    pub fn integer(&self, key: &str) -> Result<u64, Error> {
        match self.given.get(key) {
            Some((Value::Integer(number), _)) => Ok(*number),
            _ => Err(missing(key)),
        }
    }

    /// The size of `key` in bytes, or the number, as a `usize`.
    pub fn size(&self, key: &str) -> Result<usize, Error> {
        let number = self.integer(key)?;
        usize::try_from(number).map_err(|_| Error::Rule(format!("`{key}` is {number}: too large")))
    }

    /// The duration of `key`.
    pub fn duration(&self, key: &str) -> Result<Duration, Error> {
        match self.given.get(key) {
            Some((Value::Duration(duration), _)) => Ok(*duration),
            _ => Err(missing(key)),
        }
    }

    /// The switch `key`.
    pub fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.given.get(key) {
            Some((Value::Bool(on), _)) => Ok(*on),
            _ => Err(missing(key)),
        }
    }

    /// The list `key`; empty when not given.
    pub fn list(&self, key: &str) -> &[String] {
        match self.given.get(key) {
            Some((Value::List(items), _)) => items,
            _ => &[],
        }
    }

    /// The error for a value that is of its kind, but not what `expected` says.
    pub fn invalid(&self, key: &'static str, expected: impl Into<String>) -> Error {
        let found = self
            .given
            .get(key)
            .map_or_else(|| "not set".to_owned(), |(value, _)| format!("`{}`", show(value)));
        Error::Invalid { origin: self.origin(key), key, found, expected: expected.into() }
    }

    /// The error for two values that contradict one another.
    pub fn conflict(&self, first: &'static str, second: &'static str, rule: &str) -> Error {
        let show = |key: &str| {
            self.given.get(key).map_or_else(|| "not set".to_owned(), |(value, _)| show(value))
        };
        Error::Conflict {
            first,
            first_value: show(first),
            second,
            second_value: show(second),
            rule: rule.to_owned(),
        }
    }
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Duration(duration) => format!("{duration:?}"),
        Value::Bool(on) => on.to_string(),
        Value::List(items) => items.join(","),
    }
}

fn missing(key: &str) -> Error {
    Setting::find(key).map_or_else(
        || Error::Rule(format!("no setting `{key}`")),
        |setting| Error::Missing {
            key: setting.key,
            help: setting.help,
            flag: setting.flag(),
            env: setting.env(),
        },
    )
}
