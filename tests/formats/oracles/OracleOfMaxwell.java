import com.zendesk.maxwell.Maxwell;
import com.zendesk.maxwell.MaxwellConfig;
import com.zendesk.maxwell.MaxwellContext;
import com.zendesk.maxwell.producer.AbstractProducer;
import com.zendesk.maxwell.row.RowMap;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.LogManager;

/**
 * Prints what Maxwell makes of the rows of one database, a line for each row, until a row of the table
 * `end_of_log` comes. It says `reading` when it gets the first row of the database `begin`.
 *
 * <p>OracleOfMaxwell PORT DATABASE [--OPTION=VALUE...]
 */
final class OracleOfMaxwell extends AbstractProducer {
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private final String database;
    private boolean isReading;

    private OracleOfMaxwell(MaxwellContext context, String database) {
        super(context);
        this.database = database;
    }

    public static void main(String[] words) throws Exception {
        LogManager.getLogManager().reset();
        List<String> options =
                new ArrayList<>(
                        List.of(
                                "--host=127.0.0.1",
                                "--port=" + words[0],
                                "--user=maxwell",
                                "--password=maxwell",
                                "--ssl=DISABLED",
                                "--producer=none",
                                "--log_level=ERROR"));
        options.addAll(List.of(words).subList(2, words.length));
        MaxwellConfig config = new MaxwellConfig(options.toArray(new String[0]));
        config.producerFactory = context -> new OracleOfMaxwell(context, words[1]);
        new Maxwell(config).run();
        System.err.println("Maxwell ended early");
        Runtime.getRuntime().halt(1);
    }

    @Override
    public void push(RowMap row) throws Exception {
        if (!isReading && "begin".equals(row.getDatabase())) {
            isReading = true;
            OUT.println("reading");
            OUT.flush();
        }
        if (!database.equals(row.getDatabase())) {
            return;
        }
        if ("end_of_log".equals(row.getTable())) {
            OUT.flush();
            Runtime.getRuntime().halt(0);
        }
        String text = row.toJSON(context.getConfig().outputConfig);
        if (text != null) {
            OUT.println(text);
        }
    }
}
