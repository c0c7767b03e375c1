/** Side effects without a transaction, such as an e-mail: once, as far as that is possible.
 *
 * Two states are needed. *In progress*, with a lease: no other process tries meanwhile, and one does after a
 * crash. *Done*: none ever tries again. A single `SET key NX EX` before the effect loses the row when the process
 * dies between the two; one behind it lets two processes act. */

import { randomUUID } from "node:crypto";

/** Whose an id is. */
export type Claim = "yours" | "taken" | "done";

/** What became of an effect. `late`: it ran, but took longer than the lease, so somebody else may have done it
 * too. `done`: it took place before, delete the message. `taken`: somebody is at it, leave the message in the
 * queue. */
export type Outcome = "ran" | "late" | "done" | "taken";

/** States of effects. Each method is atomic. Times are in seconds. */
export interface OnceStore {
  /** Claims an id for `lease`, unless it is done, or in progress and its lease has not ended. */
  claim(id: string, fence: string, lease: number): Promise<Claim>;
  /** It is done, and this is known for `keep`. Whether the claim was still the caller's. */
  done(id: string, fence: string, keep: number): Promise<boolean>;
  /** It was not done: anybody may claim it, if the claim is still the caller's. */
  release(id: string, fence: string): Promise<void>;
}

/** Does something once for each id. `lease` is about the queue's visibility timeout, and longer than the effect
 * takes; `keep` is longer than queue and dead letter queue keep a message, together. Seconds. */
export class Once {
  constructor(readonly store: OnceStore, private readonly lease = 60, private readonly keep = 18 * 86_400) {}

  /** Runs `effect` unless it was done for this id. What it throws goes on; then it may be tried again. */
  async run(id: string, effect: () => Promise<void>): Promise<Outcome> {
    const fence = randomUUID();
    const claim = await this.store.claim(id, fence, this.lease);
    if (claim !== "yours") return claim;
    try {
      await effect();
    } catch (error) {
      await this.store.release(id, fence);
      throw error;
    }
    return (await this.store.done(id, fence, this.keep)) ? "ran" : "late";
  }
}

/** States in memory: for tests, and for effects that a restart may repeat. */
export class MemoryOnceStore implements OnceStore {
  /** The fence is undefined where it is done. */
  private states = new Map<string, { fence: string | undefined; ends: number }>();
  private sweepAt = 1024;

  claim(id: string, fence: string, lease: number): Promise<Claim> {
    const now = performance.now();
    const state = this.states.get(id);
    if (state && state.ends > now) return Promise.resolve(state.fence === undefined ? "done" : "taken");
    if (this.states.size >= this.sweepAt) {
      this.states = new Map([...this.states].filter(([, { ends }]) => ends > now));
      this.sweepAt = Math.max(2 * this.states.size, 1024);
    }
    this.states.set(id, { fence, ends: now + lease * 1000 });
    return Promise.resolve("yours");
  }

  done(id: string, fence: string, keep: number): Promise<boolean> {
    const wasOurs = this.states.get(id)?.fence === fence;
    this.states.set(id, { fence: undefined, ends: performance.now() + keep * 1000 });
    return Promise.resolve(wasOurs);
  }

  release(id: string, fence: string): Promise<void> {
    if (this.states.get(id)?.fence === fence) this.states.delete(id);
    return Promise.resolve();
  }
}
