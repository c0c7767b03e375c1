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

pub use binpulse_core::{backoff, change, encode, excerpt};

pub mod app;
pub mod aws;
pub mod binlog;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod decode;
pub mod filter;
pub mod freshness;
pub mod journal;
pub mod local_http;
pub mod mysql;
pub mod pack;
pub mod pipeline;
pub mod shutdown;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod telemetry;
