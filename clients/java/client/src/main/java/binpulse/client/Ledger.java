package binpulse.client;

import binpulse.v1.ChangeBatch;
import binpulse.v1.LaneMark;
import binpulse.v1.Source;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The lanes of a consumer. With a store they survive a restart: it is asked for each lane that is met, and given each
 * change. It is not for several threads at a time.
 */
public final class Ledger {
    /** Applies the rows of a change, and stores it. */
    @FunctionalInterface
    public interface Apply {
        /** What it throws goes on, and then nothing is remembered. */
        void apply(Change change) throws Exception;
    }

    private record Known(Lane lane, Lane.State stored) {}

    private final Store store;
    private final Waits waits;
    private final Map<LaneName, Known> lanes = new HashMap<>();

    /** {@code store} is null for a ledger in memory. */
    public Ledger(Store store, Waits waits) {
        this.store = store;
        this.waits = waits;
    }

    /** A lane: known, of the store, or new. */
    public Lane lane(LaneName name, Instant now) throws Exception {
        return known(name, now).lane;
    }

    /**
     * Rows of a batch have arrived. {@code apply} is called with each run of rows that is due: it applies {@code take}
     * rows after the first {@code skip}, and gives the change to the store in the same transaction. The decision is
     * about what is left: SKIP, delete the message; WAIT, keep it, and take it again when something has changed.
     */
    public Lane.Decision take(ChangeBatch batch, Instant now, Apply apply) throws Exception {
        LaneName name = name(batch.getSource(), batch.getLane());
        long first = batch.getSequenceFirst();
        while (true) {
            Lane.Offer offer = lane(name, now).offer(first, batch.getRowsCount(), now);
            if (offer.take() == 0) {
                return offer.decision();
            }
            change(name, now, lane -> lane.applied(first + offer.skip(), offer.take(), now), apply, offer);
        }
    }

    /** A message of kind {@code suppressed}. The store saves the change, or {@code save} in its place; it may be null. */
    public void suppressed(binpulse.v1.Suppressed message, Instant now, Apply save) throws Exception {
        long first = message.getSequenceFirst();
        change(name(message.getSource(), message.getLane()), now,
            lane -> lane.suppressed(first, first + message.getCount() - 1, now), save, null);
    }

    /** Goes on without the rows of a gap. The store saves the change, or {@code save} in its place; it may be null. */
    public void giveUp(LaneName name, Lane.Gap gap, Instant now, Apply save) throws Exception {
        change(name, now, lane -> lane.absent(gap.first(), gap.last(), now), save, null);
    }

    /** A canary has arrived: what it says of lanes that are known. */
    public void watermark(binpulse.v1.Canary canary, Instant now) {
        for (LaneMark mark : canary.getWatermark().getLanesList()) {
            String stream = canary.getBatch().getSource().getStream();
            Known known = lanes.get(new LaneName(stream, mark.getEpoch(), mark.getLane()));
            if (known != null) {
                known.lane.watermark(mark.getSequenceNext(), now);
            }
        }
    }

    /** Gaps that are due, of all lanes. */
    public Map<LaneName, Lane.Gap> gaps(Instant now) {
        Map<LaneName, Lane.Gap> gaps = new HashMap<>();
        lanes.forEach((name, known) -> known.lane.missing(now).ifPresent(gap -> gaps.put(name, gap)));
        return gaps;
    }

    /** The lane is loaded again when it is met: another process has changed it. */
    public void forget(LaneName name) {
        lanes.remove(name);
    }

    private static LaneName name(Source source, String lane) {
        return new LaneName(source.getStream(), source.getEpoch(), lane);
    }

    private Known known(LaneName name, Instant now) throws Exception {
        Known known = lanes.get(name);
        if (known == null) {
            Optional<Lane.State> stored = store == null ? Optional.empty() : store.load(name);
            known = new Known(new Lane(stored.orElse(Lane.State.UNKNOWN), waits, now), stored.orElse(null));
            lanes.put(name, known);
        }
        return known;
    }

    private void change(LaneName name, Instant now, Consumer<Lane> change, Apply save, Lane.Offer offer)
        throws Exception {
        Known known = known(name, now);
        Lane copy = known.lane.copy();
        change.accept(copy);
        int skip = offer == null ? 0 : Math.toIntExact(offer.skip());
        int take = offer == null ? 0 : Math.toIntExact(offer.take());
        Change made = new Change(name, known.stored, copy.state(), skip, take);
        try {
            if (save != null) {
                save.apply(made);
            } else if (store != null) {
                store.save(made);
            }
        } catch (Exception error) {
            forget(name);
            throw error;
        }
        lanes.put(name, new Known(copy, made.after()));
    }
}
