/** The conformance suite: what a consumer must do, as data. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  ABSENT, type Cell, type Content, Decimal, DecodeError, EnumIndex, Geometry, type Image, JsonDiff,
  JsonText, Lane, lambdaMessage, type LambdaEvent, MalformedText, Message, Omitted, SetMask, TimeText, WebhookError,
  change, decode, keyOf, rows, verifyWebhook,
} from "../src/index.js";

/* eslint-disable @typescript-eslint/no-explicit-any */
type Any = any;

function cases(name: string): Any[] {
  const file = new URL(`../../../../conformance/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as Any[];
}

const encoded = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const single = (value: Any): Any => (typeof value === "string" ? Math.fround(Number(value)) : value);

/** JSON as documents, and floats as numbers: their texts may differ. */
function parsed(shown: Any): Any {
  if (Array.isArray(shown)) return shown.map(parsed);
  if (typeof shown !== "object" || shown === null) return shown;
  return Object.fromEntries(Object.entries(shown as object).map(([name, value]) => {
    if (name === "double" && typeof value === "string") return [name, Number(value)];
    if (name === "float" && typeof value === "string") return [name, single(value)];
    if (name === "vector" && Array.isArray(value)) return [name, value.map(single)];
    if ((name === "json" || name === "json_diff") && typeof value === "string") return [name, JSON.parse(value)];
    return [name, parsed(value)];
  }));
}

function cell(column: change.Column, value: Cell): Any {
  const type = column.logicalType;
  if (value === ABSENT) return { absent: true };
  if (value === null) return { null: true };
  if (value instanceof Omitted) {
    return { omitted: { size_bytes: String(value.sizeBytes), sha256: Buffer.from(value.sha256).toString("hex") } };
  }
  if (value instanceof MalformedText) return { malformed_text: encoded(value.bytes) };
  if (value instanceof Geometry) return { geometry: encoded(value.bytes) };
  if (value instanceof Uint8Array) return { bytes: encoded(value) };
  if (value instanceof JsonDiff) return { json_diff: value.text };
  if (value instanceof JsonText) return { json: value.text };
  if (value instanceof EnumIndex) return { enum_index: String(value.index) };
  if (value instanceof SetMask) return { set_mask: String(value.mask) };
  if (value instanceof Decimal) return { decimal: value.text };
  if (value instanceof TimeText) return { [value.kind]: value.text };
  if (Array.isArray(value)) return { vector: value };
  if (typeof value === "number") return { [type === change.LogicalType.FLOAT ? "float" : "double"]: value };
  if (typeof value === "bigint") {
    const name = type === change.LogicalType.BIT ? "bit" : type === change.LogicalType.YEAR ? "year" : undefined;
    // The suite tells which of the contract's two integers it is.
    return { [name ?? (unsigned(column, value) ? "unsigned" : "integer")]: String(value) };
  }
  const names: Any = { [change.LogicalType.ENUM]: "enum", [change.LogicalType.SET]: "set" };
  return { [names[type] ?? "text"]: value };
}

const unsigned = (column: change.Column, value: bigint): boolean => column.unsigned || value > 2n ** 63n - 1n;

function image(columns: Map<string, change.Column>, of: Image | undefined): Any {
  if (!of) return null;
  return Object.fromEntries(Object.entries(of).map(([name, value]) => [name, cell(columns.get(name)!, value)]));
}

function checkRows(name: string, batch: change.ChangeBatch, wanted: Any): void {
  const table = batch.table!;
  const columns = new Map(table.columns.map((column) => [column.name, column]));
  const shown = [...rows(batch)].map((row) => {
    const one: Any = { op: row.op, before: image(columns, row.before), after: image(columns, row.after) };
    const of = row.transaction;
    if (!of) return one;
    return {
      ...one, number: String(row.number), gtid: of.gtid, committed_at_us: String(row.committedAtUs),
      number_in_transaction: String(row.numberInTransaction), server_id: String(of.serverId),
      original_committed_at_us: String(row.committedAtUs! + of.originalCommittedAtDeltaUs),
      position: { file: batch.files[of.file], offset: String(of.offset) },
    };
  });
  assert.deepEqual(parsed(shown), parsed(wanted.rows), name);
  assert.equal(batch.lane, wanted.lane, name);
  assert.deepEqual(table.primaryKey.map((at) => table.columns[at]!.name), wanted.primary_key, name);
  assert.equal(String(batch.source!.epoch), wanted.source.epoch, name);
  assert.equal(table.fingerprint.toString(16).padStart(16, "0"), wanted.fingerprint, name);
}

const small = (of: Record<number, string>, value: number): string => of[value]!.toLowerCase();

function checkContent(name: string, content: Content, wanted: Any): void {
  assert.equal(content.kind, wanted.kind, name);
  switch (content.kind) {
    case "change": {
      const { value } = content;
      checkRows(name, value, wanted);
      assert.equal(String(value.snapshotNext), wanted.snapshot_next, name);
      assert.equal(String(value.snapshotAttempt), wanted.snapshot_attempt, name);
      return assert.equal(small(change.BeforeImage, value.beforeImage), wanted.before_image, name);
    }
    case "canary": {
      const { value } = content;
      checkRows(name, value.batch!, wanted.batch);
      assert.deepEqual([String(value.number), value.path, String(value.writtenAtUs)],
        [wanted.number, wanted.path, wanted.written_at_us], name);
      const lanes = value.watermark?.lanes.map((mark) => ({
        lane: mark.lane, sequence_next: String(mark.sequenceNext), epoch: String(mark.epoch),
      }));
      assert.deepEqual(lanes, wanted.watermark?.lanes, name);
      const proven = value.watermark?.certificate?.provenAtUs;
      return assert.equal(proven === undefined ? undefined : String(proven),
        wanted.watermark?.certificate?.proven_at_us, name);
    }
    case "snapshot_part": {
      const { value } = content;
      checkRows(name, value.batch!, wanted.batch);
      const columns = new Map(value.batch!.table!.columns.map((column) => [column.name, column]));
      const key = (form?: change.Image) => (form ? image(columns, keyOf(value, form)) : null);
      assert.deepEqual([key(value.keyAfter), key(value.keyUpto), value.touched.map(key)],
        [wanted.key_after, wanted.key_upto, wanted.touched], name);
      assert.deepEqual(
        [value.part, value.chunk, value.attempt, value.attemptPart, value.rowsInChunk, value.rowsSuperseded].map(String),
        [wanted.part, wanted.chunk, wanted.attempt, wanted.attempt_part, wanted.rows_in_chunk, wanted.rows_superseded],
        name);
      assert.equal(String(value.anchor!.sequenceNext), wanted.anchor.sequence_next, name);
      const digest = value.digest?.sum.toString(16).padStart(16, "0");
      return assert.equal(digest, wanted.digest?.sum, name);
    }
    case "schema": {
      const { statement, database, gtid, committedAtUs } = content.value;
      return assert.deepEqual([statement, database, gtid, String(committedAtUs)],
        [wanted.statement, wanted.database, wanted.gtid, wanted.committed_at_us], name);
    }
    case "suppressed": {
      const { sequenceFirst, count } = content.value;
      return assert.deepEqual([String(sequenceFirst), String(count)], [wanted.sequence_first, wanted.count], name);
    }
    case "snapshot_mark": {
      const { phase, rows: count, reason } = content.value;
      return assert.deepEqual([small(change.SnapshotPhase, phase), String(count), reason],
        [wanted.phase, wanted.rows, wanted.reason], name);
    }
    default:
  }
}

test("messages mean what their cases say in each form", () => {
  let count = 0;
  for (const one of cases("messages")) {
    for (const form of one.messages) {
      checkContent(`${one.name} as ${form.form}`, Message.received(form.body, form.attributes).decode(), one.content);
      count++;
    }
  }
  assert(count > 50);
});

test("whatever is put around a message comes off", async () => {
  const contents = new Map(cases("messages").map((one) => [one.name, one.content]));
  for (const one of cases("envelopes")) {
    const messages = one.event
      ? (one.event as LambdaEvent).Records.map(lambdaMessage)
      : [Message.received(one.body, one.objects ? one.attributes : {})];
    for (const message of messages) {
      assert.deepEqual({ ...message.attributes }, one.attributes, one.name);
      const content = await message.decodeWith(({ bucket, key }) =>
        Promise.resolve(one.objects[`${bucket}/${key}`] as string));
      checkContent(one.name, content, contents.get(one.case));
    }
  }
});

test("hostile bodies are refused for their reason", () => {
  const reasonOf = (body: string): string => {
    try {
      decode(body);
      return "none";
    } catch (error) {
      return error instanceof DecodeError ? error.reason : String(error);
    }
  };
  const told = cases("hostile").map(({ name, body }) => [name, reasonOf(body)]);
  assert.deepEqual(told, cases("hostile").map(({ name, reason }) => [name, reason]));
});

test("lanes decide as the histories say", () => {
  for (const one of cases("ledger")) {
    const lane = new Lane({ next: BigInt(one.next ?? 0), suppressed: [] });
    for (const [at, step] of one.steps.entries()) {
      const name = `${one.name}, step ${at}`;
      const now: number = step.at;
      if (step.rows) {
        const [first, count] = [BigInt(step.rows.first), BigInt(step.rows.count)];
        const { decision, skip, take } = lane.offer(first, count, now);
        assert.equal(decision, step.decision, name);
        if (take > 0n) {
          assert.equal(String(skip), step.skip, name);
          assert.equal(String(take), step.take ?? String(count - skip), name);
          lane.applied(first + skip, take, now);
        }
      } else if (step.watermark) lane.watermark(BigInt(step.watermark), now);
      else if (step.absent) lane.absent(BigInt(step.absent.first), BigInt(step.absent.last), now);
      else if (step.suppressed) lane.suppressed(BigInt(step.suppressed.first), BigInt(step.suppressed.last), now);
      const gap = lane.missing(now);
      const shown = gap ? { first: String(gap.first), last: String(gap.last), proven: gap.proven } : null;
      assert.deepEqual(shown, step.gap, name);
      assert.equal(lane.next?.toString() ?? null, step.next, name);
    }
  }
});

test("webhooks are believed only where a secret signed them", () => {
  for (const one of cases("webhooks")) {
    let verdict = "good";
    try {
      assert.equal(verifyWebhook(one.body, one.headers, one.secrets, one.now * 1000), one.headers["webhook-id"]);
    } catch (error) {
      assert(error instanceof WebhookError, String(error));
      verdict = error.reason;
    }
    assert.equal(verdict, one.verdict, one.name);
  }
});
