import io.debezium.connector.mysql.MySqlConnector;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import io.debezium.relational.history.MemorySchemaHistory;
import java.io.IOException;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.logging.LogManager;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.MemoryOffsetBackingStore;

/**
 * Counts rows of bench.rows_of_190 in a snapshot of Debezium's embedded engine, at its defaults for
 * snapshots; see ../README.md. In place of FILE stands which snapshot, `initial` or `incremental`; the
 * latter is asked for by a row of bench.signals, once this has printed `streaming`: a row of bench.marks
 * has come.
 */
public final class Snapshots implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>> {
    private static final String NAME = "snapshots";
    private static final String TOPIC = NAME + ".bench.rows_of_190";

    private final long wanted;
    private final double seconds;
    private final CountDownLatch done = new CountDownLatch(1);
    private long rows;
    private long untilNs;
    private boolean streams;

    private Snapshots(String[] words) {
        wanted = Long.parseLong(words[4]);
        seconds = Double.parseDouble(words[5]);
    }

    public static void main(String[] words) throws IOException, InterruptedException {
        LogManager.getLogManager().reset();
        Snapshots reader = new Snapshots(words);
        DebeziumEngine<?> engine =
                DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                        .using(settings(words))
                        .using((success, message, error) -> reader.ended(success, message, error))
                        .notifying(reader)
                        .build();
        Executors.newSingleThreadExecutor().execute(engine);
        reader.done.await();
        System.out.printf(
                "{\"reader\": \"Debezium %s, %s snapshot\", \"rows\": %d, \"ages_us\": []}%n",
                new MySqlConnector().version(), words[2], reader.rows);
        System.in.readAllBytes();
        Runtime.getRuntime().halt(0);
    }

    /** An initial snapshot ends by itself: then all its rows have come. */
    private void ended(boolean success, String message, Throwable error) {
        if (success && rows > 0) {
            done.countDown();
            return;
        }
        System.err.println(message);
        if (error != null) {
            error.printStackTrace();
        }
        Runtime.getRuntime().halt(1);
    }

    @Override
    public void handleBatch(
            List<RecordChangeEvent<SourceRecord>> records,
            DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
            throws InterruptedException {
        if (done.getCount() == 0 || records.isEmpty()) {
            return;
        }
        long came = 0;
        for (RecordChangeEvent<SourceRecord> record : records) {
            String topic = record.record().topic();
            if (topic.equals(TOPIC)) {
                came++;
            } else if (!streams && topic.equals(NAME + ".bench.marks")) {
                streams = true;
                System.out.println("streaming");
            }
        }
        long nowNs = System.nanoTime();
        if (untilNs == 0 && came > 0) {
            untilNs = nowNs + (long) (seconds * 1e9);
            System.out.println("reading");
        }
        rows += came;
        committer.markProcessed(records.get(records.size() - 1));
        committer.markBatchFinished();
        if (rows >= wanted || (untilNs != 0 && nowNs >= untilNs)) {
            done.countDown();
        }
    }

    private static Properties settings(String[] words) {
        boolean isInitial = words[2].equals("initial");
        Properties settings = new Properties();
        settings.put("name", NAME);
        settings.put("topic.prefix", NAME);
        settings.put("connector.class", MySqlConnector.class.getName());
        settings.put("database.hostname", words[0]);
        settings.put("database.port", words[1]);
        settings.put("database.user", "root");
        settings.put("database.password", "");
        settings.put("database.ssl.mode", "disabled");
        settings.put("database.server.id", "4000000017");
        settings.put("database.include.list", "bench");
        settings.put(
                "table.include.list",
                isInitial ? "bench.rows_of_190" : "bench.rows_of_190,bench.marks,bench.signals");
        settings.put("snapshot.mode", isInitial ? "initial_only" : "no_data");
        settings.put("snapshot.locking.mode", "none");
        settings.put("signal.data.collection", "bench.signals");
        settings.put("schema.history.internal", MemorySchemaHistory.class.getName());
        settings.put("include.schema.changes", "false");
        settings.put("offset.storage", MemoryOffsetBackingStore.class.getName());
        settings.put("offset.flush.interval.ms", "60000");
        settings.put("max.batch.size", "8192");
        settings.put("max.queue.size", "32768");
        settings.put("poll.interval.ms", "1");
        return settings;
    }
}
