//! Webhooks against receivers: real libraries, a name server that changes its mind, and peers that
//! answer with whatever hurts.

mod addresses;
mod auth;
mod certificates;
mod connections;
mod docs;
mod hostile;
mod names;
mod proxy;
mod rate;
mod receiver;
mod signatures;
mod world;
