//! What a change is, and how it becomes a message: what the streamer and the relay share.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the parts are read with `cargo doc --document-private-items`"
)]

pub mod backoff;
pub mod change;
pub mod encode;
pub mod excerpt;
