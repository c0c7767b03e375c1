package binpulse.client;

import binpulse.client.DecodeException.Reason;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Map;

/**
 * Where the content of a message lies. The object is not the consumer's to delete. {@code sizeBytes} is null where the
 * message does not tell it (look at it before fetching), and so is {@code sha256}.
 */
public record Pointer(String bucket, String key, Long sizeBytes, byte[] sha256) {
    /** The largest content of an object. */
    public static final int OBJECT_BYTES_MAX = 256 << 20;

    /** Gives the bytes of an object. */
    @FunctionalInterface
    public interface Fetch {
        /** The object's text. */
        byte[] fetch(Pointer pointer) throws Exception;
    }

    /** What the message holds that pointed here; {@code object} is the object's text. */
    public Content decode(byte[] object) throws DecodeException {
        if (sizeBytes != null && object.length != sizeBytes) {
            throw new DecodeException(Reason.OBJECT, "the object has " + object.length + " bytes, expected " + sizeBytes);
        }
        if (sha256 != null && !MessageDigest.isEqual(sha256, digest(object))) {
            throw new DecodeException(Reason.OBJECT, "the object has another SHA-256 than the stated one");
        }
        try {
            return new Message(new String(object, StandardCharsets.UTF_8), Map.of()).decode(OBJECT_BYTES_MAX);
        } catch (ElsewhereException error) {
            throw new DecodeException(Reason.OBJECT, "the object is a pointer to another object");
        }
    }

    private static byte[] digest(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException("each Java has SHA-256", error);
        }
    }
}
