/** Documents of the `json` format to the contract's messages. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { base64 } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { FORMAT_VERSION } from "./frame.js";
import {
  BeforeImage, type ChangeBatch, ChangeBatchSchema, type Column, ImageSchema, type Image, LogicalType, Op, RowSchema,
  SchemaChangeSchema, SnapshotMarkSchema, SnapshotPartSchema, SnapshotPhase, SourceSchema, SuppressedSchema, TableSchemaSchema,
  type Value, ValueSchema,
} from "./gen/binpulse/v1/change_pb.js";
import { CanaryPhase, CanarySchema, HeartbeatSchema, WatermarkSchema } from "./gen/binpulse/v1/pulse_pb.js";
import { Digits, type Json, jsonText } from "./json.js";
import type { Content } from "./message.js";

type Members = Map<string, Json>;

/** The content of a document; its rows have at most `cellsMax` values. */
export function content(document: Json, cellsMax: number): Content {
  const members = object(document, "the document");
  const kind = text(members, "kind");
  const version = number(members, "v");
  if (version !== FORMAT_VERSION) {
    throw new DecodeError("version", `found version ${version}, expected ${FORMAT_VERSION}`);
  }
  const room = { cells: cellsMax };
  switch (kind) {
    case "change": return { kind, value: batch(members, room) };
    case "canary": return { kind, value: canary(members, room) };
    case "heartbeat": return { kind, value: heartbeat(members) };
    case "schema": return { kind, value: schemaChange(members) };
    case "suppressed": return { kind, value: suppressed(members) };
    case "snapshot":
      return optional(members, "phase") !== undefined
        ? { kind: "snapshot_mark", value: mark(members) }
        : { kind: "snapshot_part", value: part(members, room) };
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

function text(members: Members, name: string): string {
  return asText(members.get(name), name);
}

function asText(value: Json | undefined, place: string): string {
  if (typeof value === "string") return value;
  throw wrong(place, "a text");
}

const optionalText = (members: Members, name: string): string => asText(optional(members, name) ?? "", name);

function flag(members: Members, name: string, missing?: boolean): boolean {
  const value = members.get(name) ?? missing;
  if (typeof value === "boolean") return value;
  throw wrong(name, "true or false");
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
const signed = (members: Members, name: string): bigint => integer(members.get(name), name, I64_MIN, I64_MAX);
const number = (members: Members, name: string): number => Number(integer(members.get(name), name, 0n, U32_MAX));
const optionalLong = (members: Members, name: string): bigint => (members.has(name) ? long(members, name) : 0n);
const optionalNumber = (members: Members, name: string): number => (members.has(name) ? number(members, name) : 0);

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

const TIME = /^(-?\d{4,9}-\d{2}-\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?Z$/;

/** RFC 3339 to microseconds since 1970, exactly. */
function time(members: Members, name: string): bigint {
  const found = TIME.exec(text(members, name));
  const day = found && Date.parse(`${found[1]}T00:00:00Z`);
  if (!found || day === null || Number.isNaN(day)) throw wrong(name, "a time of RFC 3339 in UTC");
  const [hour, minute, second] = found.slice(2, 5).map(Number) as [number, number, number];
  const seconds = BigInt(day / 1000 + hour * 3600 + minute * 60 + second);
  return seconds * 1_000_000n + BigInt((found[5] ?? "").padEnd(6, "0"));
}

function source(document: Members): MessageInitShape<typeof SourceSchema> {
  const form = object(document.get("source"), "source");
  return {
    stream: text(form, "stream"),
    serverUuid: text(form, "server_uuid"),
    serverId: number(form, "server_id"),
    epoch: long(form, "epoch"),
    connectorVersion: optionalText(form, "connector_version"),
    snapshot: flag(form, "snapshot", false),
  };
}

function position(members: Members, name = "position") {
  const form = optional(members, name);
  if (form === undefined) return {};
  const place = object(form, name);
  return { position: { file: text(place, "file"), offset: long(place, "offset") } };
}

const marks = (members: Members) =>
  list(members, "lanes").map((form) => {
    const lane = object(form, "lanes");
    return { lane: text(lane, "lane"), sequenceNext: long(lane, "sequence_next"), epoch: long(lane, "epoch") };
  });

function watermark(document: Members): { watermark?: MessageInitShape<typeof WatermarkSchema> } {
  const form = optional(document, "watermark");
  if (form === undefined) return {};
  const mark = object(form, "watermark");
  const proof = optional(mark, "certificate");
  return {
    watermark: {
      verdict: text(mark, "verdict"),
      serverUuid: text(mark, "server_uuid"),
      gtidSet: text(mark, "gtid_set"),
      ...position(mark),
      lanes: marks(mark),
      lanesTruncated: flag(mark, "lanes_truncated"),
      takenAtUs: signed(mark, "taken_at_us"),
      ...(proof === undefined ? {} : { certificate: certificate(object(proof, "certificate")) }),
    },
  };
}

const certificate = (proof: Members) => ({
  heartbeatFirst: long(proof, "heartbeat_first"),
  heartbeatLast: long(proof, "heartbeat_last"),
  gtidSetFirst: text(proof, "gtid_set_first"),
  gtidSetLast: text(proof, "gtid_set_last"),
  userTransactions: long(proof, "user_transactions"),
  filteredTransactions: long(proof, "filtered_transactions"),
  heartbeatTransactions: long(proof, "heartbeat_transactions"),
  canaryTransactions: long(proof, "canary_transactions"),
  provenAtUs: signed(proof, "proven_at_us"),
});

/** The value of an enumeration with this name, in small letters; 0: none. */
function named(of: Record<string, string | number>, name: string): number {
  const value = of[name.toUpperCase()];
  return typeof value === "number" ? value : 0;
}

function canary(document: Members, room: Room) {
  const nonce = optional(document, "nonce");
  return create(CanarySchema, {
    number: long(document, "number"),
    phase: named(CanaryPhase, text(document, "phase")),
    writtenAtUs: time(document, "written_at"),
    batch: batch(document, room),
    path: optionalText(document, "path"),
    ...(nonce === undefined ? {} : { nonce: encoded(nonce, "nonce") }),
    ...watermark(document),
  });
}

const heartbeat = (document: Members) =>
  create(HeartbeatSchema, {
    source: source(document),
    number: long(document, "number"),
    writtenAtUs: time(document, "written_at"),
    gtid: optionalText(document, "gtid"),
    ...position(document),
    committedAtUs: time(document, "committed_at"),
    ...watermark(document),
  });

const schemaChange = (document: Members) =>
  create(SchemaChangeSchema, {
    source: source(document),
    database: optionalText(document, "database"),
    statement: text(document, "statement"),
    gtid: optionalText(document, "gtid"),
    ...position(document),
    committedAtUs: time(document, "committed_at"),
    sequence: long(document, "sequence"),
    lane: text(document, "lane"),
  });

const suppressed = (document: Members) =>
  create(SuppressedSchema, {
    source: source(document),
    lane: text(document, "lane"),
    database: text(document, "database"),
    table: text(document, "table"),
    sequenceFirst: long(document, "sequence_first"),
    count: long(document, "count"),
    reason: text(document, "reason"),
    by: text(document, "by"),
    gtidFirst: optionalText(document, "gtid_first"),
    sinceUs: time(document, "since"),
  });

const mark = (document: Members) =>
  create(SnapshotMarkSchema, {
    source: source(document),
    snapshot: text(document, "snapshot"),
    database: text(document, "database"),
    table: text(document, "table"),
    phase: named(SnapshotPhase, text(document, "phase")),
    rows: long(document, "rows_published"),
    chunks: long(document, "chunks"),
    lanes: marks(document),
    reason: optionalText(document, "reason"),
  });

function table(document: Members) {
  const schema = object(document.get("schema"), "schema");
  const columns = list(schema, "columns").map((value) => {
    const form = object(value, "columns");
    return {
      name: text(form, "name"),
      logicalType: named(LogicalType, text(form, "type")),
      mysqlType: optionalText(form, "mysql_type"),
      nullable: flag(form, "nullable"),
      unsigned: flag(form, "unsigned"),
      charset: optionalText(form, "charset"),
      collation: optionalNumber(form, "collation"),
      members: form.has("members") ? list(form, "members").map((member) => asText(member, "members")) : [],
      invisible: flag(form, "invisible", false),
    };
  });
  const primaryKey = list(schema, "primary_key").map((name) => {
    const at = columns.findIndex((column) => column.name === name);
    if (at < 0) throw wrong("primary_key", "names of columns");
    return at;
  });
  return create(TableSchemaSchema, {
    database: text(document, "database"),
    table: text(document, "table"),
    columns,
    primaryKey,
    fingerprint: BigInt(`0x${hex(schema.get("fingerprint"), "fingerprint", 8)}`),
    columnsNamed: flag(schema, "columns_named"),
  });
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

/** What all batches have. */
function rows(document: Members, room: Room): ChangeBatch {
  const schema = table(document);
  const columns = new Columns(schema.columns, room);
  return create(ChangeBatchSchema, {
    source: source(document),
    table: schema,
    lane: text(document, "lane"),
    laneNumber: number(document, "lane_number"),
    laneCount: number(document, "lane_count"),
    rows: list(document, "rows").map((value) => {
      const form = object(value, "rows");
      const before = optional(form, "before");
      const after = optional(form, "after");
      return create(RowSchema, {
        op: named(Op, text(form, "op")),
        transaction: optionalNumber(form, "transaction"),
        row: optionalLong(form, "row"),
        ...(before === undefined ? {} : { before: columns.image(before, "rows.before") }),
        ...(after === undefined ? {} : { after: columns.image(after, "rows.after") }),
      });
    }),
  });
}

function batch(document: Members, room: Room): ChangeBatch {
  const made = rows(document, room);
  made.beforeImage = named(BeforeImage, text(document, "before_image"));
  made.sequenceFirst = long(document, "sequence_first");
  made.snapshotNext = optionalLong(document, "snapshot_next");
  made.snapshotAttempt = optionalNumber(document, "snapshot_attempt");
  const transactions = list(document, "transactions").map((value) => {
    const form = object(value, "transactions");
    const place = object(form.get("position"), "transactions.position");
    const atUs = time(form, "committed_at");
    const originalUs = form.has("original_committed_at") ? time(form, "original_committed_at") : atUs;
    return { form, atUs, originalUs, file: text(place, "file"), offset: long(place, "offset") };
  });
  made.committedAtBaseUs = transactions[0]?.atUs ?? 0n;
  made.files = [...new Set(transactions.map(({ file }) => file))];
  const files = new Map(made.files.map((file, at) => [file, at]));
  const init = transactions.map(({ form, atUs, originalUs, file, offset }) => ({
    gtid: optionalText(form, "gtid"),
    committedAtDeltaUs: atUs - made.committedAtBaseUs,
    file: files.get(file) ?? 0,
    offset,
    rows: number(form, "rows"),
    serverId: number(form, "server_id"),
    originalCommittedAtDeltaUs: originalUs - atUs,
    traceparent: optionalText(form, "traceparent"),
  }));
  made.transactions = create(ChangeBatchSchema, { transactions: init }).transactions;
  return made;
}

function part(document: Members, room: Room) {
  const made = rows(document, room);
  const schema = made.table!;
  const columns = new Columns(schema.columns, room);
  const keyColumns = document.has("key_columns")
    ? list(document, "key_columns").map((value) => Number(integer(value, "key_columns", 0n, U32_MAX)))
    : [];
  const key = keyColumns.length > 0 ? keyColumns : schema.primaryKey;
  const after = optional(document, "key_after");
  const upto = optional(document, "key_upto");
  const digest = optional(document, "digest");
  const short = digest === undefined ? undefined : object(digest, "digest");
  return create(SnapshotPartSchema, {
    snapshot: text(document, "snapshot"),
    part: long(document, "part"),
    anchor: { lane: made.lane, sequenceNext: long(document, "anchor"), epoch: made.source?.epoch ?? 0n },
    batch: made,
    chunk: long(document, "chunk"),
    attempt: number(document, "attempt"),
    lastPart: flag(document, "last_part"),
    ...(after === undefined ? {} : { keyAfter: columns.key(after, "key_after", key) }),
    ...(upto === undefined ? {} : { keyUpto: columns.key(upto, "key_upto", key) }),
    touched: list(document, "touched").map((form) => columns.key(form, "touched", key)),
    rowsInChunk: long(document, "rows_in_chunk"),
    rowsSuperseded: long(document, "rows_superseded"),
    attemptPart: long(document, "attempt_part"),
    keyColumns,
    ...(short === undefined ? {} : {
      digest: {
        rows: long(short, "rows"),
        sum: BigInt(`0x${hex(short.get("sum"), "digest.sum", 8)}`),
        xor: BigInt(`0x${hex(short.get("xor"), "digest.xor", 8)}`),
      },
    }),
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
  const value = Number(isWord ? form : form.text);
  return isSingle ? Math.fround(value) : value;
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
