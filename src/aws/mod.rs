//! What every AWS client of ours shares: credentials, region, HTTP client, deadlines.
//!
//! Credentials come from the default chain of `aws-config`: environment, shared files and profile,
//! SSO, web identity, ECS and EKS, instance metadata. There is one HTTP client, on rustls with ring.
//! The clients themselves are built by the parts that use them (`sink::sns`, the echo of `freshness`),
//! from the [`SdkConfig`] that [`Shared::service`] hands out. This file sends nothing but what the
//! credential chain needs.

mod bounded;
mod credentials;
mod error;
mod proxy;

use std::error::Error as StdError;
use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder as HttpClient, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient as HttpClientTrait, HttpConnectorSettings, SharedHttpClient,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

pub use crate::excerpt::chain;
use crate::excerpt::excerpt;
use bounded::Bounded;

pub use error::Error;

/// Whether an ARN, a URL or a name is that of a FIFO topic or queue: AWS demands the suffix, in lower
/// case, for those and forbids it for others.
pub fn is_fifo(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

/// The region in a queue's URL, `https://sqs.eu-west-1.amazonaws.com/...`; `None` elsewhere.
pub fn region_of_queue(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://sqs.")?;
    host.split_once(".amazonaws.").map(|(region, _)| region)
}

/// How long a kept-alive connection may idle, seconds: below the usual idle limits of load
/// balancers (60 s) and NAT gateways (350 s), so that a dead connection is not the next to be used.
const POOL_IDLE: Duration = Duration::from_secs(45);

/// What the operator says about AWS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Region; `None`: that of the default chain (environment, profile, instance metadata).
    pub region: Option<String>,
    /// Profile of the shared configuration files; `None`: `AWS_PROFILE`, or `default`.
    pub profile: Option<String>,
}

/// Deadlines of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until the connection stands, DNS and TCP.
    pub connect: Duration,
    /// Until the first byte of the answer, from when the request was handed to the connection.
    pub read: Duration,
    /// For the whole call, credentials and attempts included.
    pub operation: Duration,
}

impl Default for Deadlines {
    /// Below the 10 s after which an unacknowledged publish counts as a stalled sink.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(6),
            operation: Duration::from_secs(8),
        }
    }
}

/// Loaded once, shared by all clients: their connection pools and credential caches are common.
#[derive(Debug, Clone)]
pub struct Shared {
    sdk: SdkConfig,
    proxy: ProxyConfig,
}

impl Shared {
    /// Sets up region, proxy and credential chain. Credentials are looked up by the first request, so
    /// missing ones show there and not here.
    ///
    /// # Errors
    ///
    /// A proxy or a region of the environment that can't be one.
    pub async fn load(config: &Config) -> Result<Self, Error> {
        #[cfg(feature = "testing")]
        if let Some(machine) = crate::platform::current() {
            let region = config.region.as_deref().unwrap_or("simulated");
            return Ok(Self::stand_in_over(region, machine.http()).await);
        }
        let proxy = proxy::of(|name| std::env::var(name).ok())?;
        let http = http(proxy.clone());
        let region = config.region.clone().map(Region::new);
        let chain = credentials::Chain::new(http.clone(), region.clone(), config.profile.clone());
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .credentials_provider(chain);
        if let Some(region) = region {
            loader = loader.region(region);
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        let shared = Self { sdk: loader.load().await, proxy };
        match shared.region() {
            // It goes into headers and host names.
            Some(region) if !region.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') => {
                Err(Error::Region { found: excerpt(region) })
            }
            Some(_) | None => Ok(shared),
        }
    }

    /// For a stand-in that does not check signatures: fixed, meaningless credentials, so that
    /// nobody's real ones are looked for or sent.
    #[cfg(feature = "testing")]
    pub async fn stand_in(region: &str) -> Self {
        let credentials = Credentials::new("stand-in", "stand-in", None, None, "stand-in");
        let region = Region::new(region.to_owned());
        let proxy = ProxyConfig::disabled();
        let loader =
            aws_config::defaults(BehaviorVersion::latest()).http_client(http(proxy.clone()));
        let sdk = loader.region(region).credentials_provider(credentials).load().await;
        Self { sdk, proxy }
    }

    /// The same over another HTTP client: for tests that answer themselves.
    #[cfg(feature = "testing")]
    pub async fn stand_in_over(region: &str, http: impl HttpClientTrait + 'static) -> Self {
        let credentials = Credentials::new("stand-in", "stand-in", None, None, "stand-in");
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        let loader = loader.region(Region::new(region.to_owned()));
        let sdk = loader.credentials_provider(credentials).load().await;
        Self { sdk, proxy: ProxyConfig::disabled() }
    }

    /// The region in force, if any was configured or found.
    pub fn region(&self) -> Option<&str> {
        self.sdk.region().map(AsRef::as_ref)
    }

    /// Where credentials come from, for requests that no SDK makes. It caches nothing.
    pub fn credentials(&self) -> Option<SharedCredentialsProvider> {
        self.sdk.credentials_provider()
    }

    /// A bare HTTP client, for requests that no SDK makes.
    pub fn connector(&self, deadlines: Deadlines) -> Connector {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(deadlines.connect)
            .read_timeout(deadlines.read)
            .build();
        Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .pool_idle_timeout(POOL_IDLE)
            .proxy_config(self.proxy.clone())
            .connector_settings(settings)
            .build()
    }

    /// Settings for one service's client.
    ///
    /// `endpoint_url` stands for the service's own endpoint (stand-ins, VPC endpoints), `region` for
    /// the one in force. The SDK's own retries are off: whoever calls owns the policy. So is its
    /// stalled-stream protection, which watches for slow transfers; `deadlines` does that here.
    pub fn service(
        &self,
        endpoint_url: Option<&str>,
        region: Option<&str>,
        deadlines: Deadlines,
    ) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(deadlines.connect)
            .read_timeout(deadlines.read)
            .operation_timeout(deadlines.operation)
            .build();
        let mut builder = self
            .sdk
            .to_builder()
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = region {
            builder = builder.region(Region::new(region.to_owned()));
        }
        if let Some(url) = endpoint_url {
            builder = builder.endpoint_url(url);
        }
        builder.build()
    }
}

/// A failed call in words: HTTP status, the service's code and text, or why there was no answer.
pub fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let words = match (error.code(), error.message()) {
        (Some(code), Some(text)) => format!("{code}: {text}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => chain(error),
    };
    let words = match error.raw_response() {
        Some(response) => format!("HTTP {}: {words}", response.status().as_u16()),
        None => words,
    };
    excerpt(&words)
}

/// The client of all services and of the credential chain.
fn http(proxy: ProxyConfig) -> SharedHttpClient {
    let http = HttpClient::new().build_with_connector_fn(move |settings, components| {
        let mut connector =
            Connector::builder().pool_idle_timeout(POOL_IDLE).proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    });
    SharedHttpClient::new(Bounded(http))
}
