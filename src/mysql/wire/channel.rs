//! Packets: three bytes of length, one of sequence number, then the payload.
//!
//! A payload of 2^24 - 1 bytes continues in the next packet (MySQL Internals Manual, "MySQL
//! Packets"). Payloads are handed out as ranges of the one read buffer; only one that spans a
//! refill moves, and one that spans packets is pushed together in place.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Length of a packet's header.
const HEADER_BYTES: usize = 4;
/// Payload length that says: more follows.
const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;
/// Read buffer: large enough that a read returns what the kernel holds.
const BUFFER_BYTES: usize = 256 * 1024;
/// Largest joined payload: MySQL's largest packet is 1 GiB; the slack is for headers.
pub(crate) const PACKET_BYTES_MAX: usize = (1 << 30) + (1 << 20);
/// Largest payload before the login is over: until then anybody may be at the other end.
const LOGIN_BYTES_MAX: usize = 64 << 10;
/// Free space below which what is left of the buffer is moved to its front before reading.
const FREE_BYTES_MIN: usize = 32 * 1024;
/// Refills without need for a grown buffer after which it shrinks again.
const SHRINK_AFTER_REFILLS: u32 = 16;
/// A buffer that grew beyond this shrinks at the first of them: what reading so much took outweighs
/// growing again, and the next large thing needs the memory elsewhere.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A failure below the meaning of packets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other side closed.
    #[error("closed")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not packets, or packets lost.
    #[error("found {found}, expected {expected}")]
    Protocol { found: String, expected: &'static str },
}

/// Packets over a byte stream.
#[derive(Debug)]
pub(crate) struct Channel<S> {
    socket: S,
    /// Invariant: `start <= end <= buffer.len()`; the bytes between are received and not yet
    /// handed out.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Sequence number that the next packet must have, either way.
    sequence: u8,
    refills_small: u32,
    /// Largest payload that is taken.
    limit: usize,
}

