package binpulse.client;

import java.nio.charset.StandardCharsets;

/**
 * Runs a command of Redis. With Jedis: {@code words -> jedis.sendCommand(() -> words[0].getBytes(), Arrays
 * .copyOfRange(words, 1, words.length))}.
 */
@FunctionalInterface
public interface RedisCommand {
    /** The answer: null, a number, a String, or its bytes. */
    Object run(String... words) throws Exception;

    /** The answer as text; null: there is none. */
    default String text(String... words) throws Exception {
        Object answer = run(words);
        return answer instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8)
            : answer == null ? null : answer.toString();
    }
}
