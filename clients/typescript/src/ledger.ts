/** The lanes of a consumer, with a store behind them. */

import type { ChangeBatch, Source, Suppressed } from "./gen/binpulse/v1/change_pb.js";
import type { Canary } from "./gen/binpulse/v1/pulse_pb.js";
import { type Decision, type Gap, Lane, type Offer, type State, type Waits, WAITS } from "./lane.js";

/** A lane of one epoch of one stream. */
export interface LaneName {
  stream: string;
  epoch: bigint;
  lane: string;
}

/** A change of a lane, to be stored in the transaction of its rows' effect. */
export interface Change {
  lane: LaneName;
  /** What the store has; undefined: nothing yet. */
  before: State | undefined;
  after: State;
  /** Rows to apply: `take` after the first `skip`. */
  skip: number;
  take: number;
}

/** Where the numbers of lanes are kept. */
export interface Store {
  /** The state of a lane; undefined where the store does not have it. */
  load(lane: LaneName): Promise<State | undefined>;
  /** Stores a change, if the lane is as it was before; else throws a ConflictError. */
  save(change: Change): Promise<void>;
}

/** Applies the rows of a change, and stores it. */
export type Apply = (change: Change) => Promise<void>;

/** The lanes of a consumer. With a store they survive a restart: it is asked for each lane that is met, and given
 * each change. Calls for one lane must not overlap: await each. */
export class Ledger {
  private readonly lanes = new Map<string, { name: LaneName; lane: Lane; stored: State | undefined }>();

  constructor(private readonly store?: Store, private readonly waits: Waits = WAITS) {}

  /** The lane: known, of the store, or new. */
  async lane(name: LaneName, now: number): Promise<Lane> {
    return (await this.known(name, now)).lane;
  }

  /** Rows of a batch have arrived. `apply` is called with each run of rows that is due: it applies `change.take`
   * rows after the first `change.skip`, and gives the change to the store in the same transaction. What it throws
   * goes on, and nothing is remembered. The decision is about what is left: `skip`, delete the message; `wait`,
   * keep it, and take it again when something has changed. */
  async take(batch: ChangeBatch, now: number, apply: Apply): Promise<Decision> {
    const name = nameOf(batch);
    const first = batch.sequenceFirst;
    for (;;) {
      const lane = await this.lane(name, now);
      const offer = lane.offer(first, BigInt(batch.rows.length), now);
      if (offer.take === 0n) return offer.decision;
      await this.change(name, now, (copy) => copy.applied(first + offer.skip, offer.take, now), apply, offer);
    }
  }

  /** A message of kind `suppressed`. The store saves the change, or `save` in its place. */
  async suppressed(message: Suppressed, now: number, save?: Apply): Promise<void> {
    const { sequenceFirst: first, count } = message;
    await this.change(nameOf(message), now, (copy) => copy.suppressed(first, first + count - 1n, now), save);
  }

  /** Goes on without the rows of a gap. The store saves the change, or `save` in its place. */
  async giveUp(name: LaneName, gap: Gap, now: number, save?: Apply): Promise<void> {
    await this.change(name, now, (copy) => copy.absent(gap.first, gap.last, now), save);
  }

  /** A canary has arrived: what it says of lanes that are known. */
  watermark(canary: Canary, now: number): void {
    const stream = canary.batch?.source?.stream ?? "";
    for (const { lane, epoch, sequenceNext } of canary.watermark?.lanes ?? []) {
      this.lanes.get(keyOf({ stream, epoch, lane }))?.lane.watermark(sequenceNext, now);
    }
  }

  /** All lanes with a gap that is due. */
  gaps(now: number): { name: LaneName; gap: Gap }[] {
    const found = [...this.lanes.values()].map(({ name, lane }) => ({ name, gap: lane.missing(now) }));
    return found.filter((one): one is { name: LaneName; gap: Gap } => one.gap !== undefined);
  }

  /** The lane is loaded again when it is met: another process has changed it. */
  forget(name: LaneName): void {
    this.lanes.delete(keyOf(name));
  }

  private async known(name: LaneName, now: number) {
    const key = keyOf(name);
    let known = this.lanes.get(key);
    if (!known) {
      const stored = await this.store?.load(name);
      known = { name, lane: new Lane(stored, this.waits, now), stored };
      this.lanes.set(key, known);
    }
    return known;
  }

  private async change(
    name: LaneName, now: number, change: (lane: Lane) => void, save?: Apply, offer?: Offer,
  ): Promise<void> {
    const known = await this.known(name, now);
    const copy = known.lane.copy();
    change(copy);
    const skip = Number(offer?.skip ?? 0n);
    const made = { lane: name, before: known.stored, after: copy.state, skip, take: Number(offer?.take ?? 0n) };
    try {
      await (save ? save(made) : this.store?.save(made));
    } catch (error) {
      this.forget(name);
      throw error;
    }
    this.lanes.set(keyOf(name), { name, lane: copy, stored: copy.state });
  }
}

const nameOf = (of: { source?: Source | undefined; lane: string }): LaneName => ({
  stream: of.source?.stream ?? "", epoch: of.source?.epoch ?? 0n, lane: of.lane,
});

const keyOf = ({ stream, epoch, lane }: LaneName): string => JSON.stringify([stream, String(epoch), lane]);
