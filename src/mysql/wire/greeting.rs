//! The server's first packet.

use super::bytes::{Bytes, quote};
use crate::excerpt::excerpt_bytes;

/// A server's capabilities (`CLIENT_...` in the MySQL Internals Manual).
pub(super) mod capability {
    pub(in crate::mysql::wire) const LONG_PASSWORD: u32 = 1;
    pub(in crate::mysql::wire) const LONG_FLAG: u32 = 4;
    pub(in crate::mysql::wire) const CONNECT_WITH_DB: u32 = 8;
    pub(in crate::mysql::wire) const PROTOCOL_41: u32 = 0x200;
    pub(in crate::mysql::wire) const SSL: u32 = 0x800;
    pub(in crate::mysql::wire) const TRANSACTIONS: u32 = 0x2000;
    pub(in crate::mysql::wire) const SECURE_CONNECTION: u32 = 0x8000;
    pub(in crate::mysql::wire) const MULTI_RESULTS: u32 = 0x2_0000;
    pub(in crate::mysql::wire) const PLUGIN_AUTH: u32 = 0x8_0000;
    pub(in crate::mysql::wire) const CONNECT_ATTRS: u32 = 0x10_0000;
}

/// What the server says of itself before the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// As the server prints it; MariaDB puts `5.5.5-` in front.
    pub(crate) version: String,
    /// Its number for this connection.
    pub(crate) connection_id: u32,
    /// Capability bits.
    pub(super) capabilities: u32,
    /// Random bytes to scramble the password with, 20.
    pub(super) nonce: Vec<u8>,
    /// Login method that it tries first.
    pub(super) plugin: String,
}

impl Greeting {
    /// Reads protocol version 10, which every server since 3.21 speaks.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        Self::parse_v10(payload).ok_or_else(|| quote(payload))
    }

    fn parse_v10(payload: &[u8]) -> Option<Self> {
        let mut input = Bytes(payload);
        if input.byte()? != 10 {
            return None;
        }
        let version = excerpt_bytes(input.until_zero());
        let connection_id = u32::from_le_bytes(input.array()?);
        let mut nonce = input.take(8)?.to_vec();
        input.take(1)?;
        let low = u16::from_le_bytes(input.array()?);
        // Default collation and status.
        input.take(3)?;
        let high = u16::from_le_bytes(input.array()?);
        let capabilities = u32::from(high) << 16 | u32::from(low);
        let nonce_bytes = usize::from(input.byte()?);
        input.take(10)?;
        let rest = nonce_bytes.saturating_sub(8).max(13).min(input.0.len());
        nonce.extend_from_slice(input.take(rest)?);
        while nonce.last() == Some(&0) && nonce.len() > 20 {
            nonce.pop();
        }
        let plugin = excerpt_bytes(input.until_zero());
        Some(Self { version, connection_id, capabilities, nonce, plugin })
    }

    pub(super) fn has(&self, capability: u32) -> bool {
        self.capabilities & capability != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Greeting;
    use crate::mysql::wire::ServerError;

    fn greeting() -> Vec<u8> {
        [
            &b"\x0a8.4.3\0\x07\0\0\0abcdefgh\0"[..],
            &[0xff, 0xff, 0xff, 2, 0, 0xff, 0xdf, 21],
            &[0; 10],
            b"ijklmnopqrst\0caching_sha2_password\0",
        ]
        .concat()
    }

    #[test]
    fn a_greeting_is_read() {
        let greeting = Greeting::parse(&greeting()).expect("a greeting");
        assert_eq!(greeting.version, "8.4.3");
        assert_eq!(greeting.connection_id, 7);
        assert_eq!(greeting.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(greeting.plugin, "caching_sha2_password");
        assert_eq!(greeting.capabilities, 0xdfff_ffff);
    }

    #[test]
    fn errors_have_a_sql_state_or_not() {
        let error = ServerError::parse(b"\x10\x04Too many connections");
        assert_eq!((error.code, error.message.as_str()), (1040, "Too many connections"));
        let error = ServerError::parse(b"\x15\x04#28000Access denied");
        assert_eq!((error.code, error.message.as_str()), (1045, "Access denied"));
        assert_eq!(error.state, "28000");
        assert_eq!(ServerError::parse(b"").code, 0);
        let endless = [&b"\xd4\x04"[..], &vec![b'x'; 1 << 20]].concat();
        assert!(ServerError::parse(&endless).message.len() < 2_000);
    }

    proptest! {
        #[test]
        fn a_cut_or_arbitrary_greeting_never_panics(
            cut in 0_usize..90, bytes in proptest::collection::vec(any::<u8>(), 0..90),
        ) {
            let whole = greeting();
            let _ignored = Greeting::parse(&whole[..cut.min(whole.len())]);
            let _ignored = (Greeting::parse(&bytes), ServerError::parse(&bytes));
        }
    }
}
