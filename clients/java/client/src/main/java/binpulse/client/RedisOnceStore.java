package binpulse.client;

import java.time.Duration;
import java.util.Locale;

/** States of effects in Redis, for {@link Once}. */
public final class RedisOnceStore implements OnceStore {
    private static final String CLAIM = """
        local state = redis.call('GET', KEYS[1])
        if state == 'done' then return 'done' end
        if state then return 'taken' end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return 'yours'""";
    private static final String DONE = """
        local state = redis.call('GET', KEYS[1])
        redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
        return state == ARGV[1] and 1 or 0""";
    private static final String RELEASE =
        "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0";

    private final RedisCommand redis;

    /** Keeps states under keys that begin with {@code binpulse:once:}. */
    public RedisOnceStore(RedisCommand redis) {
        this.redis = redis;
    }

    @Override
    public Claim claim(String id, String fence, Duration lease) throws Exception {
        return Claim.valueOf(script(CLAIM, id, fence, lease).toUpperCase(Locale.ROOT));
    }

    @Override
    public boolean done(String id, String fence, Duration keep) throws Exception {
        return script(DONE, id, fence, keep).equals("1");
    }

    @Override
    public void release(String id, String fence) throws Exception {
        script(RELEASE, id, fence, Duration.ZERO);
    }

    private String script(String script, String id, String fence, Duration keep) throws Exception {
        String millis = String.valueOf(Math.max(keep.toMillis(), 1));
        return redis.text("EVAL", script, "1", "binpulse:once:" + id, fence, millis);
    }
}
