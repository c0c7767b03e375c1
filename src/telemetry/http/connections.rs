//! Which connections are open, and which of them has to make room for a new one.
//!
//! Probes must get through whoever else is connected, or a stranger could have the process restarted.
//! What a connection is for shows only once it has asked, so every new one is let in; where there is
//! no room another is closed for it, of the address that has most. None is closed before it has had
//! the time to ask: while all are so young the next one waits for its turn.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Connections at a time. A scraper, two probes and a few people fit many times over.
pub(super) const CONNECTIONS_MAX: usize = 128;

/// Of these, how many one address may have.
const PER_ADDRESS_MAX: usize = 64;

/// What a probe needs from its connect to its answer, many times over. Times the connections of one
/// address it makes 640 that a flood may open in a second before others have to wait.
const YOUNG: Duration = Duration::from_millis(100);

/// The open connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// Number of the next connection, and of the next request: later ones have higher numbers.
    next: u64,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    peer: IpAddr,
    admitted: Instant,
    /// Number of its last request; `None`: it has not asked for anything.
    asked: Option<u64>,
    evicted: CancellationToken,
}

/// A place among the open connections, given back when dropped.
#[derive(Debug)]
pub(super) struct Admission {
    connections: Connections,
    id: u64,
    evicted: CancellationToken,
}

impl Connections {
    /// Lets a connection in as of `now`, and closes another if there is no room.
    ///
    /// # Errors
    ///
    /// The time to wait, while no other can be closed.
    pub(super) fn admit(&self, peer: IpAddr, now: Instant) -> Result<Admission, Duration> {
        let peer = network(peer);
        let mut open = self.open();
        if open.of(peer) >= PER_ADDRESS_MAX {
            open.evict(Some(peer), now)?;
        } else if open.all.len() >= CONNECTIONS_MAX {
            open.evict(None, now)?;
        }
        let (id, evicted) = (open.number(), CancellationToken::new());
        open.all.push(Entry { id, peer, admitted: now, asked: None, evicted: evicted.clone() });
        drop(open);
        Ok(Admission { connections: self.clone(), id, evicted })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn of(&self, peer: IpAddr) -> usize {
        self.all.iter().filter(|entry| entry.peer == peer).count()
    }

    /// Closes the connection that is missed least: of this address, or of the one with most; one that
    /// has asked for nothing before one that has; the one that was idle for longest.
    fn evict(&mut self, peer: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let young =
            |entry: &Entry| YOUNG.saturating_sub(now.saturating_duration_since(entry.admitted));
        let candidates = self.all.iter().enumerate();
        let of_peer = candidates.filter(|(_, entry)| peer.is_none_or(|peer| peer == entry.peer));
        let least = of_peer.min_by_key(|(_, entry)| {
            (young(entry), Reverse(self.of(entry.peer)), entry.asked, entry.id)
        });
        let Some((index, entry)) = least else { return Ok(()) };
        match young(entry) {
            Duration::ZERO => {
                self.all.swap_remove(index).evicted.cancel();
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

impl Admission {
    /// The connection has asked for something.
    pub(super) fn asked(&self) {
        let mut open = self.connections.open();
        let number = open.number();
        if let Some(entry) = open.all.iter_mut().find(|entry| entry.id == self.id) {
            entry.asked = Some(number);
        }
    }

    /// Until the connection has to make room for another.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.connections.open().all.retain(|entry| entry.id != self.id);
    }
}

/// What counts as one address: of IPv6 the part that a network is given as a whole.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        whole @ (IpAddr::V4(_) | IpAddr::V6(_)) => whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Connections that are opened one after the other, each later than the last by so much.
    struct Rig {
        connections: Connections,
        now: Instant,
        step: Duration,
    }

    impl Rig {
        fn new(step: Duration) -> Self {
            Self { connections: Connections::default(), now: Instant::now(), step }
        }

        /// Waits for its turn where it has to.
        fn admit(&mut self, peer: IpAddr) -> Admission {
            self.now += self.step;
            loop {
                match self.connections.admit(peer, self.now) {
                    Ok(admission) => return admission,
                    Err(wait) => {
                        assert!(wait <= YOUNG && !wait.is_zero(), "{wait:?}");
                        self.now += wait;
                    }
                }
            }
        }
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn is_open(admission: &Admission) -> bool {
        !admission.evicted.is_cancelled()
    }

    #[test]
    fn one_address_leaves_room_and_makes_room_for_itself() {
        let mut rig = Rig::new(YOUNG);
        let probe = rig.admit(address(1));
        let many: Vec<_> = (0..400).map(|_| rig.admit(address(2))).collect();
        assert!(is_open(&probe));
        assert_eq!(many.iter().filter(|admission| is_open(admission)).count(), PER_ADDRESS_MAX);
        assert!(is_open(&many[399]), "the newest is let in");
    }

    #[test]
    fn who_never_asked_goes_before_who_did() {
        let mut rig = Rig::new(YOUNG);
        let scraper = rig.admit(address(1));
        scraper.asked();
        let silent: Vec<_> = (0..PER_ADDRESS_MAX * 3).map(|_| rig.admit(address(1))).collect();
        assert!(is_open(&scraper) && !is_open(&silent[0]));
    }

    #[test]
    fn a_flood_takes_nobody_the_time_to_ask() {
        let mut rig = Rig::new(Duration::ZERO);
        let begin = rig.now;
        let flood: Vec<_> = (0..1_000).map(|_| rig.admit(address(1))).collect();
        let probe = rig.admit(address(1));
        let came = rig.now;
        assert!(came - begin < Duration::from_secs(2), "{:?}", came - begin);
        let more: Vec<_> = (0..PER_ADDRESS_MAX).map(|_| rig.admit(address(1))).collect();
        assert!(!is_open(&probe) && rig.now - came >= YOUNG, "{:?}", rig.now - came);
        drop((flood, more));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
        assert_ne!(of("::1"), of("::2"));
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_fit_and_the_newest_is_always_in(
            steps in proptest::collection::vec((0_u8..140, any::<bool>(), any::<bool>()), 1..400),
            step in 0_u64..200,
        ) {
            let mut rig = Rig::new(Duration::from_millis(step));
            let mut held = Vec::new();
            for (number, asks, leaves) in steps {
                let number = if number < 60 { 0 } else { number };
                let admission = rig.admit(address(number));
                prop_assert!(is_open(&admission));
                if asks {
                    admission.asked();
                }
                if leaves {
                    drop(admission);
                } else {
                    held.push(admission);
                }
                held.retain(is_open);
                prop_assert!(held.len() <= CONNECTIONS_MAX);
                prop_assert!(rig.connections.open().of(address(number)) <= PER_ADDRESS_MAX);
                prop_assert_eq!(rig.connections.open().all.len(), held.len());
            }
        }
    }
}
