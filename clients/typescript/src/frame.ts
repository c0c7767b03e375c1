/** The Protobuf format: base64, frame, decompression, checksum. Trusts nothing that it reads. */

import { fromBinary } from "@bufbuild/protobuf";

import { base64, crc32c, unzstd, zstdSize } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { Codec, type Frame, FrameSchema } from "./gen/binpulse/v1/frame_pb.js";
import { fits } from "./memory.js";

/** The version of the contract that this library reads. */
export const FORMAT_VERSION = 1;
/** Contents have at most so many bytes, but for single rows that came by way of an object. */
export const CONTENT_BYTES_MAX = 64 << 20;
/** An object holds at most so many bytes of content. */
export const OBJECT_BYTES_MAX = 256 << 20;

/** What the elements of a content may take in memory, for a limit of the content's size. */
export const elementBytesMax = (bytesMax: number): number => Math.min(bytesMax * 8, 512 << 20);

/** The frame in a body, with its typed content decompressed and checked. */
export function openFrame(body: string, bytesMax: number): Frame {
  const bytes = base64(body);
  if (!bytes) throw new DecodeError("base64", "the body is not base64");
  const frame = parsed(bytes, bytesMax);
  if (frame.formatVersion !== FORMAT_VERSION) {
    throw new DecodeError("version", `found format version ${frame.formatVersion}, expected ${FORMAT_VERSION}`);
  }
  if (frame.content.case !== "payload") return frame;
  const content = decompressed(frame, frame.content.value, bytesMax);
  if (crc32c(content) !== frame.crc32c) throw new DecodeError("checksum", "CRC-32C is not the stated one");
  return parsed(content, bytesMax);
}

function parsed(bytes: Uint8Array, bytesMax: number): Frame {
  if (!fits(bytes, elementBytesMax(bytesMax))) {
    throw new DecodeError("memory", "the content has more elements than its limit leaves memory for");
  }
  try {
    return fromBinary(FrameSchema, bytes, { readUnknownFields: false });
  } catch {
    throw new DecodeError("protobuf", "the bytes are no frame");
  }
}

/** What a frame states is looked at before memory is taken for it. */
function decompressed(frame: Frame, payload: Uint8Array, bytesMax: number): Uint8Array {
  const stated = frame.uncompressedSize;
  if (stated > bytesMax) {
    throw new DecodeError("size", `the content has ${stated} bytes, at most ${bytesMax} are allowed`);
  }
  const length = (found: number) =>
    new DecodeError("length", `found ${found} bytes of content, the frame states ${stated}`);
  switch (frame.codec) {
    case Codec.UNSPECIFIED:
    case Codec.NONE:
      if (BigInt(payload.length) !== stated) throw length(payload.length);
      return payload;
    case Codec.ZSTD: {
      const size = zstdSize(payload);
      if (size === undefined) throw new DecodeError("zstd", "the payload is no Zstandard frame that states its size");
      if (BigInt(size) !== stated) throw length(size);
      const content = unzstd(payload);
      if (!content) throw new DecodeError("zstd", "the payload is no Zstandard frame");
      return content;
    }
    default:
      throw new DecodeError("codec", `codec ${frame.codec as number} is not known`);
  }
}
