/** Rows with values typed by their columns.
 *
 * | MySQL | TypeScript |
 * |---|---|
 * | NULL; a column that the source did not log | `null`; `ABSENT`, which is not NULL |
 * | integers, YEAR, BIT | `bigint`, exact |
 * | FLOAT, DOUBLE | `number` |
 * | DECIMAL | `Decimal`: the text, exact, and `toNumber()` |
 * | DATE, TIME, DATETIME, TIMESTAMP | `TimeText`: the text, lossless, and `toDate()`, `micros()` |
 * | character data, ENUM, SET | `string` |
 * | ENUM, SET whose labels are not known | `EnumIndex`, `SetMask` |
 * | binary data | `Uint8Array` |
 * | JSON | `JsonText`: the text, and `parse()` |
 * | spatial types | `Geometry`: SRID and WKB |
 * | VECTOR | `number[]` |
 * | a partial update of JSON; text not valid in its character set; too large to travel | `JsonDiff`,
 *   `MalformedText`, `Omitted` | */

import {
  type ChangeBatch, type Column, LogicalType, Op, type Image as ProtoImage, type SnapshotPart, type Transaction,
  type Value,
} from "./gen/binpulse/v1/change_pb.js";

/** A column that the source did not log: it says nothing about the value. */
export const ABSENT: unique symbol = Symbol("ABSENT");

/** A value that travels as text, so that nothing of it is lost. */
abstract class Text {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** A DECIMAL with all digits of its scale: `-12.500`. */
export class Decimal extends Text {
  /** The nearest number; digits may be lost. */
  toNumber(): number {
    return Number(this.text);
  }

  /** The digits as an integer, and how many of them stand behind the point: `-12.500` is [-12500n, 3]. */
  scaled(): [bigint, number] {
    const [whole, fraction = ""] = this.text.split(".") as [string, string?];
    return [BigInt(whole + fraction), fraction.length];
  }
}

/** A DATE, TIME, DATETIME or TIMESTAMP as MySQL prints it, with the fraction digits of its column. */
export class TimeText extends Text {
  constructor(text: string, readonly kind: "date" | "time" | "datetime" | "timestamp") {
    super(text);
  }

  /** A DATE, DATETIME or TIMESTAMP as a Date, taken as UTC, which a TIMESTAMP is; microseconds are cut off.
   * undefined where there is no such moment, as of 0000-00-00, and for a TIME. */
  toDate(): Date | undefined {
    const micros = this.kind === "time" ? undefined : this.micros();
    return micros === undefined ? undefined : new Date(Number((micros - (((micros % 1000n) + 1000n) % 1000n)) / 1000n));
  }

  /** Microseconds: of a TIME since 00:00:00, else since 1970-01-01 00:00:00; undefined where there is no such
   * moment. */
  micros(): bigint | undefined {
    const form = this.kind === "time" ? "1970-01-01 00:00:00" : this.text;
    const day = /^(\d{4})-(\d{2})-(\d{2})/.exec(form);
    const clock = /(-?)(\d{1,3}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?$/.exec(this.kind === "date" ? "00:00:00" : this.text);
    if (!day || !clock) return undefined;
    const [year, month, date] = day.slice(1).map(Number) as [number, number, number];
    const midnight = new Date(0);
    midnight.setUTCFullYear(year, month - 1, date);
    if (midnight.getUTCMonth() !== month - 1 || midnight.getUTCDate() !== date) return undefined;
    const [hour, minute, second] = clock.slice(2, 5).map(Number) as [number, number, number];
    const micros = BigInt(hour * 3600 + minute * 60 + second) * 1_000_000n + BigInt((clock[5] ?? "").padEnd(6, "0"));
    return BigInt(midnight.getTime()) * 1000n + (clock[1] ? -micros : micros);
  }
}

/** A JSON document as MySQL prints it. */
export class JsonText extends Text {
  /** The document; JSON.parse makes doubles of its numbers. */
  parse(): unknown {
    return JSON.parse(this.text);
  }
}

/** A change of a JSON document whose former value the source's log does not have. */
export class JsonDiff extends JsonText {}

/** Index of an ENUM's label, where the labels are not known. */
export class EnumIndex {
  constructor(readonly index: bigint) {}
}

/** Bit mask of a SET's labels, where the labels are not known. */
export class SetMask {
  constructor(readonly mask: bigint) {}
}

/** A spatial value: 4 bytes of SRID, little-endian, then WKB. */
export class Geometry {
  constructor(readonly bytes: Uint8Array) {}

