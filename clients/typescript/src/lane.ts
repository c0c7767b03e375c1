/** Which rows come next, which came before, which are missing. Pure: time is an argument, in seconds since any
 * fixed moment.
 *
 * The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order, and some may
 * be lost. A Lane decides for each message: skip it, go and apply it, or wait; and it names a gap once it is
 * certain, or has lasted for long enough, that rows do not come. */

/** What to do with rows that arrived. `skip`: applied before, delete the message. `go`: apply them. `late`: rows
 * that were suppressed have come after all; apply them; newer ones may have been applied. `wait`: rows before
 * them have not come. */
export type Decision = "skip" | "go" | "late" | "wait";

/** A decision. Apply `take` rows after the first `skip`; `take` is 0 unless the decision is `go` or `late`. Then
 * offer the same rows again: a part of them may be left. */
export interface Offer {
  decision: Decision;
  skip: bigint;
  take: bigint;
}

/** How long to wait, seconds. */
export interface Waits {
  /** For number 1 of a lane that is not known. */
  first: number;
  /** For rows of which nothing proves that the topic has accepted them: longer than a message takes to become a
   * dead letter. */
  gap: number;
  /** For rows of which a canary's watermark proves it, when rows behind them have arrived. */
  proven: number;
}

/** The waits, unless others are given. */
export const WAITS: Waits = { first: 60, gap: 300, proven: 5 };

/** Rows that are missing, both ends included. */
export interface Gap {
  first: bigint;
  last: bigint;
  proven: boolean;
}

/** Numbers, both ends included. */
export type Range = readonly [first: bigint, last: bigint];

/** What a store keeps of a lane. */
export interface State {
  /** The number that is expected, 0: not known yet. */
  next: bigint;
  /** Rows that are suppressed and have not come. */
  suppressed: readonly Range[];
}

interface Accepted {
  next: bigint;
  at: number;
}

const NOTHING = (decision: Decision): Offer => ({ decision, skip: 0n, take: 0n });
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The numbers of one lane in one epoch. */
export class Lane {
  /** The number that is expected; undefined: not known yet. */
  next: bigint | undefined;
  private since: number;
  /** Rows that wait, that will not come, that are suppressed: first number to last. */
  private held = new Map<bigint, bigint>();
  private gone = new Map<bigint, bigint>();
  private missed = new Map<bigint, bigint>();
  /** The number below which all was accepted by the topic, and when that was learned. */
  private accepted: Accepted | undefined;
  private acceptedLater: Accepted | undefined;

  constructor(state: State = { next: 0n, suppressed: [] }, private readonly waits: Waits = WAITS, now = 0) {
    this.next = state.next || undefined;
    this.since = now;
    for (const [first, last] of state.suppressed) this.suppress(first, last, now);
  }

  /** What a store keeps. */
  get state(): State {
    const suppressed = [...this.missed].sort(([a], [b]) => (a < b ? -1 : 1));
    return { next: this.next ?? 0n, suppressed };
  }

  /** `count` rows have arrived from `first` on. Who is told to apply some says so with `applied`. */
  offer(first: bigint, count: bigint, now: number): Offer {
    const after = first + count;
    if (count <= 0n) return NOTHING("skip");
    if (this.next === undefined && first <= 1n) this.moveTo(1n, now);
    if (this.next !== undefined && first <= this.next) {
      const late = overlap(this.missed, first, min(after, this.next) - 1n);
      if (late) return { decision: "late", skip: late[0] - first, take: late[1] - late[0] + 1n };
      if (after <= this.next) return NOTHING("skip");
      return { decision: "go", skip: this.next - first, take: after - this.next };
    }
    if (this.held.size === 0) this.since = now;
    this.held.set(first, max(this.held.get(first) ?? 0n, after - 1n));
    return NOTHING("wait");
  }

  /** `count` rows from `first` on are applied now, as an Offer said. */
  applied(first: bigint, count: bigint, now: number): void {
    remove(this.missed, first, first + count - 1n);
    if (this.next === undefined || first + count > this.next) this.moveTo(first + count, now);
  }

  /** A message said that these rows are suppressed: no gap. They may still come, and are then to be applied
   * once. */
  suppressed(first: bigint, last: bigint, now: number): void {
    if (this.next === undefined && first <= 1n) this.moveTo(1n, now);
    // What lies behind was applied, or given up, or is known to be suppressed.
    this.suppress(max(first, this.next ?? 1n), last, now);
  }

