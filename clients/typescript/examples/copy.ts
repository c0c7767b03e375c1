/** A copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
 * transaction of the rows. The tables are there already, with the columns of the source's. */

import mysql from "mysql2/promise";
import type { ResultSetHeader, RowDataPacket } from "mysql2/promise";

import {
  ABSENT, type Cell, type Content, Decimal, EnumIndex, Freshness, Geometry, type Image, JsonDiff, JsonText,
  LANES_TABLE, Ledger, MalformedText, Omitted, type Row, SetMask, SqlStore, TimeText, type change, rows,
} from "../src/index.js";

export const db = await mysql.createConnection({ uri: process.env["MYSQL_URL"] ?? "mysql://root@127.0.0.1:3306" });
await db.query("SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0");
await db.query("CREATE DATABASE IF NOT EXISTS binpulse_consumer");
await db.query("USE binpulse_consumer");
await db.query(`${LANES_TABLE} COLLATE utf8mb4_bin`);

const store = new SqlStore(async (sql, values) => {
  const [result] = await db.query<RowDataPacket[] | ResultSetHeader>(sql, values);
  return Array.isArray(result) ? { rows: result, changed: 0 } : { rows: [], changed: result.affectedRows };
});
export const ledger = new Ledger(store);
export const freshness = new Freshness();
export const seconds = (): number => performance.now() / 1000;

/** A value as MySQL takes it. */
function bound(cell: Cell): unknown {
  if (cell instanceof Omitted || cell instanceof JsonDiff || cell instanceof MalformedText) {
    throw new Error("a value that this copy can't have: read the row from the source");
  }
  if (cell instanceof Decimal || cell instanceof TimeText || cell instanceof JsonText) return cell.text;
  if (cell instanceof EnumIndex) return cell.index;
  if (cell instanceof SetMask) return cell.mask;
  if (cell instanceof Geometry) return Buffer.from(cell.bytes);
  if (Array.isArray(cell)) return Buffer.from(Float32Array.from(cell).buffer);
  return cell instanceof Uint8Array ? Buffer.from(cell) : cell;
}

const present = (image: Image): [string, Cell][] => Object.entries(image).filter(([, cell]) => cell !== ABSENT);

/** Applies one row. */
async function apply(schema: change.TableSchema, row: Row): Promise<void> {
  const table = [schema.database, schema.table];
  const keys = schema.primaryKey.map((at) => schema.columns[at]?.name ?? "");
  const keyOf = (image: Image) => keys.map((name) => bound(image[name] ?? ABSENT));
  const isMoved = row.before && row.after && String(keyOf(row.before)) !== String(keyOf(row.after));
  if (row.before && (!row.after || isMoved)) {
    const where = keys.map(() => "?? = ?").join(" AND ");
    const values = keys.flatMap((name, at) => [name, keyOf(row.before!)[at]]);
    await db.query(`DELETE FROM ??.?? WHERE ${where}`, [...table, ...values]);
  }
  if (row.after) {
    const cells = present(row.after);
    const names = cells.map(([name]) => name);
    const update = names.map(() => "?? = VALUES(??)").join(", ");
    await db.query(
      `INSERT INTO ??.?? (??) VALUES (?) ON DUPLICATE KEY UPDATE ${update}`,
      [...table, names, cells.map(([, cell]) => bound(cell)), ...names.flatMap((name) => [name, name])]);
  }
}

/** Rows that were applied. */
export let applied = 0;

/** Takes a message: true: it is done with; false: rows before it have not come. */
export async function take(content: Content): Promise<boolean> {
  if (content.kind === "canary") {
    freshness.observe(content.value);
    ledger.watermark(content.value, seconds());
  } else if (content.kind === "suppressed") {
    await ledger.suppressed(content.value, seconds());
  } else if (content.kind === "change") {
    const batch = content.value;
    const decision = await ledger.take(batch, seconds(), async (change) => {
      await db.beginTransaction();
      try {
        const due = [...rows(batch)].slice(change.skip, change.skip + change.take);
        for (const row of due) await apply(batch.table!, row);
        await store.save(change);
        await db.commit();
      } catch (error) {
        await db.rollback();
        throw error;
      }
      applied += change.take;
    });
    return decision !== "wait";
  }
  return true;
}
