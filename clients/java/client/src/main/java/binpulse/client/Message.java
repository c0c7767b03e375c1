package binpulse.client;

import binpulse.client.DecodeException.Reason;
import binpulse.v1.ClaimCheck;
import binpulse.v1.Frame;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A message without what SNS put around it: its body as published, and its attributes. */
public record Message(String body, Map<String, String> attributes) {
    /** The largest content, but for single rows that came by way of an object. */
    public static final int CONTENT_BYTES_MAX = 64 << 20;

    /**
     * A message as a queue gives it. Where the body is SNS's envelope, body and attributes are those in it; attributes
     * that came beside it take precedence.
     */
    public static Message received(String body, Map<String, String> attributes) throws DecodeException {
        if (body.startsWith("{") && Json.parse(body) instanceof Map<?, ?> outer
            && "Notification".equals(outer.get("Type")) && outer.get("Message") instanceof String inner) {
            Map<String, String> all = texts(outer.get("MessageAttributes"), "Value");
            all.putAll(attributes);
            return new Message(inner, all);
        }
        return new Message(body, attributes);
    }

    /** The same without attributes. */
    public static Message received(String body) throws DecodeException {
        return received(body, Map.of());
    }

    /** The texts of attributes: each an object with the text under one name. */
    static Map<String, String> texts(Object attributes, String text) {
        Map<String, String> found = new HashMap<>();
        if (attributes instanceof Map<?, ?> forms) {
            forms.forEach((name, form) -> {
                if (form instanceof Map<?, ?> members && members.get(text) instanceof String value) {
                    found.put((String) name, value);
                }
            });
        }
        return found;
    }

    /** The attribute {@code kind}, or null. */
    public String kind() {
        return attributes.get("kind");
    }

    /** The attribute {@code replay}, percent-encoded, or null: for whom the rows are published again. */
    public String replay() {
        return attributes.get("replay");
    }

    /** What it holds. Throws an {@link ElsewhereException} where that is in an object store. */
    public Content decode() throws DecodeException {
        return decode(CONTENT_BYTES_MAX);
    }

    /** The same, with another limit of the content's size. */
    public Content decode(int bytesMax) throws DecodeException {
        if (body.isEmpty()) {
            throw new DecodeException(Reason.EMPTY, "the body is empty");
        }
        if (body.startsWith("[")) {
            throw new ElsewhereException(pointer());
        }
        if (body.startsWith("{")) {
            long cellsMax = Frames.elementBytesMax(bytesMax) / MemoryEstimate.ELEMENT_BYTES;
            return Checks.consistent(Document.content(Json.parse(body), cellsMax));
        }
        Frame frame = Frames.open(body, bytesMax);
        Content content = switch (frame.getContentCase()) {
            case BATCH -> new Content.Change(frame.getBatch());
            case SNAPSHOT_PART -> new Content.Part(frame.getSnapshotPart());
            case SNAPSHOT_MARK -> new Content.Mark(frame.getSnapshotMark());
            case CANARY -> new Content.Canary(frame.getCanary());
            case HEARTBEAT -> new Content.Heartbeat(frame.getHeartbeat());
            case SCHEMA_CHANGE -> new Content.Schema(frame.getSchemaChange());
            case SUPPRESSED -> new Content.Suppressed(frame.getSuppressed());
            case TRANSACTION_END -> new Content.TransactionEnd(frame.getTransactionEnd());
            case CLAIM_CHECK -> throw new ElsewhereException(pointer(frame.getClaimCheck()));
            default -> new Content.Unknown();
        };
        return Checks.consistent(content);
    }

    /** What it holds; where that is in an object store, {@code fetch} is asked for the object. */
    public Content decodeWith(Pointer.Fetch fetch) throws Exception {
        try {
            return decode();
        } catch (ElsewhereException elsewhere) {
            return elsewhere.pointer().decode(fetch.fetch(elsewhere.pointer()));
        }
    }

    private static Pointer pointer(ClaimCheck claim) {
        Long size = claim.getSizeBytes() > 0 ? claim.getSizeBytes() : null;
        byte[] sha256 = claim.getSha256().isEmpty() ? null : claim.getSha256().toByteArray();
        return new Pointer(claim.getBucket(), claim.getKey(), size, sha256);
    }

    /**
     * {@code ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": .., "s3Key": ..}]}. The class has
     * had other packages: only its name counts.
     */
    private Pointer pointer() throws DecodeException {
        if (Json.parse(body) instanceof List<?> form && form.size() == 2
            && form.get(0) instanceof String name && name.substring(name.lastIndexOf('.') + 1).equals("PayloadS3Pointer")
            && form.get(1) instanceof Map<?, ?> place
            && place.get("s3BucketName") instanceof String bucket && place.get("s3Key") instanceof String key) {
            String size = attributes.getOrDefault("ExtendedPayloadSize", attributes.get("SQSLargePayloadSize"));
            boolean isNumber = size != null && size.matches("[0-9]{1,18}");
            return new Pointer(bucket, key, isNumber ? Long.valueOf(size) : null, null);
        }
        throw new DecodeException(Reason.DOCUMENT, "an array that is no pointer to an object");
    }
}
