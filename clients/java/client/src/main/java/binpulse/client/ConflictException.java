package binpulse.client;

/** Another process has changed the lane: undo the transaction, and take the message again. */
public final class ConflictException extends Exception {
    ConflictException(LaneName lane) {
        super("another process has changed the lane " + lane.lane());
    }
}
