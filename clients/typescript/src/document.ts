/** Documents of the `json` format to the contract's messages. Their members have the names of its fields. */

import {
  create, type DescEnum, type DescField, type DescMessage, type MessageInitShape, type MessageShape, ScalarType,
} from "@bufbuild/protobuf";

import { base64 } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { FORMAT_VERSION } from "./frame.js";
import {
  type ChangeBatch, ChangeBatchSchema, type Column, ColumnSchema, type Image, ImageSchema, LogicalType,
  LogicalTypeSchema, PositionSchema, RowSchema, SchemaChangeSchema, SnapshotMarkSchema, type SnapshotPart,
  SnapshotPartSchema, SuppressedSchema, type TableSchema, TableSchemaSchema, TransactionSchema, type Value, ValueSchema,
} from "./gen/binpulse/v1/change_pb.js";
import { CanarySchema, HeartbeatSchema } from "./gen/binpulse/v1/pulse_pb.js";
import { Digits, type Json, jsonText } from "./json.js";
import type { Content } from "./message.js";

type Members = Map<string, Json>;

/** The content of a document; its rows have at most `cellsMax` values. */
export function content(document: Json, cellsMax: number): Content {
  const members = object(document, "the document");
  const kind = asText(members.get("kind"), "kind");
  const version = integer(members.get("v"), "v", 0n, U32_MAX);
  if (version !== BigInt(FORMAT_VERSION)) {
    throw new DecodeError("version", `found version ${version}, expected ${FORMAT_VERSION}`);
  }
  const room = { cells: cellsMax };
  switch (kind) {
    case "change": return { kind, value: batch(members, room) };
    case "canary": return { kind, value: made(CanarySchema, members, { batch: batch(members, room) }) };
    case "heartbeat": return { kind, value: made(HeartbeatSchema, members) };
    case "schema": return { kind, value: made(SchemaChangeSchema, members) };
    case "suppressed": return { kind, value: made(SuppressedSchema, members) };
    case "snapshot":
      if (optional(members, "phase") === undefined) return { kind: "snapshot_part", value: part(members, room) };
      return {
        kind: "snapshot_mark", value: made(SnapshotMarkSchema, members, { rows: long(members, "rows_published") }),
      };
    default: return { kind: "unknown" };
  }
}

function wrong(place: string, expected: string): DecodeError {
  return new DecodeError("document", `${place}: expected ${expected}`);
}

function object(value: Json | undefined, place: string): Members {
  if (value instanceof Map) return value;
  throw wrong(place, "an object");
}

/** A member that is there and not null. */
function optional(members: Members, name: string): Json | undefined {
  return members.get(name) ?? undefined;
}

function list(members: Members, name: string): Json[] {
  const value = members.get(name);
  if (Array.isArray(value)) return value;
  throw wrong(name, "an array");
}

function asText(value: Json | undefined, place: string): string {
  if (typeof value === "string") return value;
  throw wrong(place, "a text");
}

/** An integer between two bounds. */
function integer(value: Json | undefined, place: string, min: bigint, max: bigint): bigint {
  if (value instanceof Digits && /^-?[0-9]{1,20}$/.test(value.text)) {
    const found = BigInt(value.text);
    if (found >= min && found <= max) return found;
  }
  throw wrong(place, `an integer from ${min} to ${max}`);
}

const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;
const U64_MAX = 2n ** 64n - 1n;
const U32_MAX = 2n ** 32n - 1n;

const long = (members: Members, name: string): bigint => integer(members.get(name), name, 0n, U64_MAX);

function encoded(value: Json | undefined, place: string): Uint8Array {
  const bytes = base64(asText(value, place));
  if (!bytes) throw wrong(place, "base64");
  return bytes;
}

function hex(value: Json | undefined, place: string, length: number): string {
  const digits = asText(value, place);
  if (digits.length === 2 * length && /^[0-9a-f]*$/.test(digits)) return digits;
  throw wrong(place, `${2 * length} hexadecimal digits`);
}

