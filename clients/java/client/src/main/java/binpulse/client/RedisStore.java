package binpulse.client;

import java.util.Optional;

/**
 * Numbers in Redis. They change behind the effect: after a crash between the two the rows come again, and the effect
 * must bear that.
 */
public final class RedisStore implements Store {
    private static final String SAVE = """
        if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[2])
        return 1""";

    private final RedisCommand redis;

    /** Keeps numbers under keys that begin with {@code binpulse:lane:}. */
    public RedisStore(RedisCommand redis) {
        this.redis = redis;
    }

    @Override
    public Optional<Lane.State> load(LaneName lane) throws Exception {
        String found = redis.text("GET", key(lane));
        if (found == null) {
            return Optional.empty();
        }
        int space = found.indexOf(' ');
        return Optional.of(new Lane.State(
            Long.parseLong(found.substring(0, space)), Ranges.parse(found.substring(space + 1))));
    }

    @Override
    public void save(Change change) throws Exception {
        String before = change.before() == null ? "" : text(change.before());
        if (!"1".equals(redis.text("EVAL", SAVE, "1", key(change.lane()), before, text(change.after())))) {
            throw new ConflictException(change.lane());
        }
    }

    private static String key(LaneName lane) {
        return "binpulse:lane:" + lane.stream() + "/" + lane.epoch() + "/" + lane.lane();
    }

    private static String text(Lane.State state) {
        return state.next() + " " + Ranges.text(state.suppressed());
    }
}
