package binpulse.client;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * The numbers of one lane in one epoch: which rows come next, which came before, which are missing. It has no clock:
 * time is an argument.
 *
 * <p>The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order, and some may be
 * lost.
 */
public final class Lane {
    /** What to do with rows that arrived. */
    public enum Decision {
        /** They were applied before: delete the message. */
        SKIP,
        /** Apply them. */
        GO,
        /** Rows that were suppressed have come after all: apply them; newer ones may have been applied. */
        LATE,
        /** Rows before them have not come. */
        WAIT
    }

    /**
     * A decision. Apply {@code take} rows after the first {@code skip}; {@code take} is 0 unless the decision is GO or
     * LATE. Then offer the same rows again: a part of them may be left.
     */
    public record Offer(Decision decision, long skip, long take) {
        private Offer(Decision decision) {
            this(decision, 0, 0);
        }
    }

    /** Numbers, both ends included. */
    public record Range(long first, long last) {}

    /** Rows that are missing, both ends included. */
    public record Gap(long first, long last, boolean isProven) {}

    /** What a store keeps: the number that is expected, 0: not known yet; and suppressed rows that have not come. */
    public record State(long next, List<Range> suppressed) {
        /** A lane that was never met. */
        public static final State UNKNOWN = new State(0, List.of());
    }

    private record Mark(long next, Instant at) {}

    private final Waits waits;
    private long next;
    private Instant since;
    // First number to last: rows that wait, that will not come, that are suppressed.
    private final TreeMap<Long, Long> held;
    private final TreeMap<Long, Long> absent;
    private final TreeMap<Long, Long> suppressed;
    // The number below which all was accepted by the topic, and when that was learned; and a later one.
    private Mark accepted;
    private Mark acceptedLater;

    /** A lane as a store has it. */
    public Lane(State state, Waits waits, Instant now) {
        this.waits = waits;
        this.next = state.next;
        this.since = now;
        this.held = new TreeMap<>();
        this.absent = new TreeMap<>();
        this.suppressed = new TreeMap<>();
        for (Range rows : state.suppressed) {
            suppress(rows.first, rows.last, now);
        }
    }

    private Lane(Lane other) {
        this.waits = other.waits;
        this.next = other.next;
        this.since = other.since;
        this.held = new TreeMap<>(other.held);
        this.absent = new TreeMap<>(other.absent);
        this.suppressed = new TreeMap<>(other.suppressed);
        this.accepted = other.accepted;
        this.acceptedLater = other.acceptedLater;
    }

    Lane copy() {
        return new Lane(this);
    }

    /** The number that is expected, 0: not known yet. */
    public long next() {
        return next;
    }

    /** What a store keeps. */
    public State state() {
        List<Range> ranges = new ArrayList<>();
        suppressed.forEach((first, last) -> ranges.add(new Range(first, last)));
        return new State(next, List.copyOf(ranges));
    }

    /** {@code count} rows have arrived from {@code first} on. Who is told to apply some says so with {@link #applied}. */
    public Offer offer(long first, long count, Instant now) {
        if (first < 0 || count <= 0 || count > Long.MAX_VALUE - first) {
            return new Offer(Decision.SKIP);
        }
        long after = first + count;
        if (next == 0 && first <= 1) {
            moveTo(1, now);
        }
        if (next != 0 && first <= next) {
            Optional<Range> late = overlap(first, Math.min(after, next) - 1);
            if (late.isPresent()) {
                Range rows = late.get();
                return new Offer(Decision.LATE, rows.first - first, rows.last - rows.first + 1);
            }
            if (after <= next) {
                return new Offer(Decision.SKIP);
            }
            return new Offer(Decision.GO, next - first, after - next);
        }
        if (held.isEmpty()) {
            since = now;
        }
        held.merge(first, after - 1, Math::max);
        return new Offer(Decision.WAIT);
    }

    /** {@code count} rows from {@code first} on are applied now, as an Offer said. */
    public void applied(long first, long count, Instant now) {
        remove(first, first + count - 1);
        if (first + count > next) {
            moveTo(first + count, now);
        }
    }

    /**
     * A message said that these rows are suppressed: no gap. They may still come, and are then to be applied once.
     */
    public void suppressed(long first, long last, Instant now) {
        if (next == 0 && first <= 1) {
            moveTo(1, now);
        }
        // What lies behind was applied, or given up, or is known to be suppressed.
        suppress(Math.max(first, Math.max(next, 1)), last, now);
    }

    private void suppress(long first, long last, Instant now) {
        if (first <= last) {
            join(first, last);
            absent(Math.max(first, Math.max(next, 1)), last, now);
        }
    }

