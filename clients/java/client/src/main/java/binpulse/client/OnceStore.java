package binpulse.client;

import java.time.Duration;

/** Keeps states of effects. Each method is atomic. */
public interface OnceStore {
    /** Whose an id is. */
    enum Claim {
        YOURS, TAKEN, DONE
    }

    /** Claims an id for a lease, unless it is done, or in progress and its lease has not ended. */
    Claim claim(String id, String fence, Duration lease) throws Exception;

    /** It is done, and this is known for {@code keep}. Whether the claim was still the caller's. */
    boolean done(String id, String fence, Duration keep) throws Exception;

    /** It was not done: anybody may claim it, if the claim is still the caller's. */
    void release(String id, String fence) throws Exception;
}
