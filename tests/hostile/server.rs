//! A server that says what a test wants, in MySQL's packets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a connection.
pub(crate) type Told<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// A running server; dropping it ends it.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    sent: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Fake {
    /// Tells each connection what `script` says; an error only ends that connection.
    pub(crate) async fn start<S>(script: S) -> Self
    where
        S: for<'a> Fn(&'a mut Talk) -> Told<'a> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (script, sent) = (Arc::new(script), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, sent) = (Arc::clone(&script), Arc::clone(&count));
                open.spawn(async move {
                    let mut talk = Talk { stream, waiting: Vec::new(), sequence: 0, sent };
                    script(&mut talk).await.ok();
                });
            }
        });
        Self { address, sent, accepting }
    }

    /// Bytes that were taken off it so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection.
pub(crate) struct Talk {
    stream: TcpStream,
    /// What is not yet written: answers without end are made of small packets.
    waiting: Vec<u8>,
    sequence: u8,
    sent: Arc<AtomicU64>,
}

pub(crate) const CACHING: &str = "caching_sha2_password";

impl Talk {
    /// The greeting of a MySQL server that wants this method.
    pub(crate) async fn greet(&mut self, plugin: &str) -> io::Result<()> {
        let greeting = [
            &b"\x0a8.4.3\0\x07\0\0\0abcdefgh\0"[..],
            // All capabilities but TLS.
            &[0xff, 0xf7, 0xff, 2, 0, 0xff, 0xdf, 21],
            &[0; 10],
            b"ijklmnopqrst\0",
            plugin.as_bytes(),
            b"\0",
        ];
        self.send(&greeting.concat()).await
    }

    /// Greets, takes the login whatever it is, and lets in.
    pub(crate) async fn let_in(&mut self) -> io::Result<()> {
        self.greet("mysql_native_password").await?;
        self.receive().await?;
        self.send(OK).await
    }

    /// The next packet, once all is sent.
    pub(crate) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.flush().await?;
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, sequence] = head;
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16];
        self.stream.read_exact(&mut payload).await?;
        Ok(payload)
    }

    /// A packet, or several if it is long.
    pub(crate) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut rest = payload;
        loop {
            let (front, behind) = rest.split_at(rest.len().min(0xff_ffff));
            self.head(front.len()).await?;
            self.raw(front).await?;
            rest = behind;
            if front.len() < 0xff_ffff {
                return Ok(());
            }
        }
    }

    /// Only the header of a packet.
    pub(crate) async fn head(&mut self, length: usize) -> io::Result<()> {
        let length = u32::try_from(length).expect("short").to_le_bytes();
        let head = [length[0], length[1], length[2], self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        self.raw(&head).await
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > 64 << 10 { self.flush().await } else { Ok(()) }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        for piece in std::mem::take(&mut self.waiting).chunks(64 << 10) {
            self.stream.write_all(piece).await?;
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Asks for another login method.
    pub(crate) async fn switch(&mut self, plugin: &[u8], challenge: &[u8]) -> io::Result<()> {
        self.send(&[&b"\xfe"[..], plugin, b"\0", challenge].concat()).await
    }
}

pub(crate) const OK: &[u8] = b"\0\0\0\x02\0\0\0";
