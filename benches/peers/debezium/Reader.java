import io.debezium.connector.mysql.MySqlConnector;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import io.debezium.relational.history.MemorySchemaHistory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.logging.LogManager;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.runtime.WorkerConfig;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.MemoryOffsetBackingStore;

/**
 * Reads row events with Debezium's embedded engine; see ../README.md for how it is called.
 *
 * <p>Whole batches of Kafka Connect records, without a converter: the least that the engine can be
 * asked for. Offsets and the schema's history are kept in memory.
 */
public final class Reader implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>> {
    private static final String NAME = "peer";

    private final long wanted;
    private final double seconds;
    private final boolean hasAges;
    private final CountDownLatch done = new CountDownLatch(1);
    private final List<Long> agesUs = new ArrayList<>();
    private long rows;
    private long untilNs;

    private Reader(String[] words) {
        wanted = Long.parseLong(words[4]);
        seconds = Double.parseDouble(words[5]);
        hasAges = words.length > 6 && words[6].equals("ages");
    }

    public static void main(String[] words) throws IOException, InterruptedException {
        LogManager.getLogManager().reset();
        Reader reader = new Reader(words);
        DebeziumEngine<?> engine =
                DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                        .using(settings(words))
                        .using((success, message, error) -> reader.fail(message, error))
                        .notifying(reader)
                        .build();
        ExecutorService thread = Executors.newSingleThreadExecutor();
        thread.execute(engine);
        reader.done.await();
        System.out.printf(
                "{\"reader\": \"Debezium embedded engine %s\", \"rows\": %d, \"ages_us\": %s}%n",
                new MySqlConnector().version(), reader.rows, reader.agesUs);
        System.in.readAllBytes();
        Runtime.getRuntime().halt(0);
    }

    /** It ends only when something is wrong: rows are counted before it is stopped. */
    private void fail(String message, Throwable error) {
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
        long nowNs = System.nanoTime();
        if (untilNs == 0) {
            untilNs = nowNs + (long) (seconds * 1e9);
            System.out.println("reading");
        }
        if (hasAges) {
            note(records);
        } else {
            rows += records.size();
        }
        committer.markProcessed(records.get(records.size() - 1));
        committer.markBatchFinished();
        if (rows >= wanted || nowNs >= untilNs) {
            done.countDown();
        }
    }

    private void note(List<RecordChangeEvent<SourceRecord>> records) {
        java.time.Instant now = java.time.Instant.now();
        long nowUs = now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
        for (RecordChangeEvent<SourceRecord> record : records) {
            long dueUs = ((Struct) record.record().value()).getStruct("after").getInt64("due_us");
            if (dueUs != 0) {
                agesUs.add(nowUs - dueUs);
            }
        }
        rows = agesUs.size();
    }

    private static Properties settings(String[] words) {
        Properties settings = new Properties();
        settings.put("name", NAME);
        settings.put("topic.prefix", NAME);
        settings.put("connector.class", MySqlConnector.class.getName());
        settings.put("database.hostname", words[0]);
        settings.put("database.port", words[1]);
        settings.put("database.user", "root");
        settings.put("database.password", "");
        settings.put("database.ssl.mode", "disabled");
        settings.put("database.server.id", "4000000015");
        settings.put("database.include.list", "bench");
        // Tables as they are, then rows from the offset on, which is a place in a file.
        settings.put("gtid.ignore.on.recovery", "true");
        settings.put("snapshot.mode", "recovery");
        settings.put("snapshot.locking.mode", "none");
        settings.put("schema.history.internal", MemorySchemaHistory.class.getName());
        settings.put("include.schema.changes", "false");
        settings.put("offset.storage", Offsets.class.getName());
        settings.put("peer.file", words[2]);
        settings.put("peer.position", words[3]);
        settings.put("offset.flush.interval.ms", "60000");
        // Large batches where rows abound, and no wait where they do not: both cost latency or rows
        // at their defaults (2048, 8192, 500).
        settings.put("max.batch.size", "8192");
        settings.put("max.queue.size", "32768");
        settings.put("poll.interval.ms", "1");
        return settings;
    }

    /** Offsets in memory that begin where the arguments say. */
    public static final class Offsets extends MemoryOffsetBackingStore {
        @Override
        public void configure(WorkerConfig config) {
            super.configure(config);
            String file = config.originalsStrings().get("peer.file");
            String position = config.originalsStrings().get("peer.position");
            String key = "[\"" + NAME + "\",{\"server\":\"" + NAME + "\"}]";
            data.put(bytes(key), bytes("{\"file\":\"" + file + "\",\"pos\":" + position + "}"));
        }

        @Override
        public Set<Map<String, Object>> connectorPartitions(String connector) {
            return Set.of();
        }

        private static ByteBuffer bytes(String text) {
            return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
        }
    }
}
