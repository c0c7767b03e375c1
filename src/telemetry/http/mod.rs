//! The HTTP server, and the service's handler: `/`, `/runbooks/` and `/bundle` for people, `/metrics`,
//! `/healthz`, `/readyz`, `/status`, `/history`, `/log`.
//!
//! Plain HTTP/1 on the loopback address by default; with TLS and a token where others can reach it.
//! Read-only but for what `switch` admits: maintenance, snapshots, replays, controls, reloads, a yield.
//! `/healthz` never reflects the database's state, or an orchestrator would restart the
//! streamer because the database is down.

mod access;
mod connections;
mod routes;
mod switch;
mod tls;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
pub use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::{Hidden, Loops, Metrics, Readiness, Status, verdict_history};

use access::Guard;
pub use access::{Access, TOKEN_MIN, Token};
use connections::{Admission, Connections};
pub use routes::Answer;
pub use switch::{
    CONSUMER_HEADER, CONTROL_HEADER, CONTROL_PATH, Caller, MAINTENANCE_MAX, MAINTENANCE_PATH,
    RELOAD_APPLY, RELOAD_CHECK, RELOAD_HEADER, RELOAD_PATH, REPLAY_HEADER, REPLAY_PATH,
    ReplayRefused, SECONDS_HEADER, SNAPSHOT_BYTES_MAX, SNAPSHOT_HEADER, SNAPSHOT_PATH, Switch,
    YIELD_PATH, admit, in_header,
};
pub use tls::{Certificate, TlsError, chain};

/// Header fields of one request.
const HEADERS_MAX: usize = 64;

/// Bytes of a request's head; hyper accepts no smaller bound.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A request's head must have arrived within it; a TLS handshake must have ended before that.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection ends after it, however busy.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// Pause after a failed accept: usually all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the document of `/status`.
///
/// Called for each request, on a thread of the runtime: it must answer from memory, at once.
pub trait StatusSource: Send + Sync + 'static {
    /// The status as of now.
    fn status(&self) -> Status;
}

impl<F: Fn() -> Status + Send + Sync + 'static> StatusSource for F {
    fn status(&self) -> Status {
        self()
    }
}

/// Makes an answer. As [`StatusSource`], it must answer from memory, at once.
pub type Document = Box<dyn Fn() -> Answer + Send + Sync>;

/// What the pages are made from.
pub struct Endpoints {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/healthz`.
    pub loops: Loops,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/status`.
    pub status: Box<dyn StatusSource>,
    /// For `/history`.
    pub history: Box<dyn Fn() -> verdict_history::Document + Send + Sync>,
    /// For `/maintenance`, `/snapshot` and `/replay`.
    pub switch: Arc<dyn Switch>,
    /// For `/digests`, where they are kept.
    pub digests: Option<Document>,
    /// What must be in no log and in no bundle.
    pub hidden: Hidden,
}

/// What a server serves.
///
/// Called for each request, on a thread of the runtime: it must answer from memory, at once.
pub trait Handler: Send + Sync + 'static {
    /// The answer at this path; `None`: there is no such path.
    fn answer(&self, path: &str) -> Option<Answer>;
    /// Does what a POST asks for; `None`: nothing can be changed at this path.
    fn act(&self, _path: &str, _headers: &HeaderMap, _caller: Caller) -> Option<Answer> {
        None
    }
    /// What paths there are, for who asked for another.
    fn contents(&self) -> &'static str;
}

/// A server that listens.
pub struct Http {
    listener: TcpListener,
    handler: Arc<dyn Handler>,
    access: Access,
}

impl Http {
    /// Takes the address; port 0 takes a free one.
    pub async fn bind(
        address: SocketAddr,
        handler: impl Handler,
        access: Access,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (tls, token) = (access.tls.is_some(), access.token.is_some());
        info!(address = %listener.local_addr()?, tls, token, "listening for HTTP");
        Ok(Self { listener, handler: Arc::new(handler), access })
    }

