package binpulse.examples;

import binpulse.client.Pointer;
import software.amazon.awssdk.services.s3.S3Client;

/** Objects that messages point to ({@code sink.oversize = "claim-check"}). */
final class S3 {
    private static S3Client client;

    private S3() {}

    /** The bytes of an object. */
    static synchronized byte[] fetch(Pointer place) {
        if (client == null) {
            client = S3Client.create();
        }
        return client.getObjectAsBytes(request -> request.bucket(place.bucket()).key(place.key())).asByteArray();
    }
}
