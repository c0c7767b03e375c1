//! Takes one whole transaction out of a replication stream, so that nobody can tell from the bytes.

/// Bytes of a packet's head: three of length, one of number.
const HEAD: usize = 4;
/// Where an event's type stands in a packet: behind the head, a status byte, and the time.
const TYPE: usize = HEAD + 1 + 4;
/// Events that begin a transaction: anonymous, named, and tagged GTIDs.
const BEGINS: [u8; 3] = [33, 34, 42];
/// The event that ends one.
const XID: u8 = 16;

/// Cuts out the first transaction that contains a text, the name of a table for example.
#[derive(Debug)]
pub(super) struct Surgeon {
    text: &'static [u8],
    /// Not yet a whole packet.
    rest: Vec<u8>,
    /// Packets of the transaction that is being looked at.
    held: Vec<Vec<u8>>,
    /// Packets that were taken out: later ones have smaller numbers.
    taken: u8,
    is_done: bool,
}

impl Surgeon {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text: text.as_bytes(), rest: Vec::new(), held: Vec::new(), taken: 0, is_done: false }
    }

    /// What continues to the replica when this has come from the source. Pieces may be cut anywhere,
    /// but the first one must begin with a packet.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(piece);
        let mut out = Vec::new();
        while let Some(length) = whole_packet(&self.rest) {
            let mut packet: Vec<u8> = self.rest.drain(..length).collect();
            packet[3] = packet[3].wrapping_sub(self.taken);
            self.packet(packet, &mut out);
        }
        out
    }

    fn packet(&mut self, packet: Vec<u8>, out: &mut Vec<u8>) {
        let kind = packet.get(TYPE).copied().unwrap_or_default();
        let begins = BEGINS.contains(&kind);
        if self.is_done || self.held.is_empty() && !begins {
            return out.extend(packet);
        }
        self.held.push(packet);
        if kind != XID {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let is_it = |packet: &Vec<u8>| packet.windows(self.text.len()).any(|at| at == self.text);
        if held.iter().any(is_it) {
            self.taken = u8::try_from(held.len() % 256).expect("below 256");
            self.is_done = true;
        } else {
            out.extend(held.into_iter().flatten());
        }
    }
}

/// Length of the packet that these bytes begin with, if all of it is there.
fn whole_packet(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, _, ..] = bytes else { return None };
    let length = HEAD + usize::from(*a) + (usize::from(*b) << 8) + (usize::from(*c) << 16);
    (bytes.len() >= length).then_some(length)
}
