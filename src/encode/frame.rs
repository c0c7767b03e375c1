//! The frame around a content: checksum, compression, base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zstd::bulk::Compressor;

use super::open::FORMAT_VERSION;
use super::proto::Codec;
use super::protobuf::wire::{FIXED32, put_header, put_number, put_varint, tag};

/// Fields of `Frame`.
const VERSION: u32 = 1;
const CODEC: u32 = 2;
const UNCOMPRESSED_SIZE: u32 = 3;
const CRC32C: u32 = 4;
const PAYLOAD: u32 = 5;

/// Contents smaller than this are not worth compressing, bytes.
const COMPRESSED_BYTES_MIN: usize = 96;

/// Makes frames; keeps its compressor and buffers.
pub(crate) struct Framer {
    compressor: Option<Compressor<'static>>,
    compressed: Vec<u8>,
    frame: Vec<u8>,
}

impl Framer {
    /// `zstd_level` 0 switches compression off; levels are zstd's, 1 to 22.
    pub(crate) fn new(zstd_level: i32) -> std::io::Result<Self> {
        let compressor =
            if zstd_level == 0 { None } else { Some(Compressor::new(zstd_level.clamp(1, 22))?) };
        Ok(Self { compressor, compressed: Vec::new(), frame: Vec::new() })
    }

    /// The body for a content: base64 of the frame that holds it as payload.
    pub(crate) fn body(&mut self, content: &[u8], checksum: u32) -> String {
        let compressed = self.compress(content);
        let (codec, payload) = if compressed {
            (Codec::Zstd, self.compressed.as_slice())
        } else {
            (Codec::None, content)
        };
        let frame = &mut self.frame;
        frame.clear();
        put_number(frame, VERSION, FORMAT_VERSION.into());
        put_number(frame, CODEC, i32::from(codec).unsigned_abs().into());
        put_number(frame, UNCOMPRESSED_SIZE, content.len() as u64);
        if checksum != 0 {
            put_varint(frame, tag(CRC32C, FIXED32));
            frame.extend_from_slice(&checksum.to_le_bytes());
        }
        // A member of a oneof is written even when it is empty.
        put_header(frame, PAYLOAD, payload.len());
        frame.extend_from_slice(payload);
        STANDARD.encode(frame)
    }

    /// Gives memory back after a huge content.
    pub(crate) fn release(&mut self) {
        self.compressed = Vec::new();
        self.frame = Vec::new();
    }

    /// Whether `compressed` now holds the content, smaller than it was.
    fn compress(&mut self, content: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else {
            return false;
        };
        if content.len() < COMPRESSED_BYTES_MIN {
            return false;
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(content.len()));
        // Compression fails only for want of memory or room; the content can travel as it is.
        compressor
            .compress_to_buffer(content, &mut self.compressed)
            .is_ok_and(|written| written < content.len())
    }
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framer")
            .field("compresses", &self.compressor.is_some())
            .finish_non_exhaustive()
    }
}
