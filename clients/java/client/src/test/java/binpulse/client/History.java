package binpulse.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import binpulse.v1.ChangeBatch;
import binpulse.v1.Source;
import binpulse.v1.Suppressed;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;

/** What each store of numbers must do. */
public final class History {
    /** Saves a change with the numbers that it applies; if it is broken, it ends with an exception. */
    @FunctionalInterface
    public interface Save {
        /** Saves it. */
        void save(Change change, List<Long> numbers, boolean isBroken) throws Exception;
    }

    private static final Source SOURCE = Source.newBuilder().setStream("shop").setEpoch(1).build();
    private static final String LANE = "shop.t#0";

    private final Save save;
    private final List<Long> applied = new ArrayList<>();
    private boolean isBroken;

    private History(Save save) {
        this.save = save;
    }

    private Lane.Decision take(Ledger ledger, long first, int count) throws Exception {
        ChangeBatch.Builder batch = ChangeBatch.newBuilder().setSource(SOURCE).setLane(LANE).setSequenceFirst(first);
        for (int row = 0; row < count; row++) {
            batch.addRowsBuilder();
        }
        return ledger.take(batch.build(), Instant.EPOCH, change -> {
            long from = first + change.skip();
            List<Long> numbers = LongStream.range(from, from + change.take()).boxed().toList();
            save.save(change, numbers, isBroken);
            applied.addAll(numbers);
        });
    }

    /** Plays a history, and gives back what was applied. */
    public static List<Long> check(Store store, Save save) throws Exception {
        History history = new History(save);
        Ledger one = new Ledger(store, Waits.DEFAULT);
        assertEquals(Lane.Decision.SKIP, history.take(one, 1, 3));
        history.isBroken = true;
        assertThrows(IllegalStateException.class, () -> history.take(one, 4, 1));
        history.isBroken = false;
        Suppressed held = Suppressed.newBuilder().setSource(SOURCE).setLane(LANE).setSequenceFirst(4).setCount(3).build();
        one.suppressed(held, Instant.EPOCH, null);
        assertEquals(Lane.Decision.SKIP, history.take(one, 7, 2));
        assertEquals(Lane.Decision.WAIT, history.take(one, 10, 1));
        // A new process; rows that were suppressed come after all, packed with others.
        Ledger two = new Ledger(store, Waits.DEFAULT);
        assertEquals(Lane.Decision.SKIP, history.take(two, 1, 5));
        assertEquals(Lane.Decision.SKIP, history.take(two, 3, 7));
        // The first process did not notice.
        assertThrows(ConflictException.class, () -> history.take(one, 9, 1));
        assertEquals(Lane.Decision.SKIP, history.take(one, 9, 1));
        assertEquals(Lane.Decision.SKIP, history.take(one, 10, 1));
        assertEquals(List.of(1L, 2L, 3L, 7L, 8L, 4L, 5L, 6L, 9L, 10L), history.applied);
        return history.applied;
    }
}
