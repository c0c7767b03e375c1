package binpulse.client;

import binpulse.client.DecodeException.Reason;
import binpulse.client.Json.Digits;
import binpulse.v1.Canary;
import binpulse.v1.ChangeBatch;
import binpulse.v1.Column;
import binpulse.v1.Heartbeat;
import binpulse.v1.Image;
import binpulse.v1.LaneMark;
import binpulse.v1.LogicalType;
import binpulse.v1.Position;
import binpulse.v1.Row;
import binpulse.v1.SchemaChange;
import binpulse.v1.SnapshotMark;
import binpulse.v1.SnapshotPart;
import binpulse.v1.Suppressed;
import binpulse.v1.TableSchema;
import binpulse.v1.Transaction;
import binpulse.v1.Value;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import java.nio.ByteBuffer;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** A document of the {@code json} format to the contract's messages. Its members have the names of their fields. */
final class Document {
    /** What a document need not have, or has as null; of the contract's other fields it has all. */
    private static final Set<String> OPTIONAL = Set.of(
        "certificate", "charset", "collation", "connector_version", "database", "digest", "digests", "gtid",
        "gtid_first", "instance", "invisible", "key_after", "key_columns", "key_upto", "members", "mysql_type", "nonce",
        "numbers", "numbers_for", "pass", "path", "position", "reason", "row", "snapshot_attempt", "snapshot_next",
        "traceparent", "transaction", "watermark");
    private static final Pattern TIME =
        Pattern.compile("\\d{4}-\\d{2}-\\d{2}T([01]\\d|2[0-3])(:\\d{2}){2}(\\.\\d{1,6})?Z");

    private final Map<?, ?> members;
    private final long[] room;

    /** {@code room} has one number: how many values may still be made. */
    private Document(Map<?, ?> members, long[] room) {
        this.members = members;
        this.room = room;
    }

    /** The content of a document; its rows have at most so many values. */
    static Content content(Object document, long cellsMax) throws DecodeException {
        if (!(document instanceof Map<?, ?> members)) {
            throw wrong("the document", "an object");
        }
        Document of = new Document(members, new long[] {cellsMax});
        String kind = of.text("kind");
        int version = asUint32(members.get("v"), "v");
        if (version != Frames.FORMAT_VERSION) {
            throw new DecodeException(Reason.VERSION,
                "found version " + Integer.toUnsignedString(version) + ", expected " + Frames.FORMAT_VERSION);
        }
        return switch (kind) {
            case "change" -> new Content.Change(of.batch());
            case "canary" -> new Content.Canary(of.fill(Canary.newBuilder().setBatch(of.batch()), "batch").build());
            case "heartbeat" -> new Content.Heartbeat(of.fill(Heartbeat.newBuilder()).build());
            case "schema" -> new Content.Schema(of.fill(SchemaChange.newBuilder()).build());
            case "suppressed" -> new Content.Suppressed(of.fill(Suppressed.newBuilder()).build());
            case "snapshot" -> of.has("phase")
                ? new Content.Mark(
                    of.fill(SnapshotMark.newBuilder().setRows(of.uint64("rows_published")), "rows").build())
                : new Content.Part(of.part());
            default -> new Content.Unknown();
        };
    }

    /** Sets the fields of a message, whose names the members have, but for those that are given. */
    private <B extends com.google.protobuf.Message.Builder> B fill(B made, String... given) throws DecodeException {
        for (FieldDescriptor field : made.getDescriptorForType().getFields()) {
            String name = field.getName();
            if (List.of(given).contains(name) || !has(name) && OPTIONAL.contains(name)) {
                continue;
            }
            if (name.endsWith("_us") && !members.containsKey(name)) {
                made.setField(field, time(name.substring(0, name.length() - "_us".length())));
            } else if (field.isRepeated()) {
                for (Object element : list(name)) {
                    made.addRepeatedField(field, value(made, field, element));
                }
            } else {
                made.setField(field, value(made, field, members.get(name)));
            }
        }
        return made;
    }

    private Object value(com.google.protobuf.Message.Builder of, FieldDescriptor field, Object form)
        throws DecodeException {
        String place = field.getName();
        return switch (field.getType()) {
            case MESSAGE -> asDocument(form, place).fill(of.newBuilderForField(field)).build();
            case ENUM -> named(field.getEnumType(), asText(form, place));
            case STRING -> asText(form, place);
            case BYTES -> base64(form, place);
            case UINT32 -> asUint32(form, place);
            case UINT64 -> asUint64(form, place);
            case INT64 -> asInt64(form, place);
            case FIXED64 -> ByteBuffer.wrap(hex(place, 8)).getLong();
            default -> {
                if (form instanceof Boolean) {
                    yield form;
                }
                throw wrong(place, "true or false");
            }
        };
    }

