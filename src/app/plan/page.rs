//! What the page and the terminal offer beside what they show.

use crate::config::{Origin, SETTINGS, Setting, Values};
use crate::telemetry::{Surroundings, quote};

/// Pages elsewhere: their names, and the settings with their addresses.
const LINKS: [(&str, &str); 2] = [("Grafana", "page.links.grafana"), ("Logs", "page.links.logs")];

/// Commands that ask the running service read these settings.
const ASKS: &str = "http.";

/// As the settings say.
pub(super) fn surroundings(values: &Values) -> Surroundings {
    let link = |(name, key): (&'static str, &str)| {
        values.text_opt(key).map(|address| (name, address.to_owned()))
    };
    Surroundings {
        prefix: values.text_opt("page.command_prefix").unwrap_or_default().to_owned(),
        asking: arguments(values, |setting| setting.key.starts_with(ASKS)),
        all: arguments(values, |_| true),
        links: LINKS.into_iter().filter_map(link).collect(),
        now_us: 0,
    }
}

/// The file, and the flags that were given beside it. The environment is where the command is typed.
fn arguments(values: &Values, is_read: impl Fn(&Setting) -> bool) -> String {
    let file = SETTINGS.iter().find_map(|setting| match values.origin(setting.key) {
        Origin::File(path, _) => Some(format!("--config {}", quote(&path))),
        Origin::Default | Origin::Environment(_) | Origin::Flag(_) => None,
    });
    let is_flag = |it: &&Setting| matches!(values.origin(it.key), Origin::Flag(_)) && is_read(it);
    let flag = |setting: &Setting| {
        let text = match values.file_of(setting.key) {
            Some(file) => file.display().to_string(),
            None => values.shown_of(setting.key)?,
        };
        Some(format!("{} {}", setting.flag(), quote(&text)))
    };
    let flags = SETTINGS.iter().filter(is_flag).filter_map(flag);
    file.into_iter().chain(flags).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    #[test]
    fn commands_are_given_the_file_and_the_flags_that_they_read() {
        let flags = [
            ("http.listen", "127.0.0.1:9".to_owned()),
            ("http.token", "/run/token".to_owned()),
            ("filter.tables", "shop.*,crm.*".to_owned()),
        ];
        let file = "[stream]\nname = 'orders'\n[page]\ncommand_prefix = 'ssh db-1'\n\
                    [page.links]\nlogs = 'https://l/{stream}'\n";
        let values = load(Some(("/etc/b c.toml", file)), &Environment::new(), &flags, &|_| {
            Ok("planted-http-token".to_owned())
        });
        let around = surroundings(&values.expect("settings"));
        let asking =
            "--config '/etc/b c.toml' --http-listen 127.0.0.1:9 --http-token-file /run/token";
        assert_eq!(around.asking, asking);
        assert!(around.all.contains("--filter-tables 'shop.*,crm.*'"), "{}", around.all);
        assert!(!format!("{around:?}").contains("planted"), "{around:?}");
        assert_eq!(around.prefix, "ssh db-1");
        assert_eq!(around.links, [("Logs", "https://l/{stream}".to_owned())]);
    }

    #[test]
    fn a_link_leads_to_http_and_to_nothing_else() {
        for wrong in ["javascript:alert(1)", "data:text/html,x", "//evil", "ftp://a"] {
            let flags = [("page.links.grafana", wrong.to_owned())];
            let loaded = load(None, &Environment::new(), &flags, &|_| Ok(String::new()));
            let errors = loaded.expect_err(wrong);
            assert!(errors[0].to_string().contains("page.links.grafana"), "{errors:?}");
        }
    }
}
