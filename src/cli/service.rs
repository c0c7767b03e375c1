//! Asking the running service on this machine, with the settings that it runs with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::ArgMatches;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::style::{fitted, print, say};
use super::{Exit, flags, runtime};
use crate::config::Values;
use crate::local_http::{self, Answer, exchange_over};
use crate::telemetry::http::chain;
use crate::tls::{NOT_THE_ONE, Trust, Verifier};

/// Whom to ask, and how.
pub(super) struct Service {
    address: String,
    /// Header lines.
    headers: String,
    tls: Option<TlsConnector>,
}

impl Service {
    /// The service that runs with these settings: with its token, and only if it has the certificate
    /// that they name.
    pub(super) fn of(values: &Values) -> Result<Self, String> {
        let tls = values.path_opt("http.tls_certificate").map(|path| {
            let chain = chain(&path).map_err(|error| format!("http.tls_certificate: {error}"))?;
            connector(chain.into_iter().next()).map_err(|error| error.to_string())
        });
        let token = values.text_opt("http.token");
        let headers = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        Ok(Self {
            address: address(values, "http.listen")?,
            headers: headers.unwrap_or_default(),
            tls: tls.transpose()?,
        })
    }

    /// The same for the question whether it lives: nothing secret is told, and whatever certificate it
    /// has will do. After a renewal that went wrong it lives on with the one before.
    pub(super) fn for_health(values: &Values) -> Result<Self, String> {
        let has_tls = values.path_opt("http.tls_certificate").is_some();
        let tls = has_tls.then(|| connector(None).map_err(|error| error.to_string()));
        let address = address(values, "http.listen")?;
        Ok(Self { address, headers: String::new(), tls: tls.transpose()? })
    }

    /// The same for the relay, which listens elsewhere.
    pub(super) fn of_relay(values: &Values) -> Result<Self, String> {
        Ok(Self { address: address(values, "relay.listen")?, ..Self::of(values)? })
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks for a path.
    pub(super) fn ask(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, &self.headers)
    }

    /// Posts to a path, with headers and without a body.
    pub(super) fn tell(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let mut lines = self.headers.clone();
        for (name, value) in headers {
            lines.extend([name, ": ", value, "\r\n"]);
        }
        self.send("POST", path, &lines)
    }

    fn send(&self, method: &str, path: &str, headers: &str) -> Result<Answer, String> {
        let runtime = runtime().map_err(|_| "can't start the runtime".to_owned())?;
        let exchange = self.exchange(method, path, headers);
        let answer = runtime
            .block_on(local_http::within_deadline(&self.address, path, exchange))
            .map_err(|error| error.to_string())?;
        if answer.code == 401 {
            let why = "the service requires another token: set http.token to the service's";
            return Err(format!("{}{path}: {why}", self.address));
        }
        Ok(answer)
    }

    async fn exchange(&self, method: &str, path: &str, headers: &str) -> std::io::Result<String> {
        let stream = TcpStream::connect(&self.address).await?;
        let Some(tls) = &self.tls else {
            return exchange_over(stream, method, &self.address, path, headers).await;
        };
        let name = ServerName::from(stream.peer_addr()?.ip());
        let stream = tls.connect(name, stream).await.map_err(told)?;
        exchange_over(stream, method, &self.address, path, headers).await
    }
}

/// Prints what the service answered, or why it did not.
pub(super) fn show(answer: Result<Answer, String>) -> Exit {
    match answer {
        Ok(answer) if answer.code == 200 => print(&fitted(&answer.body)),
        Ok(answer) => {
            say!("{}", answer.body.trim_end());
            Exit::Failed
        }
        Err(error) => {
            say!("binpulse: {error}");
            Exit::Failed
        }
    }
}

/// Host and port at which a service with these settings is asked on its own machine.
fn address(values: &Values, key: &str) -> Result<String, String> {
    let listen = values.text(key).map_err(|error| error.to_string())?;
    Ok(match listen.parse::<SocketAddr>() {
        // It listens everywhere.
        Ok(address) if address.ip().is_unspecified() => match address {
            SocketAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
            SocketAddr::V6(_) => format!("[::1]:{}", address.port()),
        },
        Ok(_) | Err(_) => listen.to_owned(),
    })
}

/// A refused certificate, in words that tell what to do.
fn told(error: io::Error) -> io::Error {
    let is_other = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| *error == NOT_THE_ONE);
    if !is_other {
        return error;
    }
    io::Error::other(
        "its certificate is not the one in http.tls_certificate: another service answers there, or \
         it could not load a renewed certificate (see its log)",
    )
}

/// Takes exactly the service's own certificate, whatever names are in it: they are not those of the loopback
/// address. Without one it takes any.
fn connector(own: Option<CertificateDer<'static>>) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = own.map_or(Trust::Any, Trust::Only);
    let verifier = Arc::new(Verifier::new(Arc::clone(&provider), trust));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whom to ask.
pub(super) fn question(matches: &ArgMatches) -> Result<Service, Exit> {
    let values = flags::load(matches).ok_or(Exit::Usage)?;
    Service::of(&values).map_err(|error| {
        complain(error);
        Exit::Usage
    })
}

/// Its status.
pub(super) fn ask(service: &Service) -> Result<Value, String> {
    ask_for(service, "/status")
}

/// With what the service remembers of the last time, as `recent`: rates, and how late it is.
pub(super) fn ask_all(service: &Service) -> Result<Value, String> {
    let mut status = ask(service)?;
    // An older service has none.
    status["recent"] = ask_for(service, "/history").unwrap_or_default();
    Ok(status)
}

/// What it answers at this path.
pub(super) fn ask_for(service: &Service, path: &str) -> Result<Value, String> {
    let answer = service
        .ask(path)
        .map_err(|error| format!("{error}; is the service running, and http.listen the same?"))?;
    serde_json::from_str(&answer.body)
        .map_err(|error| format!("{}{path} is no JSON: {error}", service.address()))
}

/// Says why there is no answer.
pub(super) fn complain(error: impl std::fmt::Display) -> Exit {
    say!("binpulse: {error}");
    Exit::Unknown
}
