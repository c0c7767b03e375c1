//! Joins the sources of settings: defaults, then the file, the environment, the flags; the later
//! wins.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Error, Kind, Origin, SETTINGS, Setting, Value, Values, credentials};

/// Names and values of the environment's `BINPULSE_*` variables.
pub type Environment = BTreeMap<String, String>;

/// Prefix of our variables.
const PREFIX: &str = "BINPULSE_";

/// Variables with our prefix that are no settings.
const FOREIGN_VARIABLES: [&str; 3] = ["BINPULSE_CONFIG", "BINPULSE_TEST_", "BINPULSE_DEMO_"];

/// Loads the configuration.
///
/// `file` is a path and the text found there; `flags` are keys with their text (for a secret: the
/// path of its file, as everywhere but in the environment). `read_file` reads a secret's file.
/// Returns every mistake that was found, so that one run shows them all.
pub fn load(
    file: Option<(&str, &str)>,
    environment: &Environment,
    flags: &[(&'static str, String)],
    read_file: &dyn Fn(&str) -> std::io::Result<String>,
) -> Result<Values, Vec<Error>> {
    let mut loading = Loading { values: Values::default(), errors: Vec::new(), read_file };
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            loading.take(setting, default, Origin::Default);
        }
    }
    if let Some((path, text)) = file {
        loading.file(path, text);
    }
    for (name, text) in environment {
        loading.variable(name, text);
    }
    for (key, text) in flags {
        if let Some(setting) = Setting::find(key) {
            let origin = Origin::Flag(setting.flag());
            if setting.is_secret() {
                loading.secret_file(setting, text, origin);
            } else {
                loading.take(setting, text, origin);
            }
        }
    }
    if loading.errors.is_empty() { Ok(loading.values) } else { Err(loading.errors) }
}

struct Loading<'a> {
    values: Values,
    errors: Vec<Error>,
    read_file: &'a dyn Fn(&str) -> std::io::Result<String>,
}

impl Loading<'_> {
    fn take(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        match setting.read(text, &origin) {
            Ok(value) => self.give(setting, value, origin),
            Err(error) => self.errors.push(error),
        }
    }

    fn give(&mut self, setting: &'static Setting, value: Value, origin: Origin) {
        self.values.given.insert(setting.key, (value, origin));
        // Unless it is said behind this: a later source wins whole.
        self.values.files.remove(setting.key);
    }

    fn secret_file(&mut self, setting: &'static Setting, path: &str, origin: Origin) {
        match (self.read_file)(path) {
            Ok(text) => {
                self.take(setting, text.trim_end_matches(['\r', '\n']), origin);
                self.values.files.insert(setting.key, path.into());
            }
            Err(error) => self.errors.push(Error::Unreadable {
                path: format!("{path} (for `{}`)", setting.key),
                reason: error.to_string(),
            }),
        }
    }

    fn variable(&mut self, name: &str, text: &str) {
        if FOREIGN_VARIABLES.iter().any(|foreign| name.starts_with(foreign)) {
            return;
        }
        let origin = Origin::Environment(name.to_owned());
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.env() == name) {
            return self.take(setting, text, origin);
        }
        let secret = SETTINGS
            .iter()
            .find(|setting| setting.is_secret() && format!("{}_FILE", setting.env()) == name);
        if let Some(setting) = secret {
            return self.secret_file(setting, text, origin);
        }
        // Without the prefix: it is no likeness that all have it.
        let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let names = SETTINGS.iter().map(|setting| bare(&setting.env()));
        self.errors.push(Error::Unknown {
            origin,
            key: name.to_owned(),
            nearest: nearest(&bare(name), names).map(|found| format!("{PREFIX}{found}")),
        });
    }

    fn file(&mut self, path: &str, text: &str) {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                self.errors.push(Error::Syntax {
                    path: path.to_owned(),
                    line: line(error.span().map_or(0, |span| span.start)),
                    reason: error.message().to_owned(),
                });
                return;
            }
        };
        for (section, entry) in table.get_ref() {
            let origin = Origin::File(path.to_owned(), line(section.span().start));
            let Some(entries) = entry.get_ref().as_table() else {
                self.unknown(section.get_ref(), origin);
                continue;
            };
            for (name, value) in entries {
                let key = format!("{}.{}", section.get_ref(), name.get_ref());
                let origin = Origin::File(path.to_owned(), line(name.span().start));
                // A section within a section, `[relay.to]`.
                let inner = value.get_ref().as_table().filter(|_| Setting::find(&key).is_none());
                for (name, value) in inner.into_iter().flatten() {
                    let origin = Origin::File(path.to_owned(), line(name.span().start));
                    self.entry(&format!("{key}.{}", name.get_ref()), value, origin);
                }
                if inner.is_none() {
                    self.entry(&key, value, origin);
                }
            }
        }
    }

    fn entry(&mut self, key: &str, value: &Spanned<DeValue<'_>>, origin: Origin) {
        let secret =
            key.strip_suffix("_file").and_then(Setting::find).filter(|setting| setting.is_secret());
        if let Some(setting) = secret {
            return self.secret_file(setting, value.get_ref().as_str().unwrap_or_default(), origin);
        }
        let Some(setting) = Setting::find(key) else { return self.unknown(key, origin) };
        if setting.is_secret() {
            self.errors.push(Error::Invalid {
                origin,
                key: setting.key,
                found: "in the file".to_owned(),
                expected: format!(
                    "it in the environment ({}) or in a file of its own (`{key}_file`)",
                    setting.env()
                ),
            });
            return;
        }
        match text_of(setting.kind, value.get_ref()) {
            Ok(Given::Text(text)) => self.take(setting, &text, origin),
            // What has a default can't do without: a stream of no tables is a mistake.
            Ok(Given::Items(items)) if items.is_empty() && setting.default.is_some() => {
                self.errors.push(Error::Invalid {
                    origin,
                    key: setting.key,
                    found: "an empty list".to_owned(),
                    expected: setting.kind.to_string(),
                });
            }
            Ok(Given::Items(items)) => {
                let mut checks =
                    items.iter().map(|item| credentials::refuse(setting, item, &origin));
                match checks.find_map(Result::err) {
                    None => self.give(setting, Value::List(items), origin),
                    Some(error) => self.errors.push(error),
                }
            }
            Err(found) => self.errors.push(Error::Invalid {
                origin,
                key: setting.key,
                found,
                expected: setting.kind.to_string(),
            }),
        }
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let keys = SETTINGS.iter().map(|setting| setting.key.to_owned());
        self.errors.push(Error::Unknown {
            origin,
            key: key.to_owned(),
            nearest: nearest(key, keys),
        });
    }
}