    private static DecodeException wrong(String place, String expected) {
        return new DecodeException(Reason.DOCUMENT, place + ": expected " + expected);
    }

    /** Whether a member is there and not null. */
    private boolean has(String name) {
        return members.get(name) != null;
    }

    private Document inside(String name) throws DecodeException {
        return asDocument(members.get(name), name);
    }

    private Document asDocument(Object value, String place) throws DecodeException {
        if (value instanceof Map<?, ?> form) {
            return new Document(form, room);
        }
        throw wrong(place, "an object");
    }

    private List<?> list(String name) throws DecodeException {
        if (members.get(name) instanceof List<?> list) {
            return list;
        }
        throw wrong(name, "an array");
    }

    private List<Document> documents(String name) throws DecodeException {
        List<Document> found = new ArrayList<>();
        for (Object element : list(name)) {
            found.add(asDocument(element, name));
        }
        return found;
    }

    private static String asText(Object value, String place) throws DecodeException {
        if (value instanceof String text) {
            return text;
        }
        throw wrong(place, "a text");
    }

    private String text(String name) throws DecodeException {
        return asText(members.get(name), name);
    }

    private static long asUint64(Object value, String place) throws DecodeException {
        try {
            if (value instanceof Digits digits && !digits.text().startsWith("-")) {
                return Long.parseUnsignedLong(digits.text());
            }
        } catch (NumberFormatException error) {
            // Told below.
        }
        throw wrong(place, "an integer of 64 bits");
    }

    private long uint64(String name) throws DecodeException {
        return asUint64(members.get(name), name);
    }

    private static int asUint32(Object value, String place) throws DecodeException {
        long number = asUint64(value, place);
        if (number < 0 || number >= 1L << 32) {
            throw wrong(place, "an integer of 32 bits");
        }
        return (int) number;
    }

    private static long asInt64(Object value, String place) throws DecodeException {
        try {
            if (value instanceof Digits digits) {
                return Long.parseLong(digits.text());
            }
        } catch (NumberFormatException error) {
            // Told below.
        }
        throw wrong(place, "an integer of 64 bits");
    }

    private static ByteString base64(Object value, String place) throws DecodeException {
        try {
            return ByteString.copyFrom(Frames.base64(asText(value, place)));
        } catch (IllegalArgumentException error) {
            throw wrong(place, "base64");
        }
    }

    private byte[] hex(String name, int length) throws DecodeException {
        String digits = text(name);
        if (digits.length() != 2 * length || !digits.matches("[0-9a-f]*")) {
            throw wrong(name, 2 * length + " hexadecimal digits");
        }
        return HexFormat.of().parseHex(digits);
    }

    /** RFC 3339 to microseconds since 1970, exactly. */
    private long time(String name) throws DecodeException {
        try {
            String text = text(name);
            if (TIME.matcher(text).matches()) {
                return ChronoUnit.MICROS.between(Instant.EPOCH, Instant.parse(text));
            }
        } catch (DateTimeException error) {
            // Told below.
        }
        throw wrong(name, "a time of RFC 3339 in UTC");
    }

    /** The value of an enumeration with this name, in small letters and without its prefix; the first: none. */
    private static EnumValueDescriptor named(EnumDescriptor of, String name) {
        EnumValueDescriptor none = of.getValues().get(0);
        String prefix = none.getName().substring(0, none.getName().length() - "UNSPECIFIED".length());
        EnumValueDescriptor found = of.findValueByName(prefix + name.toUpperCase(Locale.ROOT));
        return found == null ? none : found;
    }

    private TableSchema table() throws DecodeException {
        Document schema = inside("schema");
        TableSchema.Builder table = TableSchema.newBuilder().setDatabase(text("database")).setTable(text("table"));
        List<String> names = new ArrayList<>();
        for (Document column : schema.documents("columns")) {
            names.add(column.text("name"));
            EnumValueDescriptor type = named(LogicalType.getDescriptor(), column.text("type"));
            Column.Builder made = Column.newBuilder().setLogicalTypeValue(type.getNumber());
            table.addColumns(column.fill(made, "logical_type"));
        }
        for (Object name : schema.list("primary_key")) {
            if (!names.contains(name)) {
                throw wrong("primary_key", "names of columns");
            }
            table.addPrimaryKey(names.indexOf(name));
        }
        return schema.fill(table, "database", "table", "columns", "primary_key").build();
    }

