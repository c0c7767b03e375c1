package binpulse.examples;

import binpulse.client.DecodeException;
import binpulse.client.Lambda;
import binpulse.client.Message;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;

/**
 * A function of AWS Lambda, whose event source mapping has {@code FunctionResponseTypes: [ReportBatchItemFailures]}. It
 * keeps a copy of tables, each row applied once: a message whose rows are early fails, and comes again.
 */
public final class Handler implements RequestStreamHandler {
    private final Copy copy;

    /** Lambda's: the database is that of MYSQL_URL. */
    public Handler() throws SQLException {
        this(System.getenv("MYSQL_URL"));
    }

    Handler(String url) throws SQLException {
        copy = new Copy(url);
    }

    @Override
    public void handleRequest(InputStream input, OutputStream output, Context context) throws IOException {
        String event = new String(input.readAllBytes(), StandardCharsets.UTF_8);
        try {
            String answer = Lambda.batch(event, this::take, (id, error) -> System.err.println(id + ": " + error));
            output.write(answer.getBytes(StandardCharsets.UTF_8));
        } catch (DecodeException error) {
            throw new IOException(error);
        }
    }

    private void take(Message message) throws Exception {
        if (!copy.take(message.decodeWith(S3::fetch))) {
            throw new IllegalStateException("rows before these have not come");
        }
    }
}
