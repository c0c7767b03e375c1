//! The table of settings: the only place where a key, its kind, default and help are written.
//!
//! Each section has its file; [`SETTINGS`] joins them in the order of the reference.

mod canary;
mod checkpoint;
mod decode;
mod filter;
mod form;
mod formats;
mod ha;
mod heartbeat;
mod http;
mod log;
mod message;
mod outbox;
mod page;
mod probe;
mod relay;
mod shadow;
mod shutdown;
mod sink;
mod snapshot;
mod sns;
mod source;
mod stream;
mod unit;

use super::{Error, Kind, Origin, Takes, Value, credentials};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `section.name`, as in the file.
    pub key: &'static str,
    /// Kind and range.
    pub kind: Kind,
    /// Default as it would be written; `None`: none.
    pub default: Option<&'static str>,
    /// One line for `--help` and the reference.
    pub help: &'static str,
    /// What it takes for another value to hold. Of a secret, for another text in its file.
    pub takes: Takes,
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    // The files of secrets are read at each use.
    let takes = if matches!(kind, Kind::Secret) { Takes::Reload } else { Takes::Restart };
    Setting { key, kind, default, help, takes }
}

/// The sections, in the order of the reference.
const SECTIONS: &[&[Setting]] = &[
    stream::SETTINGS,
    source::SETTINGS,
    heartbeat::SETTINGS,
    canary::SETTINGS,
    filter::SETTINGS,
    snapshot::SETTINGS,
    message::SETTINGS,
    formats::SETTINGS,
    outbox::SETTINGS,
    sink::SETTINGS,
    sns::SETTINGS,
    checkpoint::SETTINGS,
    ha::SETTINGS,
    decode::SETTINGS,
    http::SETTINGS,
    page::SETTINGS,
    probe::SETTINGS,
    relay::SETTINGS,
    shadow::SETTINGS,
    log::SETTINGS,
    shutdown::SETTINGS,
];

const COUNT: usize = {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        count += SECTIONS[section].len();
        section += 1;
    }
    count
};

/// All settings, by section, in the order of the reference.
pub const SETTINGS: &[Setting] = &{
    let mut all = [SECTIONS[0][0]; COUNT];
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        let mut within = 0;
        while within < SECTIONS[section].len() {
            all[count] = SECTIONS[section][within];
            count += 1;
            within += 1;
        }
        section += 1;
    }
    all
};

impl Setting {
    /// The same, of which another value takes this to hold.
    const fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// The setting with this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its flag, `--source-hosts`; a secret's takes the path of a file, `--source-password-file`.
    pub fn flag(&self) -> String {
        let name = self.key.replace(['.', '_'], "-");
        if self.is_secret() { format!("--{name}-file") } else { format!("--{name}") }
    }

    /// Its environment variable, `BINPULSE_SOURCE_HOSTS`.
    pub fn env(&self) -> String {
        format!("BINPULSE_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Section and name in the file; a secret's file is given by `name_file`.
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// Whether its value must never be shown, nor be a flag.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// Reads its value from text that stands at `origin`.
    pub fn read(&self, text: &str, origin: &Origin) -> Result<Value, Error> {
        credentials::refuse(self, text, origin)?;
        self.kind.parse(text).ok_or_else(|| Error::Invalid {
            origin: origin.clone(),
            key: self.key,
            found: if self.is_secret() { "empty".to_owned() } else { format!("`{text}`") },
            expected: self.kind.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value() {
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                setting.read(default, &Origin::Default).expect(setting.key);
            }
        }
    }

    #[test]
    fn keys_flags_and_variables_are_distinct() {
        let distinct = |of: fn(&Setting) -> String| {
            SETTINGS.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(|s| s.key.to_owned()), SETTINGS.len());
        assert_eq!(distinct(Setting::flag), SETTINGS.len());
        assert_eq!(distinct(Setting::env), SETTINGS.len());
    }

    #[test]
    fn a_section_has_the_name_of_its_file_and_stands_in_one_place() {
        let names = SECTIONS.iter().map(|section| {
            let (name, _) = section[0].section_and_name();
            assert!(section.iter().all(|setting| setting.section_and_name().0 == name), "{name}");
            name
        });
        let names: Vec<_> = names.collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