enum Given {
    Text(String),
    Items(Vec<String>),
}

/// A TOML value as the text that its kind reads; `Err` says what was found instead.
fn text_of(kind: Kind, value: &DeValue<'_>) -> Result<Given, String> {
    match value {
        DeValue::String(text) => Ok(Given::Text(text.to_string())),
        DeValue::Integer(number) => Ok(Given::Text(number.as_str().to_owned())),
        DeValue::Boolean(on) => Ok(Given::Text(on.to_string())),
        DeValue::Array(items) if kind.is_list() => items
            .iter()
            .map(|item| {
                item.get_ref()
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| format!("a list with a {} in it", item.get_ref().type_str()))
            })
            .collect::<Result<_, _>>()
            .map(Given::Items),
        DeValue::Array(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err(format!("a {}", value.type_str()))
        }
    }
}

/// The name most like `wanted`, if at most a third of it would have to change.
pub(super) fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|name| (distance(wanted, &name), name))
        .min()
        .filter(|(distance, name)| *distance * 3 <= name.len().max(wanted.len()))
        .map(|(_, name)| name)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn no_file(path: &str) -> std::io::Result<String> {
        if path == "/secret" {
            Ok("hunter2\n".to_owned())
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    fn from_file(text: &str) -> Result<Values, Vec<Error>> {
        load(Some(("binpulse.toml", text)), &Environment::new(), &[], &no_file)
    }

    #[test]
    fn flags_outrank_environment_outranks_file_outranks_default() {
        let file =
            "[heartbeat]\ninterval = \"6s\"\nwrite_deadline = \"3s\"\nseen_deadline = \"6s\"\n";
        let environment = Environment::from([
            ("BINPULSE_HEARTBEAT_INTERVAL".to_owned(), "7s".to_owned()),
            ("BINPULSE_HEARTBEAT_WRITE_DEADLINE".to_owned(), "4s".to_owned()),
        ]);
        let flags = [("heartbeat.interval", "8s".to_owned())];
        let values =
            load(Some(("f", file)), &environment, &flags, &no_file).expect("valid configuration");
        for (key, seconds) in [
            ("heartbeat.interval", 8),
            ("heartbeat.write_deadline", 4),
            ("heartbeat.seen_deadline", 6),
            ("canary.interval", 10),
        ] {
            assert_eq!(values.duration(key), Ok(Duration::from_secs(seconds)), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_gets_its_place_and_the_nearest_valid_one() {
        let errors = from_file("[source]\nhosts = [\"a:1\"]\n\n[heartbeat]\nintervall = \"5s\"\n")
            .expect_err("unknown key");
        assert_eq!(
            errors[0].to_string(),
            "binpulse.toml, line 5: unknown setting `heartbeat.intervall`; did you mean `heartbeat.interval`?"
        );
        let variable = Environment::from([("BINPULSE_SNS_TOPPIC".to_owned(), "x".to_owned())]);
        let errors = load(None, &variable, &[], &no_file).expect_err("unknown variable");
        assert!(errors[0].to_string().contains("did you mean `BINPULSE_SNS_TOPIC`?"), "{errors:?}");
    }

    #[test]
    fn settings_of_a_format_stand_in_a_table_of_their_own() {
        let values = from_file("[formats.debezium]\nschemas_enable = true\n").expect("nested");
        assert_eq!(values.flag("formats.debezium.schemas_enable"), Ok(true));
        let values =
            from_file("[formats]\ndebezium = { schemas_enable = true }\n").expect("inline");
        assert_eq!(values.flag("formats.debezium.schemas_enable"), Ok(true));
        let errors = from_file("[formats.debezium]\nschema_enable = true\n").expect_err("no such");
        assert_eq!(
            errors[0].to_string(),
            "binpulse.toml, line 2: unknown setting `formats.debezium.schema_enable`; did you mean \
             `formats.debezium.schemas_enable`?"
        );
        assert!(from_file("[formats.avro]\nx = 1\n").is_err());
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_found_and_allowed() {
        let errors = from_file(
            "[heartbeat]\ninterval = 5\n[sink]\nkind = \"kafka\"\n[message]\nlanes = 0\n[filter]\ntables = [1]\n",
        )
        .expect_err("four mistakes");
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 4, "{text:?}");
        assert!(text.iter().any(|line| line
            == "binpulse.toml, line 2: `heartbeat.interval` is `5`; expected a duration from 200ms to 1h"));
        assert!(
            text.iter().any(|line| line.contains("`kafka`; expected one of sns, stdout, null"))
        );
        assert!(text.iter().any(|line| line.contains("a list with a integer in it")));
    }

    #[test]
    fn secrets_come_from_environment_or_files_and_are_never_shown() {
        let values = from_file("[source]\npassword_file = \"/secret\"\n").expect("secret file");
        assert_eq!(values.text("source.password"), Ok("hunter2"));
        assert!(!format!("{values:?}").contains("hunter2"));
        assert_eq!(values.file_of("source.password"), Some(Path::new("/secret")));
        let environment =
            Environment::from([("BINPULSE_SOURCE_PASSWORD".to_owned(), "b".to_owned())]);
        let file = "[source]\npassword_file = \"/secret\"\n";
        let values = load(Some(("f", file)), &environment, &[], &no_file).expect("valid");
        assert_eq!(
            (values.text("source.password"), values.file_of("source.password")),
            (Ok("b"), None)
        );
        let errors =
            from_file("[source]\npassword = \"hunter2\"\n").expect_err("secret in the file");
        assert!(!errors[0].to_string().contains("hunter2"), "{errors:?}");
        assert!(errors[0].to_string().contains("BINPULSE_SOURCE_PASSWORD"), "{errors:?}");
        let errors = from_file("[source]\npassword_file = \"/gone\"\n").expect_err("no such file");
        assert!(errors[0].to_string().contains("/gone"), "{errors:?}");
    }

    #[test]
    fn a_section_within_a_section_has_keys_of_three_parts() {
        let file = "[relay]\nname = \"partners\"\n[relay.to]\nkind = \"webhook\"\n";
        let values = from_file(file).expect("both are settings");
        assert_eq!(values.text_opt("relay.to.kind"), Some("webhook"));
        let errors = from_file("[relay.to]\nkindd = \"webhook\"\n").expect_err("no such key");
        let told = errors[0].to_string();
        assert!(told.contains("line 2") && told.contains("`relay.to.kind`"), "{told}");
    }

    #[test]
    fn broken_toml_names_its_line() {
        let errors = from_file("[source]\nhosts = [\n").expect_err("not TOML");
        assert!(matches!(&errors[0], Error::Syntax { line, .. } if *line >= 2), "{errors:?}");
    }
}
