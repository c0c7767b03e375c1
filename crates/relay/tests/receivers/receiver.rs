//! Receivers: one that answers as it is told and keeps what it got, and one that is a bare socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: hyper::http::request::Parts,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.head.headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("no {name}")).to_str().expect("text");
        assert!(values.next().is_none(), "{name} came twice");
        value
    }
}

/// A well-behaved receiver.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    arrived: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

type Answer = Arc<dyn Fn(&Received) -> Response<Full<Bytes>> + Send + Sync>;

/// An empty answer.
pub(crate) fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).expect("an answer")
}

impl Receiver {
    /// Answers each request as `answer` says.
    pub(crate) async fn start(
        answer: impl Fn(&Received) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(None, Arc::new(answer)).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(
        tls: rustls::ServerConfig,
        answer: impl Fn(&Received) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(TlsAcceptor::from(Arc::new(tls))), Arc::new(answer)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, answer: Answer) -> Self {
        let (listener, port) = listen().await;
        let receiver = Self { port, arrived: Arc::default(), connections: Arc::default() };
        let (arrived, connections) =
            (Arc::clone(&receiver.arrived), Arc::clone(&receiver.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                let arrived = Arc::clone(&arrived);
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("a socket");
                    match tls {
                        None => serve_connection(stream, arrived, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve_connection(stream, arrived, answer).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn arrived(&self) -> Vec<Received> {
        self.arrived.lock().expect("no panic").clone()
    }

    /// Connections that were accepted, before TLS.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    arrived: Arc<Mutex<Vec<Received>>>,
    answer: Answer,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (arrived, answer) = (Arc::clone(&arrived), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("the whole body").to_bytes();
            let request = Received { head, body };
            let answer = answer(&request);
            arrived.lock().expect("no panic").push(request);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// A listener on a free port of loopback.
pub(crate) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Listens, and hands each connection to `serve` after the request on it was read.
pub(crate) async fn raw<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            tokio::spawn(serve(stream, number));
            number += 1;
        }
    });
    port
}

/// Reads one request, head and body; false at the end of the stream.
pub(crate) async fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
                rest.lines().next().expect("a line").parse().expect("a number")
            });
            if body.len() >= length {
                return true;
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => seen.extend_from_slice(&piece[..count]),
        }
    }
}

/// A port of loopback that is taken, and on which nothing listens.
pub(crate) fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(local(0)).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// The address of a port of loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
