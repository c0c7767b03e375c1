package binpulse.client;

import java.time.Duration;

/**
 * How long to wait: {@code first} for number 1 of a lane that is not known; {@code gap} for rows of which nothing proves
 * that the topic has accepted them, longer than a message takes to become a dead letter; {@code proven} for rows of
 * which a canary's watermark proves it, when rows behind them have arrived.
 */
public record Waits(Duration first, Duration gap, Duration proven) {
    /** The waits, unless others are given. */
    public static final Waits DEFAULT = new Waits(Duration.ofMinutes(1), Duration.ofMinutes(5), Duration.ofSeconds(5));
}