    /// The address it listens on.
    #[cfg(feature = "testing")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until told to stop; then ends once the answers under way are out.
    pub async fn run(self, stop: CancellationToken) {
        let (open, connections) = (Connections::default(), TaskTracker::new());
        let mut fails = false;
        let guard = self.guard();
        loop {
            tokio::select! {
                biased;

                // 1. A request to stop outranks new work.
                () = stop.cancelled() => break,
                // 2. A connection, once there is room for it.
                accepted = self.accept(&open, &mut fails) => {
                    let Some((stream, admission)) = accepted else { continue };
                    let admission = Arc::new(admission);
                    let (handler, stop) = (Arc::clone(&self.handler), stop.clone());
                    let (tls, guard) = (self.access.tls.clone(), guard.clone());
                    connections.spawn(async move {
                        let evicted = admission.evicted();
                        let served = greet(stream, handler, tls, guard, stop, admission);
                        evicted.run_until_cancelled(served).await;
                    });
                }
            }
        }
        connections.close();
        connections.wait().await;
    }

    fn guard(&self) -> Guard {
        let address = self.listener.local_addr();
        let is_loopback = address.is_ok_and(|address| address.ip().to_canonical().is_loopback());
        match &self.access.token {
            Some(token) => Guard::Token(token.clone()),
            None if is_loopback => Guard::Names,
            None => Guard::Nothing,
        }
    }

    async fn accept(&self, open: &Connections, fails: &mut bool) -> Option<(TcpStream, Admission)> {
        match self.listener.accept().await {
            Ok((stream, peer)) => loop {
                match open.admit(peer.ip(), Instant::now()) {
                    Ok(admission) => {
                        *fails = false;
                        return Some((stream, admission));
                    }
                    Err(wait) => tokio::time::sleep(wait).await,
                }
            },
            Err(error) => {
                // Once, not ten times a second for as long as it lasts.
                if !std::mem::replace(fails, true) {
                    warn!(%error, "HTTP connections can't be accepted, and are tried again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// Shakes hands where there is TLS, then serves.
async fn greet(
    stream: TcpStream,
    handler: Arc<dyn Handler>,
    tls: Option<Certificate>,
    guard: Guard,
    stop: CancellationToken,
    admission: Arc<Admission>,
) {
    // Without an address it is gone already.
    let Ok(peer) = stream.peer_addr().map(|peer| peer.ip()) else { return };
    let peer = effective_peer(peer, stream.local_addr().ok().map(|local| local.ip()));
    let Some(tls) = tls else {
        return serve(stream, peer, handler, guard, stop, admission).await;
    };
    let shaken = async { tls.acceptor().await.accept(stream).await };
    match tokio::time::timeout(HEAD_TIMEOUT, shaken).await {
        Ok(Ok(stream)) => serve(stream, peer, handler, guard, stop, admission).await,
        Ok(Err(error)) => debug!(%error, "an HTTP connection without proper TLS"),
        Err(_) => debug!("an HTTP connection that did not end its TLS handshake"),
    }
}

/// The address that counts for a peer, given the one that it called: whoever comes from that same
/// address is on this machine, as with a loopback address.
fn effective_peer(peer: IpAddr, called: Option<IpAddr>) -> IpAddr {
    if called == Some(peer) { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { peer }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: IpAddr,
    handler: Arc<dyn Handler>,
    guard: Guard,
    stop: CancellationToken,
    admission: Arc<Admission>,
) {
    let service = service_fn(move |request| {
        admission.asked();
        let (handler, guard) = (Arc::clone(&handler), guard.clone());
        async move {
            // Those who probe whether it lives wait for no disk.
            let guard = if routes::is_open(&request) { guard } else { guard.now().await };
            let answer = routes::answer(&request, peer, handler.as_ref(), &guard);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;

        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // What does not end by then is a peer that does not read.
            tokio::time::timeout(HEAD_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
        ended = tokio::time::timeout(CONNECTION_TIMEOUT, connection.as_mut()) => ended.unwrap_or(Ok(())),
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended early");
    }
}
