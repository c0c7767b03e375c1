import com.zendesk.maxwell.Maxwell;
import com.zendesk.maxwell.MaxwellConfig;
import com.zendesk.maxwell.MaxwellContext;
import com.zendesk.maxwell.producer.AbstractProducer;
import com.zendesk.maxwell.row.RowMap;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.logging.LogManager;

/**
 * Reads row events with Maxwell; see ../README.md for how it is called.
 *
 * <p>A producer of its own takes the rows, and does not make them JSON: the least that Maxwell can
 * be asked for.
 */
public final class Reader extends AbstractProducer {
    private static final CountDownLatch DONE = new CountDownLatch(1);

    private final long wanted;
    private final double seconds;
    private final boolean hasAges;
    private final List<Long> agesUs = new ArrayList<>();
    private long rows;
    private long untilNs;

    private Reader(MaxwellContext context, String[] words) {
        super(context);
        wanted = Long.parseLong(words[4]);
        seconds = Double.parseDouble(words[5]);
        hasAges = words.length > 6 && words[6].equals("ages");
    }

    public static void main(String[] words) throws Exception {
        LogManager.getLogManager().reset();
        MaxwellConfig config =
                new MaxwellConfig(
                        new String[] {
                            "--host=" + words[0],
                            "--port=" + words[1],
                            "--user=maxwell",
                            "--password=maxwell",
                            "--ssl=DISABLED",
                            "--producer=none",
                            "--init_position=" + words[2] + ":" + words[3] + ":0",
                            "--log_level=ERROR",
                        });
        Reader[] reader = new Reader[1];
        config.producerFactory =
                context -> {
                    reader[0] = new Reader(context, words);
                    return reader[0];
                };
        Maxwell maxwell = new Maxwell(config);
        Thread thread =
                new Thread(
                        () -> {
                            // Returns when something is wrong: rows are counted before it is stopped.
                            maxwell.run();
                            System.err.println("Maxwell ended early");
                            Runtime.getRuntime().halt(1);
                        });
        thread.start();
        DONE.await();
        System.out.printf(
                "{\"reader\": \"Maxwell %s\", \"rows\": %d, \"ages_us\": %s}%n",
                maxwell.getMaxwellVersion(), reader[0].rows, reader[0].agesUs);
        while (System.in.read() >= 0) {}
        Runtime.getRuntime().halt(0);
    }

    @Override
    public void push(RowMap row) throws IOException {
        if (DONE.getCount() == 0 || !"bench".equals(row.getDatabase())) {
            return;
        }
        long nowNs = System.nanoTime();
        if (untilNs == 0) {
            untilNs = nowNs + (long) (seconds * 1e9);
            System.out.println("reading");
        }
        if (hasAges) {
            note(((Number) row.getData("due_us")).longValue());
        } else {
            rows++;
        }
        if (rows >= wanted || nowNs >= untilNs) {
            DONE.countDown();
        }
    }

    private void note(long dueUs) {
        if (dueUs != 0) {
            Instant now = Instant.now();
            agesUs.add(now.getEpochSecond() * 1_000_000 + now.getNano() / 1000 - dueUs);
            rows = agesUs.size();
        }
    }
}
