//! What a server is asked, and what is made of its answers.

mod connect;
mod facts;
mod resolve;
mod schema;
pub(crate) mod server;