    /** A batch with its rows. */
    private ChangeBatch.Builder rows(String... given) throws DecodeException {
        TableSchema table = table();
        Map<String, Integer> ordinals = ordinals(table);
        ChangeBatch.Builder batch = ChangeBatch.newBuilder().setTable(table);
        for (Document row : documents("rows")) {
            Row.Builder made = row.fill(batch.addRowsBuilder(), "before", "after");
            if (row.has("before")) {
                made.setBefore(row.inside("before").image(table, ordinals));
            }
            if (row.has("after")) {
                made.setAfter(row.inside("after").image(table, ordinals));
            }
        }
        return fill(batch, given);
    }

    private static Map<String, Integer> ordinals(TableSchema table) {
        Map<String, Integer> ordinals = new HashMap<>();
        for (Column column : table.getColumnsList()) {
            ordinals.put(column.getName(), ordinals.size());
        }
        return ordinals;
    }

    private ChangeBatch batch() throws DecodeException {
        ChangeBatch.Builder batch = rows("table", "rows", "files", "transactions", "committed_at_base_us");
        Map<String, Integer> files = new HashMap<>();
        for (Document form : documents("transactions")) {
            long atUs = form.time("committed_at");
            long originalUs = form.has("original_committed_at") ? form.time("original_committed_at") : atUs;
            if (batch.getTransactionsCount() == 0) {
                batch.setCommittedAtBaseUs(atUs);
            }
            Position place = form.inside("position").fill(Position.newBuilder()).build();
            if (files.putIfAbsent(place.getFile(), files.size()) == null) {
                batch.addFiles(place.getFile());
            }
            Transaction.Builder made = Transaction.newBuilder()
                .setCommittedAtDeltaUs(atUs - batch.getCommittedAtBaseUs())
                .setOriginalCommittedAtDeltaUs(originalUs - atUs)
                .setFile(files.get(place.getFile())).setOffset(place.getOffset());
            batch.addTransactions(form.fill(
                made, "committed_at_delta_us", "original_committed_at_delta_us", "file", "offset"));
        }
        return batch.build();
    }

    private SnapshotPart part() throws DecodeException {
        ChangeBatch batch = rows("table", "rows", "files", "transactions", "committed_at_base_us", "sequence_first",
            "before_image").build();
        TableSchema table = batch.getTable();
        LaneMark.Builder anchor = LaneMark.newBuilder().setLane(batch.getLane()).setSequenceNext(uint64("anchor"))
            .setEpoch(batch.getSource().getEpoch());
        SnapshotPart.Builder part = fill(SnapshotPart.newBuilder().setBatch(batch).setAnchor(anchor),
            "batch", "anchor", "key_after", "key_upto", "touched");
        List<Integer> key = part.getKeyColumnsCount() > 0 ? part.getKeyColumnsList() : table.getPrimaryKeyList();
        if (has("key_after")) {
            part.setKeyAfter(inside("key_after").key(table, key));
        }
        if (has("key_upto")) {
            part.setKeyUpto(inside("key_upto").key(table, key));
        }
        for (Document touched : documents("touched")) {
            part.addTouched(touched.key(table, key));
        }
        return part.build();
    }

    /** The values of these members by the ordinals of their columns. */
    private Map<Integer, Value> values(TableSchema table, Map<String, Integer> ordinals, int cells)
        throws DecodeException {
        room[0] -= cells;
        if (room[0] < 0) {
            throw wrong("rows", "no more values than the limits allow");
        }
        Map<Integer, Value> values = new TreeMap<>();
        for (Map.Entry<?, ?> member : members.entrySet()) {
            Integer ordinal = ordinals.get(member.getKey());
            if (ordinal == null) {
                throw wrong("the image", "names of columns");
            }
            Column column = table.getColumns(ordinal);
            values.put(ordinal, DocumentValues.value(column, member.getValue()));
        }
        return values;
    }

    private Image image(TableSchema table, Map<String, Integer> ordinals) throws DecodeException {
        Map<Integer, Value> values = values(table, ordinals, table.getColumnsCount());
        Image.Builder image = Image.newBuilder();
        for (int ordinal = 0; ordinal < table.getColumnsCount(); ordinal++) {
            image.addValues(values.getOrDefault(ordinal, Value.getDefaultInstance()));
        }
        return image.build();
    }

    /** An image of the key's columns, in the key's order. */
    private Image key(TableSchema table, List<Integer> key) throws DecodeException {
        Map<Integer, Value> values = values(table, ordinals(table), Math.max(key.size(), 1));
        Image.Builder image = Image.newBuilder();
        for (int ordinal : key) {
            if (values.containsKey(ordinal)) {
                image.addValues(values.get(ordinal));
            }
        }
        return image.build();
    }

