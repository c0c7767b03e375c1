//! A TCP proxy that breaks connections in the ways in which networks do.

mod surgeon;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::surgeon::Surgeon;

const CHUNK_BYTES: usize = 16 * 1024;
/// Commands by which a replica asks for the binary log, with and without GTIDs.
const DUMP_COMMANDS: [u8; 2] = [0x12, 0x1e];
/// Where the body of a call to SNS begins that publishes.
const PUBLISH: &[u8] = b"Action=Publish";

/// Direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Which connections a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All, also those to come.
    All,
    /// Those that have asked for the binary log, unless they are encrypted.
    Dump,
}

/// What happens to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nothing passes, and nobody is told: a black hole. What was held passes afterwards.
    Hold,
    /// Each piece comes later by this time.
    Delay(Duration),
    /// One byte at a time, with this pause between.
    Trickle(Duration),
    /// The byte after this many more bytes is turned over.
    CorruptAfter(u64),
    /// The connection is closed in both directions after this many more bytes.
    CutAfter(u64),
    /// The next transaction that contains this text is taken out of the replication stream, which
    /// must be idle when the fault is put.
    LoseTransaction(&'static str),
}

/// Faults now in force, and what ends connections.
#[derive(Debug, Clone, Copy)]
struct Rules {
    to_server: (Which, Fault),
    to_client: (Which, Fault),
    refuse: bool,
    target: SocketAddr,
    /// Rises with each demand to end connections, so that connections of before can tell.
    ending: (u64, Which, Ending),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// RST to both sides.
    Reset,
    /// The server's side is closed; the client is not told.
    HalfOpen,
}

