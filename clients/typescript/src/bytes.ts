/** Bytes: base64, CRC-32C and Zstandard. Nothing that is read here is trusted. */

import { decompress } from "fzstd";

/** Bytes of standard base64 with padding; undefined: it is something else. */
export function base64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || /[-_]/.test(text)) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = Buffer.from(text, "base64");
  // Buffer passes over what is not of the alphabet, and then has fewer bytes.
  return bytes.length === (text.length / 4) * 3 - padding ? bytes : undefined;
}

const TABLES = Array.from({ length: 8 }, () => new Int32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  TABLES[0]![byte] = crc;
}
for (let table = 1; table < 8; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = TABLES[table - 1]![byte]!;
    TABLES[table]![byte] = (before >>> 8) ^ TABLES[0]![before & 0xff]!;
  }
}

/** CRC-32C (Castagnoli), eight bytes at a time. */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array,
  ];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length - (bytes.length % 8);
  let crc = -1;
  let at = 0;
  for (; at < whole; at += 8) {
    const low = view.getInt32(at, true) ^ crc;
    const high = view.getInt32(at + 4, true);
    crc = t7[low & 0xff]! ^ t6[(low >>> 8) & 0xff]! ^ t5[(low >>> 16) & 0xff]! ^ t4[low >>> 24]!
      ^ t3[high & 0xff]! ^ t2[(high >>> 8) & 0xff]! ^ t1[(high >>> 16) & 0xff]! ^ t0[high >>> 24]!;
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** The content size that a Zstandard frame states, and where its blocks begin; undefined: it states none. */
function zstdHeader(bytes: Uint8Array): { size: number; at: number } | undefined {
  if (bytes.length < 6 || bytes[0] !== 0x28 || bytes[1] !== 0xb5 || bytes[2] !== 0x2f || bytes[3] !== 0xfd) {
    return undefined;
  }
  const flags = bytes[4]!;
  const isSingle = (flags & 0x20) !== 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const at = isSingle ? 5 : 6;
  const hasDictionary = (flags & 3) !== 0;
  if (sizeBytes === 0 || hasDictionary || bytes.length < at + sizeBytes) return undefined;
  let size = sizeBytes === 2 ? 256 : 0;
  for (let byte = 0; byte < sizeBytes; byte++) size += bytes[at + byte]! * 2 ** (8 * byte);
  return { size, at: at + sizeBytes };
}

/** The size of the content that is stated; undefined: the bytes are no Zstandard frame that states one. Looked at
 * before anything is decompressed: the library takes as much memory as a frame states. */
export const zstdSize = (bytes: Uint8Array): number | undefined => zstdHeader(bytes)?.size;

/** Whether the bytes are one frame: the library goes on with others behind it. */
function isOneFrame(bytes: Uint8Array): boolean {
  let at = zstdHeader(bytes)?.at ?? bytes.length;
  for (let isLast = false; !isLast;) {
    if (bytes.length < at + 3) return false;
    const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    isLast = (block & 1) === 1;
    at += 3 + ((block & 6) === 2 ? 1 : block >>> 3);
  }
  return at + (bytes[4]! & 4 ? 4 : 0) === bytes.length;
}

/** Decompresses a frame of which `zstdSize` was looked at; undefined: it is damaged. */
export function unzstd(bytes: Uint8Array): Uint8Array | undefined {
  if (!isOneFrame(bytes)) return undefined;
  try {
    return decompress(bytes);
  } catch {
    return undefined;
  }
}
