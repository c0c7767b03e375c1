package binpulse.client;

import java.time.Duration;
import java.util.UUID;

/**
 * Does side effects without a transaction, such as an e-mail, once for each id, as far as that is possible.
 *
 * <p>Two states are needed. <em>In progress</em>, with a lease: no other process tries meanwhile, and one does after a
 * crash. <em>Done</em>: none ever tries again. A single {@code SET key NX EX} before the effect loses the row when the
 * process dies between the two; one behind it lets two processes act.
 *
 * <p>{@code lease} is about the queue's visibility timeout, and longer than the effect takes; {@code keep} is longer than
 * queue and dead letter queue keep a message, together: 18 days at most.
 */
public record Once(OnceStore store, Duration lease, Duration keep) {
    /** What became of an effect. */
    public enum Outcome {
        /** It took place. */
        RAN,
        /** It ran, but took longer than the lease: somebody else may have done it too. */
        LATE,
        /** It took place before: delete the message. */
        DONE,
        /** Somebody is at it: leave the message in the queue. */
        TAKEN
    }

    /** A side effect. */
    @FunctionalInterface
    public interface Effect {
        /** What it throws goes on; then it may be tried again. */
        void run() throws Exception;
    }

    /** With a lease of a minute. */
    public Once(OnceStore store) {
        this(store, Duration.ofMinutes(1), Duration.ofDays(18));
    }

    /** Runs the effect unless it was done for this id. */
    public Outcome run(String id, Effect effect) throws Exception {
        String fence = UUID.randomUUID().toString();
        OnceStore.Claim claim = store.claim(id, fence, lease);
        if (claim != OnceStore.Claim.YOURS) {
            return Outcome.valueOf(claim.name());
        }
        try {
            effect.run();
        } catch (Exception | Error error) {
            store.release(id, fence);
            throw error;
        }
        return store.done(id, fence, keep) ? Outcome.RAN : Outcome.LATE;
    }
}
