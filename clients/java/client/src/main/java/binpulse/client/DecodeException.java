package binpulse.client;

import java.util.Locale;

/** The message is not what the contract says. No text shows a value of a row. */
public class DecodeException extends Exception {
    /** The kind of fault. */
    public enum Reason {
        EMPTY, BASE64, PROTOBUF, VERSION, CODEC, SIZE, LENGTH, CHECKSUM, ZSTD, MEMORY, DOCUMENT, INCONSISTENT, OBJECT,
        ELSEWHERE
    }

    private final Reason reason;

    DecodeException(Reason reason, String text) {
        super(reason.name().toLowerCase(Locale.ROOT) + ": " + text);
        this.reason = reason;
    }

    /** The kind of fault. */
    public Reason reason() {
        return reason;
    }
}
