//! User names and passwords in URLs: what is no secret is shown in `/status` and in logs, so it must
//! have none in it.

use super::{Error, Origin, Setting};

/// Refuses text for `setting` that has a URL with a user name or a password in it, without showing them.
pub(super) fn refuse(setting: &Setting, text: &str, origin: &Origin) -> Result<(), Error> {
    let shown = hidden(text, HOSTS.contains(&setting.key));
    let Some(shown) = shown.filter(|_| !setting.is_secret()) else { return Ok(()) };
    Err(Error::Invalid {
        origin: origin.clone(),
        key: setting.key,
        found: format!("`{shown}`"),
        expected: "an address without a user name and a password: the logs and `/status` show it"
            .to_owned(),
    })
}

/// Settings that hold hosts: what stands before an `@` is a user there also without a scheme.
const HOSTS: [&str; 2] = ["source.hosts", "heartbeat.host"];

/// The text without what stands between `://` and the last `@`, for a host without all before that, and
/// without a query, which may have a token; `None`: there is nothing to hide.
fn hidden(text: &str, is_host: bool) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if is_host => (String::new(), text),
        None => return None,
    };
    let (_, host) = rest.rsplit_once('@')?;
    let host = host.split('?').next().unwrap_or_default();
    Some(format!("{scheme}***@{host}"))
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, SETTINGS, load};

    const WITH: &str = "http://somebody:hunter2@host.example/a";

    #[test]
    fn a_password_in_a_url_is_refused_wherever_it_is_given_and_never_shown() {
        let refused = |file: &str, environment: &Environment, flags: &[(&'static str, String)]| {
            let file = (!file.is_empty()).then_some(("f.toml", file));
            let errors = load(file, environment, flags, &|_| Ok(WITH.to_owned()));
            let errors: Vec<_> =
                errors.expect_err("refused").iter().map(ToString::to_string).collect();
            let [error] = errors.as_slice() else { panic!("{errors:?}") };
            assert!(!error.contains("hunter2") && !error.contains("somebody"), "{error}");
            assert!(error.contains("***@host.example/a"), "{error}");
        };
        let none = Environment::new();
        let urls = ["sns.endpoint_url", "sink.claim_check_endpoint_url", "probe.queue"];
        for key in urls {
            refused("", &none, &[(key, WITH.to_owned())]);
        }
        let variable = [("BINPULSE_SNS_ENDPOINT_URL".to_owned(), WITH.to_owned())];
        refused("", &variable.into(), &[]);
        refused(&format!("[sns]\nendpoint_url = '{WITH}'"), &none, &[]);
        refused(&format!("[canary]\necho = ['a=http://b', 'c={WITH}']"), &none, &[]);
        refused(&format!("[canary]\necho = 'a=http://b,c={WITH}'"), &none, &[]);
        refused("", &none, &[("relay.to.url", format!("{WITH}?token=hunter2"))]);
        let host = "somebody:hunter2@host.example/a";
        refused("", &none, &[("source.hosts", host.to_owned())]);
        refused(&format!("[heartbeat]\nhost = '{host}'"), &none, &[]);
        // A password with the marks of a URL in it is hidden as a whole.
        refused(
            "",
            &none,
            &[("sns.endpoint_url", "http://somebody:a://hunter2/?@x@host.example/a".to_owned())],
        );
    }

    #[test]
    fn secrets_and_urls_without_a_password_are_taken() {
        let secrets = SETTINGS.iter().filter(|setting| setting.is_secret());
        let secrets: Vec<_> = secrets.map(|setting| (setting.key, "file".to_owned())).collect();
        load(None, &Environment::new(), &secrets, &|_| Ok(WITH.to_owned())).expect("secrets");
        let url = [("sns.endpoint_url", "https://host.example:1/a?b=c".to_owned())];
        load(None, &Environment::new(), &url, &|_| Ok(String::new())).expect("a URL");
    }
}
