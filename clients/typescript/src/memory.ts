/** What a frame takes in memory once it is decoded, estimated from its bytes before that.
 *
 * An empty element of a list takes two bytes of a frame, and 50 to 200 once it is decoded: a few kilobytes,
 * compressed, could become gigabytes although their content is within its limit. */

const ELEMENT_BYTES = 100;

/** A message with lists, or with messages that have some. */
interface Level {
  /** Field numbers of lists. */
  lists: readonly number[];
  /** Field numbers of messages that are walked through. */
  inside: Readonly<Record<number, Level>>;
}

const leaf = (...lists: number[]): Level => ({ lists, inside: {} });
const image = leaf(1);
const row: Level = { lists: [], inside: { 4: image, 5: image } };
const column = leaf(7);
const table: Level = { lists: [3], inside: { 3: column } };
const batch: Level = { lists: [8, 9, 11], inside: { 2: table, 11: row } };
const watermark = leaf(5);
const FRAME: Level = {
  lists: [],
  inside: {
    6: batch,
    7: { lists: [], inside: { 7: watermark } },
    8: { lists: [7], inside: { 4: batch, 5: watermark } },
    11: { lists: [10], inside: { 4: batch, 8: image, 9: image, 10: image } },
    12: leaf(8),
    14: leaf(5),
  },
};

/** Whether the elements of all lists in a frame take at most `bytesMax` bytes. Bytes that are no frame fit:
 * decoding them tells what is wrong. */
export function fits(frame: Uint8Array, bytesMax: number): boolean {
  const room = Math.floor(bytesMax / ELEMENT_BYTES);
  // Each element takes two bytes at least: most contents need no closer look.
  return frame.length / 2 <= room || new Walk(frame, room).walk(FRAME, 0, frame.length);
}

class Walk {
  private at = 0;

  constructor(private readonly bytes: Uint8Array, private room: number) {}

  /** Whether there is room for what lies between; also where the bytes are broken. */
  walk(level: Level, start: number, end: number): boolean {
    this.at = start;
    while (this.at < end) {
      const tag = this.varint();
      const wire = tag & 7;
      if (wire === 0) this.varint();
      else if (wire === 1) this.at += 8;
      else if (wire === 5) this.at += 4;
      else if (wire === 2) {
        const length = this.varint();
        const after = this.at + length;
        if (after > end) return true;
        const field = Math.floor(tag / 8);
        if (level.lists.includes(field) && --this.room < 0) return false;
        const inside = level.inside[field];
        if (inside && !this.walk(inside, this.at, after)) return false;
        this.at = after;
      } else if (wire > 5) return true;
    }
    return true;
  }

  private varint(): number {
    let value = 0;
    for (let shift = 1; shift < 2 ** 70; shift *= 128) {
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) break;
    }
    return value;
  }
}