  /** The spatial reference system. */
  get srid(): number {
    return this.bytes.length < 4 ? 0 : new DataView(this.bytes.buffer, this.bytes.byteOffset).getUint32(0, true);
  }

  /** The value as well-known binary. */
  get wkb(): Uint8Array {
    return this.bytes.subarray(4);
  }
}

/** Text that is not valid in its character set: the bytes as stored. */
export class MalformedText {
  constructor(readonly bytes: Uint8Array) {}
}

/** A value that was left out because its row was too large for a message. */
export class Omitted {
  constructor(readonly sizeBytes: bigint, readonly sha256: Uint8Array) {}
}

/** A value of a column. */
export type Cell =
  | null | typeof ABSENT | bigint | number | string | Uint8Array | number[]
  | Decimal | TimeText | JsonText | JsonDiff | EnumIndex | SetMask | Geometry | MalformedText | Omitted;

/** Values by the names of their columns. The object has no prototype: any name is a name. */
export type Image = Record<string, Cell>;

/** A row of a batch. Rows of snapshots have no number (0) and no transaction. */
export interface Row {
  op: "insert" | "update" | "delete" | "read" | "unspecified";
  number: bigint;
  before: Image | undefined;
  after: Image | undefined;
  transaction: Transaction | undefined;
  /** When the transaction was committed, microseconds since 1970. */
  committedAtUs: bigint | undefined;
  /** With the transaction it identifies the row in another way, which also holds across epochs. */
  numberInTransaction: bigint;
}

const OPS = {
  [Op.UNSPECIFIED]: "unspecified", [Op.INSERT]: "insert", [Op.UPDATE]: "update", [Op.DELETE]: "delete",
  [Op.READ]: "read",
} as const;

/** The rows of a batch, typed. */
export function* rows(batch: ChangeBatch): Generator<Row> {
  const columns = batch.table?.columns ?? [];
  let index = 0n;
  for (const form of batch.rows) {
    const transaction = batch.transactions[form.transaction];
    yield {
      op: OPS[form.op] ?? "unspecified",
      number: batch.sequenceFirst === 0n ? 0n : batch.sequenceFirst + index,
      before: form.before && image(columns, form.before),
      after: form.after && image(columns, form.after),
      transaction,
      committedAtUs: transaction && batch.committedAtBaseUs + transaction.committedAtDeltaUs,
      numberInTransaction: form.row,
    };
    index += 1n;
  }
}

/** The values of a key's image of a snapshot part (`keyAfter`, `keyUpto`, one of `touched`), by name. */
export function keyOf(part: SnapshotPart, key: ProtoImage): Image {
  const table = part.batch?.table;
  const ordinals = part.keyColumns.length > 0 ? part.keyColumns : (table?.primaryKey ?? []);
  const columns = ordinals.map((ordinal) => table?.columns[ordinal]);
  return image(columns.filter((column) => column !== undefined), key);
}

function image(columns: Column[], form: ProtoImage): Image {
  const values: Image = Object.create(null) as Image;
  columns.forEach((column, at) => {
    const value = form.values[at];
    values[column.name] = value ? cell(column.logicalType, value.kind) : ABSENT;
  });
  return values;
}

function cell(type: LogicalType, kind: Value["kind"]): Cell {
  switch (kind.case) {
    case undefined: return ABSENT;
    case "null": return null;
    case "malformedText": return new MalformedText(kind.value);
    case "json": return new JsonText(kind.value);
    case "jsonDiff": return new JsonDiff(kind.value);
    case "vector": return kind.value.elements;
    case "omitted": return new Omitted(kind.value.sizeBytes, kind.value.sha256);
    case "bytes": return type === LogicalType.GEOMETRY ? new Geometry(kind.value) : kind.value;
    case "unsigned":
      if (type === LogicalType.ENUM) return new EnumIndex(kind.value);
      return type === LogicalType.SET ? new SetMask(kind.value) : kind.value;
    case "text":
      switch (type) {
        case LogicalType.DECIMAL: return new Decimal(kind.value);
        case LogicalType.DATE: return new TimeText(kind.value, "date");
        case LogicalType.TIME: return new TimeText(kind.value, "time");
        case LogicalType.DATETIME: return new TimeText(kind.value, "datetime");
        case LogicalType.TIMESTAMP: return new TimeText(kind.value, "timestamp");
        default: return kind.value;
      }
    default: return kind.value;
  }
}
