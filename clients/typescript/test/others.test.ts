/** Ledgers over their stores, and what the suite does not cover. BINPULSE_TEST_REDIS and BINPULSE_TEST_MYSQL
 * (host:port) name real servers. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test } from "node:test";

import { create, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import mysql from "mysql2/promise";
import type { ResultSetHeader, RowDataPacket } from "mysql2/promise";

import {
  type Apply, ConflictError, Decimal, Freshness, lambdaBatch, LANES_TABLE, Ledger, MemoryOnceStore, Once,
  type OnceStore, RedisOnceStore, RedisStore, SqlStore, type Store, TimeText, change, pulse,
} from "../src/index.js";
import { file_binpulse_v1_frame } from "../src/gen/binpulse/v1/frame_pb.js";

const source = { stream: "shop", epoch: 1n };
const lane = "shop.t#0";
const batch = (first: number, count = 1) =>
  create(change.ChangeBatchSchema, {
    source, lane, sequenceFirst: BigInt(first), rows: Array.from({ length: count }, () => ({})),
  });

/** What each store must do; `save` is called with a change and the numbers that it applies. */
async function history(
  store: Store, save: (change: Parameters<Apply>[0], numbers: number[], isBroken: boolean) => Promise<void>,
): Promise<number[]> {
  const applied: number[] = [];
  let isBroken = false;
  const take = (ledger: Ledger, first: number, count = 1) =>
    ledger.take(batch(first, count), 0, async (change) => {
      const numbers = Array.from({ length: change.take }, (_, at) => first + change.skip + at);
      await save(change, numbers, isBroken);
      applied.push(...numbers);
    });
  const one = new Ledger(store);
  assert.equal(await take(one, 1, 3), "skip");
  isBroken = true;
  await assert.rejects(take(one, 4), /broken/);
  isBroken = false;
  await one.suppressed(create(change.SuppressedSchema, { source, lane, sequenceFirst: 4n, count: 3n }), 0);
  assert.equal(await take(one, 7, 2), "skip");
  assert.equal(await take(one, 10), "wait");
  // A new process; rows that were suppressed come after all, packed with others.
  const two = new Ledger(store);
  assert.equal(await take(two, 1, 5), "skip");
  assert.equal(await take(two, 3, 7), "skip");
  assert.deepEqual(applied, [1, 2, 3, 7, 8, 4, 5, 6, 9]);
  // The first process did not notice.
  await assert.rejects(take(one, 9), ConflictError);
  assert.equal(await take(one, 9), "skip");
  assert.equal(await take(one, 10), "skip");
  assert.deepEqual(applied, [1, 2, 3, 7, 8, 4, 5, 6, 9, 10]);
  return applied;
}

async function effects(store: OnceStore): Promise<void> {
  const once = new Once(store);
  const done: number[] = [];
  const note = (number: number) => () => { done.push(number); return Promise.resolve(); };
  await assert.rejects(once.run("id", () => Promise.reject(new Error("broken"))), /broken/);
  assert.equal(await once.run("id", note(1)), "ran");
  assert.equal(await once.run("id", note(2)), "done");
  await store.claim("other", "fence", 60);
  await store.release("other", "another fence");
  assert.equal(await once.run("other", note(3)), "taken");
  await store.release("other", "fence");
  const slow = new Once(store, 0);
  const late = await slow.run("slow", async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await slow.run("slow", note(4));
  });
  assert.deepEqual([late, done], ["late", [1, 4]]);
}