    /** These rows will not come: they were given up. Should they come after all, they are skipped. */
    public void absent(long first, long last, Instant now) {
        if (first > last) {
            return;
        }
        absent.merge(first, last, Math::max);
        if (next != 0) {
            moveTo(next, now);
        }
    }

    /** A canary's watermark names the lane: all below was accepted by the topic before it was sent. */
    public void watermark(long sequenceNext, Instant now) {
        // The contract's numbers have no sign.
        Mark mark = new Mark(sequenceNext < 0 ? Long.MAX_VALUE : sequenceNext, now);
        if (accepted == null || accepted.next < sequenceNext && next == 0) {
            accepted = mark;
        } else if (accepted.next < sequenceNext) {
            acceptedLater = mark;
        }
        forgetReached();
    }

    /**
     * The rows that are missing and due. The same gap is told until it is closed: by rows, or with {@link #absent}.
     * Begins a lane that is not known when its time has come.
     */
    public Optional<Gap> missing(Instant now) {
        if (due().filter(at -> !at.isAfter(now)).isEmpty()) {
            return Optional.empty();
        }
        if (next == 0) {
            moveTo(held.firstKey(), now);
            return Optional.empty();
        }
        long end = held.isEmpty() ? Long.MAX_VALUE : held.firstKey();
        end = Math.min(end, isProven() ? accepted.next : Long.MAX_VALUE);
        end = Math.min(end, absent.isEmpty() ? Long.MAX_VALUE : absent.firstKey());
        return Optional.of(new Gap(next, end - 1, isProven()));
    }

    /** When {@link #missing} will have something to say if nothing changes; empty: never. */
    public Optional<Instant> due() {
        if (next != 0 && isProven()) {
            return Optional.of(later(accepted.at).plus(held.isEmpty() ? waits.gap() : waits.proven()));
        }
        if (held.isEmpty()) {
            return Optional.empty();
        }
        Duration wait = next == 0 ? waits.first() : waits.gap();
        Instant due = since.plus(wait);
        if (next == 0 && accepted != null && held.firstKey() <= accepted.next) {
            Instant early = later(accepted.at).plus(waits.proven());
            due = early.isBefore(due) ? early : due;
        }
        return Optional.of(due);
    }

    private Instant later(Instant at) {
        return at.isAfter(since) ? at : since;
    }

    /** Whether the number that is expected was accepted by the topic. */
    private boolean isProven() {
        return accepted != null && next != 0 && next < accepted.next;
    }

    private void moveTo(long target, Instant now) {
        long reached = target;
        while (!absent.isEmpty() && absent.firstKey() <= reached) {
            long last = absent.pollFirstEntry().getValue();
            reached = Math.max(reached, last == Long.MAX_VALUE ? last : last + 1);
        }
        if (reached != next) {
            next = reached;
            since = now;
        }
        held.headMap(next, true).clear();
        forgetReached();
    }

    private void forgetReached() {
        while (next != 0 && accepted != null && accepted.next <= next) {
            accepted = acceptedLater;
            acceptedLater = null;
        }
    }

    /** The first run of suppressed numbers between two. */
    private Optional<Range> overlap(long first, long last) {
        for (Map.Entry<Long, Long> rows : suppressed.entrySet()) {
            if (rows.getKey() <= last && rows.getValue() >= first) {
                return Optional.of(new Range(Math.max(rows.getKey(), first), Math.min(rows.getValue(), last)));
            }
        }
        return Optional.empty();
    }

    /** Adds suppressed numbers, and joins them with those that they overlap or touch. */
    private void join(long from, long to) {
        long first = from;
        long last = to;
        for (Map.Entry<Long, Long> rows : new TreeMap<>(suppressed).entrySet()) {
            if (rows.getKey() - 1 <= last && first - 1 <= rows.getValue()) {
                first = Math.min(first, rows.getKey());
                last = Math.max(last, rows.getValue());
                suppressed.remove(rows.getKey());
            }
        }
        suppressed.put(first, last);
    }

    /** Takes numbers out of the suppressed ones. */
    private void remove(long first, long last) {
        for (Map.Entry<Long, Long> rows : new TreeMap<>(suppressed).entrySet()) {
            if (rows.getKey() > last || rows.getValue() < first) {
                continue;
            }
            suppressed.remove(rows.getKey());
            if (rows.getKey() < first) {
                suppressed.put(rows.getKey(), first - 1);
            }
            if (rows.getValue() > last) {
                suppressed.put(last + 1, rows.getValue());
            }
        }
    }
}
