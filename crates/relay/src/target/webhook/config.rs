//! What a webhook is told, checked.

use std::net::IpAddr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use ipnet::IpNet;

use super::address::is_allowed;
use super::oauth::ClientCredentials;
use super::signature::SecretSource;

/// Secrets that sign at a time: the current one, and those on their way in or out.
const SECRETS_MAX: usize = 4;
/// Limits of `relay.to.timeout`.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_mins(2);
/// Most connections to one endpoint.
const CONNECTIONS_MAX: usize = 1_000;

/// A webhook's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `relay.to.url`.
    pub url: String,
    /// `relay.to.secret`: each signs; the first is the current one.
    pub secrets: Vec<SecretSource>,
    /// How the receiver knows us beside the signature.
    pub auth: Auth,
    /// `relay.to.timeout`: deadline of an attempt, from the name's resolution to the answer.
    pub timeout: Duration,
    /// `relay.to.concurrency`: requests, and so connections, at a time. More wait.
    pub connections: usize,
    /// `relay.to.ca`: PEM text of the authorities that may vouch for the receiver, instead of those
    /// of the machine.
    pub authorities: Option<SecretSource>,
    /// Where connections may lead.
    pub egress: Egress,
}

impl Config {
    /// The defaults for a URL and its secrets.
    pub fn new(url: impl Into<String>, secrets: Vec<SecretSource>) -> Self {
        Self {
            url: url.into(),
            secrets,
            auth: Auth::None,
            timeout: Duration::from_secs(15),
            connections: 16,
            authorities: None,
            egress: Egress::default(),
        }
    }
}

/// How the receiver knows us beside the signature.
#[derive(Debug, Clone)]
pub enum Auth {
    /// By the signature alone.
    None,
    /// `relay.to.bearer`: a token in the header `Authorization`.
    Bearer(SecretSource),
    /// By a token of OAuth 2.0, fetched for these credentials.
    Client(ClientCredentials),
    /// By a client certificate (mTLS), read again for each connection.
    Certificate {
        /// `relay.to.certificate`: PEM text of the certificate and its chain.
        certificate: SecretSource,
        /// `relay.to.key`: PEM text of its key.
        key: SecretSource,
    },
}

/// Where connections may lead.
#[derive(Debug, Clone)]
pub struct Egress {
    /// `relay.egress.allow`: networks that may be reached although they are not global.
    pub allow: Vec<IpNet>,
    /// `relay.egress.ports`.
    pub ports: Vec<u16>,
    /// `relay.egress.https_only`: without TLS only loopback is reached, and only if it is allowed.
    pub https_only: bool,
    /// `relay.egress.proxy`: everything goes through it. It resolves the name, and so decides which
    /// addresses are reached.
    pub proxy: Option<Proxy>,
}

impl Default for Egress {
    fn default() -> Self {
        Self { allow: Vec::new(), ports: vec![443], https_only: true, proxy: None }
    }
}

/// A proxy that opens tunnels with `CONNECT`. Its own address is not checked: the operator chose it.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `user:password`, for `Proxy-Authorization: Basic`.
    pub credentials: Option<SecretSource>,
}

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: found {found}, needed {needed}: {remedy}")]
pub struct ConfigError {
    /// The setting.
    pub setting: String,
    /// What was found, without secrets.
    pub found: String,
    /// What is needed.
    pub needed: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl ConfigError {
    fn new(
        setting: &str,
        found: impl Into<String>,
        needed: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self { setting: setting.to_owned(), found: found.into(), needed, remedy }
    }
}

/// `relay.to.url`, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) host_header: HeaderValue,
    /// Path and query. May have a token in it, so it is in no message.
    pub(super) target: Uri,
}

