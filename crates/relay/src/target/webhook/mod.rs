//! Webhooks: requests to an endpoint of somebody else, signed as Standard Webhooks 1.0 says.
//!
//! * An answer of 2xx, and nothing else, means that the receiver has the rows. The body of an answer
//!   says nothing, and is neither kept nor logged.
//! * One deadline holds for an attempt, from the resolution of the name to the head of the answer.
//! * The name is resolved for each connection, and the connection is made to an address that was
//!   checked: private networks can't be reached by a name that changes. No redirect is followed.
//!   Variables of the environment such as `HTTPS_PROXY` are not heeded.
//! * Everything that an endpoint sends is bounded: 16 KiB of head, 4 KiB of body, 64 KiB in all.
//!
//! It does not know retries and breakers: one call, one attempt.

mod address;
mod answer;
mod config;
mod connect;
mod connection;
mod fault;
mod meter;
mod oauth;
mod resolve;
mod signature;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::config::bearer;
use self::connect::Connector;
use self::connection::{Connection, Pool, is_drained};
use self::fault::Fault;
use self::oauth::Tokens;
use self::signature::Signer;
use super::{Outcome, Request};

pub use self::config::{Auth, Config, ConfigError, Egress, Proxy};
pub use self::oauth::ClientCredentials;
pub use self::resolve::{Addresses, Resolve, SystemResolver};
pub use self::signature::SecretSource;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("binpulse/", env!("CARGO_PKG_VERSION")));

/// An endpoint that requests are delivered to.
pub struct Webhook {
    connector: Connector,
    signer: Signer,
    auth: Auth,
    tokens: Option<Tokens>,
    timeout: Duration,
    slots: Semaphore,
    pool: Pool,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("endpoint", &self.place()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Checks the settings; connects to nothing.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_resolver(config, Arc::new(SystemResolver))
    }

    /// The same, with names resolved by `resolver`.
    pub fn with_resolver(config: Config, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        let tokens = match &config.auth {
            Auth::Client(client) => Some(Tokens::new(&config, client, Arc::clone(&resolver))?),
            Auth::None | Auth::Bearer(_) | Auth::Certificate { .. } => None,
        };
        Ok(Self {
            connector: Connector::new(&config, resolver)?,
            tokens,
            signer: Signer::new(&config.secrets)?,
            auth: config.auth,
            timeout: config.timeout,
            slots: Semaphore::new(config.connections),
            pool: Pool::default(),
        })
    }

    /// `host:port` of the endpoint: its path may have a token in it, so it is not shown.
    pub fn place(&self) -> String {
        self.connector.endpoint.place()
    }

    /// The addresses of the endpoint that may be reached, by resolving its name; connects to none.
    /// Empty where a proxy resolves it.
    pub async fn addresses(&self) -> Result<Vec<std::net::SocketAddr>, String> {
        let deadline = Instant::now() + self.timeout;
        self.connector.reachable(deadline).await.map_err(|fault| fault.to_string())
    }

    /// Makes one attempt.
    pub async fn deliver(&self, request: &Request) -> Outcome {
        // It is never closed; without a slot there would merely be one request more.
        let _slot = self.slots.acquire().await;
        match self.attempt(request, Instant::now() + self.timeout).await {
            Ok(outcome) => outcome,
            Err(fault) => fault.outcome(&self.place()),
        }
    }

    async fn attempt(&self, request: &Request, deadline: Instant) -> Result<Outcome, Fault> {
        let Some(tokens) = &self.tokens else {
            return Ok(self.once(request, None, deadline).await?.0);
        };
        let token = tokens.header(deadline).await?;
        let (outcome, status) = self.once(request, Some(&token), deadline).await?;
        if status != StatusCode::UNAUTHORIZED {
            return Ok(outcome);
        }
        // It may have been withdrawn before its time: a new one is tried, once.
        tokens.refused(&token).await;
        let token = tokens.header(deadline).await?;
        Ok(self.once(request, Some(&token), deadline).await?.0)
    }

    /// One request, and what was answered.
    async fn once(
        &self,
        request: &Request,
        token: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<(Outcome, StatusCode), Fault> {
        let mut head = self.head(request)?;
        if let Some(token) = token {
            head.insert(AUTHORIZATION, token.clone());
        }
        let (connection, answer) = self.exchange(head, &request.body, deadline).await?;
        let outcome = answer::outcome(&answer, SystemTime::now());
        let status = answer.status();
        if is_drained(answer.into_body(), deadline).await {
            self.pool.put(connection);
        }
        Ok((outcome, status))
    }

    /// A connection that was kept may have been closed just now. Where nothing of an answer has come,
    /// the request goes once more over a new one: it has the same id, as after any failure.
    async fn exchange(
        &self,
        head: HeaderMap,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<(Connection, Response<Incoming>), Fault> {
        if let Some(mut kept) = self.pool.take() {
            match kept.send(self.request(head.clone(), body), deadline).await {
                Ok(answer) => return Ok((kept, answer)),
                Err(Fault::Broken { .. }) if kept.is_unanswered() => {}
                Err(fault) => return Err(fault),
            }
        }
        let stream = self.connector.connect(deadline).await?;
        let mut connection = Connection::new(stream).await?;
        let answer = connection.send(self.request(head, body), deadline).await?;
        Ok((connection, answer))
    }

    fn request(&self, head: HeaderMap, body: &Bytes) -> HttpRequest<Full<Bytes>> {
        let mut request = HttpRequest::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.connector.endpoint.target.clone();
        *request.headers_mut() = head;
        request
    }

    fn head(&self, request: &Request) -> Result<HeaderMap, Fault> {
        if request.id.is_empty() || request.id.contains('.') {
            // The signature joins id, time and body with dots.
            return Err(Fault::Unsendable("the id is empty or has a dot in it".to_owned()));
        }
        let id = HeaderValue::from_str(&request.id)
            .map_err(|_| Fault::Unsendable("the id is none for a header".to_owned()))?;
        let media_type = HeaderValue::from_str(request.content_type)
            .map_err(|_| Fault::Unsendable("the media type is none".to_owned()))?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = since.unwrap_or_default().as_secs();
        let signature = self.signer.sign(&request.id, timestamp, &request.body);
        let signature = HeaderValue::from_str(&signature)
            .map_err(|_| Fault::Unsendable("the signature is none for a header".to_owned()))?;
        let mut head = HeaderMap::with_capacity(8);
        head.insert(HOST, self.connector.endpoint.host_header.clone());
        head.insert(USER_AGENT, AGENT);
        head.insert(CONTENT_TYPE, media_type);
        head.insert(WEBHOOK_ID, id);
        head.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
        head.insert(WEBHOOK_SIGNATURE, signature);
        for attribute in &request.attributes {
            let (name, value) = crate::outbox::header(attribute);
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) else {
                let why = format!("the attribute {} is none for a header", attribute.name);
                return Err(Fault::Unsendable(why));
            };
            head.append(name, value);
        }
        if let Auth::Bearer(token) = &self.auth {
            let value = bearer(token).map_err(|error| Fault::Setting(error.to_string()))?;
            head.insert(AUTHORIZATION, value);
        }
        Ok(head)
    }
}
