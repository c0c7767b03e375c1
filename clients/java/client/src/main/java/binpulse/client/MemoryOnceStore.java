package binpulse.client;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** States in memory: for tests, and for effects that a restart may repeat. */
public final class MemoryOnceStore implements OnceStore {
    /** The fence is null where it is done. */
    private record State(String fence, long ends) {}

    private final Map<String, State> states = new HashMap<>();
    private int sweepAt = 1024;

    @Override
    public synchronized Claim claim(String id, String fence, Duration lease) {
        long now = System.nanoTime();
        State state = states.get(id);
        if (state != null && state.ends - now > 0) {
            return state.fence == null ? Claim.DONE : Claim.TAKEN;
        }
        if (states.size() >= sweepAt) {
            states.values().removeIf(other -> other.ends - now <= 0);
            sweepAt = Math.max(2 * states.size(), 1024);
        }
        states.put(id, new State(fence, now + lease.toNanos()));
        return Claim.YOURS;
    }

    @Override
    public synchronized boolean done(String id, String fence, Duration keep) {
        State before = states.put(id, new State(null, System.nanoTime() + keep.toNanos()));
        return before != null && fence.equals(before.fence);
    }

    @Override
    public synchronized void release(String id, String fence) {
        State state = states.get(id);
        if (state != null && fence.equals(state.fence)) {
            states.remove(id);
        }
    }
}
