package binpulse.examples;

import binpulse.client.Content;
import binpulse.client.Freshness;
import binpulse.client.Lane;
import binpulse.client.Ledger;
import binpulse.client.Row;
import binpulse.client.Rows;
import binpulse.client.SqlStore;
import binpulse.client.Waits;
import binpulse.v1.ChangeBatch;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import software.amazon.awssdk.services.sqs.SqsClient;

/**
 * Keeps a copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
 * transaction of the rows. The environment has QUEUE_URL, and MYSQL_URL: {@code jdbc:mariadb://127.0.0.1:3306/?user=root}.
 *
 * <p>The tables are there already, with the columns of the source's. The visibility timeout of the queue is longer than
 * the ledger's wait for a gap (5 minutes): messages that wait are kept in memory. With ROWS it ends after so many rows.
 */
public final class Apply {
    private record Waiting(Content content, String receipt) {}

    private final Connection db;
    private final SqlStore store;
    private final Ledger ledger;
    private final Freshness freshness = new Freshness();
    private long applied;

    private Apply(String url) throws SQLException {
        db = DriverManager.getConnection(url);
        try (Statement statement = db.createStatement()) {
            statement.execute("SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0");
            statement.execute("CREATE DATABASE IF NOT EXISTS binpulse_consumer");
            db.setCatalog("binpulse_consumer");
            statement.execute(SqlStore.TABLE + " COLLATE utf8mb4_bin");
        }
        db.setAutoCommit(false);
        store = new SqlStore(db);
        ledger = new Ledger(store, Waits.DEFAULT);
    }

    /** Takes a message; whether it is done with: else rows before it have not come. */
    private boolean take(Content content) throws Exception {
        if (content instanceof Content.Canary canary) {
            freshness.observe(canary.value());
            ledger.watermark(canary.value(), Instant.now());
        } else if (content instanceof Content.Suppressed suppressed) {
            ledger.suppressed(suppressed.value(), Instant.now(), change -> {
                store.save(change);
                db.commit();
            });
        } else if (content instanceof Content.Change change) {
            return take(change.value()) != Lane.Decision.WAIT;
        }
        return true;
    }

    private Lane.Decision take(ChangeBatch batch) throws Exception {
        List<Row> rows = Rows.of(batch);
        return ledger.take(batch, Instant.now(), change -> {
            try {
                for (Row row : rows.subList(change.skip(), change.skip() + change.take())) {
                    Table.apply(db, batch.getTable(), row);
                }
                store.save(change);
                db.commit();
            } catch (Exception error) {
                db.rollback();
                throw error;
            }
            applied += change.take();
        });
    }

    private void run(String queue, long rowsMax) throws Exception {
        List<Waiting> waiting = new ArrayList<>();
        try (SqsClient sqs = SqsClient.create()) {
            while (applied < rowsMax) {
                var received = sqs.receiveMessage(request -> request.queueUrl(queue).maxNumberOfMessages(10)
                    .waitTimeSeconds(5).messageAttributeNames("All"));
                for (var message : received.messages()) {
                    waiting.add(new Waiting(Sqs.of(message).decodeWith(S3::fetch), message.receiptHandle()));
                }
                for (long before = -1; before != applied;) {
                    before = applied;
                    List<Waiting> left = new ArrayList<>();
                    for (Waiting one : waiting) {
                        if (take(one.content)) {
                            sqs.deleteMessage(request -> request.queueUrl(queue).receiptHandle(one.receipt));
                        } else {
                            left.add(one);
                        }
                    }
                    waiting = left;
                }
                ledger.gaps(Instant.now()).forEach((name, gap) -> {
                    throw new IllegalStateException("rows " + gap.first() + " to " + gap.last() + " of " + name.lane()
                        + " are missing: replay them, or give them up");
                });
            }
        }
    }

    /** Runs until it is stopped, or has applied as many rows as it is told. */
    public static void main(String[] arguments) throws Exception {
        Apply apply = new Apply(System.getenv("MYSQL_URL"));
        String rows = System.getenv("ROWS");
        apply.run(System.getenv("QUEUE_URL"), rows == null ? Long.MAX_VALUE : Long.parseLong(rows));
        System.out.println("{\"rows\": " + apply.applied + "}");
    }
}
