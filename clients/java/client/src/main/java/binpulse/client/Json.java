package binpulse.client;

import binpulse.client.DecodeException.Reason;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON whose numbers keep their digits, and whose members are there once. A value is null, a Boolean, a String,
 * {@link Digits}, a List, or a Map.
 */
final class Json {
    // Bodies are bounded themselves: a text in them may have any length.
    private static final JsonFactory FACTORY = JsonFactory.builder()
        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
        .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
        .streamReadConstraints(StreamReadConstraints.builder()
            .maxNestingDepth(200).maxStringLength(Integer.MAX_VALUE).maxNumberLength(Integer.MAX_VALUE).build())
        .build();

    /** A number, as it stands in the text. */
    record Digits(String text) {}

    private Json() {}

    /** The value in a text. */
    static Object parse(String text) throws DecodeException {
        try (JsonParser parser = FACTORY.createParser(text)) {
            parser.nextToken();
            Object value = value(parser);
            if (parser.nextToken() == null) {
                return value;
            }
        } catch (IOException error) {
            // No words of it: they show what stands there.
        }
        throw new DecodeException(Reason.DOCUMENT, "the body is no JSON");
    }

    private static Object value(JsonParser parser) throws IOException, DecodeException {
        JsonToken token = parser.currentToken();
        if (token == JsonToken.START_OBJECT) {
            Map<String, Object> members = new LinkedHashMap<>();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                members.put(name, value(parser));
            }
            return members;
        }
        if (token == JsonToken.START_ARRAY) {
            List<Object> elements = new ArrayList<>();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                elements.add(value(parser));
            }
            return elements;
        }
        if (token == null) {
            throw new DecodeException(Reason.DOCUMENT, "the body is no JSON");
        }
        return switch (token) {
            case VALUE_NULL -> null;
            case VALUE_TRUE, VALUE_FALSE -> parser.getBooleanValue();
            case VALUE_STRING -> whole(parser.getText());
            default -> new Digits(parser.getText());
        };
    }

    /** A text in which no half of a character stands alone. */
    private static String whole(String text) throws DecodeException {
        for (int at = 0; at < text.length(); at = text.offsetByCodePoints(at, 1)) {
            if (Character.getType(text.codePointAt(at)) == Character.SURROGATE) {
                throw new DecodeException(Reason.DOCUMENT, "a text has half of a character");
            }
        }
        return text;
    }

    /** A value as text, its numbers with their digits. */
    static String text(Object value) {
        StringBuilder text = new StringBuilder();
        write(value, text);
        return text.toString();
    }

    private static void write(Object value, StringBuilder text) {
        if (value instanceof Map<?, ?> members) {
            String before = "{";
            for (Map.Entry<?, ?> member : members.entrySet()) {
                text.append(before);
                quote((String) member.getKey(), text);
                text.append(": ");
                write(member.getValue(), text);
                before = ", ";
            }
            text.append(members.isEmpty() ? "{}" : "}");
        } else if (value instanceof List<?> elements) {
            String before = "[";
            for (Object element : elements) {
                text.append(before);
                write(element, text);
                before = ", ";
            }
            text.append(elements.isEmpty() ? "[]" : "]");
        } else if (value instanceof String string) {
            quote(string, text);
        } else {
            text.append(value instanceof Digits digits ? digits.text : String.valueOf(value));
        }
    }

    private static void quote(String string, StringBuilder text) {
        text.append('"');
        JsonStringEncoder.getInstance().quoteAsString(string, text);
        text.append('"');
    }
}
