//! The frame around a content: checksum, compression, base64.

use base64_simd::STANDARD;
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

/// Room in front of a content for the fields before it: version, codec, size, checksum, and tag and
/// length of the payload take less.
pub(crate) const FRONT_BYTES: usize = 32;

/// Makes frames; keeps its compressor and buffers.
pub(crate) struct Framer {
    compressor: Option<Compressor<'static>>,
    /// As long as the largest it has held: writing zeros over it each time would be for nothing.
    compressed: Vec<u8>,
    front: Vec<u8>,
}

impl Framer {
    /// `zstd_level` 0 switches compression off; levels are zstd's, 1 to 22.
    pub(crate) fn new(zstd_level: i32) -> std::io::Result<Self> {
        let compressor =
            if zstd_level == 0 { None } else { Some(Compressor::new(zstd_level.clamp(1, 22))?) };
        Ok(Self { compressor, compressed: Vec::new(), front: Vec::new() })
    }

    /// The body for a content: base64 of the frame that holds it as payload. The content begins
    /// [`FRONT_BYTES`] into `buffer`, so that the frame is put together without moving it.
    pub(crate) fn body(&mut self, buffer: &mut [u8], checksum: u32) -> String {
        let content = buffer.get(FRONT_BYTES..).unwrap_or_default();
        let size = content.len();
        let (codec, buffer, payload_bytes) = match self.compress(content) {
            Some(bytes) => (Codec::Zstd, self.compressed.as_mut_slice(), bytes),
            None => (Codec::None, buffer, size),
        };
        let front = &mut self.front;
        front.clear();
        put_number(front, VERSION, FORMAT_VERSION.into());
        put_number(front, CODEC, i32::from(codec).unsigned_abs().into());
        put_number(front, UNCOMPRESSED_SIZE, size as u64);
        if checksum != 0 {
            put_varint(front, tag(CRC32C, FIXED32));
            front.extend_from_slice(&checksum.to_le_bytes());
        }
        // A member of a oneof is written even when it is empty.
        put_header(front, PAYLOAD, payload_bytes);
        let start = FRONT_BYTES - front.len();
        let frame = buffer.get_mut(start..FRONT_BYTES + payload_bytes).unwrap_or_default();
        if let Some((room, _)) = frame.split_at_mut_checked(front.len()) {
            room.copy_from_slice(front);
        }
        STANDARD.encode_to_string(frame)
    }

    /// Gives memory back after a huge content.
    pub(crate) fn release(&mut self) {
        self.compressed = Vec::new();
    }

    /// How many bytes of `compressed`, behind the room in front, now hold the content; `None` when
    /// it is not smaller than it was.
    fn compress(&mut self, content: &[u8]) -> Option<usize> {
        let compressor = self.compressor.as_mut()?;
        if content.len() < COMPRESSED_BYTES_MIN {
            return None;
        }
        let room = FRONT_BYTES + zstd::zstd_safe::compress_bound(content.len());
        if self.compressed.len() < room {
            self.compressed.resize(room, 0);
        }
        // Compression fails only for want of memory or room; the content can travel as it is.
        let written =
            compressor.compress_to_buffer(content, self.compressed.get_mut(FRONT_BYTES..)?).ok()?;
        (written < content.len()).then_some(written)
    }
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framer")
            .field("compresses", &self.compressor.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use prost::Message as _;

    use super::super::proto::frame::Content;
    use super::*;
    use crate::encode::proto;

    #[test]
    fn a_frame_holds_its_content_whatever_the_framer_held_before() {
        let noise = |bytes: usize| {
            let mut state = 1_u32;
            let next = move || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            };
            std::iter::repeat_with(next).take(bytes).collect::<Vec<u8>>()
        };
        for level in [0, 1] {
            let mut framer = Framer::new(level).expect("zstd starts");
            for content in [noise(70_000), vec![7; 90_000], vec![9; 500], noise(200), Vec::new()] {
                let mut buffer = vec![0; FRONT_BYTES];
                buffer.extend_from_slice(&content);
                let body = framer.body(&mut buffer, crc32c::crc32c(&content));
                let bytes = base64::engine::general_purpose::STANDARD.decode(body).expect("base64");
                let frame = proto::Frame::decode(bytes.as_slice()).expect("a frame");
                assert_eq!(frame.uncompressed_size, content.len() as u64);
                assert_eq!(frame.crc32c, crc32c::crc32c(&content));
                let Some(Content::Payload(payload)) = frame.content else { panic!("no payload") };
                let plain = match Codec::try_from(frame.codec) {
                    Ok(Codec::Zstd) => zstd::bulk::decompress(&payload, 1 << 20).expect("zstd"),
                    _ => payload,
                };
                assert!(plain == content, "{} bytes at level {level}", content.len());
            }
        }
    }

    #[test]
    fn the_fields_in_front_fit_their_room_whatever_the_numbers() {
        let mut front = Vec::new();
        put_number(&mut front, VERSION, u32::MAX.into());
        put_number(&mut front, CODEC, 127);
        put_number(&mut front, UNCOMPRESSED_SIZE, 1 << 40);
        put_varint(&mut front, tag(CRC32C, FIXED32));
        front.extend_from_slice(&[0; 4]);
        put_header(&mut front, PAYLOAD, 1 << 40);
        assert!(front.len() <= FRONT_BYTES, "{} bytes", front.len());
    }
}
