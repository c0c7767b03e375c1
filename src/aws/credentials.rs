//! Credentials from the default chain, looked at before they are used.
//!
//! The SDK puts them into HTTP headers and panics over what no header takes, and it reads the shared
//! files once: here what can't be sent is refused by name, and files that have changed are read again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// How long credentials that do not expire are said to last, so that the files are looked at again. The
/// SDK asks ten seconds before.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The shared files: the variable that names each, and its place below the home folder.
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

/// The default chain over the files as they are now.
#[derive(Debug)]
pub(super) struct Chain {
    http: SharedHttpClient,
    region: Option<Region>,
    profile: Option<String>,
    built: Mutex<Option<Built>>,
}

#[derive(Debug, Clone)]
struct Built {
    stamp: Stamp,
    chain: Arc<DefaultCredentialsChain>,
    /// Credentials that do not expire; the chain may run a program for them.
    lasting: Option<Credentials>,
}

/// What tells whether a file has changed: time, length and inode of each.
type Stamp = [Option<(SystemTime, u64, u64)>; 2];

impl Chain {
    pub(super) fn new(
        http: SharedHttpClient,
        region: Option<Region>,
        profile: Option<String>,
    ) -> Self {
        Self { http, region, profile, built: Mutex::new(None) }
    }

    async fn load(&self) -> provider::Result {
        let stamp = FILES.map(|(variable, place)| stamp(&path(variable, place)?));
        let known = self.built.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = known.is_some();
        let built = match known.filter(|known| known.stamp == stamp) {
            Some(known) => known,
            None => {
                if before {
                    tracing::info!("the shared AWS files have changed and are read again");
                }
                Built { stamp, chain: Arc::new(self.build().await), lasting: None }
            }
        };
        let credentials = match &built.lasting {
            Some(lasting) => lasting.clone(),
            None => checked(built.chain.provide_credentials().await?)?,
        };
        let lasting = credentials.expiry().is_none().then(|| credentials.clone());
        let kept = Built { lasting, ..built };
        *self.built.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(for_now(credentials))
    }

    async fn build(&self) -> DefaultCredentialsChain {
        let config = ProviderConfig::default().with_http_client(self.http.clone());
        let mut builder = DefaultCredentialsChain::builder().configure(config);
        builder.set_region(self.region.clone());
        if let Some(profile) = &self.profile {
            builder = builder.profile_name(profile);
        }
        builder.build().await
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// Credentials that are asked for again soon.
fn for_now(mut credentials: Credentials) -> Credentials {
    let expiry = credentials.expiry_mut();
    *expiry = expiry.or_else(|| SystemTime::now().checked_add(LOOK_AGAIN));
    credentials
}

fn path(variable: &str, place: &str) -> Option<PathBuf> {
    let home = || std::env::home_dir();
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(named) => match named.to_str().and_then(|text| text.strip_prefix("~/")) {
            Some(below) => Some(home()?.join(below)),
            None => Some(named.into()),
        },
        None => Some(home()?.join(place)),
    }
}

fn stamp(path: &PathBuf) -> Option<(SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

/// Refuses what HTTP headers don't take, by the name of what holds it, without showing it.
fn checked(credentials: Credentials) -> provider::Result {
    let parts = [
        ("AWS_ACCESS_KEY_ID", "aws_access_key_id", Some(credentials.access_key_id())),
        ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", Some(credentials.secret_access_key())),
        ("AWS_SESSION_TOKEN", "aws_session_token", credentials.session_token()),
    ];
    for (variable, name, value) in parts {
        let Some(value) = value else { continue };
        let strange =
            value.chars().enumerate().find(|(_, character)| !character.is_ascii_graphic());
        let Some((at, character)) = strange else { continue };
        let is_variable = std::env::var(variable).is_ok_and(|set| set.trim() == value.trim());
        let name = if is_variable { variable } else { name };
        return Err(CredentialsError::invalid_configuration(format!(
            "{name} holds {} as character {} of {}; expected printable ASCII without spaces: a \
             secret that was made from a file often ends with a line break",
            character.escape_unicode(),
            at + 1,
            value.chars().count(),
        )));
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::chain;

    #[test]
    fn what_no_header_takes_is_refused_by_name_and_not_shown() {
        let key = |text: &str| text.to_owned();
        for (credentials, name) in [
            (Credentials::new("AKIA\n", "secret", None, None, "t"), "aws_access_key_id"),
            (Credentials::new("AKIA", "hunter 2", None, None, "t"), "aws_secret_access_key"),
            (Credentials::new("AKIA", "s", Some(key("to\u{7f}")), None, "t"), "aws_session_token"),
            (Credentials::new("AKI\u{e9}", "s", None, None, "t"), "aws_access_key_id"),
        ] {
            let error = checked(credentials).expect_err(name);
            let words = chain(&error);
            assert!(words.contains(name) && words.contains("\\u{"), "{words}");
            assert!(!words.contains("AKI") && !words.contains("hunter"), "{words}");
        }
        let good = Credentials::new("AKIA", "a/b+c=", Some(key("t==")), None, "t");
        checked(good).expect("good");
    }
}
