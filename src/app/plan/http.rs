//! What the settings say of the HTTP server.

use std::net::SocketAddr;

use crate::config::{Error, Values};
use crate::telemetry::http::{Access, Certificate, TOKEN_MIN, Token};

/// Where it listens, and who may ask.
#[derive(Debug, Clone)]
pub struct HttpPlan {
    /// Address.
    pub address: SocketAddr,
    /// Token and TLS.
    pub access: Access,
    /// Where others reach it, without a slash at the end.
    pub url: String,
}

/// Reads the settings. An address that others can reach needs a token, or the word that it needs none.
/// `listen` is the setting with the address: the service and the probe have one each.
pub(in crate::app) fn http_plan(values: &Values, listen: &'static str) -> Result<HttpPlan, Error> {
    let address: SocketAddr =
        values.text(listen)?.parse().map_err(|_| values.invalid(listen, "an address and port"))?;
    let token = match values.text_opt("http.token") {
        None => None,
        Some(text) if text.chars().count() < TOKEN_MIN => {
            let why =
                format!("`http.token` has fewer than {TOKEN_MIN} characters: make a longer one");
            return Err(Error::Rule(why));
        }
        Some(text) => Some(match values.file_of("http.token") {
            Some(file) => Token::in_file(text, file),
            None => Token::new(text),
        }),
    };
    if token.is_none() && !address.ip().is_loopback() && !values.flag("http.open")? {
        return Err(Error::Rule(format!(
            "`{listen}` is {address}, which others can reach, and there is no token: set \
             `http.token` (BINPULSE_HTTP_TOKEN, or a file with it), or `http.open = true` where the \
             network keeps others out"
        )));
    }
    let tls = match (values.path_opt("http.tls_certificate"), values.path_opt("http.tls_key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let made = Certificate::open(&certificate, &key);
            Some(made.map_err(|error| Error::Rule(format!("http.tls_certificate: {error}")))?)
        }
        (Some(_), None) | (None, Some(_)) => {
            let why = "`http.tls_certificate` and `http.tls_key` go together: only one is set";
            return Err(Error::Rule(why.to_owned()));
        }
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = match values.text_opt("http.public_url") {
        None => format!("{scheme}://{address}"),
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            url.trim_end_matches('/').to_owned()
        }
        Some(_) => {
            return Err(values.invalid("http.public_url", "an address with https:// or http://"));
        }
    };
    Ok(HttpPlan { address, access: Access { token, tls }, url })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(settings: &[(&'static str, &str)]) -> Result<HttpPlan, String> {
        let set = |values: Values, (key, text): &(&'static str, &str)| values.with(key, text);
        let none = crate::config::load(None, &crate::config::Environment::new(), &[], &|_| {
            Ok(String::new())
        });
        let values = settings.iter().try_fold(none.expect("defaults"), set).expect("settings");
        http_plan(&values, "http.listen").map_err(|error| error.to_string())
    }

    const TOKEN: (&str, &str) = ("http.token", "sixteen-and-more");

    #[test]
    fn beyond_loopback_it_answers_only_with_a_token_or_when_told_so() {
        for local in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1"] {
            assert!(plan(&[("http.listen", local)]).is_ok(), "{local}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "[::ffff:127.0.0.1]:1"] {
            let refused = plan(&[("http.listen", open)]).expect_err(open);
            assert!(refused.contains("http.token") && refused.contains("http.open"), "{refused}");
            assert!(plan(&[("http.listen", open), TOKEN]).is_ok(), "{open}");
            assert!(plan(&[("http.listen", open), ("http.open", "true")]).is_ok(), "{open}");
        }
    }

    #[test]
    fn links_begin_with_the_address_that_others_reach() {
        let url = |settings: &[(&'static str, &str)]| plan(settings).map(|plan| plan.url);
        assert_eq!(url(&[]).as_deref(), Ok("http://127.0.0.1:9187"));
        let public = |url| ("http.public_url", url);
        assert_eq!(
            url(&[public("https://pulse.example/x/")]).as_deref(),
            Ok("https://pulse.example/x")
        );
        let refused = url(&[public("javascript:alert(1)")]).expect_err("no address");
        assert!(refused.contains("http.public_url"), "{refused}");
    }

    #[test]
    fn short_tokens_and_half_an_identity_are_refused_and_the_token_is_not_shown() {
        let refused = plan(&[("http.token", "fifteen-letters")]).expect_err("short");
        assert!(refused.contains("16") && !refused.contains("fifteen"), "{refused}");
        let refused = plan(&[("http.tls_key", "/nowhere")]).expect_err("half");
        assert!(refused.contains("http.tls_certificate"), "{refused}");
        let paths = [("http.tls_key", "/nowhere"), ("http.tls_certificate", "/nowhere.crt")];
        let refused = plan(&paths).expect_err("no file");
        assert!(refused.contains("/nowhere.crt"), "{refused}");
    }
}
