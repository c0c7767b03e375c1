//! A message's body to what it holds, by the wire contract alone: base64, a frame, and in it the
//! content, compressed and with a checksum.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use super::Error;
use crate::proto::frame::Content;
use crate::proto::{Codec, Frame};

/// Version of the wire contract that this consumer reads.
const FORMAT_VERSION: u32 = 1;
/// Largest content, bytes.
const CONTENT_BYTES_MAX: u64 = 256 << 20;

/// Opens a body.
pub(super) fn open(body: &str) -> Result<Content, Error> {
    let bytes = STANDARD.decode(body).map_err(|error| unreadable(&error))?;
    let frame = Frame::decode(bytes.as_slice()).map_err(|error| unreadable(&error))?;
    if frame.format_version != FORMAT_VERSION {
        return Err(Error::Message(format!("a frame of version {}", frame.format_version)));
    }
    let nothing = || Error::Message("a frame without a known content".to_owned());
    let content = match frame.content {
        Some(Content::Payload(ref payload)) => {
            let plain = decompress(&frame, payload)?;
            Frame::decode(plain.as_slice()).map_err(|error| unreadable(&error))?.content
        }
        content => content,
    };
    content.ok_or_else(nothing)
}

fn decompress(frame: &Frame, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let (stated, checksum) = (frame.uncompressed_size, frame.crc32c);
    if stated > CONTENT_BYTES_MAX {
        return Err(Error::Message(format!("a content of {stated} bytes")));
    }
    let plain = match Codec::try_from(frame.codec) {
        Ok(Codec::Unspecified | Codec::None) => payload.to_vec(),
        Ok(Codec::Zstd) => {
            let mut plain = Vec::new();
            zstd::stream::read::Decoder::with_buffer(payload)
                .and_then(|decoder| decoder.take(stated + 1).read_to_end(&mut plain))
                .map_err(|error| unreadable(&error))?;
            plain
        }
        Err(_) => return Err(Error::Message(format!("a frame with codec {}", frame.codec))),
    };
    if plain.len() as u64 != stated || crc32c::crc32c(&plain) != checksum {
        return Err(Error::Message("a content whose length or checksum is wrong".to_owned()));
    }
    Ok(plain)
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::Message(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Canary;

    fn body(codec: Codec, damage: u32) -> String {
        let canary = Content::Canary(Canary { number: 7, ..Canary::default() });
        let content = Frame { content: Some(canary), ..Frame::default() }.encode_to_vec();
        let payload = match codec {
            Codec::Zstd => zstd::bulk::compress(&content, 1).expect("zstd"),
            Codec::None | Codec::Unspecified => content.clone(),
        };
        let frame = Frame {
            format_version: FORMAT_VERSION,
            codec: codec.into(),
            uncompressed_size: content.len() as u64,
            crc32c: crc32c::crc32c(&content) ^ damage,
            content: Some(Content::Payload(payload)),
        };
        STANDARD.encode(frame.encode_to_vec())
    }

    #[test]
    fn a_content_is_found_compressed_or_not_and_a_damaged_one_is_refused() {
        for codec in [Codec::None, Codec::Zstd] {
            let Content::Canary(canary) = open(&body(codec, 0)).expect("readable") else {
                panic!("another content")
            };
            assert_eq!(canary.number, 7);
            assert!(open(&body(codec, 1)).is_err(), "{codec:?}");
        }
        assert!(open("no base64 !").is_err());
        assert!(open("{}").is_err());
    }
}
