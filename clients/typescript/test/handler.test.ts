/** The example of a Lambda handler answers as the conformance suite says. BINPULSE_TEST_MYSQL (host:port) names a
 * server. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import mysql from "mysql2/promise";

import type { LambdaEvent } from "../src/index.js";

interface Case {
  statements: string[];
  steps: { event: LambdaEvent; failures: string[] }[];
  select: string;
  rows: string[][];
}

const MYSQL = process.env["BINPULSE_TEST_MYSQL"];
test("the handler tells which messages failed", { skip: MYSQL ? false : "no MySQL: set BINPULSE_TEST_MYSQL" },
  async () => {
    process.env["MYSQL_URL"] = `mysql://root@${MYSQL}`;
    process.env["AWS_REGION"] = "eu-west-1";
    const file = new URL("../../../../conformance/handler.json", import.meta.url);
    const session = await mysql.createConnection({ uri: process.env["MYSQL_URL"] });
    const [one] = JSON.parse(readFileSync(file, "utf8")) as [Case];
    for (const statement of one.statements) await session.query(statement);
    const { handler } = await import("../examples/lambda.js");
    const { db } = await import("../examples/copy.js");
    try {
      for (const { event, failures } of one.steps) {
        const wanted = { batchItemFailures: failures.map((itemIdentifier) => ({ itemIdentifier })) };
        assert.deepEqual(await handler(event), wanted);
      }
      const [rows] = await session.query<mysql.RowDataPacket[]>({ sql: one.select, rowsAsArray: true });
      assert.deepEqual(rows, one.rows);
    } finally {
      await Promise.all([db.end(), session.end()]);
    }
  });
