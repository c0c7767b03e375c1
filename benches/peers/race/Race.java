import io.debezium.connector.mysql.MySqlConnector;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import io.debezium.relational.history.MemorySchemaHistory;
import java.io.IOException;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.logging.LogManager;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.MemoryOffsetBackingStore;

/**
 * Prints each row of race.race as Debezium's embedded engine hands it on: `row OP ID VALUE`. Arguments:
 * host, port, how signals come (`source`: a table; `file`: a file, with read.only), the file.
 */
public final class Race implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>> {
    private static final String NAME = "race";

    public static void main(String[] words) throws IOException {
        LogManager.getLogManager().reset();
        DebeziumEngine<?> engine =
                DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                        .using(settings(words))
                        .using((success, message, error) -> fail(message, error))
                        .notifying(new Race())
                        .build();
        System.out.println("version " + new MySqlConnector().version());
        Executors.newSingleThreadExecutor().execute(engine);
        System.in.readAllBytes();
        Runtime.getRuntime().halt(0);
    }

    private static void fail(String message, Throwable error) {
        System.out.println("ended " + message);
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
        for (RecordChangeEvent<SourceRecord> event : records) {
            SourceRecord record = event.record();
            if (record.topic().equals("race.race.race") && record.value() instanceof Struct value) {
                Struct after = value.getStruct("after");
                System.out.printf(
                        "row %s %s %s%n", value.getString("op"), after.get("id"), after.get("v"));
            }
            committer.markProcessed(event);
        }
        committer.markBatchFinished();
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
        settings.put("database.server.id", "4000000016");
        settings.put("database.include.list", "race");
        settings.put("snapshot.mode", "no_data");
        settings.put("snapshot.locking.mode", "none");
        settings.put("schema.history.internal", MemorySchemaHistory.class.getName());
        settings.put("include.schema.changes", "false");
        settings.put("offset.storage", MemoryOffsetBackingStore.class.getName());
        settings.put("poll.interval.ms", "1");
        if (words[2].equals("source")) {
            settings.put("signal.data.collection", "race.signals");
        } else {
            settings.put("read.only", "true");
            settings.put("signal.enabled.channels", "file");
            settings.put("signal.file", words[3]);
            settings.put("signal.poll.interval.ms", "200");
            settings.put("heartbeat.interval.ms", "500");
        }
        return settings;
    }
}
