//! The TCP connection, with or without TLS around it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::channel::Channel;
use super::failure::Failure;
use crate::mysql::HostPort;
#[cfg(feature = "testing")]
use crate::platform;

/// Idle time before the kernel asks whether the peer is there, and between its questions.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Unanswered questions after which the kernel gives up.
const KEEP_ALIVE_PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the kernel gives up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A byte stream to the server.
#[derive(Debug)]
pub(crate) enum Socket {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// To a server of a simulation.
    #[cfg(feature = "testing")]
    Simulated(tokio::io::DuplexStream),
    /// Being changed from one to the other.
    Closed,
}

/// Connects to the first of the host's addresses that answers. The deadline is the caller's.
pub(super) async fn connect(host: &HostPort) -> Result<Socket, Failure> {
    #[cfg(feature = "testing")]
    if let Some(machine) = platform::current() {
        let connected = machine.connect(&host.host, host.port).await;
        return connected.map(Socket::Simulated).map_err(Failure::Connect);
    }
    let mut last = None;
    let found = lookup_host((host.host.as_str(), host.port)).await;
    for address in found.map_err(Failure::Resolve)? {
        match TcpStream::connect(address).await.and_then(prepare) {
            Ok(stream) => return Ok(Socket::Plain(stream)),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => Failure::Connect(error),
        None => Failure::Resolve(io::Error::from(io::ErrorKind::NotFound)),
    })
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE)
        .with_retries(KEEP_ALIVE_PROBES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

impl Socket {
    /// Puts TLS around a plain connection.
    pub(super) async fn secure(&mut self, client: Arc<ClientConfig>, host: &str) -> io::Result<()> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Closed) else {
            return Err(io::Error::from(io::ErrorKind::NotConnected));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let secured = TlsConnector::from(client).connect(name, stream).await?;
        *self = Self::Tls(Box::new(secured));
        Ok(())
    }
}

impl Channel<Socket> {
    /// Whether the connection is under TLS.
    pub(crate) fn is_secured(&self) -> bool {
        matches!(self.socket(), Socket::Tls(_))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(feature = "testing")]
            Self::Simulated(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(feature = "testing")]
            Self::Simulated(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(feature = "testing")]
            Self::Simulated(stream) => Pin::new(stream).poll_flush(context),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(feature = "testing")]
            Self::Simulated(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}
