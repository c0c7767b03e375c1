//! The proxy that requests to AWS go through, as other AWS clients take it from the environment.
//!
//! Only HTTPS goes through it: plain HTTP is for stand-ins, and for the metadata services of EC2 and ECS,
//! which no proxy reaches.

use aws_smithy_http_client::proxy::ProxyConfig;

use super::Error;
use crate::excerpt::excerpt;

/// Where a proxy for HTTPS is named; the first that is not empty counts.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Where hosts are named that are reached without it.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy that the environment names.
pub(super) fn of(read: impl Fn(&str) -> Option<String>) -> Result<ProxyConfig, Error> {
    let value = |name| read(name).filter(|value| !value.trim().is_empty());
    let named = VARIABLES.iter().find_map(|name| Some((*name, value(name)?)));
    let Some((variable, found)) = named else { return Ok(ProxyConfig::disabled()) };
    let url = if found.contains("://") { found.clone() } else { format!("http://{found}") };
    let refused = |why: String| Error::Proxy { variable, found: shown(&found), why };
    let scheme = url.split("://").next().unwrap_or_default().to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(refused(format!("the scheme {scheme} is not supported")));
    }
    // What is wrong with it may hold the password.
    let proxy = ProxyConfig::https(url).map_err(|_| refused("it is not a URL".to_owned()))?;
    let exceptions = EXCEPTIONS.into_iter().find_map(value);
    tracing::info!(variable, proxy = shown(&found), "requests to AWS go through a proxy");
    Ok(match exceptions {
        Some(exceptions) => proxy.no_proxy(exceptions),
        None => proxy,
    })
}

/// The value without a user and a password.
fn shown(value: &str) -> String {
    let (scheme, rest) =
        value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map(|(_, host)| format!("***@{host}"));
    let host = excerpt(host.as_deref().unwrap_or(rest));
    if scheme.is_empty() { host } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(name: &'static str, value: &'static str) -> Result<ProxyConfig, Error> {
        of(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_proxy_is_taken_or_refused_by_the_name_of_its_variable() {
        for name in VARIABLES {
            for value in ["http://proxy:3128", "https://u:p@proxy:3128/", "proxy.example:3128"] {
                assert!(!of_one(name, value).expect(value).is_disabled(), "{name}={value}");
            }
            for value in
                ["socks5://proxy:1080", "http://", "http://a b", "ftp://u:secret@h", "x\ny"]
            {
                let error = of_one(name, value).expect_err(value).to_string();
                assert!(error.starts_with(name) && !error.contains("secret"), "{error}");
                assert!(error.contains("expected http://HOST:PORT"), "{error}");
                assert!(!error.contains('\n'), "{error}");
            }
            assert!(of_one(name, " ").expect("nothing").is_disabled());
        }
        assert!(of_one("HTTP_PROXY", "http://proxy:3128").expect("not asked").is_disabled());
    }
}
