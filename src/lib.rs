//! binpulse: MySQL row changes to Amazon SNS, and a proof of life beside them.
//!
//! The parts, in the order in which a row passes through them:
//!
//! ```text
//! source -> decode -> filter -> pack -> encode -> sink -> checkpoint
//!                \                              /
//!                 +--------- freshness --------+
//! ```
//!
//! Start reading at [`change`], which holds the words that the parts share.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the parts are read with `cargo doc --document-private-items`"
)]
#![cfg_attr(
    not(feature = "testing"),
    allow(
        unreachable_pub,
        unused_imports,
        reason = "tests, benches and fuzz targets reach the parts, the program only its commands"
    )
)]

pub use binpulse_core::{backoff, change, encode, excerpt};

pub mod cli;

// The parts. Only tests see them from outside, so the compiler names what nothing runs. Not by a macro: tools
// that go from module to module (rustfmt, cargo-mutants) would not find them.
#[cfg(not(feature = "testing"))]
mod app;
#[cfg(feature = "testing")]
pub mod app;
#[cfg(not(feature = "testing"))]
mod aws;
#[cfg(feature = "testing")]
pub mod aws;
#[cfg(not(feature = "testing"))]
mod binlog;
#[cfg(feature = "testing")]
pub mod binlog;
#[cfg(not(feature = "testing"))]
mod checkpoint;
#[cfg(feature = "testing")]
pub mod checkpoint;
#[cfg(not(feature = "testing"))]
mod config;
#[cfg(feature = "testing")]
pub mod config;
#[cfg(not(feature = "testing"))]
mod control;
#[cfg(feature = "testing")]
pub mod control;
#[cfg(not(feature = "testing"))]
mod decode;
#[cfg(feature = "testing")]
pub mod decode;
#[cfg(not(feature = "testing"))]
mod filter;
#[cfg(feature = "testing")]
pub mod filter;
#[cfg(not(feature = "testing"))]
mod freshness;
#[cfg(feature = "testing")]
pub mod freshness;
#[cfg(not(feature = "testing"))]
mod journal;
#[cfg(feature = "testing")]
pub mod journal;
#[cfg(not(feature = "testing"))]
mod lease;
#[cfg(feature = "testing")]
pub mod lease;
#[cfg(not(feature = "testing"))]
mod local_http;
#[cfg(feature = "testing")]
pub mod local_http;
#[cfg(not(feature = "testing"))]
mod mysql;
#[cfg(feature = "testing")]
pub mod mysql;
#[cfg(not(feature = "testing"))]
mod pack;
#[cfg(feature = "testing")]
pub mod pack;
#[cfg(not(feature = "testing"))]
mod pipeline;
#[cfg(feature = "testing")]
pub mod pipeline;
#[cfg(not(feature = "testing"))]
mod platform;
#[cfg(feature = "testing")]
pub mod platform;
#[cfg(not(feature = "testing"))]
mod shadow;
#[cfg(feature = "testing")]
pub mod shadow;
#[cfg(not(feature = "testing"))]
mod shutdown;
#[cfg(feature = "testing")]
pub mod shutdown;
#[cfg(not(feature = "testing"))]
mod sink;
#[cfg(feature = "testing")]
pub mod sink;
#[cfg(not(feature = "testing"))]
mod snapshot;
#[cfg(feature = "testing")]
pub mod snapshot;
#[cfg(not(feature = "testing"))]
mod source;
#[cfg(feature = "testing")]
pub mod source;
#[cfg(not(feature = "testing"))]
mod sql;
#[cfg(feature = "testing")]
pub mod sql;
#[cfg(not(feature = "testing"))]
mod telemetry;
#[cfg(feature = "testing")]
pub mod telemetry;
#[cfg(not(feature = "testing"))]
mod tls;
#[cfg(feature = "testing")]
pub mod tls;