const TIME = /^(\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):\d{2}:\d{2})(?:\.(\d{1,6}))?Z$/;

/** RFC 3339 to microseconds since 1970, exactly. */
function time(members: Members, name: string): bigint {
  const [, text, fraction = ""] = TIME.exec(asText(members.get(name), name)) ?? [];
  const whole = new Date(`${text}Z`);
  // Date takes February 30 for March 2.
  if (!text || Number.isNaN(whole.getTime()) || !whole.toISOString().startsWith(text)) {
    throw wrong(name, "a time of RFC 3339 in UTC");
  }
  return BigInt(whole.getTime()) * 1000n + BigInt(fraction.padEnd(6, "0"));
}

/** The value of an enumeration with this name, in small letters and without its prefix; 0: none. */
function named(of: DescEnum, form: Json | undefined): number {
  const name = (of.sharedPrefix + asText(form, of.name)).toUpperCase();
  return of.values.find((value) => value.name === name)?.number ?? 0;
}

/** What a document need not have, or has as null; of the contract's other fields it has all. */
const OPTIONAL = new Set([
  "certificate", "charset", "collation", "connector_version", "database", "digest", "digests", "gtid", "gtid_first",
  "instance", "invisible", "key_after", "key_columns", "key_upto", "members", "mysql_type", "nonce", "numbers",
  "numbers_for", "pass", "path", "position", "reason", "row", "snapshot_attempt", "snapshot_next", "traceparent",
  "transaction", "watermark",
]);

/** A message of the contract: its fields are members of an object, unless they are given. */
function made<Of extends DescMessage>(of: Of, form: Json | undefined, given: object = {}): MessageShape<Of> {
  const members = object(form, of.name);
  const init: Record<string, unknown> = { ...given };
  for (const field of of.fields) {
    const { name, localName } = field;
    if (localName in init) continue;
    if (name.endsWith("_us") && !members.has(name)) init[localName] = time(members, name.slice(0, -3));
    else if (optional(members, name) !== undefined || !OPTIONAL.has(name)) {
      init[localName] = field.fieldKind === "list"
        ? list(members, name).map((one) => member(field, one))
        : member(field, members.get(name));
    }
  }
  return create(of, init as MessageInitShape<Of>);
}

function member(field: DescField, form: Json | undefined): unknown {
  const place = field.name;
  if (field.message) return made(field.message, form);
  if (field.enum) return named(field.enum, form);
  switch (field.scalar) {
    case ScalarType.STRING: return asText(form, place);
    case ScalarType.BYTES: return encoded(form, place);
    case ScalarType.UINT32: return Number(integer(form, place, 0n, U32_MAX));
    case ScalarType.UINT64: return integer(form, place, 0n, U64_MAX);
    case ScalarType.FIXED64: return BigInt(`0x${hex(form, place, 8)}`);
    case ScalarType.INT64: return integer(form, place, I64_MIN, I64_MAX);
  }
  if (typeof form === "boolean") return form;
  throw wrong(place, "true or false");
}

function table(document: Members): TableSchema {
  const schema = object(document.get("schema"), "schema");
  const columns = list(schema, "columns").map((value) => {
    const type = object(value, "columns").get("type");
    return made(ColumnSchema, value, { logicalType: named(LogicalTypeSchema, type) });
  });
  const primaryKey = list(schema, "primary_key").map((name) => {
    const at = columns.findIndex((column) => column.name === name);
    if (at < 0) throw wrong("primary_key", "names of columns");
    return at;
  });
  const [database, name] = ["database", "table"].map((of) => asText(document.get(of), of));
  return made(TableSchemaSchema, schema, { database, table: name, columns, primaryKey });
}

/** How many values may still be made. */
interface Room { cells: number }

/** Columns, found by their names. */
class Columns {
  private readonly ordinals: Map<string, number>;

