package binpulse.examples;

import binpulse.client.Content;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import software.amazon.awssdk.services.sqs.SqsClient;

/**
 * Keeps a copy of tables in a MySQL database, each row applied exactly once: see {@link Copy}. The environment has
 * QUEUE_URL, and MYSQL_URL: {@code jdbc:mariadb://127.0.0.1:3306/?user=root}.
 *
 * <p>The visibility timeout of the queue is longer than the ledger's wait for a gap (5 minutes): messages that wait are
 * kept in memory. With ROWS it ends after so many rows.
 */
public final class Apply {
    private record Waiting(Content content, String receipt) {}

    private Apply() {}

    private static void run(Copy copy, String queue, long rowsMax) throws Exception {
        List<Waiting> waiting = new ArrayList<>();
        try (SqsClient sqs = SqsClient.create()) {
            while (copy.applied < rowsMax) {
                var received = sqs.receiveMessage(request -> request.queueUrl(queue).maxNumberOfMessages(10)
                    .waitTimeSeconds(5).messageAttributeNames("All"));
                for (var message : received.messages()) {
                    waiting.add(new Waiting(Sqs.of(message).decodeWith(S3::fetch), message.receiptHandle()));
                }
                for (long before = -1; before != copy.applied;) {
                    before = copy.applied;
                    List<Waiting> left = new ArrayList<>();
                    for (Waiting one : waiting) {
                        if (copy.take(one.content)) {
                            sqs.deleteMessage(request -> request.queueUrl(queue).receiptHandle(one.receipt));
                        } else {
                            left.add(one);
                        }
                    }
                    waiting = left;
                }
                copy.ledger.gaps(Instant.now()).forEach((name, gap) -> {
                    throw new IllegalStateException("rows " + gap.first() + " to " + gap.last() + " of " + name.lane()
                        + " are missing: replay them, or give them up");
                });
            }
        }
    }

    /** Runs until it is stopped, or has applied as many rows as it is told. */
    public static void main(String[] arguments) throws Exception {
        Copy copy = new Copy(System.getenv("MYSQL_URL"));
        String rows = System.getenv("ROWS");
        run(copy, System.getenv("QUEUE_URL"), rows == null ? Long.MAX_VALUE : Long.parseLong(rows));
        System.out.println("{\"rows\": " + copy.applied + "}");
    }
}