/// A running proxy. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    rules: Arc<watch::Sender<Rules>>,
    bytes_to_client: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    dumps: Arc<AtomicU64>,
    publishes: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of `target`.
    pub(crate) async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let none = (Which::All, Fault::None);
        let ending = (0, Which::All, Ending::Reset);
        let rules = Rules { to_server: none, to_client: none, refuse: false, target, ending };
        let rules = Arc::new(watch::Sender::new(rules));
        let bytes_to_client = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let dumps = Arc::new(AtomicU64::new(0));
        let publishes = Arc::new(AtomicU64::new(0));
        let connection = Connection {
            rules: Arc::clone(&rules),
            endings: 0,
            bytes_to_client: Arc::clone(&bytes_to_client),
            dumps: Arc::clone(&dumps),
            publishes: Arc::clone(&publishes),
        };
        let accepting = tokio::spawn(accept(listener, connection, Arc::clone(&connections)));
        Ok(Self { address, rules, bytes_to_client, connections, dumps, publishes, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that reached clients so far.
    pub(crate) fn bytes_to_client(&self) -> u64 {
        self.bytes_to_client.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Times that the binary log was asked for so far, unless encrypted.
    pub(crate) fn dumps(&self) -> u64 {
        self.dumps.load(Ordering::Relaxed)
    }

    /// Calls to SNS so far that publish, unless encrypted.
    pub(crate) fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    /// Puts a fault on one direction; it replaces the one before.
    pub(crate) fn put(&self, way: Way, which: Which, fault: Fault) {
        self.rules.send_modify(|rules| match way {
            Way::ToServer => rules.to_server = (which, fault),
            Way::ToClient => rules.to_client = (which, fault),
        });
    }

    /// Takes all faults away.
    pub(crate) fn heal(&self) {
        self.put(Way::ToServer, Which::All, Fault::None);
        self.put(Way::ToClient, Which::All, Fault::None);
        self.rules.send_modify(|rules| rules.refuse = false);
    }

    /// Refuses new connections, by closing them at once.
    pub(crate) fn refuse(&self) {
        self.rules.send_modify(|rules| rules.refuse = true);
    }

    /// Sends new connections elsewhere; those that are open stay where they are.
    pub(crate) fn move_to(&self, target: SocketAddr) {
        self.rules.send_modify(|rules| rules.target = target);
    }

    /// Resets connections, both sides.
    pub(crate) fn reset(&self, which: Which) {
        self.end(which, Ending::Reset);
    }

    /// Takes the server's side away without telling the client, as a lost route does.
    pub(crate) fn half_open(&self, which: Which) {
        self.end(which, Ending::HalfOpen);
    }

    fn end(&self, which: Which, ending: Ending) {
        self.rules.send_modify(|rules| rules.ending = (rules.ending.0 + 1, which, ending));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, template: Connection, connections: Arc<AtomicU64>) {
    // Its connections end with this task.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        connections.fetch_add(1, Ordering::Relaxed);
        let now = *template.rules.borrow();
        if !now.refuse {
            let connection = Connection { endings: now.ending.0, ..template.clone() };
            open.spawn(connection.run(client, now.target));
        }
    }
}

#[derive(Clone)]
struct Connection {
    rules: Arc<watch::Sender<Rules>>,
    endings: u64,
    bytes_to_client: Arc<AtomicU64>,
    dumps: Arc<AtomicU64>,
    publishes: Arc<AtomicU64>,
}

/// A flow ended other than by the sender's own end.
struct Broken;

impl Connection {
    async fn run(self, mut client: TcpStream, target: SocketAddr) {
        let Ok(mut server) = TcpStream::connect(target).await else { return };
        let dump = AtomicBool::new(false);
        let (mut client_read, mut client_write) = client.split();
        let (mut server_read, mut server_write) = server.split();
        let ending = tokio::select! {
            biased;

            ending = self.ended(&dump) => Some(ending),
            _ = async { tokio::try_join!(
                self.flow(Way::ToServer, &mut client_read, &mut server_write, &dump),
                self.flow(Way::ToClient, &mut server_read, &mut client_write, &dump),
            ) } => None,
        };
        match ending {
            None => {}
            Some(Ending::Reset) => {
                for socket in [&client, &server] {
                    // A close without linger time sends RST.
                    let linger = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                    linger.expect("an open socket");
                }
            }
            Some(Ending::HalfOpen) => {
                drop(server);
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a demand to end this connection.
    async fn ended(&self, dump: &AtomicBool) -> Ending {
        let (mut rules, mut known) = (self.rules.subscribe(), self.endings);
        loop {
            let (number, which, ending) = rules.borrow_and_update().ending;
            if number > known && is_meant(which, dump) {
                return ending;
            }
            known = known.max(number);
            if rules.changed().await.is_err() {
                return Ending::Reset;
            }
        }
    }

    async fn flow(
        &self,
        way: Way,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        dump: &AtomicBool,
    ) -> Result<(), Broken> {
        let mut rules = self.rules.subscribe();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut surgeon = None;
        loop {
            let fault = self.fault(way, dump);
            let held = fault == Fault::Hold;
            if let Fault::LoseTransaction(text) = fault {
                surgeon.get_or_insert_with(|| Surgeon::new(text));
            }
            let length = tokio::select! {
                biased;

                changed = rules.changed() => {
                    changed.map_err(|_| Broken)?;
                    continue;
                }
                length = from.read(&mut buffer), if !held => length.map_err(|_| Broken)?,
            };
            if length == 0 {
                return to.shutdown().await.map_err(|_| Broken);
            }
            // It may have become a flow that is held while it was waited for.
            while self.fault(way, dump) == Fault::Hold {
                rules.changed().await.map_err(|_| Broken)?;
            }
            let piece = &mut buffer[..length];
            if way == Way::ToServer && asks_for_binlog(piece) {
                dump.store(true, Ordering::Relaxed);
                self.dumps.fetch_add(1, Ordering::Relaxed);
            }
            if way == Way::ToServer && piece.windows(PUBLISH.len()).any(|it| it == PUBLISH) {
                self.publishes.fetch_add(1, Ordering::Relaxed);
            }
            match &mut surgeon {
                // It continues when the fault is over: the packets' numbers have a gap.
                Some(surgeon) => {
                    let mut piece = surgeon.pass(piece);
                    self.pass(way, &mut piece, to, dump).await?;
                }
                None => self.pass(way, piece, to, dump).await?,
            }
        }
    }

    async fn pass(
        &self,
        way: Way,
        piece: &mut [u8],
        to: &mut WriteHalf<'_>,
        dump: &AtomicBool,
    ) -> Result<(), Broken> {
        let length = piece.len() as u64;
        let mut passes = piece.len();
        match self.fault(way, dump) {
            Fault::None | Fault::Hold | Fault::LoseTransaction(_) => {}
            Fault::Delay(time) => sleep(time).await,
            Fault::Trickle(pause) => {
                let mut left = &*piece;
                while let [byte, rest @ ..] = left
                    && matches!(self.fault(way, dump), Fault::Trickle(_))
                {
                    to.write_all(&[*byte]).await.map_err(|_| Broken)?;
                    self.count(way, 1);
                    left = rest;
                    sleep(pause).await;
                }
                // Healed meanwhile: the rest comes at once.
                to.write_all(left).await.map_err(|_| Broken)?;
                self.count(way, left.len() as u64);
                return Ok(());
            }
            Fault::CorruptAfter(bytes) if bytes < length => {
                piece[usize::try_from(bytes).expect("below a length")] ^= 0xff;
                self.replace(way, Fault::None);
            }
            Fault::CorruptAfter(bytes) => self.replace(way, Fault::CorruptAfter(bytes - length)),
            Fault::CutAfter(bytes) if bytes <= length => {
                passes = usize::try_from(bytes).expect("at most a length");
                self.replace(way, Fault::None);
            }
            Fault::CutAfter(bytes) => self.replace(way, Fault::CutAfter(bytes - length)),
        }
        to.write_all(&piece[..passes]).await.map_err(|_| Broken)?;
        self.count(way, passes as u64);
        if passes < piece.len() { Err(Broken) } else { Ok(()) }
    }

    /// The fault that applies to this connection now.
    fn fault(&self, way: Way, dump: &AtomicBool) -> Fault {
        let rules = self.rules.borrow();
        let (which, fault) = match way {
            Way::ToServer => rules.to_server,
            Way::ToClient => rules.to_client,
        };
        if is_meant(which, dump) { fault } else { Fault::None }
    }

    fn replace(&self, way: Way, fault: Fault) {
        self.rules.send_modify(|rules| match way {
            Way::ToServer => rules.to_server.1 = fault,
            Way::ToClient => rules.to_client.1 = fault,
        });
    }

    fn count(&self, way: Way, bytes: u64) {
        if way == Way::ToClient {
            self.bytes_to_client.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

fn is_meant(which: Which, dump: &AtomicBool) -> bool {
    which == Which::All || dump.load(Ordering::Relaxed)
}

/// Whether a packet begins here that asks for the binary log. Its number is 0, as every command's.
fn asks_for_binlog(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, 0, command, ..] if DUMP_COMMANDS.contains(command))
}
