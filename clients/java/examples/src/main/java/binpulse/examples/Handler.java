package binpulse.examples;

import binpulse.client.Content;
import binpulse.client.DecodeException;
import binpulse.client.Lambda;
import binpulse.client.Message;
import binpulse.client.Row;
import binpulse.client.Rows;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/**
 * A function of AWS Lambda, whose event source mapping has {@code FunctionResponseTypes: [ReportBatchItemFailures]}.
 * With a ledger each row takes effect once, also when messages come twice or in another order: see {@link Apply}.
 */
public final class Handler implements RequestStreamHandler {
    @Override
    public void handleRequest(InputStream input, OutputStream output, Context context) throws IOException {
        String event = new String(input.readAllBytes(), StandardCharsets.UTF_8);
        try {
            String answer = Lambda.batch(event, Handler::take, (id, error) -> System.err.println(id + ": " + error));
            output.write(answer.getBytes(StandardCharsets.UTF_8));
        } catch (DecodeException error) {
            throw new IOException(error);
        }
    }

    private static void take(Message message) throws Exception {
        if (message.decodeWith(S3::fetch) instanceof Content.Change change) {
            for (Row row : Rows.of(change.value())) {
                System.out.println(row.number() + " " + row.op() + " " + row.before() + " " + row.after());
            }
        }
    }
}