  constructor(private readonly columns: Column[], private readonly room: Room) {
    this.ordinals = new Map(columns.map((column, at) => [column.name, at]));
  }

  /** Values of an object's members with the ordinals of their columns. */
  *values(form: Json, place: string, cells: number): Generator<[number, Value]> {
    this.room.cells -= cells;
    if (this.room.cells < 0) throw wrong("rows", "no more values than the limits allow");
    for (const [name, value] of object(form, place)) {
      const at = this.ordinals.get(name);
      const column = at === undefined ? undefined : this.columns[at];
      if (at === undefined || !column) throw wrong(place, "names of columns");
      const kind = kindOf(column, value);
      if (!kind) throw wrong(name, "a value of the column's type");
      yield [at, create(ValueSchema, { kind })];
    }
  }

  image(form: Json, place: string): Image {
    const values = this.columns.map(() => create(ValueSchema));
    for (const [at, value] of this.values(form, place, values.length)) values[at] = value;
    return create(ImageSchema, { values });
  }

  /** An image of the key's columns, in the key's order. */
  key(form: Json, place: string, key: number[]): Image {
    const found = [...this.values(form, place, Math.max(key.length, 1))];
    found.sort(([a], [b]) => key.indexOf(a) - key.indexOf(b));
    return create(ImageSchema, { values: found.map(([, value]) => value) });
  }
}

/** A batch with its rows. */
function batchOf(document: Members, room: Room, given: object): ChangeBatch {
  const schema = table(document);
  const columns = new Columns(schema.columns, room);
  const rows = list(document, "rows").map((value) => {
    const form = object(value, "rows");
    const image = (name: string) => {
      const found = optional(form, name);
      return found === undefined ? undefined : columns.image(found, `rows.${name}`);
    };
    return made(RowSchema, form, { before: image("before"), after: image("after") });
  });
  return made(ChangeBatchSchema, document, { ...given, table: schema, rows });
}

function batch(document: Members, room: Room): ChangeBatch {
  const files: string[] = [];
  let committedAtBaseUs: bigint | undefined;
  const transactions = list(document, "transactions").map((value) => {
    const form = object(value, "transactions");
    const { file, offset } = made(PositionSchema, form.get("position"));
    if (!files.includes(file)) files.push(file);
    const atUs = time(form, "committed_at");
    committedAtBaseUs ??= atUs;
    const originalUs = form.has("original_committed_at") ? time(form, "original_committed_at") : atUs;
    return made(TransactionSchema, form, {
      file: files.indexOf(file), offset, committedAtDeltaUs: atUs - committedAtBaseUs,
      originalCommittedAtDeltaUs: originalUs - atUs,
    });
  });
  return batchOf(document, room, { files, transactions, committedAtBaseUs: committedAtBaseUs ?? 0n });
}

function part(document: Members, room: Room): SnapshotPart {
  const nothing = { files: [], transactions: [], committedAtBaseUs: 0n, sequenceFirst: 0n, beforeImage: 0 };
  const whole = batchOf(document, room, nothing);
  const schema = whole.table!;
  const columns = new Columns(schema.columns, room);
  const keyColumns = (optional(document, "key_columns") === undefined ? [] : list(document, "key_columns"))
    .map((value) => Number(integer(value, "key_columns", 0n, U32_MAX)));
  const key = keyColumns.length > 0 ? keyColumns : schema.primaryKey;
  const bound = (name: string) => {
    const form = optional(document, name);
    return form === undefined ? undefined : columns.key(form, name, key);
  };
  return made(SnapshotPartSchema, document, {
    batch: whole, keyColumns, keyAfter: bound("key_after"), keyUpto: bound("key_upto"),
    anchor: { lane: whole.lane, sequenceNext: long(document, "anchor"), epoch: whole.source?.epoch ?? 0n },
    touched: list(document, "touched").map((form) => columns.key(form, "touched", key)),
  });
}

