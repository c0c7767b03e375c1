package binpulse.examples;

import binpulse.client.Content;
import binpulse.client.Freshness;
import binpulse.client.Message;
import binpulse.client.Row;
import binpulse.client.Rows;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import software.amazon.awssdk.services.sqs.SqsClient;

/** Reads a queue and prints its rows. The environment has QUEUE_URL. */
public final class Sqs {
    private Sqs() {}

    /** A message of the SDK. */
    static Message of(software.amazon.awssdk.services.sqs.model.Message message) throws Exception {
        Map<String, String> attributes = new HashMap<>();
        message.messageAttributes().forEach((name, value) -> attributes.put(name, value.stringValue()));
        return Message.received(message.body(), attributes);
    }

    /** Runs until it is stopped. */
    public static void main(String[] arguments) {
        String queue = System.getenv("QUEUE_URL");
        Freshness freshness = new Freshness();
        try (SqsClient sqs = SqsClient.create()) {
            while (true) {
                var received = sqs.receiveMessage(request -> request.queueUrl(queue).maxNumberOfMessages(10)
                    .waitTimeSeconds(20).messageAttributeNames("All"));
                for (var message : received.messages()) {
                    try {
                        take(of(message).decodeWith(S3::fetch), freshness);
                        sqs.deleteMessage(request -> request.queueUrl(queue).receiptHandle(message.receiptHandle()));
                    } catch (Exception error) {
                        // It stays in the queue, and becomes a dead letter in the end.
                        System.err.println(message.messageId() + ": " + error);
                    }
                }
                System.err.println(freshness.health(Duration.ofMinutes(1), Instant.now()));
            }
        }
    }

    private static void take(Content content, Freshness freshness) {
        if (content instanceof Content.Canary canary) {
            freshness.observe(canary.value());
        } else if (content instanceof Content.Change change) {
            for (Row row : Rows.of(change.value())) {
                System.out.println(row.number() + " " + row.op() + " " + row.before() + " " + row.after());
            }
        }
    }
}