impl Endpoint {
    /// `host:port`, for messages.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn parse(url: &str) -> Result<Self, ConfigError> {
        const NEEDED: &str = "a URL of the form https://host/path";
        const REMEDY: &str = "write the receiver's URL in full";
        let unfit = |found: &str| ConfigError::new("relay.to.url", found, NEEDED, REMEDY);
        if url.contains('#') {
            return Err(unfit("a fragment (#)"));
        }
        let uri: Uri = url.parse().map_err(|error| unfit(&format!("no URL ({error})")))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(unfit("a scheme other than https")),
            None => return Err(unfit("no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| unfit("no host"))?;
        if authority.as_str().contains('@') {
            return Err(ConfigError::new(
                "relay.to.url",
                "a user or a password",
                "a URL without them",
                "use relay.to.bearer, or a client certificate",
            ));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.as_str().ends_with(':') {
            return Err(unfit("no host, or no port after the colon"));
        }
        let port_standard = if is_tls { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(port_standard);
        // A port that does not fit into 16 bits is none, and would be taken for the standard one.
        if authority.port().is_none() && !authority.as_str().ends_with(authority.host()) {
            return Err(unfit("a port above 65535"));
        }
        let header = if port == port_standard { authority.host() } else { authority.as_str() };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            is_tls,
            host,
            port,
            host_header: HeaderValue::from_str(header).map_err(|_| unfit("no host"))?,
            target: target.parse().map_err(|_| unfit("no path"))?,
        })
    }
}

impl Config {
    /// Checks what can be checked before the first connection.
    pub(super) fn check(&self) -> Result<Endpoint, ConfigError> {
        let endpoint = Endpoint::parse(&self.url)?;
        self.check_egress(&endpoint)?;
        if !(1..=SECRETS_MAX).contains(&self.secrets.len()) {
            return Err(ConfigError::new(
                "relay.to.secret",
                format!("{} secrets", self.secrets.len()),
                "1 to 4",
                "name the current secret first, then those that receivers may still have",
            ));
        }
        if !TIMEOUT.contains(&self.timeout) {
            return Err(ConfigError::new(
                "relay.to.timeout",
                format!("{:?}", self.timeout),
                "100 ms to 120 s",
                "15 s is usual",
            ));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(ConfigError::new(
                "relay.to.concurrency",
                self.connections.to_string(),
                "1 to 1000",
                "16 is usual",
            ));
        }
        match &self.auth {
            Auth::Bearer(token) => drop(bearer(token)?),
            Auth::Certificate { .. } if !endpoint.is_tls => {
                return Err(ConfigError::new(
                    "relay.to.certificate",
                    "a certificate for a URL without TLS",
                    "https",
                    "change relay.to.url, or leave the certificate out",
                ));
            }
            Auth::None | Auth::Client(_) | Auth::Certificate { .. } => {}
        }
        Ok(endpoint)
    }

