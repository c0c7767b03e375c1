//! OAuth 2.0 client credentials (RFC 6749, 4.4): a token that is fetched, kept until shortly before it
//! expires, and fetched again when the receiver refuses it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_core::encode::percent_encoded;
use binpulse_core::excerpt::excerpt;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::answer::status_line;
use super::config::{Auth, Config, ConfigError};
use super::connect::Connector;
use super::connection::Connection;
use super::fault::Fault;
use super::resolve::Resolve;
use super::signature::SecretSource;

/// Most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long a token is good of which nobody says it.
const LIFETIME_DEFAULT: Duration = Duration::from_mins(5);
/// How long it is good at most, whatever is said.
const LIFETIME_MAX: Duration = Duration::from_hours(24);
/// A token is not used for as long before its end, or for a quarter of its life.
const MARGIN: Duration = Duration::from_mins(1);

/// Who asks for a token, and where.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// `relay.to.oauth.token_url`.
    pub token_url: String,
    /// `relay.to.oauth.client_id`.
    pub client_id: String,
    /// `relay.to.oauth.client_secret`.
    pub client_secret: SecretSource,
    /// `relay.to.oauth.scope`.
    pub scope: Option<String>,
    /// `relay.to.oauth.audience`, which some servers want.
    pub audience: Option<String>,
}

/// Fetches tokens and keeps the last one.
pub(super) struct Tokens {
    connector: Connector,
    client: ClientCredentials,
    /// Held while one is fetched: others wait for the same one.
    last: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    good_until: Instant,
}

/// What is read of an answer (RFC 6749, 5.1 and 5.2).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<f64>,
    error: Option<String>,
}

impl Tokens {
    /// Checks the settings: the same rules hold for the server of tokens as for the receiver.
    pub(super) fn new(
        config: &Config,
        client: &ClientCredentials,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ConfigError> {
        let of_token = Config { url: client.token_url.clone(), auth: Auth::None, ..config.clone() };
        let connector = Connector::new(&of_token, resolver).map_err(|error| match error {
            error if error.setting == "relay.to.url" => {
                ConfigError { setting: "relay.to.oauth.token_url".to_owned(), ..error }
            }
            error => error,
        })?;
        drop(client.client_secret.read()?);
        Ok(Self { connector, client: client.clone(), last: Mutex::new(None) })
    }

    /// The value of `Authorization`.
    pub(super) async fn header(&self, deadline: Instant) -> Result<HeaderValue, Fault> {
        let mut last = timeout_at(deadline, self.last.lock())
            .await
            .map_err(|_| self.fault("timed out (relay.to.timeout)"))?;
        if let Some(token) = last.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(token.header.clone());
        }
        let token = self.fetch(deadline).await?;
        let header = token.header.clone();
        *last = Some(token);
        Ok(header)
    }

    /// The receiver has refused this one. One that was fetched meanwhile stays.
    pub(super) async fn refused(&self, header: &HeaderValue) {
        let mut last = self.last.lock().await;
        last.take_if(|token| token.header == *header);
    }

    async fn fetch(&self, deadline: Instant) -> Result<Token, Fault> {
        let began = Instant::now();
        let request = self.request()?;
        let exchange = async {
            let stream = self.connector.connect(deadline).await?;
            let mut connection = Connection::new(stream).await?;
            let answer = connection.send(request, deadline).await?;
            let (status, line) = (answer.status(), status_line(&answer));
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
            let body = timeout_at(deadline, body).await;
            let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
            Ok((status, line, body))
        };
        let exchanged: Result<_, Fault> = exchange.await;
        let (status, line, body) = exchanged.map_err(|fault| self.fault(&fault.to_string()))?;
        let answer = body.and_then(|body| serde_json::from_slice::<Answer>(&body).ok());
        if !status.is_success() {
            let error = answer.and_then(|answer| answer.error).unwrap_or_default();
            return Err(self.fault(format!("{line} {}", excerpt(&error)).trim_end()));
        }
        let token = answer.and_then(|answer| token(answer, began));
        token.ok_or_else(|| {
            self.fault(
                "found no bearer token in the answer, expected a JSON object as RFC 6749 has it",
            )
        })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Fault> {
        let client = &self.client;
        let secret =
            client.client_secret.read().map_err(|error| Fault::Setting(error.to_string()))?;
        let basic =
            format!("{}:{}", percent_encoded(&client.client_id), percent_encoded(secret.trim()));
        let basic = format!("Basic {}", STANDARD.encode(basic));
        let mut body = String::from("grant_type=client_credentials");
        for (name, value) in [("scope", &client.scope), ("audience", &client.audience)] {
            if let Some(value) = value {
                body.push('&');
                body.push_str(name);
                body.push('=');
                body.push_str(&percent_encoded(value));
            }
        }
        let unfit = |_| Fault::Setting("relay.to.oauth.client_id: none for a header".to_owned());
        let mut authorization = HeaderValue::from_str(&basic).map_err(unfit)?;
        authorization.set_sensitive(true);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.connector.endpoint.target.clone();
        let head = request.headers_mut();
        head.insert(HOST, self.connector.endpoint.host_header.clone());
        head.insert(USER_AGENT, super::AGENT);
        head.insert(ACCEPT, HeaderValue::from_static("application/json"));
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        head.insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    fn fault(&self, text: &str) -> Fault {
        let place = self.connector.endpoint.place();
        Fault::Token(format!("relay.to.oauth.token_url, {place}: {text}"))
    }
}

/// The token of an answer; `None` for what is none.
fn token(answer: Answer, began: Instant) -> Option<Token> {
    let is_bearer = answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let access_token = answer.access_token.filter(|token| is_bearer && !token.is_empty())?;
    let lifetime = answer.expires_in.map_or(LIFETIME_DEFAULT, |seconds| {
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX)
    });
    let good_until = began + lifetime.saturating_sub(MARGIN.min(lifetime / 4));
    let mut header = HeaderValue::from_str(&format!("Bearer {access_token}")).ok()?;
    header.set_sensitive(true);
    Some(Token { header, good_until })
}
