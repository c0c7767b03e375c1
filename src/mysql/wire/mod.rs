//! MySQL's client protocol as far as sessions and replicas need it: packets, login, statements.
//!
//! Everything that a server sends is untrusted: each length is checked against the bytes that are
//! there, memory grows with what has arrived and not with what was announced, and each answer has
//! a largest size. Whoever answers may not be the server at all.

mod bytes;
mod channel;
mod dial;
mod failure;
mod greeting;
mod login;
mod proof;
mod public_key;
mod socket;
mod statement;

pub(crate) use channel::{Channel, ChannelError, PACKET_BYTES_MAX};
pub(crate) use dial::{Dial, Dialled, dial};
pub(crate) use failure::{Failure, ServerError, Step, is_close};
pub(crate) use greeting::Greeting;
pub(crate) use socket::Socket;
pub(crate) use statement::{Answer, RESULT_BYTES_MAX, interpolate, run, stream};
pub use statement::{Cells, RowSink};
