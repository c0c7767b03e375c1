package binpulse.client;

/** The content is in an object store: fetch the object of the pointer, and decode it with {@link Pointer#decode}. */
public final class ElsewhereException extends DecodeException {
    private final transient Pointer pointer;

    ElsewhereException(Pointer pointer) {
        super(Reason.ELSEWHERE,
            "the content is the object " + pointer.key() + " of bucket " + pointer.bucket() + ": fetch it");
        this.pointer = pointer;
    }

    /** Where the content lies. */
    public Pointer pointer() {
        return pointer;
    }
}
