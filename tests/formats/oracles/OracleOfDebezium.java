import io.debezium.connector.mysql.MySqlConnector;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.CloudEvents;
import io.debezium.engine.format.Json;
import io.debezium.engine.format.KeyValueHeaderChangeEventFormat;
import io.debezium.engine.format.SerializationFormat;
import io.debezium.relational.history.MemorySchemaHistory;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.logging.LogManager;
import org.apache.kafka.connect.runtime.WorkerConfig;
import org.apache.kafka.connect.storage.MemoryOffsetBackingStore;

/**
 * Prints what Debezium's embedded engine makes of the rows of one database, from the beginning of a
 * server's log, until a row of the table `end_of_log` comes: a line with the key, then a line with
 * the value.
 *
 * <p>OracleOfDebezium json|cloudevents PORT DATABASE [PROPERTY=VALUE...]
 */
public final class OracleOfDebezium implements DebeziumEngine.ChangeConsumer<ChangeEvent<String, String>> {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] words) throws Exception {
        LogManager.getLogManager().reset();
        Properties settings = settings(words[1], words[2]);
        for (int at = 3; at < words.length; at++) {
            String[] pair = words[at].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        Class<? extends SerializationFormat<String>> format =
                words[0].equals("json") ? Json.class : CloudEvents.class;
        DebeziumEngine<ChangeEvent<String, String>> engine =
                DebeziumEngine.create(KeyValueHeaderChangeEventFormat.of(Json.class, format, Json.class))
                        .using(settings)
                        .using((success, message, error) -> fail(message, error))
                        .notifying(new OracleOfDebezium())
                        .build();
        Executors.newSingleThreadExecutor().execute(engine);
    }

    private static void fail(String message, Throwable error) {
        System.err.println(message);
        if (error != null) {
            error.printStackTrace();
        }
        Runtime.getRuntime().halt(1);
    }

    @Override
    public void handleBatch(
            List<ChangeEvent<String, String>> records,
            DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer)
            throws InterruptedException {
        for (ChangeEvent<String, String> record : records) {
            if (record.destination().endsWith(".end_of_log")) {
                OUT.flush();
                Runtime.getRuntime().halt(0);
            }
            OUT.println(record.key());
            OUT.println(record.value());
            committer.markProcessed(record);
        }
        committer.markBatchFinished();
    }

    private static Properties settings(String port, String database) {
        Properties settings = new Properties();
        settings.put("name", "zoo");
        settings.put("topic.prefix", "zoo");
        settings.put("connector.class", MySqlConnector.class.getName());
        settings.put("database.hostname", "127.0.0.1");
        settings.put("database.port", port);
        settings.put("database.user", "root");
        settings.put("database.password", "");
        settings.put("database.ssl.mode", "disabled");
        settings.put("database.server.id", "4000000016");
        settings.put("database.include.list", database);
        // Tables as they are, then rows from the offset on.
        settings.put("snapshot.mode", "recovery");
        settings.put("snapshot.locking.mode", "none");
        settings.put("schema.history.internal", MemorySchemaHistory.class.getName());
        settings.put("include.schema.changes", "false");
        settings.put("offset.storage", Offsets.class.getName());
        settings.put("tombstones.on.delete", "false");
        settings.put("offset.flush.interval.ms", "60000");
        return settings;
    }

    /** Offsets in memory, at the beginning of the log. */
    public static final class Offsets extends MemoryOffsetBackingStore {
        @Override
        public void configure(WorkerConfig config) {
            super.configure(config);
            data.put(bytes("[\"zoo\",{\"server\":\"zoo\"}]"), bytes("{\"file\":\"binlog.000001\",\"pos\":4,\"gtids\":\"00000000-0000-0000-0000-000000000001:1\"}"));
        }

        private static ByteBuffer bytes(String text) {
            return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public Set<Map<String, Object>> connectorPartitions(String connector) {
            return Set.of();
        }
    }
}
