//! SQL sessions: a deadline on every step, and secrets that do not print.
//!
//! Holds besides what a session and a replica connection have in common: the address, the secret,
//! the TLS options, and the client protocol (`wire`). It does not know what the statements mean.

mod error;
mod host;
mod row;
mod secret;
#[cfg(test)]
pub(crate) mod server_side;
mod session;
#[cfg(test)]
pub(crate) mod stand_in;
mod tls;
pub(crate) mod wire;

pub use error::{ConnectionLoss, Error};
pub use host::{HostPort, SharedHost};
pub use mysql_common::value::Value;
pub use row::{Row, Table};
pub use secret::Secret;
pub use session::{ConnectOptions, Session};
pub use tls::{Tls, TlsConfig, TlsError, TlsMode};
pub use wire::{Cells, RowSink};

/// Login methods that connections speak, for messages.
pub(crate) const LOGIN_METHODS: &str = "caching_sha2_password, sha256_password, \
     mysql_native_password, client_ed25519 and parsec";