  /** These rows will not come: they were given up. Should they come after all, they are skipped. */
  absent(first: bigint, last: bigint, now: number): void {
    if (first > last) return;
    this.gone.set(first, max(this.gone.get(first) ?? 0n, last));
    if (this.next !== undefined) this.moveTo(this.next, now);
  }

  /** A canary's watermark names the lane: all below was accepted by the topic before it was sent. */
  watermark(sequenceNext: bigint, now: number): void {
    const mark = { next: sequenceNext, at: now };
    if (!this.accepted) this.accepted = mark;
    else if (this.accepted.next < sequenceNext) {
      if (this.next === undefined) this.accepted = mark;
      else this.acceptedLater = mark;
    }
    this.forgetReached();
  }

  /** The rows that are missing and due. The same gap is told until it is closed: by rows, or with `absent`.
   * Begins a lane that is not known when its time has come. */
  missing(now: number): Gap | undefined {
    const due = this.due();
    if (due === undefined || due > now) return undefined;
    const held = smallest(this.held);
    if (this.next === undefined) {
      if (held !== undefined) this.moveTo(held, now);
      return undefined;
    }
    const proven = this.isProven();
    const ends = [held, proven ? this.accepted?.next : undefined, smallest(this.gone)];
    const last = ends.filter((end) => end !== undefined).reduce(min) - 1n;
    return { first: this.next, last, proven };
  }

  /** When `missing` will have something to say if nothing changes; undefined: never. */
  due(): number | undefined {
    const { waits, since, accepted } = this;
    const held = smallest(this.held);
    if (this.next === undefined) {
      if (held === undefined) return undefined;
      const early = accepted && held <= accepted.next ? Math.max(accepted.at, since) + waits.proven : Infinity;
      return Math.min(since + waits.first, early);
    }
    if (accepted && this.isProven()) {
      return Math.max(accepted.at, since) + (held === undefined ? waits.gap : waits.proven);
    }
    return held === undefined ? undefined : since + waits.gap;
  }

  /** A lane that changes by itself. */
  copy(): Lane {
    const other = Object.assign(Object.create(Lane.prototype) as Lane, this);
    other.held = new Map(this.held);
    other.gone = new Map(this.gone);
    other.missed = new Map(this.missed);
    return other;
  }

  private suppress(first: bigint, last: bigint, now: number): void {
    if (first > last) return;
    insert(this.missed, first, last);
    this.absent(max(first, this.next ?? 1n), last, now);
  }

  private isProven(): boolean {
    return this.accepted !== undefined && this.next !== undefined && this.next < this.accepted.next;
  }

  private moveTo(target: bigint, now: number): void {
    let next = target;
    for (const [first, last] of [...this.gone].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (first > next) break;
      next = max(next, last + 1n);
      this.gone.delete(first);
    }
    if (next !== this.next) {
      this.next = next;
      this.since = now;
    }
    for (const first of this.held.keys()) if (first <= next) this.held.delete(first);
    this.forgetReached();
  }

  private forgetReached(): void {
    while (this.next !== undefined && this.accepted && this.accepted.next <= this.next) {
      this.accepted = this.acceptedLater;
      this.acceptedLater = undefined;
    }
  }
}

const smallest = (ranges: Map<bigint, bigint>): bigint | undefined =>
  ranges.size === 0 ? undefined : [...ranges.keys()].reduce(min);

/** The first run of numbers that is both in the ranges and between two numbers. */
function overlap(ranges: Map<bigint, bigint>, first: bigint, last: bigint): Range | undefined {
  const found = [...ranges].filter(([start, end]) => start <= last && end >= first);
  if (found.length === 0) return undefined;
  const [start, end] = found.reduce((a, b) => (a[0] < b[0] ? a : b));
  return [max(start, first), min(end, last)];
}

/** Adds a range, and joins it with those that it overlaps or touches. */
function insert(ranges: Map<bigint, bigint>, from: bigint, to: bigint): void {
  let [first, last] = [from, to];
  for (const [start, end] of [...ranges]) {
    if (start <= last + 1n && end + 1n >= first) {
      ranges.delete(start);
      [first, last] = [min(first, start), max(last, end)];
    }
  }
  ranges.set(first, last);
}

/** Takes numbers out of the ranges. */
function remove(ranges: Map<bigint, bigint>, first: bigint, last: bigint): void {
  for (const [start, end] of [...ranges]) {
    if (start > last || end < first) continue;
    ranges.delete(start);
    if (start < first) ranges.set(start, first - 1n);
    if (end > last) ranges.set(last + 1n, end);
  }
}
