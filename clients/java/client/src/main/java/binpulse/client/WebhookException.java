package binpulse.client;

/** The request is not to be believed. */
public final class WebhookException extends Exception {
    /** Why. */
    public enum Reason {
        /** A header is missing. */
        MISSING,
        /** It was signed more than five minutes from now. */
        TIME,
        /** A secret of the receiver is none. */
        SECRET,
        /** No signature is of one of the secrets. */
        SIGNATURE
    }

    private final Reason reason;

    WebhookException(Reason reason, String text) {
        super(text);
        this.reason = reason;
    }

    /** Why. */
    public Reason reason() {
        return reason;
    }
}
