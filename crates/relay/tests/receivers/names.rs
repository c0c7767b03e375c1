//! A name server whose answers change, and the resolver that asks it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use binpulse_relay::target::webhook::{Addresses, Resolve};
use tokio::net::UdpSocket;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// What a name server says: the addresses of each resolution, one after the other; the last again
/// and again.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    resolutions: Arc<AtomicUsize>,
}

impl NameServer {
    pub(crate) async fn start(answers: Vec<Vec<IpAddr>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let resolutions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&resolutions);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let query = &query[..length];
                let kind = u16::from_be_bytes([query[length - 4], query[length - 3]]);
                // A resolution asks for A first, then for AAAA.
                let number = match kind {
                    TYPE_A => counted.fetch_add(1, Ordering::SeqCst),
                    _ => counted.load(Ordering::SeqCst) - 1,
                };
                let addresses = &answers[number.min(answers.len() - 1)];
                let answer = answer(query, kind, addresses);
                socket.send_to(&answer, from).await.expect("sent");
            }
        });
        Self { address, resolutions }
    }

    pub(crate) fn resolutions(&self) -> usize {
        self.resolutions.load(Ordering::SeqCst)
    }
}

fn answer(query: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let octets: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (kind, address) {
            (TYPE_A, IpAddr::V4(v4)) => Some(v4.octets().to_vec()),
            (TYPE_AAAA, IpAddr::V6(v6)) => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::try_from(octets.len()).expect("few"), 0, 0, 0, 0]);
    answer.extend(&query[12..]);
    for octets in octets {
        // The name of the question, class IN, not to be kept.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(octets.len()).expect("short").to_be_bytes());
        answer.extend(octets);
    }
    answer
}

/// Asks one name server over UDP, and notes the names.
pub(crate) struct Asking {
    pub(crate) server: SocketAddr,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Asking {
    pub(crate) fn new(server: &NameServer) -> Arc<Self> {
        Arc::new(Self { server: server.address, asked: Mutex::default() })
    }

    async fn ask(&self, host: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.server).await?;
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in host.split('.') {
            query.push(u8::try_from(label.len()).map_err(io::Error::other)?);
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        socket.send(&query).await?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await?;
        let (count, mut rest) = (answer[7], &answer[query.len()..length]);
        let mut found = Vec::new();
        for _ in 0..count {
            let size = usize::from(rest[11]);
            let data = &rest[12..12 + size];
            rest = &rest[12 + size..];
            let v4 = <[u8; 4]>::try_from(data).map(IpAddr::from);
            found.push(v4.unwrap_or_else(|_| <[u8; 16]>::try_from(data).expect("16").into()));
        }
        Ok(found)
    }
}

impl Resolve for Asking {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            self.asked.lock().expect("no panic").push(host.to_owned());
            let mut found = self.ask(host, TYPE_A).await?;
            found.extend(self.ask(host, TYPE_AAAA).await?);
            Ok(found)
        })
    }
}