/** As much of a client of Redis as the stores need. */
async function redis(address: string): Promise<[Socket, (words: string[]) => Promise<unknown>]> {
  const [host, port] = address.split(":") as [string, string];
  const socket = connect(Number(port), host);
  await new Promise((resolve) => socket.once("connect", resolve));
  const run = (words: string[]) => new Promise<unknown>((resolve, reject) => {
    socket.once("data", (data) => {
      const [head = "", body = ""] = data.toString().split("\r\n");
      if (head.startsWith("-")) reject(new Error(head));
      else resolve(head === "$-1" ? null : head.startsWith("$") ? body : head.slice(1));
    });
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${words.length}\r\n${parts.join("")}`);
  });
  await run(["FLUSHALL"]);
  return [socket, run];
}

const REDIS = process.env["BINPULSE_TEST_REDIS"];
test("numbers and effects in Redis", { skip: REDIS ? false : "no Redis: set BINPULSE_TEST_REDIS" }, async () => {
  const [socket, run] = await redis(REDIS!);
  try {
    const store = new RedisStore(run);
    await history(store, (change, _, isBroken) => {
      if (isBroken) throw new Error("broken");
      return store.save(change);
    });
    await effects(new RedisOnceStore(run));
  } finally {
    socket.destroy();
  }
});

const MYSQL = process.env["BINPULSE_TEST_MYSQL"];
test("numbers in the transaction of a database", { skip: MYSQL ? false : "no MySQL: set BINPULSE_TEST_MYSQL" },
  async () => {
    const db = await mysql.createConnection({ uri: `mysql://root@${MYSQL}` });
    try {
      await db.query("DROP DATABASE IF EXISTS typescript");
      await db.query("CREATE DATABASE typescript");
      await db.query("USE typescript");
      await db.query(`${LANES_TABLE} COLLATE utf8mb4_bin`);
      await db.query("CREATE TABLE copy (at INT AUTO_INCREMENT PRIMARY KEY, number INT)");
      const store = new SqlStore(async (sql, values) => {
        const [result] = await db.query<RowDataPacket[] | ResultSetHeader>(sql, values);
        return Array.isArray(result) ? { rows: result, changed: 0 } : { rows: [], changed: result.affectedRows };
      });
      const applied = await history(store, async (change, numbers, isBroken) => {
        await db.beginTransaction();
        try {
          for (const number of numbers) await db.query("INSERT INTO copy (number) VALUES (?)", [number]);
          await store.save(change);
          if (isBroken) throw new Error("broken");
          await db.commit();
        } catch (error) {
          await db.rollback();
          throw error;
        }
      });
      const [copy] = await db.query<RowDataPacket[]>("SELECT number FROM copy ORDER BY at");
      assert.deepEqual(copy.map(({ number }) => number as number), applied);
    } finally {
      await db.end();
    }
  });

test("the generated code is that of the contract", () => {
  const kept = new URL("../../../python/src/binpulse_client/contract.binpb", import.meta.url);
  const contract = fromBinary(FileDescriptorSetSchema, readFileSync(kept)).file;
  const made = [change.file_binpulse_v1_change, pulse.file_binpulse_v1_pulse, file_binpulse_v1_frame];
  for (const { proto } of made) {
    const wanted = contract.find(({ name }) => name === proto.name);
    assert(wanted, proto.name);
    const shown = (of: typeof proto) => JSON.stringify(
      [of.messageType, of.enumType].flat().map(({ name, ...rest }) => [name,
        "field" in rest ? rest.field.map((field) => [field.name, field.number, field.type, field.typeName, field.label])
          : "value" in rest ? rest.value.map((value) => [value.name, value.number]) : []]));
    assert.equal(shown(proto), shown(wanted), `${proto.name}: run clients/generate.sh`);
  }
});

test("effects in memory", () => effects(new MemoryOnceStore()));

test("values that JavaScript has", () => {
  const date = (text: string, kind: "date" | "time" | "datetime" | "timestamp") => new TimeText(text, kind);
  assert.equal(date("2026-11-20", "date").toDate()?.toISOString(), "2026-11-20T00:00:00.000Z");
  assert.equal(date("0000-00-00", "date").toDate(), undefined);
  assert.equal(date("2026-02-31", "date").micros(), undefined);
  assert.equal(date("-838:59:59.000001", "time").micros(), -3_020_399_000_001n);
  assert.equal(date("2026-11-20 20:12:00.123456", "datetime").toDate()?.toISOString(), "2026-11-20T20:12:00.123Z");
  assert.equal(date("1969-12-31 23:59:59.999999", "timestamp").micros(), -1n);
  assert.deepEqual(new Decimal("-12.500").scaled(), [-12500n, 3]);
});

test("only a young canary tells the verdict", () => {
  const freshness = new Freshness();
  assert.deepEqual(freshness.health(60, 100_000), { state: "unknown" });
  const watermark = { verdict: "quiet", certificate: { provenAtUs: 95_000_000n } };
  freshness.observe(create(pulse.CanarySchema, { writtenAtUs: 100_000_000n, watermark }));
  freshness.observe(create(pulse.CanarySchema, { writtenAtUs: 90_000_000n }));
  assert.deepEqual(freshness.health(60, 160_000), { state: "fresh", age: 60, verdict: "quiet" });
  assert.deepEqual(freshness.health(60, 161_000), { state: "stale", age: 61 });
  assert.equal(freshness.quietUntilUs(), 95_000_000n);
});

test("a batch of Lambda tells which messages failed", async () => {
  const event = { Records: [{ messageId: "a", body: "" }, { messageId: "b", body: "{" }, { messageId: "c", body: "x" }] };
  const take = (message: { body: string }) => (message.body === "x" ? Promise.reject(new Error("x")) : Promise.resolve());
  const answer = await lambdaBatch(event, take, () => undefined);
  assert.deepEqual(answer, { batchItemFailures: [{ itemIdentifier: "b" }, { itemIdentifier: "c" }] });
});
