//! What differs between two sets of settings, and what it takes for the newer one to hold.

use std::fmt;

use super::values::show;
use super::{SETTINGS, Setting, Value, Values};

/// When another value of a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// As soon as the settings are read again.
    Reload,
    /// After a restart.
    Restart,
    /// After a restart, which begins a new epoch: rows get other numbers.
    NewEpoch,
}

/// A setting with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub key: &'static str,
    /// The values before and now, secrets hidden; `None`: not set.
    pub values: [Option<String>; 2],
    /// When the new one holds.
    pub takes: Takes,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, now] = self.values.each_ref().map(|it| it.as_deref().unwrap_or("(not set)"));
        write!(f, "{}: {before} -> {now}", self.key)
    }
}

impl Values {
    /// What is different in `newer`. Secrets of the same file are not: they are read again at each use.
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let value = |values: &Self, key| values.given.get(key).map(|(value, _)| value.clone());
        let changed = SETTINGS.iter().filter(|setting| {
            let key = setting.key;
            let same_file = self.files.get(key).is_some_and(|it| newer.files.get(key) == Some(it));
            let is_read_at_use = setting.is_secret() && same_file && setting.takes == Takes::Reload;
            !is_read_at_use && value(self, key) != value(newer, key)
        });
        let shown = |values: &Self, key, is_secret| {
            let show = |value: Value| if is_secret { "***".to_owned() } else { show(&value) };
            value(values, key).map(show)
        };
        let difference = |setting: &Setting| Difference {
            key: setting.key,
            values: [self, newer].map(|values| shown(values, setting.key, setting.is_secret())),
            takes: if setting.is_secret() { Takes::Restart } else { setting.takes },
        };
        changed.map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Takes::{NewEpoch, Reload, Restart};
    use super::*;
    use crate::config::{Environment, load};

    fn values(file: &str) -> Values {
        let read = |path: &str| Ok(format!("secret of {path}"));
        let found = load(Some(("binpulse.toml", file)), &Environment::new(), &[], &read);
        found.expect("valid settings")
    }

    #[test]
    fn each_setting_that_changed_is_told_with_what_it_takes() {
        let before = values(
            "[filter]\ntables = ['shop.*']\nhash_key_file = 'a'\n[source]\npassword_file = 'p'",
        );
        assert_eq!(before.differences(&before), []);
        let now = values(
            "[filter]\ntables = ['shop.*', 'crm.*']\nexclude = ['shop.x']\nhash_key_file = 'b'\n\
             [message]\nlanes = 4\n[source]\npassword_file = 'p'\n[log]\nlevel = 'debug'",
        );
        let told = before.differences(&now);
        let lines: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "filter.tables: shop.* -> shop.*,crm.*",
                "filter.exclude: (not set) -> shop.x",
                "filter.hash_key: *** -> ***",
                "message.lanes: 1 -> 4",
                "log.level: info -> debug",
            ]
        );
        let takes: Vec<_> = told.iter().map(|it| it.takes).collect();
        assert_eq!(takes, [Reload, Reload, Restart, NewEpoch, Reload]);
    }

    #[test]
    fn a_secret_whose_file_has_another_text_is_read_where_it_is_used() {
        let of = |file: &str, secret: &'static str| {
            let read = move |_: &str| Ok(secret.to_owned());
            load(Some(("f", file)), &Environment::new(), &[], &read).expect("valid settings")
        };
        let file = "[source]\npassword_file = 'p'";
        assert_eq!(of(file, "one").differences(&of(file, "two")), []);
        // The key of hashes is read once: rows with one key are not comparable to those with another.
        let file = "[filter]\nhash_key_file = 'k'";
        let told = of(file, "one").differences(&of(file, "two"));
        assert_eq!(
            told.iter().map(|it| (it.key, it.takes)).collect::<Vec<_>>(),
            [("filter.hash_key", Takes::Restart)]
        );
    }

    #[test]
    fn the_documents_name_the_settings_that_a_reload_changes() {
        let page = include_str!("../../docs/operate/reload.md");
        let line = page.lines().find(|line| line.ends_with("| at once |")).expect("its row");
        let named: Vec<_> = line.split('`').skip(1).step_by(2).collect();
        let reloaded = SETTINGS.iter().filter(|it| it.takes == Reload && !it.is_secret());
        assert_eq!(named, reloaded.map(|it| it.key).collect::<Vec<_>>());
    }
}
