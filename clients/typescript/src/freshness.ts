/** Is a silent table quiet, or am I cut off? Canaries tell. */

import type { Canary, QuietCertificate, Watermark } from "./gen/binpulse/v1/pulse_pb.js";

/** The answer of a health check. `fresh`: the newest canary is young enough; `verdict` is the streamer's. `stale`:
 * no canary for too long, cut off whatever the last verdict was. `unknown`: there was no canary yet. */
export type Health =
  | { state: "fresh"; age: number; verdict: string }
  | { state: "stale"; age: number }
  | { state: "unknown" };

/** What the canaries of one stream tell. One for each stream, and for each path through a table of yours. */
export class Freshness {
  private writtenAtUs: bigint | undefined;
  /** The watermark of the newest canary. */
  watermark: Watermark | undefined;
  /** The newest certificate that any canary carried. */
  certificate: QuietCertificate | undefined;

  /** Takes a canary, in whichever order they come. */
  observe(canary: Canary): void {
    const writtenAtUs = canary.writtenAtUs || committedAtUs(canary);
    if (!writtenAtUs) return;
    const proof = canary.watermark?.certificate;
    if (proof && (!this.certificate || this.certificate.provenAtUs < proof.provenAtUs)) this.certificate = proof;
    if (this.writtenAtUs === undefined || this.writtenAtUs <= writtenAtUs) {
      this.writtenAtUs = writtenAtUs;
      this.watermark = canary.watermark;
    }
  }

  /** Age of the newest canary in seconds, undefined before the first; 0 of one of the future: clocks differ.
   * `now` is in milliseconds since 1970, as all times of JavaScript. */
  age(now = Date.now()): number | undefined {
    return this.writtenAtUs === undefined ? undefined : Math.max(now / 1000 - Number(this.writtenAtUs) / 1e6, 0);
  }

  /** All in one: a canary older than `ageMax` seconds is too old. Six times `canary.interval`, which is 60 s
   * unless it was changed, passes over one that is late. */
  health(ageMax = 60, now = Date.now()): Health {
    const age = this.age(now);
    if (age === undefined) return { state: "unknown" };
    if (age > ageMax) return { state: "stale", age };
    return { state: "fresh", age, verdict: this.watermark?.verdict ?? "" };
  }

  /** Until when it is proven that no transaction had rows for this stream, microseconds since 1970; undefined where
   * that is not proven. */
  quietUntilUs(): bigint | undefined {
    return this.certificate?.userTransactions === 0n ? this.certificate.provenAtUs : undefined;
  }
}

function committedAtUs({ batch }: Canary): bigint {
  const [first] = batch?.transactions ?? [];
  return batch && first ? batch.committedAtBaseUs + first.committedAtDeltaUs : 0n;
}
