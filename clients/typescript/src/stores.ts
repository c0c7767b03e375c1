/** Where the numbers of lanes are kept, and the states of effects: a SQL database, and Redis.
 *
 * In a SQL database the numbers change in the transaction of the rows' effect: then each row is applied once,
 * whatever fails. In Redis they change behind the effect: after a crash between the two the rows come again, and
 * the effect must bear that. */

import { ConflictError } from "./errors.js";
import type { Change, LaneName, Store } from "./ledger.js";
import type { Range, State } from "./lane.js";
import type { Claim, OnceStore } from "./once.js";

/** Runs a statement with values for its placeholders: its rows, and how many rows it changed. */
export type Query = (sql: string, values: (string | number)[]) => Promise<{
  rows: Record<string, unknown>[];
  changed: number;
}>;

/** For MySQL, whose comparisons ignore case, add `COLLATE utf8mb4_bin` behind the parenthesis. */
export const LANES_TABLE =
  "CREATE TABLE IF NOT EXISTS binpulse_lanes (stream VARCHAR(64) NOT NULL, epoch BIGINT NOT NULL, "
  + "lane VARCHAR(600) NOT NULL, next BIGINT NOT NULL, suppressed TEXT NOT NULL, "
  + "PRIMARY KEY (stream, epoch, lane))";

const WHERE = " WHERE stream = ? AND epoch = ? AND lane = ?";

/** Numbers in a table of a database. It neither begins nor commits: `save` belongs to the transaction that is open
 * on the connection of `query`. */
export class SqlStore implements Store {
  /** `placeholders` are `?` (MySQL, SQLite) or `$1` (PostgreSQL). */
  constructor(private readonly query: Query, private readonly placeholders: "?" | "$1" = "?") {}

  async load(lane: LaneName): Promise<State | undefined> {
    const { rows: [found] } = await this.run("SELECT next, suppressed FROM binpulse_lanes" + WHERE, key(lane));
    return found && { next: BigInt(String(found["next"])), suppressed: ranges(String(found["suppressed"])) };
  }

  async save({ lane, before, after }: Change): Promise<void> {
    const state = (of: State) => [String(of.next), text(of.suppressed)];
    if (!before) {
      await this.run("INSERT INTO binpulse_lanes VALUES (?, ?, ?, ?, ?)", [...key(lane), ...state(after)]);
    } else if (String(state(before)) !== String(state(after))) {
      const sql = "UPDATE binpulse_lanes SET next = ?, suppressed = ?" + WHERE + " AND next = ? AND suppressed = ?";
      const { changed } = await this.run(sql, [...state(after), ...key(lane), ...state(before)]);
      if (changed !== 1) throw new ConflictError(`another process has changed the lane ${lane.lane}`);
    }
  }

  private run(sql: string, values: string[]) {
    let number = 0;
    return this.query(this.placeholders === "?" ? sql : sql.replaceAll("?", () => `$${++number}`), values);
  }
}

/** Runs a command of Redis: `(words) => client.sendCommand(words)` of node-redis, `(words) =>
 * client.call(...words)` of ioredis. */
export type RedisCommand = (words: string[]) => Promise<unknown>;

const SAVE = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`;

/** Numbers in Redis. */
export class RedisStore implements Store {
  constructor(private readonly run: RedisCommand, private readonly prefix = "binpulse:lane:") {}

  async load(lane: LaneName): Promise<State | undefined> {
    const found = await this.run(["GET", this.prefix + key(lane).join("/")]);
    if (found === null || found === undefined) return undefined;
    const [next = "", suppressed = ""] = String(found).split(" ");
    return { next: BigInt(next), suppressed: ranges(suppressed) };
  }

  async save({ lane, before, after }: Change): Promise<void> {
    const state = (of: State) => `${of.next} ${text(of.suppressed)}`;
    const words = [before ? state(before) : "", state(after)];
    const done = await this.run(["EVAL", SAVE, "1", this.prefix + key(lane).join("/"), ...words]);
    if (Number(done) !== 1) throw new ConflictError(`another process has changed the lane ${lane.lane}`);
  }
}

const CLAIM = `
local state = redis.call('GET', KEYS[1])
if state == 'done' then return 'done' end
if state then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'yours'`;
const DONE = `
local state = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return state == ARGV[1] and 1 or 0`;
const RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0";

/** States of effects in Redis, for Once. */
export class RedisOnceStore implements OnceStore {
  constructor(private readonly run: RedisCommand, private readonly prefix = "binpulse:once:") {}

  async claim(id: string, fence: string, lease: number): Promise<Claim> {
    return String(await this.script(CLAIM, id, fence, lease)) as Claim;
  }

  async done(id: string, fence: string, keep: number): Promise<boolean> {
    return Number(await this.script(DONE, id, fence, keep)) === 1;
  }

  async release(id: string, fence: string): Promise<void> {
    await this.script(RELEASE, id, fence, 0);
  }

  private script(script: string, id: string, fence: string, seconds: number): Promise<unknown> {
    const millis = String(Math.max(Math.trunc(seconds * 1000), 1));
    return this.run(["EVAL", script, "1", this.prefix + id, fence, millis]);
  }
}

const key = ({ stream, epoch, lane }: LaneName): string[] => [stream, String(epoch), lane];

const text = (of: readonly Range[]): string => of.map(([first, last]) => `${first}-${last}`).join(",");

const ranges = (of: string): Range[] =>
  of.split(",").filter(Boolean).map((pair) => pair.split("-").map(BigInt) as [bigint, bigint]);
