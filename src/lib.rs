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

/// The parts. Only tests see them from outside, so the compiler names what nothing runs.
macro_rules! parts {
    ($($name:ident)+) => {$(
        #[cfg(feature = "testing")]
        pub mod $name;
        #[cfg(not(feature = "testing"))]
        mod $name;
    )+};
}

pub use binpulse_core::{backoff, change, encode, excerpt};

pub mod cli;

parts! {
    app aws binlog checkpoint config decode filter freshness journal local_http mysql pack pipeline
    shutdown sink snapshot source sql telemetry
}