    fn check_egress(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        if !self.egress.ports.contains(&endpoint.port) {
            return Err(ConfigError::new(
                "relay.to.url",
                format!("port {}", endpoint.port),
                "one of relay.egress.ports",
                "add the port there, if it is meant",
            ));
        }
        let literal = endpoint.host.parse::<IpAddr>().ok();
        if let Some(address) = literal
            && !is_allowed(address, &self.egress.allow)
        {
            return Err(ConfigError::new(
                "relay.to.url",
                address.to_string(),
                "a public address",
                "add its network to relay.egress.allow, if it is meant",
            ));
        }
        let may_be_plain = !self.egress.https_only
            || endpoint.host == "localhost"
            || literal.is_some_and(|address| address.is_loopback());
        if !endpoint.is_tls && !may_be_plain {
            return Err(ConfigError::new(
                "relay.to.url",
                "http",
                "https",
                "use https, or set relay.egress.https_only = false",
            ));
        }
        Ok(())
    }
}

/// The value of `Authorization` for a token.
pub(super) fn bearer(token: &SecretSource) -> Result<HeaderValue, ConfigError> {
    authorization(token, |text| format!("Bearer {text}"))
}

/// A header with a secret in it.
pub(super) fn authorization(
    secret: &SecretSource,
    header: impl Fn(&str) -> String,
) -> Result<HeaderValue, ConfigError> {
    const NEEDED: &str = "one line of visible characters";
    let text = secret.read()?;
    if text.trim().is_empty() {
        return Err(secret.unfit("nothing".to_owned(), NEEDED));
    }
    let mut value = HeaderValue::from_str(&header(text.trim()))
        .map_err(|_| secret.unfit("characters that no header may have".to_owned(), NEEDED))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change<'a> = &'a dyn Fn(&mut Config);

    fn check(url: &str, change: impl Fn(&mut Config)) -> Result<Endpoint, String> {
        let secret = SecretSource::new("relay.to.secret[0]", || Ok(String::new()));
        let mut config = Config::new(url, vec![secret]);
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let endpoint = check("https://Partner.example/hooks/1?a=b", |_| {}).expect("fit");
        assert!(endpoint.is_tls);
        assert_eq!(endpoint.place(), "Partner.example:443");
        assert_eq!(endpoint.host_header, "Partner.example");
        assert_eq!(endpoint.target, "/hooks/1?a=b");
        let endpoint = check("https://[2606:4700::1]:8443", |config| {
            config.egress.ports = vec![8443];
        })
        .expect("fit");
        assert_eq!(endpoint.place(), "[2606:4700::1]:8443");
        assert_eq!(endpoint.host_header, "[2606:4700::1]:8443");
        assert_eq!(endpoint.target, "/");
        assert_eq!(check("https://a.example:443/", |_| {}).expect("fit").host_header, "a.example");
    }

    #[test]
    fn what_can_not_work_is_refused_with_the_name_of_the_setting() {
        let refused = [
            ("", "relay.to.url: found no URL"),
            ("partner.example", "relay.to.url: found no scheme"),
            ("/hooks", "relay.to.url: found no scheme"),
            ("ftp://partner.example/", "relay.to.url: found a scheme other than https"),
            ("https://", "relay.to.url: found no URL"),
            ("https:///hooks", "relay.to.url: found no URL"),
            ("https://:443/", "relay.to.url: found no"),
            ("https://partner.example:/", "relay.to.url: found no host, or no port"),
            ("https://partner.example:65536/", "relay.to.url: found a port above 65535"),
            ("https://partner.example/#a", "relay.to.url: found a fragment"),
            ("https://user:secret@partner.example/", "relay.to.url: found a user or a password"),
            ("https://b\u{fc}cher.example/", "relay.to.url: found no URL"),
            ("https://partner.example:8443/", "relay.to.url: found port 8443"),
            ("https://127.0.0.1/", "relay.to.url: found 127.0.0.1, needed a public address"),
            ("https://[::ffff:10.0.0.1]/", "relay.to.url: found ::ffff:10.0.0.1, needed a public"),
            ("http://partner.example:443/", "relay.to.url: found http, needed https"),
        ];
        for (url, expected) in refused {
            let error = check(url, |_| {}).expect_err(url);
            assert!(error.starts_with(expected), "{url}: {error}");
            assert!(!error.contains("secret@") && !error.contains("hooks"), "{error}");
        }
        let refused: [(Change<'_>, &str); 5] = [
            (&|config| config.secrets.clear(), "relay.to.secret: found 0 secrets"),
            (&|config| config.timeout = Duration::ZERO, "relay.to.timeout: found 0ns"),
            (&|config| config.connections = 0, "relay.to.concurrency: found 0"),
            (
                &|config| {
                    let token = SecretSource::new("relay.to.bearer", || Ok("a\nb".to_owned()));
                    config.auth = Auth::Bearer(token);
                },
                "relay.to.bearer: found characters that no header may have",
            ),
            (
                &|config| {
                    let token = SecretSource::new("relay.to.bearer", || Ok(" ".to_owned()));
                    config.auth = Auth::Bearer(token);
                },
                "relay.to.bearer: found nothing",
            ),
        ];
        for (change, expected) in refused {
            let error = check("https://partner.example/", change).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn without_tls_only_loopback_is_reached_unless_it_is_said() {
        let plain = |url: &str, allow: &str, https_only| {
            check(url, |config| {
                config.egress.allow = vec![allow.parse().expect("a network")];
                config.egress.ports = vec![80];
                config.egress.https_only = https_only;
            })
        };
        assert!(plain("http://127.0.0.1/", "127.0.0.0/8", true).is_ok());
        assert!(plain("http://localhost/", "127.0.0.0/8", true).is_ok());
        assert!(plain("http://10.0.0.1/", "10.0.0.0/8", true).is_err());
        assert!(plain("http://10.0.0.1/", "10.0.0.0/8", false).is_ok());
        assert!(plain("http://partner.example/", "10.0.0.0/8", false).is_ok());
    }
}
