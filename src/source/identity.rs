//! Who the server is, and who we are to it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::change::{ServerVersion, Uuid};
use crate::mysql::HostPort;

/// Family of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL, Percona Server, Aurora.
    Mysql,
    /// MariaDB.
    Maria,
}

impl Flavor {
    /// Tells the family by `@@version` or the greeting.
    pub fn of(version: &str) -> Self {
        if ServerVersion::read(version).is_mariadb { Self::Maria } else { Self::Mysql }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mysql => "MySQL",
            Self::Maria => "MariaDB",
        })
    }
}

/// A server as it presented itself on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where it is connected to.
    pub host: HostPort,
    /// Its family.
    pub flavor: Flavor,
    /// `@@version`.
    pub version: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@server_uuid`; MariaDB has none.
    pub server_uuid: Option<Uuid>,
    /// `@@gtid_mode`, such as `ON`; MariaDB has none.
    pub gtid_mode: Option<String>,
    /// The server's number for this connection, as in its process list.
    pub connection_id: u32,
    /// Our `server_id`.
    pub replica_server_id: u32,
    /// Our replica UUID.
    pub replica_uuid: Uuid,
    /// Whether the connection is under TLS.
    pub secured: bool,
}

impl Identity {
    /// What names the server in a checkpoint: its UUID, or where it has none its family and id.
    pub fn name(&self) -> String {
        match self.server_uuid {
            Some(uuid) => uuid.to_string(),
            None => format!("{}-{}", self.flavor, self.server_id).to_ascii_lowercase(),
        }
    }
}

/// A `server_id` for a stream on a server (named as by [`Identity::name`]), the same each time:
/// 2^31 to 2^32 - 2, a range that people do not use, wide enough that two streams hardly meet.
///
/// `attempt` gives others for when the first is taken.
pub fn derive_server_id(stream: &str, server: &str, attempt: u32) -> u32 {
    const FIRST: u32 = 1 << 31;
    const COUNT: u64 = (1 << 31) - 1;
    let digest = digest("server-id", &[stream, server, &attempt.to_string()]);
    let drawn = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) % COUNT;
    FIRST.saturating_add(u32::try_from(drawn).unwrap_or_default())
}

/// A replica UUID for a stream, the same each time, also on another server: two processes of one
/// stream throw each other out, which is what shows that there are two. Version 8 of RFC 9562:
/// made from a hash of our own.
pub fn derive_replica_uuid(stream: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, drawn) in bytes.iter_mut().zip(digest("replica-uuid", &[stream])) {
        *byte = drawn;
    }
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

fn digest(purpose: &str, parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"binpulse ");
    hasher.update(purpose);
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Flavor, derive_replica_uuid, derive_server_id};

    #[test]
    fn the_family_is_told_by_the_version() {
        assert_eq!(Flavor::of("5.5.5-10.11.18-MariaDB-0+deb12u1"), Flavor::Maria);
        assert_eq!(Flavor::of("9.7.4-0"), Flavor::Mysql);
    }

    #[test]
    fn what_is_derived_never_changes_between_releases() {
        assert_eq!(derive_server_id("orders", "s", 0), 2_714_192_322);
        assert_eq!(
            derive_replica_uuid("orders").to_string(),
            "d6777977-bfc7-8cff-8f78-d44f5534024f"
        );
    }

    #[test]
    fn a_second_attempt_and_another_server_give_other_ids() {
        let first = derive_server_id("orders", "s", 0);
        assert_ne!(first, derive_server_id("orders", "s", 1));
        assert_ne!(first, derive_server_id("orders", "t", 0));
        assert_ne!(first, derive_server_id("order", "ss", 0));
    }

    proptest! {
        #[test]
        fn every_id_is_in_the_range_and_every_uuid_valid(stream: String, server: String) {
            let id = derive_server_id(&stream, &server, 0);
            prop_assert!((1 << 31..u32::MAX).contains(&id));
            let text = derive_replica_uuid(&stream).to_string();
            prop_assert_eq!(text.as_bytes()[14], b'8');
            prop_assert!(b"89ab".contains(&text.as_bytes()[19]));
        }
    }
}
