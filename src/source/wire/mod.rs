//! MySQL's client protocol as far as a replica needs it: packets, login, three commands.
//!
//! Everything that a server sends is untrusted: each length is checked against the bytes that are
//! there, and memory grows with what has arrived, not with what was announced.

mod bytes;
mod channel;
mod command;
mod greeting;
mod login;
mod public_key;
mod socket;

pub(super) use channel::Channel;
pub(super) use command::{
    Annotations, answer, dump_by_gtid, dump_by_gtid_from, dump_by_position,
    dump_from_wide_position, query, register,
};
pub(super) use greeting::{Greeting, ServerError};
pub(super) use login::Login;
pub(super) use socket::{Socket, connect};
