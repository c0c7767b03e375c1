package binpulse.client;

import binpulse.client.WebhookException.Reason;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.function.Function;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Requests of binpulse's relay, verified by Standard Webhooks, version 1. */
public final class Webhooks {
    private static final Duration TOLERANCE = Duration.ofMinutes(5);

    private Webhooks() {}

    /**
     * Verifies a request and returns its id, which is the same however often the same rows are sent: act once for each.
     * {@code body} is as received; {@code header} gives a header by its name in small letters, or null; one of {@code
     * secrets} ({@code whsec_} and base64; during a rotation the new and the old one) must have signed.
     */
    public static String verify(byte[] body, Function<String, String> header, List<String> secrets, Instant now)
        throws WebhookException {
        String id = required(header, "webhook-id");
        String timestamp = required(header, "webhook-timestamp");
        String signatures = required(header, "webhook-signature");
        if (!timestamp.matches("[0-9]{1,11}")) {
            throw new WebhookException(Reason.TIME, "the header webhook-timestamp is no number of seconds since 1970");
        }
        Duration apart = Duration.between(Instant.ofEpochSecond(Long.parseLong(timestamp)), now).abs();
        if (apart.compareTo(TOLERANCE) > 0) {
            throw new WebhookException(Reason.TIME, "the request was signed " + apart.toSeconds() + " s from now, at most "
                + TOLERANCE.toSeconds() + " s");
        }
        for (int number = 0; number < secrets.size(); number++) {
            byte[] expected = mac(secrets.get(number), number, id + "." + timestamp + ".", body);
            for (String signature : Arrays.stream(signatures.split(" ")).limit(16).toList()) {
                if (signature.startsWith("v1,") && MessageDigest.isEqual(expected, base64(signature.substring(3)))) {
                    return id;
                }
            }
        }
        throw new WebhookException(Reason.SIGNATURE, "no signature fits any of the secrets");
    }

    private static String required(Function<String, String> header, String name) throws WebhookException {
        String value = header.apply(name);
        if (value == null) {
            throw new WebhookException(Reason.MISSING, "the header " + name + " is missing");
        }
        return value;
    }

    /** Bytes of base64, with or without padding: both are in use. Empty: it is something else. */
    private static byte[] base64(String text) {
        try {
            return Base64.getDecoder().decode(text);
        } catch (IllegalArgumentException error) {
            return new byte[0];
        }
    }

    private static byte[] mac(String secret, int number, String head, byte[] body) throws WebhookException {
        byte[] key = base64(secret.startsWith("whsec_") ? secret.substring("whsec_".length()) : secret);
        if (key.length == 0) {
            throw new WebhookException(Reason.SECRET, "secret " + number + " of the receiver is not whsec_ and base64");
        }
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            mac.update(head.getBytes(StandardCharsets.UTF_8));
            return mac.doFinal(body);
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("each Java has HmacSHA256", error);
        }
    }
}
