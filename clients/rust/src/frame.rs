//! The way back: from a message's body to what it holds. Trusts nothing that it reads.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use crate::memory;
use crate::proto::{self, Codec, frame::Content};

/// Version of the wire contract that this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Largest content that [`content`] decompresses, bytes.
pub const UNCOMPRESSED_BYTES_MAX: u64 = 256 << 20;

/// What the elements of a content may take in memory, for a limit of the content's size: values are larger
/// there than in a frame. A content that came by way of an object has one row, and so few elements.
pub(crate) fn element_bytes_max(bytes_max: u64) -> u64 {
    bytes_max.saturating_mul(8).min(512 << 20)
}

/// Largest window that a compressed content may ask for: 2 to this power bytes.
const WINDOW_LOG_MAX: u32 = 27;

/// A body that is not a frame of ours, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The body begins as JSON: a document of the `json` format, or a pointer to an object.
    #[error("the body is JSON, not a frame")]
    Json,
    /// The body is not base64 text.
    #[error("the body is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bytes are no Protobuf message of the contract.
    #[error("not a frame: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The frame's version is not ours.
    #[error("the frame has format version {0}, this binpulse reads {FORMAT_VERSION}")]
    Version(u32),
    /// The codec is not known.
    #[error("the frame has codec {0}, which this binpulse does not know")]
    Codec(i32),
    /// The content is larger than allowed.
    #[error("the content has {found} bytes, at most {max} are allowed")]
    Size {
        /// Size that the frame states.
        found: u64,
        /// Size allowed.
        max: u64,
    },
    /// The content's length is not the one stated.
    #[error("the frame states {stated} bytes of content, found {found}")]
    Length {
        /// Length that the frame states.
        stated: u64,
        /// Length found; one more than stated when there is more.
        found: u64,
    },
    /// The checksum does not fit.
    #[error("CRC-32C is {found:08x}, the frame states {stated:08x}")]
    Checksum {
        /// Checksum that the frame states.
        stated: u32,
        /// Checksum of what was found.
        found: u32,
    },
    /// The payload does not decompress.
    #[error("the payload is no Zstandard frame: {0}")]
    Zstd(#[from] std::io::Error),
    /// The content has so many small elements that it would take too much memory.
    #[error("the content would take more than {max} bytes of memory once decoded")]
    Memory {
        /// Memory allowed, bytes.
        max: u64,
    },
    /// Nothing that this version knows is inside.
    #[error("the frame holds no content that this binpulse knows")]
    Unknown,
}

/// Opens a body: base64, frame, decompression, checksum. A payload is unwrapped; what comes back is
/// one of the typed contents.
pub fn content(body: &str) -> Result<Content, OpenError> {
    content_within(body, UNCOMPRESSED_BYTES_MAX)
}

/// As [`content`], for those who want small contents only: what states more than `bytes_max` is not
/// decompressed.
pub fn content_within(body: &str, bytes_max: u64) -> Result<Content, OpenError> {
    if body.starts_with(['{', '[']) {
        return Err(OpenError::Json);
    }
    frame_within(&STANDARD.decode(body)?, bytes_max)
}

/// As [`content`], from the bytes of a frame.
pub fn frame(bytes: &[u8]) -> Result<Content, OpenError> {
    frame_within(bytes, UNCOMPRESSED_BYTES_MAX)
}

fn frame_within(bytes: &[u8], bytes_max: u64) -> Result<Content, OpenError> {
    let frame = parse(bytes, bytes_max)?;
    if frame.format_version != FORMAT_VERSION {
        return Err(OpenError::Version(frame.format_version));
    }
    let Some(Content::Payload(payload)) = &frame.content else {
        return frame.content.ok_or(OpenError::Unknown);
    };
    let plain = decompress(&frame, payload, bytes_max)?;
    match parse(&plain, bytes_max)?.content {
        Some(Content::Payload(_)) | None => Err(OpenError::Unknown),
        Some(content) => Ok(content),
    }
}

fn parse(bytes: &[u8], bytes_max: u64) -> Result<proto::Frame, OpenError> {
    let max = element_bytes_max(bytes_max);
    if !memory::fits(bytes, max) {
        return Err(OpenError::Memory { max });
    }
    Ok(proto::Frame::decode(bytes)?)
}

fn decompress(frame: &proto::Frame, payload: &[u8], bytes_max: u64) -> Result<Vec<u8>, OpenError> {
    let stated = frame.uncompressed_size;
    if stated > bytes_max {
        return Err(OpenError::Size { found: stated, max: bytes_max });
    }
    let plain = match Codec::try_from(frame.codec) {
        Ok(Codec::Unspecified | Codec::None) => payload.to_vec(),
        Ok(Codec::Zstd) => {
            match zstd::zstd_safe::get_frame_content_size(payload) {
                Ok(Some(size)) if size == stated => {}
                Ok(Some(found)) => return Err(OpenError::Length { stated, found }),
                Ok(None) | Err(_) => {
                    let error = std::io::Error::other("it does not state its size");
                    return Err(error.into());
                }
            }
            let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            // The vector grows with what is really there, not with what the frame states.
            let mut plain = Vec::new();
            decoder.take(stated + 1).read_to_end(&mut plain)?;
            plain
        }
        Err(_) => return Err(OpenError::Codec(frame.codec)),
    };
    let found = plain.len() as u64;
    if found != stated {
        return Err(OpenError::Length { stated, found });
    }
    let checksum = crc32c::crc32c(&plain);
    if checksum != frame.crc32c {
        return Err(OpenError::Checksum { stated: frame.crc32c, found: checksum });
    }
    Ok(plain)
}
