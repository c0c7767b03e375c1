//! A connection to the receiver, at an address that was checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::address::is_allowed;
use super::answer::status_line;
use super::config::{Config, ConfigError, Egress, Endpoint, Proxy, authorization};
use super::fault::{Fault, Step, within};
use super::meter::{Budget, Metered, Stream};
use super::resolve::Resolve;
use super::tls::Tls;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Bytes that a proxy may send before its tunnel stands.
const PROXY_BYTES_MAX: usize = 32 * 1024;

/// Makes connections.
pub(super) struct Connector {
    pub(super) endpoint: Endpoint,
    egress: Egress,
    resolver: Arc<dyn Resolve>,
    tls: Option<Tls>,
}

impl Connector {
    pub(super) fn new(config: &Config, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        let endpoint = config.check()?;
        let tls = if endpoint.is_tls { Some(Tls::new(config)?) } else { None };
        Ok(Self { endpoint, egress: config.egress.clone(), resolver, tls })
    }

    /// Connects, with TLS where the URL has it, before `deadline`.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Box<dyn Stream>, Fault> {
        let tunnel: Box<dyn Stream> = match &self.egress.proxy {
            Some(proxy) => self.through(proxy, deadline).await?,
            None => Box::new(self.direct(deadline).await?),
        };
        let Some(tls) = &self.tls else { return Ok(tunnel) };
        let client = tls.client().map_err(|error| Fault::Setting(error.to_string()))?;
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|_| Fault::Setting(format!("{} is no name for TLS", self.endpoint.host)))?;
        let handshake = TlsConnector::from(client).connect(name, tunnel);
        Ok(Box::new(within(deadline, Step::Tls, handshake).await?))
    }

    /// To the first allowed address that answers. Each has its share of the time that is left.
    async fn direct(&self, deadline: Instant) -> Result<TcpStream, Fault> {
        let addresses = self.addresses(deadline).await?;
        let mut failed = Fault::NoAddress;
        for (index, address) in addresses.iter().enumerate() {
            let now = Instant::now();
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = now + deadline.saturating_duration_since(now) / left;
            match within(share, Step::Connect, TcpStream::connect(*address)).await {
                Ok(stream) => return prepared(stream),
                Err(fault) => failed = fault.at(address.ip()),
            }
        }
        Err(failed)
    }

    /// The addresses of the host that may be reached.
    async fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
        let host = self.endpoint.host.as_str();
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => within(deadline, Step::Resolve, self.resolver.resolve(host)).await?,
        };
        if found.is_empty() {
            return Err(Fault::NoAddress);
        }
        let loopback_only = !self.endpoint.is_tls && self.egress.https_only;
        let allowed: Vec<_> = found
            .iter()
            .filter(|address| is_allowed(**address, &self.egress.allow))
            .filter(|address| !loopback_only || address.is_loopback())
            .take(ADDRESSES_MAX)
            .map(|address| SocketAddr::new(*address, self.endpoint.port))
            .collect();
        match found.first() {
            Some(first) if allowed.is_empty() => Err(Fault::NotAllowed(*first)),
            _ => Ok(allowed),
        }
    }

    async fn through(&self, proxy: &Proxy, deadline: Instant) -> Result<Box<dyn Stream>, Fault> {
        let connecting = TcpStream::connect((proxy.host.as_str(), proxy.port));
        let stream = prepared(within(deadline, Step::Proxy, connecting).await?)?;
        let opening = timeout_at(deadline, self.tunnel(proxy, stream));
        opening.await.unwrap_or(Err(Fault::TimedOut(Step::Proxy)))
    }

    async fn tunnel(&self, proxy: &Proxy, stream: TcpStream) -> Result<Box<dyn Stream>, Fault> {
        let stream = Metered::new(stream, Budget::new(PROXY_BYTES_MAX));
        let budget = stream.budget();
        let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::of(Step::Proxy, &error))?;
        let place = format!("{}:{}", bracketed(&self.endpoint.host), self.endpoint.port);
        let mut request =
            Request::builder().method(Method::CONNECT).uri(&place).header(HOST, &place);
        if let Some(credentials) = &proxy.credentials {
            let value =
                authorization(credentials, |text| format!("Basic {}", STANDARD.encode(text)))
                    .map_err(|error| Fault::Setting(error.to_string()))?;
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(|error| Fault::of(Step::Proxy, &error))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let line = status_line(&answer);
            if !status.is_success() {
                return Ok(Err(Fault::Proxy(line)));
            }
            hyper::upgrade::on(answer).await.map(Ok)
        };
        // The connection makes progress only while it is polled; it is of no use after the upgrade.
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let mut exchange = std::pin::pin!(exchange);
        let upgraded = tokio::select! {
            upgraded = &mut exchange => upgraded,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error),
            },
        };
        let upgraded = upgraded.map_err(|error| Fault::of(Step::Proxy, &error))??;
        // From here on the bytes are the receiver's.
        budget.lift();
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

/// Small requests wait for nothing.
fn prepared(stream: TcpStream) -> Result<TcpStream, Fault> {
    stream.set_nodelay(true).map_err(|error| Fault::of(Step::Connect, &error))?;
    Ok(stream)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