    /** One value: from its JSON to the contract's, by the type of its column. */
    private static final class DocumentValues {
        static Value value(Column column, Object form) throws DecodeException {
            Value.Builder value = Value.newBuilder();
            LogicalType type = column.getLogicalType();
            if (form == null) {
                return value.setNull(true).build();
            }
            if (form instanceof Map<?, ?> members && members.size() == 1 && marked(value, type, members)) {
                return value.build();
            }
            if (type == LogicalType.LOGICAL_TYPE_JSON) {
                return value.setJson(Json.text(form)).build();
            }
            try {
                if (type == LogicalType.LOGICAL_TYPE_VECTOR && form instanceof List<?> elements) {
                    for (Object element : elements) {
                        value.getVectorBuilder().addElements(single(element));
                    }
                    return value.setVector(value.getVectorBuilder()).build();
                }
                if (put(value, column, form)) {
                    return value.build();
                }
            } catch (NumberFormatException error) {
                // Told below.
            }
            throw wrong(column.getName(), "a value of the column's type");
        }

        private static boolean put(Value.Builder value, Column column, Object form) throws DecodeException {
            boolean isText = form instanceof String;
            boolean isNumber = form instanceof Digits;
            switch (column.getLogicalType()) {
                case LOGICAL_TYPE_FLOAT -> value.setFloat(single(form));
                case LOGICAL_TYPE_DOUBLE -> value.setDouble(finite(Double.parseDouble(floatText(form)), form));
                case LOGICAL_TYPE_INTEGER -> {
                    return isNumber && integer(value, ((Digits) form).text(), !column.getUnsigned(), true);
                }
                case LOGICAL_TYPE_YEAR -> {
                    return isNumber && integer(value, ((Digits) form).text(), true, true);
                }
                case LOGICAL_TYPE_BIT -> {
                    return isNumber && integer(value, ((Digits) form).text(), false, false);
                }
                case LOGICAL_TYPE_BINARY, LOGICAL_TYPE_GEOMETRY, LOGICAL_TYPE_VECTOR ->
                    value.setBytes(base64(form, column.getName()));
                case LOGICAL_TYPE_ENUM, LOGICAL_TYPE_SET -> {
                    if (isText) {
                        value.setText((String) form);
                    } else {
                        return isNumber && integer(value, ((Digits) form).text(), false, false);
                    }
                }
                default -> {
                    if (isText) {
                        value.setText((String) form);
                    }
                    return isText;
                }
            }
            return true;
        }

        /** Where the log does not tell the sign, a value may be above what a signed one holds. */
        private static boolean integer(Value.Builder value, String digits, boolean isSigned, boolean mayBeNegative) {
            if (digits.startsWith("-")) {
                value.setInteger(Long.parseLong(digits));
                return mayBeNegative;
            }
            long found = Long.parseUnsignedLong(digits);
            if (isSigned && found >= 0) {
                value.setInteger(found);
            } else {
                value.setUnsigned(found);
            }
            return true;
        }

        private static float single(Object form) {
            return (float) finite(Float.parseFloat(floatText(form)), form);
        }

        private static double finite(double value, Object form) {
            if (form instanceof Digits && Double.isInfinite(value)) {
                throw new NumberFormatException();
            }
            return value;
        }

        private static String floatText(Object form) {
            if (form instanceof Digits digits) {
                return digits.text();
            }
            if (List.of("NaN", "Infinity", "-Infinity").contains(form)) {
                return (String) form;
            }
            throw new NumberFormatException();
        }

        /**
         * Whether the object stands for something that JSON does not have. A JSON column may hold such a document
         * itself: it is taken for one where the form is not exactly that of the marker.
         */
        private static boolean marked(Value.Builder value, LogicalType type, Map<?, ?> members) throws DecodeException {
            String name = (String) members.keySet().iterator().next();
            Object inside = members.get(name);
            boolean isJson = type == LogicalType.LOGICAL_TYPE_JSON;
            if (name.equals("$json") && isJson && inside == null) {
                value.setJson("null");
            } else if (name.equals("$diff") && isJson && inside instanceof List<?>) {
                value.setJsonDiff(Json.text(inside));
            } else if (name.equals("$malformed") && !isJson) {
                value.setMalformedText(base64(inside, name));
            } else if (name.equals("$omitted") && inside instanceof Map<?, ?> form && form.size() == 2
                && form.containsKey("sha256")) {
                Document omitted = new Document(form, new long[1]);
                value.getOmittedBuilder().setSizeBytes(omitted.uint64("size_bytes"))
                    .setSha256(ByteString.copyFrom(omitted.hex("sha256", 32)));
            } else {
                return false;
            }
            return true;
        }
    }
}