type Kind = Value["kind"];

/** The value that this JSON means in a column; undefined: none that the column can have. */
function kindOf(column: Column, form: Json): Kind | undefined {
  const type = column.logicalType;
  if (form === null) return { case: "null", value: true };
  const marked = form instanceof Map && form.size === 1 ? markedKind(type, form) : undefined;
  if (marked) return marked;
  if (type === LogicalType.JSON) return { case: "json", value: jsonText(form) };
  if (type === LogicalType.VECTOR && Array.isArray(form)) {
    const elements = form.map((element) => float(element, true));
    return elements.includes(undefined) ? undefined
      : { case: "vector", value: { $typeName: "binpulse.v1.Vector", elements: elements as number[] } };
  }
  if (form instanceof Digits) return numberKind(column, form);
  if (typeof form !== "string") return undefined;
  switch (type) {
    case LogicalType.BINARY:
    case LogicalType.GEOMETRY:
    case LogicalType.VECTOR: {
      const bytes = base64(form);
      return bytes && { case: "bytes", value: bytes };
    }
    case LogicalType.FLOAT:
    case LogicalType.DOUBLE:
      return floatKind(type, form);
    case LogicalType.INTEGER:
    case LogicalType.BIT:
    case LogicalType.YEAR:
      return undefined;
    default:
      return { case: "text", value: form };
  }
}

function numberKind(column: Column, form: Digits): Kind | undefined {
  const type = column.logicalType;
  if (type === LogicalType.FLOAT || type === LogicalType.DOUBLE) return floatKind(type, form);
  const known = [LogicalType.INTEGER, LogicalType.BIT, LogicalType.YEAR, LogicalType.ENUM, LogicalType.SET];
  if (!known.includes(type)) return undefined;
  const isSigned = type === LogicalType.YEAR || (type === LogicalType.INTEGER && !column.unsigned);
  const value = integer(form, column.name, type === LogicalType.INTEGER ? I64_MIN : 0n, U64_MAX);
  // Where the log does not tell the sign, a value may be above what a signed one holds.
  const fits = value >= I64_MIN && value <= I64_MAX;
  return (isSigned && fits) || value < 0n ? { case: "integer", value } : { case: "unsigned", value };
}

function floatKind(type: LogicalType, form: Json): Kind | undefined {
  const isSingle = type === LogicalType.FLOAT;
  const value = float(form, isSingle);
  return value === undefined ? undefined : { case: isSingle ? "float" : "double", value };
}

function float(form: Json, isSingle: boolean): number | undefined {
  const isWord = form === "NaN" || form === "Infinity" || form === "-Infinity";
  if (!isWord && !(form instanceof Digits)) return undefined;
  const exact = Number(isWord ? form : form.text);
  const value = isSingle ? Math.fround(exact) : exact;
  return isWord || Number.isFinite(value) ? value : undefined;
}

/** What an object stands for that JSON does not have. A JSON column may hold such a document itself: it is
 * taken for one where the form is not exactly that of the marker. */
function markedKind(type: LogicalType, form: Members): Kind | undefined {
  const [[name, inside]] = [...form] as [[string, Json]];
  const isJson = type === LogicalType.JSON;
  if (name === "$json" && isJson && inside === null) return { case: "json", value: "null" };
  if (name === "$diff" && isJson && Array.isArray(inside)) return { case: "jsonDiff", value: jsonText(inside) };
  if (name === "$malformed" && !isJson) return { case: "malformedText", value: encoded(inside, name) };
  if (name === "$omitted" && inside instanceof Map && inside.size === 2 && inside.has("sha256")) {
    const sha256 = Buffer.from(hex(inside.get("sha256"), name, 32), "hex");
    return {
      case: "omitted",
      value: { $typeName: "binpulse.v1.Omitted", sizeBytes: long(inside, "size_bytes"), sha256 },
    };
  }
  return undefined;
}
