package binpulse.examples;

import binpulse.client.Content;
import binpulse.client.Message;
import binpulse.client.Row;
import binpulse.client.Rows;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

/** Rows a second: see clients/bench.py. */
public final class Bench {
    private Bench() {}

    /** Rows a second of what takes a batch of rows. */
    private static double rate(Callable<Integer> work) throws Exception {
        long warm = System.nanoTime();
        while (System.nanoTime() - warm < 2_000_000_000L) {
            work.call();
        }
        long started = System.nanoTime();
        long count = 0;
        while (System.nanoTime() - started < 2_000_000_000L) {
            count += work.call();
        }
        return count * 1e9 / (System.nanoTime() - started);
    }

    private static int decoded(String body) throws Exception {
        Content.Change change = (Content.Change) Message.received(body).decode();
        int count = 0;
        for (Row row : Rows.of(change.value())) {
            long present = row.before().values().stream().filter(Objects::nonNull).count()
                + row.after().values().stream().filter(Objects::nonNull).count();
            count += present > 0 ? 1 : 0;
        }
        return count;
    }

    /** Measures, and prints a JSON document. */
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        JsonNode messages = json.readTree(Path.of(arguments[0]).toFile());
        Map<String, Double> rates = new LinkedHashMap<>();
        for (String form : List.of("frame", "zstd", "json")) {
            String body = messages.get(form).textValue();
            rates.put(form, rate(() -> decoded(body)));
        }
        List<String> documents = new ArrayList<>();
        messages.get("debezium").forEach(document -> documents.add(document.textValue()));
        rates.put("debezium", rate(() -> {
            int count = 0;
            for (String document : documents) {
                count += json.readTree(document).isObject() ? 1 : 0;
            }
            return count;
        }));
        System.out.println(json.writeValueAsString(rates));
    }
}