impl<S> Channel<S> {
    /// Takes payloads as large as a login needs, until [`Channel::allow`].
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            sequence: 0,
            refills_small: 0,
            limit: LOGIN_BYTES_MAX,
        }
    }

    /// Takes payloads of up to so many bytes from here on.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether received bytes are waiting to be looked at.
    pub(super) fn holds_bytes(&self) -> bool {
        self.start < self.end
    }

    /// Whether a whole payload is waiting.
    pub(crate) fn holds_packet(&self) -> bool {
        matches!(self.scan(), Ok(Scan::Complete { .. }))
    }

    /// The bytes of a range that [`Channel::buffered`] returned, until the next read.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// The next payload, if all of it has arrived.
    pub(crate) fn buffered(&mut self) -> Result<Option<Range<usize>>, ChannelError> {
        let Scan::Complete { packets, payload } = self.scan()? else { return Ok(None) };
        let mut write = self.start + HEADER_BYTES;
        let mut read = self.start;
        let first = write;
        for _ in 0..packets {
            let (length, sequence) = self.header(read).ok_or_else(lost)?;
            if sequence != self.sequence {
                return Err(ChannelError::Protocol {
                    found: format!("packet number {sequence}"),
                    expected: "the number after the last packet's",
                });
            }
            self.sequence = self.sequence.wrapping_add(1);
            let from = read + HEADER_BYTES;
            if write != from {
                self.buffer.copy_within(from..from + length, write);
            }
            write += length;
            read = from + length;
        }
        self.start = read;
        Ok(Some(first..first + payload))
    }

    /// What lies at the front of the buffer.
    fn scan(&self) -> Result<Scan, ChannelError> {
        let mut at = self.start;
        let mut payload = 0;
        for packets in 1.. {
            let Some((length, _)) = self.header(at) else {
                return Ok(Scan::Needs(at - self.start + HEADER_BYTES));
            };
            payload += length;
            if payload > self.limit {
                return Err(ChannelError::Protocol {
                    found: format!("an answer of more than {} bytes", self.limit),
                    expected: "a smaller one",
                });
            }
            at += HEADER_BYTES + length;
            if at > self.end {
                return Ok(Scan::Needs(at - self.start));
            }
            if length < PAYLOAD_BYTES_MAX {
                return Ok(Scan::Complete { packets, payload });
            }
        }
        Err(lost())
    }

    /// Length and sequence number of the packet at `at`, if its header has arrived.
    fn header(&self, at: usize) -> Option<(usize, u8)> {
        let [a, b, c, sequence] = *self.buffer.get(at..self.end)?.first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
        Some((length, sequence))
    }

    /// Makes room behind `end` so that the payload at the front can become whole.
    fn make_room(&mut self) -> Result<(), ChannelError> {
        let needed = match self.scan()? {
            Scan::Needs(bytes) => bytes,
            Scan::Complete { .. } => self.end - self.start,
        };
        let free = self.buffer.len() - self.end;
        let fits = self.start + needed <= self.buffer.len();
        if self.start > 0 && (self.start == self.end || !fits || free < FREE_BYTES_MIN) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if needed > self.buffer.len() {
            // Doubling keeps the moving linear; `needed` is at most one packet beyond what came.
            let twice = self.buffer.len().saturating_mul(2).min(PACKET_BYTES_MAX);
            self.buffer.resize(needed.max(twice.min(needed + PAYLOAD_BYTES_MAX)), 0);
        }
        self.shrink(needed);
        Ok(())
    }

    /// Gives a grown buffer back once large payloads have become rare.
    fn shrink(&mut self, needed: usize) {
        if needed > BUFFER_BYTES {
            self.refills_small = 0;
        } else if self.buffer.len() > BUFFER_BYTES {
            self.refills_small += 1;
            let held = self.end - self.start;
            let is_due =
                self.refills_small >= SHRINK_AFTER_REFILLS || self.buffer.len() > KEPT_BYTES_MAX;
            if is_due && held <= BUFFER_BYTES {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, held);
                self.buffer.truncate(BUFFER_BYTES);
                self.buffer.shrink_to_fit();
                self.refills_small = 0;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Channel<S> {
    /// Reads once; the number of bytes that came. Cancel safe: bytes are either in the buffer or
    /// still in the socket.
    pub(crate) async fn fill(&mut self) -> Result<usize, ChannelError> {
        self.make_room()?;
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = self.socket.read(space).await?;
        if count == 0 {
            return Err(ChannelError::Closed);
        }
        self.end += count;
        Ok(count)
    }

    /// The next payload, copied out. For the small packets before the stream.
    pub(crate) async fn packet(&mut self) -> Result<Vec<u8>, ChannelError> {
        loop {
            if let Some(range) = self.buffered()? {
                return Ok(self.bytes(range).to_vec());
            }
            self.fill().await?;
        }
    }
}

impl<S: AsyncWrite + Unpin> Channel<S> {
    /// Sends a payload as a reply to the packet before.
    pub(super) async fn reply(&mut self, payload: &[u8]) -> Result<(), ChannelError> {
        let mut packet = Vec::with_capacity(HEADER_BYTES + payload.len());
        let mut rest = payload;
        loop {
            let (front, behind) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
            let length = u32::try_from(front.len()).map_err(io::Error::other)?.to_le_bytes();
            packet.extend_from_slice(&[length[0], length[1], length[2], self.sequence]);
            packet.extend_from_slice(front);
            self.sequence = self.sequence.wrapping_add(1);
            rest = behind;
            if front.len() < PAYLOAD_BYTES_MAX {
                break;
            }
        }
        self.socket.write_all(&packet).await?;
        Ok(self.socket.flush().await?)
    }

    /// Sends a payload that starts a new exchange.
    pub(crate) async fn command(&mut self, payload: &[u8]) -> Result<(), ChannelError> {
        self.sequence = 0;
        self.reply(payload).await
    }
}

/// What lies at the front of the buffer.
enum Scan {
    /// A whole payload in so many packets.
    Complete { packets: usize, payload: usize },
    /// A part; so many bytes from `start` are needed to know more.
    Needs(usize),
}

fn lost() -> ChannelError {
    ChannelError::Protocol { found: "no packet".to_owned(), expected: "a packet" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUFFER_BYTES, Channel, ChannelError, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX};

    fn packets(payload: &[u8], sequence: &mut u8) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = payload;
        loop {
            let (front, behind) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
            out.extend_from_slice(&u32::try_from(front.len()).expect("small").to_le_bytes()[..3]);
            out.push(*sequence);
            *sequence = sequence.wrapping_add(1);
            out.extend_from_slice(front);
            rest = behind;
            if front.len() < PAYLOAD_BYTES_MAX {
                return out;
            }
        }
    }

    fn open(wire: &[u8]) -> Channel<&[u8]> {
        let mut channel = Channel::new(wire);
        channel.allow(PACKET_BYTES_MAX);
        channel
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(work)
    }

    fn pattern(length: usize) -> Vec<u8> {
        let block: Vec<u8> = (0..=250).collect();
        let mut bytes = block.repeat(length / block.len() + 1);
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn payloads_of_every_size_arrive_whole_and_in_order() {
        let sizes = [
            0,
            1,
            100,
            BUFFER_BYTES,
            3,
            PAYLOAD_BYTES_MAX - 1,
            PAYLOAD_BYTES_MAX,
            PAYLOAD_BYTES_MAX + 1,
            7,
            2 * PAYLOAD_BYTES_MAX + 5,
            9,
        ];
        let mut sequence = 0;
        let wire: Vec<u8> =
            sizes.iter().flat_map(|size| packets(&pattern(*size), &mut sequence)).collect();
        run(async {
            let mut channel = open(&wire);
            for size in sizes {
                let payload = channel.packet().await.expect("a payload");
                assert!(payload == pattern(size), "payload of {size} bytes");
            }
            assert!(matches!(channel.packet().await, Err(ChannelError::Closed)));
        });
    }

    #[test]
    fn a_buffer_that_grew_shrinks_again() {
        let mut sequence = 0;
        let mut wire = packets(&pattern(3 * BUFFER_BYTES), &mut sequence);
        for _ in 0..200 {
            wire.extend(packets(&pattern(BUFFER_BYTES / 2), &mut sequence));
        }
        run(async {
            let mut channel = open(&wire);
            channel.packet().await.expect("the large one");
            assert!(channel.buffer.len() >= 3 * BUFFER_BYTES);
            for _ in 0..200 {
                channel.packet().await.expect("a small one");
            }
            assert_eq!(channel.buffer.len(), BUFFER_BYTES);
        });
    }

    #[test]
    fn a_buffer_that_grew_large_shrinks_at_once() {
        let mut sequence = 0;
        let mut wire = packets(&pattern(PAYLOAD_BYTES_MAX), &mut sequence);
        for _ in 0..400 {
            wire.extend(packets(&pattern(BUFFER_BYTES / 2), &mut sequence));
        }
        run(async {
            let mut channel = open(&wire);
            channel.packet().await.expect("the large one");
            for _ in 0..400 {
                channel.packet().await.expect("a small one");
            }
            assert_eq!(channel.buffer.len(), BUFFER_BYTES);
        });
    }

    #[test]
    fn a_lost_packet_is_noticed() {
        let wire = [1, 0, 0, 0, 7, 1, 0, 0, 2, 7];
        run(async {
            let mut channel = open(&wire);
            channel.packet().await.expect("the first");
            assert!(matches!(channel.packet().await, Err(ChannelError::Protocol { .. })));
        });
    }

    #[test]
    fn memory_follows_what_arrived_not_what_was_announced() {
        // Given packets that announce 16 MiB each and never end
        let wire = [0xff, 0xff, 0xff, 0, 1, 2, 3];
        run(async {
            let mut channel = open(&wire);
            assert!(matches!(channel.packet().await, Err(ChannelError::Closed)));
            assert!(channel.buffer.len() <= 2 * PAYLOAD_BYTES_MAX);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn arbitrary_sizes_arrive_whole(
            sizes in proptest::collection::vec(0_usize..(BUFFER_BYTES * 2), 1..12),
        ) {
            let mut sequence = 0;
            let wire: Vec<u8> =
                sizes.iter().flat_map(|size| packets(&pattern(*size), &mut sequence)).collect();
            run(async {
                let mut channel = open(&wire);
                for size in &sizes {
                    let payload = channel.packet().await.expect("a payload");
                    assert!(payload == pattern(*size), "payload of {size} bytes");
                }
            });
        }
    }
}
