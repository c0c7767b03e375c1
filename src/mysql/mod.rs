//! SQL sessions: a deadline on every step, and secrets that do not print.
//!
//! The only door to mysql_async. Holds besides what a session and a replica connection have in
//! common: the address, the secret, the TLS options. It does not know what the statements mean.

mod error;
mod host;
mod secret;
mod session;
mod tls;
mod verifier;

pub use error::Error;
pub use host::{HostPort, SharedHost};
pub use mysql_async::Value;
pub use secret::Secret;
pub use session::{ConnectOptions, Row, Session, Table};
pub use tls::{Tls, TlsConfig, TlsError, TlsMode};
