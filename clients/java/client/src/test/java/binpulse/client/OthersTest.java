package binpulse.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import binpulse.v1.Canary;
import binpulse.v1.QuietCertificate;
import binpulse.v1.Watermark;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Ledgers over their stores, and what the suite does not cover. BINPULSE_TEST_REDIS=host:port names a Redis. */
class OthersTest {
    /** As much of a client of Redis as the stores need. */
    private static final class Redis implements AutoCloseable {
        private final Socket socket;
        private final InputStream input;

        Redis() throws Exception {
            String[] address = System.getenv("BINPULSE_TEST_REDIS").split(":");
            socket = new Socket(address[0], Integer.parseInt(address[1]));
            input = new BufferedInputStream(socket.getInputStream());
            run("FLUSHALL");
        }

        Object run(String... words) throws IOException {
            StringBuilder sent = new StringBuilder("*" + words.length + "\r\n");
            for (String word : words) {
                sent.append("$").append(word.length()).append("\r\n").append(word).append("\r\n");
            }
            socket.getOutputStream().write(sent.toString().getBytes(StandardCharsets.UTF_8));
            StringBuilder line = new StringBuilder();
            for (int next = input.read(); next != '\n'; next = input.read()) {
                line.append((char) next);
            }
            String rest = line.substring(1).trim();
            return switch (line.charAt(0)) {
                case '-' -> throw new IOException(rest);
                case '$' -> rest.equals("-1") ? null : bulk(Integer.parseInt(rest));
                case ':' -> Long.valueOf(rest);
                default -> rest;
            };
        }

        private byte[] bulk(int length) throws IOException {
            byte[] text = input.readNBytes(length);
            input.readNBytes(2);
            return text;
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    @Test
    void aDecimalHasDigitsAndAPointOnly() {
        var column = binpulse.v1.Column.newBuilder().setName("total")
            .setLogicalType(binpulse.v1.LogicalType.LOGICAL_TYPE_DECIMAL);
        for (String text : List.of("1e999999999", "NaN", "", "1_0", "٣")) {
            var row = binpulse.v1.Row.newBuilder().setOp(binpulse.v1.Op.OP_INSERT).setAfter(
                binpulse.v1.Image.newBuilder().addValues(binpulse.v1.Value.newBuilder().setText(text)));
            var batch = binpulse.v1.ChangeBatch.newBuilder().addRows(row)
                .setTable(binpulse.v1.TableSchema.newBuilder().addColumns(column)).build();
            assertThrows(IllegalArgumentException.class, () -> Rows.of(batch), text);
        }
    }

    @Test
    @EnabledIfEnvironmentVariable(named = "BINPULSE_TEST_REDIS", matches = ".+", disabledReason = "no Redis")
    void numbersAndEffectsInRedis() throws Exception {
        try (Redis redis = new Redis()) {
            RedisStore store = new RedisStore(redis::run);
            History.check(store, (change, numbers, isBroken) -> {
                if (isBroken) {
                    throw new IllegalStateException();
                }
                store.save(change);
            });
            effects(new RedisOnceStore(redis::run));
        }
    }

    @Test
    void effectsInMemory() throws Exception {
        effects(new MemoryOnceStore());
    }

    private static void effects(OnceStore store) throws Exception {
        Once once = new Once(store);
        List<Integer> done = new ArrayList<>();
        assertThrows(IllegalStateException.class, () -> once.run("id", () -> {
            throw new IllegalStateException();
        }));
        assertEquals(Once.Outcome.RAN, once.run("id", () -> done.add(1)));
        assertEquals(Once.Outcome.DONE, once.run("id", () -> done.add(2)));
        store.claim("other", "fence", Duration.ofMinutes(1));
        store.release("other", "another fence");
        assertEquals(Once.Outcome.TAKEN, once.run("other", () -> done.add(3)));
        store.release("other", "fence");
        assertEquals(Once.Outcome.LATE, once.run("other", () -> store.done("other", "fence", Duration.ofHours(1))));
        assertEquals(List.of(1), done);
    }

    @Test
    void valuesThatJavaHas() {
        Map<Cells.TimeText, Object> wanted = Map.of(
            new Cells.TimeText("2026-11-20", Cells.TimeKind.DATE), "2026-11-20",
            new Cells.TimeText("0000-00-00", Cells.TimeKind.DATE), "none",
            new Cells.TimeText("2026-02-31", Cells.TimeKind.DATE), "none",
            new Cells.TimeText("-838:59:59.000001", Cells.TimeKind.TIME), "PT-838H-59M-59.000001S",
            new Cells.TimeText("2026-11-20 20:12:00.123", Cells.TimeKind.DATETIME), "2026-11-20T20:12:00.123",
            new Cells.TimeText("2026-11-20 20:12:00", Cells.TimeKind.TIMESTAMP), "2026-11-20T20:12:00Z");
        wanted.forEach((time, text) -> {
            Optional<?> found = switch (time.kind()) {
                case DATE -> time.date();
                case TIME -> time.duration();
                case DATETIME -> time.dateTime();
                case TIMESTAMP -> time.instant();
            };
            assertEquals(text, found.map(Object::toString).orElse("none"), time.text());
        });
    }

    @Test
    void onlyAYoungCanaryTellsTheVerdict() {
        Freshness freshness = new Freshness();
        Duration minute = Duration.ofMinutes(1);
        assertEquals(Freshness.State.UNKNOWN, freshness.health(minute, Instant.ofEpochSecond(100)).state());
        QuietCertificate proof = QuietCertificate.newBuilder().setProvenAtUs(95_000_000).build();
        Watermark mark = Watermark.newBuilder().setVerdict("quiet").setCertificate(proof).build();
        freshness.observe(Canary.newBuilder().setWrittenAtUs(100_000_000).setWatermark(mark).build());
        freshness.observe(Canary.newBuilder().setWrittenAtUs(90_000_000).build());
        assertEquals(new Freshness.Health(Freshness.State.FRESH, minute, "quiet"),
            freshness.health(minute, Instant.ofEpochSecond(160)));
        assertEquals(new Freshness.Health(Freshness.State.STALE, Duration.ofSeconds(61), null),
            freshness.health(minute, Instant.ofEpochSecond(161)));
        assertEquals(Optional.of(Instant.ofEpochSecond(95)), freshness.quietUntil());
    }

    @Test
    void aBatchOfLambdaTellsWhichMessagesFailed() throws Exception {
        String event = """
            {"Records": [{"messageId": "a", "body": ""}, {"messageId": "b", "body": "{"}, {"messageId": "c", "body": "x"}]}
            """;
        String answer = Lambda.batch(event, message -> {
            if (message.body().equals("x")) {
                throw new IllegalStateException();
            }
        }, (id, error) -> { });
        assertEquals("{\"batchItemFailures\": [{\"itemIdentifier\": \"b\"}, {\"itemIdentifier\": \"c\"}]}", answer);
    }
}
