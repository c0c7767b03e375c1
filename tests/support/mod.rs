//! What tests need around the streamer: faults on the wire, and an oracle.

pub(crate) mod oracle;
pub(crate) mod proxy;
