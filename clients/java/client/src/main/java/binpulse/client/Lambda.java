package binpulse.client;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;

/** Events of AWS Lambda, from SQS or SNS. */
public final class Lambda {
    private Lambda() {}

    /** Takes a message. */
    @FunctionalInterface
    public interface Take {
        /** What it throws makes the message a failure. */
        void take(Message message) throws Exception;
    }

    /**
     * Gives each message of an event to {@code take}, one after the other, and answers with those that failed: what a
     * Lambda function returns whose event source mapping has {@code ReportBatchItemFailures}. {@code event} and the
     * answer are JSON, as a RequestStreamHandler has them; {@code failed} is told the id and why.
     */
    public static String batch(String event, Take take, BiConsumer<String, Exception> failed) throws DecodeException {
        if (!(Json.parse(event) instanceof Map<?, ?> members) || !(members.get("Records") instanceof List<?> records)) {
            throw new DecodeException(DecodeException.Reason.DOCUMENT, "the event has no Records");
        }
        List<Object> failures = new ArrayList<>();
        for (Object record : records) {
            Map<?, ?> form = record instanceof Map<?, ?> found ? found : Map.of();
            Map<?, ?> sns = form.get("Sns") instanceof Map<?, ?> found ? found : null;
            Object id = sns == null ? form.get("messageId") : sns.get("MessageId");
            try {
                take.take(sns == null ? ofSqs(form) : ofSns(sns));
            } catch (Exception error) {
                failed.accept(String.valueOf(id), error);
                failures.add(Map.of("itemIdentifier", String.valueOf(id)));
            }
        }
        return Json.text(Map.of("batchItemFailures", failures));
    }

    private static Message ofSqs(Map<?, ?> record) throws DecodeException {
        String body = record.get("body") instanceof String text ? text : "";
        return Message.received(body, Message.texts(record.get("messageAttributes"), "stringValue"));
    }

    private static Message ofSns(Map<?, ?> sns) {
        String body = sns.get("Message") instanceof String text ? text : "";
        return new Message(body, Message.texts(sns.get("MessageAttributes"), "Value"));
    }
}
