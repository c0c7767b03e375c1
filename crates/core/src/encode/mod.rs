//! Rows to bytes, and bytes to messages that a topic accepts.
//!
//! ```text
//! Change --Batch::push--> Draft (rows, uncompressed) --Sealer::finalize--> Message (body, attributes)
//! ```
//!
//! The contract is `proto/binpulse/v1`. [`Batch`] and [`EncodedBatch`] work on the reader's thread and
//! copy each cell once, with no allocation per row; [`Finalizer`] does what costs CPU time (headers,
//! checksum, compression, base64) and may run on any thread. [`open`] is the way back.
//!
//! This part knows nothing of lanes' sizes and linger (`pack`), nor of how messages are sent
//! (`sink`). Only it and the client that it shares the contract with use prost.

mod attributes;
mod batch;
pub mod control_message;
mod digest;
mod encoded_batch;
mod finalize;
pub mod formats;
mod frame;
mod image_buffer;
pub mod json;
mod key;
mod lane;
mod message;
pub mod opened;
mod options;
mod origin;
mod outbox;
mod protobuf;
mod rows;
mod schema;
mod shrink;
mod single_rows;
#[cfg(any(test, feature = "testing"))]
#[allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
pub mod testing;

pub use binpulse_client::{frame as open, proto};

pub use attributes::NONE;
pub use batch::Batch;
pub use digest::{RowDigest, RowsDigest, combined};
pub use encoded_batch::{Canary, EncodedBatch, SnapshotPart, StandsFor};
pub use finalize::{
    CONTENT_BYTES_MAX, Destination, FinalizeOptions, Finalized, Finalizer, Oversize,
};
pub use key::KeyWriter;
pub use lane::{Lane, LaneId, percent_encoded};
pub use message::{Attribute, DataType, Kind, Message};
pub use options::{BeforeImage, Format, RowOptions};
pub use origin::{Origin, Replay};
pub use outbox::{ATTRIBUTES_MAX, is_attribute_of_outbox};
pub use rows::OpSet;
