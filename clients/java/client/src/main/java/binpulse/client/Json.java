package binpulse.client;

import binpulse.client.DecodeException.Reason;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON whose numbers keep their digits, and whose members are there once. A value is null, a Boolean, a String,
 * {@link Digits}, a List, or a Map.
 */
final class Json {
    private static final int DEPTH_MAX = 200;

    /** A number, as it stands in the text. */
    record Digits(String text) {}

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** The value in a text. */
    static Object parse(String text) throws DecodeException {
        Json json = new Json(text);
        Object value = json.value(0);
        json.space();
        if (json.at != text.length()) {
            throw fault();
        }
        return value;
    }

    private static DecodeException fault() {
        return new DecodeException(Reason.DOCUMENT, "the body is no JSON");
    }

    private Object value(int depth) throws DecodeException {
        if (depth > DEPTH_MAX) {
            throw new DecodeException(Reason.DOCUMENT, "JSON is nested deeper than " + DEPTH_MAX);
        }
        space();
        switch (peek()) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", true);
            case 'f':
                return word("false", false);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object(int depth) throws DecodeException {
        Map<String, Object> members = new LinkedHashMap<>();
        for (boolean more = begins('}'); more; more = goesOn('}')) {
            space();
            String name = string();
            space();
            take(':');
            if (members.containsKey(name)) {
                throw new DecodeException(Reason.DOCUMENT, "an object has a member twice");
            }
            members.put(name, value(depth + 1));
        }
        return members;
    }

    private List<Object> array(int depth) throws DecodeException {
        List<Object> elements = new ArrayList<>();
        for (boolean more = begins(']'); more; more = goesOn(']')) {
            elements.add(value(depth + 1));
        }
        return elements;
    }

    private boolean begins(char end) {
        at++;
        space();
        if (peek() != end) {
            return true;
        }
        at++;
        return false;
    }

    private boolean goesOn(char end) throws DecodeException {
        space();
        if (peek() == end) {
            at++;
            return false;
        }
        take(',');
        return true;
    }

    private Object word(String word, Object value) throws DecodeException {
        if (!text.startsWith(word, at)) {
            throw fault();
        }
        at += word.length();
        return value;
    }

    private Digits number() throws DecodeException {
        int start = at;
        skip('-');
        if (!skip('0')) {
            digits();
        }
        if (skip('.')) {
            digits();
        }
        if (skip('e') || skip('E')) {
            if (!skip('+')) {
                skip('-');
            }
            digits();
        }
        return new Digits(text.substring(start, at));
    }

    private void digits() throws DecodeException {
        int start = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        if (at == start) {
            throw fault();
        }
    }

    private String string() throws DecodeException {
        take('"');
        int start = at;
        while (peek() != '"' && peek() != '\\' && peek() >= 0x20) {
            at++;
        }
        if (peek() == '"') {
            return text.substring(start, at++);
        }
        StringBuilder found = new StringBuilder(text.substring(start, at));
        while (peek() != '"') {
            char letter = peek();
            if (letter < 0x20) {
                throw fault();
            }
            at++;
            found.append(letter == '\\' ? escaped() : letter);
        }
        at++;
        return found.toString();
    }

    private char escaped() throws DecodeException {
        char letter = peek();
        at++;
        switch (letter) {
            case '"', '\\', '/':
                return letter;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                try {
                    int code = Integer.parseUnsignedInt(text.substring(at, at + 4), 16);
                    at += 4;
                    return (char) code;
                } catch (IndexOutOfBoundsException | NumberFormatException error) {
                    throw fault();
                }
            default:
                throw fault();
        }
    }

    private void space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
            at++;
        }
    }

    /** The next character; 0 behind the last one. */
    private char peek() {
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean skip(char letter) {
        if (peek() != letter) {
            return false;
        }
        at++;
        return true;
    }

    private void take(char letter) throws DecodeException {
        if (!skip(letter)) {
            throw fault();
        }
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
        for (int index = 0; index < string.length(); index++) {
            char letter = string.charAt(index);
            if (letter == '"' || letter == '\\') {
                text.append('\\').append(letter);
            } else if (letter < 0x20) {
                text.append(String.format("\\u%04x", (int) letter));
            } else {
                text.append(letter);
            }
        }
        text.append('"');
    }
}
