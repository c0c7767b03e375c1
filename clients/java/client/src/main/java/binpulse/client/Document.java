package binpulse.client;

import binpulse.client.DecodeException.Reason;
import binpulse.client.Json.Digits;
import binpulse.v1.BeforeImage;
import binpulse.v1.Canary;
import binpulse.v1.CanaryPhase;
import binpulse.v1.ChangeBatch;
import binpulse.v1.ChunkDigest;
import binpulse.v1.Column;
import binpulse.v1.Heartbeat;
import binpulse.v1.Image;
import binpulse.v1.LaneMark;
import binpulse.v1.LogicalType;
import binpulse.v1.Op;
import binpulse.v1.Position;
import binpulse.v1.QuietCertificate;
import binpulse.v1.Row;
import binpulse.v1.SchemaChange;
import binpulse.v1.SnapshotMark;
import binpulse.v1.SnapshotPart;
import binpulse.v1.SnapshotPhase;
import binpulse.v1.Source;
import binpulse.v1.Suppressed;
import binpulse.v1.TableSchema;
import binpulse.v1.Transaction;
import binpulse.v1.Value;
import binpulse.v1.Watermark;
import com.google.protobuf.ByteString;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A document of the {@code json} format to the contract's messages. */
final class Document {
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
        int version = of.uint32("v");
        if (version != Frames.FORMAT_VERSION) {
            throw new DecodeException(Reason.VERSION,
                "found version " + Integer.toUnsignedString(version) + ", expected " + Frames.FORMAT_VERSION);
        }
        return switch (kind) {
            case "change" -> new Content.Change(of.batch());
            case "canary" -> new Content.Canary(of.canary());
            case "heartbeat" -> new Content.Heartbeat(of.heartbeat());
            case "schema" -> new Content.Schema(of.schemaChange());
            case "suppressed" -> new Content.Suppressed(of.suppressed());
            case "snapshot" -> of.has("phase") ? new Content.Mark(of.mark()) : new Content.Part(of.part());
            default -> new Content.Unknown();
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

    private List<String> texts(String name) throws DecodeException {
        List<String> found = new ArrayList<>();
        for (Object element : list(name)) {
            found.add(asText(element, name));
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

    private String optionalText(String name) throws DecodeException {
        return has(name) ? text(name) : "";
    }

    private boolean flag(String name) throws DecodeException {
        if (members.get(name) instanceof Boolean flag) {
            return flag;
        }
        throw wrong(name, "true or false");
    }

    private boolean optionalFlag(String name) throws DecodeException {
        return has(name) && flag(name);
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

    private int uint32(String name) throws DecodeException {
        return asUint32(members.get(name), name);
    }

    private long int64(String name) throws DecodeException {
        try {
            if (members.get(name) instanceof Digits digits) {
                return Long.parseLong(digits.text());
            }
        } catch (NumberFormatException error) {
            // Told below.
        }
        throw wrong(name, "an integer of 64 bits");
    }

    private long optionalUint64(String name) throws DecodeException {
        return has(name) ? uint64(name) : 0;
    }

    private int optionalUint32(String name) throws DecodeException {
        return has(name) ? uint32(name) : 0;
    }

    private static ByteString base64(Object value, String place) throws DecodeException {
        try {
            String text = asText(value, place);
            if (text.length() % 4 == 0) {
                return ByteString.copyFrom(Base64.getDecoder().decode(text));
            }
        } catch (IllegalArgumentException error) {
            // Told below.
        }
        throw wrong(place, "base64");
    }

    private byte[] hex(String name, int length) throws DecodeException {
        try {
            byte[] bytes = HexFormat.of().parseHex(text(name));
            if (bytes.length == length) {
                return bytes;
            }
        } catch (IllegalArgumentException error) {
            // Told below.
        }
        throw wrong(name, 2 * length + " hexadecimal digits");
    }

    private long hex64(String name) throws DecodeException {
        return java.nio.ByteBuffer.wrap(hex(name, 8)).getLong();
    }

    /** RFC 3339 to microseconds since 1970, exactly. */
    private long time(String name) throws DecodeException {
        try {
            String text = text(name);
            if (text.endsWith("Z")) {
                return ChronoUnit.MICROS.between(Instant.EPOCH, Instant.parse(text));
            }
        } catch (DateTimeException | ArithmeticException error) {
            // Told below.
        }
        throw wrong(name, "a time of RFC 3339 in UTC");
    }

    /** The value of an enumeration with this name, in small letters; that for unknown ones where there is none. */
    private static <E extends Enum<E>> E named(Class<E> of, String prefix, String name) {
        try {
            return Enum.valueOf(of, prefix + name.toUpperCase(java.util.Locale.ROOT));
        } catch (IllegalArgumentException error) {
            return of.getEnumConstants()[0];
        }
    }

    private Source source() throws DecodeException {
        Document source = inside("source");
        return Source.newBuilder()
            .setStream(source.text("stream")).setServerUuid(source.text("server_uuid"))
            .setServerId(source.uint32("server_id")).setEpoch(source.uint64("epoch"))
            .setConnectorVersion(source.optionalText("connector_version"))
            .setSnapshot(source.optionalFlag("snapshot")).build();
    }

    private Position position() throws DecodeException {
        if (!has("position")) {
            return Position.getDefaultInstance();
        }
        Document place = inside("position");
        return Position.newBuilder().setFile(place.text("file")).setOffset(place.uint64("offset")).build();
    }

    private List<LaneMark> marks() throws DecodeException {
        List<LaneMark> marks = new ArrayList<>();
        for (Document mark : documents("lanes")) {
            marks.add(LaneMark.newBuilder().setLane(mark.text("lane")).setSequenceNext(mark.uint64("sequence_next"))
                .setEpoch(mark.uint64("epoch")).build());
        }
        return marks;
    }

    private Watermark watermark() throws DecodeException {
        Watermark.Builder made = Watermark.newBuilder()
            .setVerdict(text("verdict")).setServerUuid(text("server_uuid")).setGtidSet(text("gtid_set"))
            .addAllLanes(marks()).setLanesTruncated(flag("lanes_truncated")).setTakenAtUs(int64("taken_at_us"));
        if (has("position")) {
            made.setPosition(position());
        }
        if (has("certificate")) {
            Document proof = inside("certificate");
            made.setCertificate(QuietCertificate.newBuilder()
                .setHeartbeatFirst(proof.uint64("heartbeat_first")).setHeartbeatLast(proof.uint64("heartbeat_last"))
                .setGtidSetFirst(proof.text("gtid_set_first")).setGtidSetLast(proof.text("gtid_set_last"))
                .setUserTransactions(proof.uint64("user_transactions"))
                .setFilteredTransactions(proof.uint64("filtered_transactions"))
                .setHeartbeatTransactions(proof.uint64("heartbeat_transactions"))
                .setCanaryTransactions(proof.uint64("canary_transactions"))
                .setProvenAtUs(proof.int64("proven_at_us")));
        }
        return made.build();
    }

    private Canary canary() throws DecodeException {
        Canary.Builder made = Canary.newBuilder()
            .setNumber(uint64("number")).setPhase(named(CanaryPhase.class, "CANARY_PHASE_", text("phase")))
            .setWrittenAtUs(time("written_at")).setBatch(batch()).setPath(optionalText("path"));
        if (has("nonce")) {
            made.setNonce(base64(members.get("nonce"), "nonce"));
        }
        if (has("watermark")) {
            made.setWatermark(inside("watermark").watermark());
        }
        return made.build();
    }

    private Heartbeat heartbeat() throws DecodeException {
        Heartbeat.Builder made = Heartbeat.newBuilder()
            .setSource(source()).setNumber(uint64("number")).setWrittenAtUs(time("written_at"))
            .setGtid(optionalText("gtid")).setPosition(position()).setCommittedAtUs(time("committed_at"));
        if (has("watermark")) {
            made.setWatermark(inside("watermark").watermark());
        }
        return made.build();
    }

    private SchemaChange schemaChange() throws DecodeException {
        return SchemaChange.newBuilder()
            .setSource(source()).setDatabase(optionalText("database")).setStatement(text("statement"))
            .setGtid(optionalText("gtid")).setPosition(position()).setCommittedAtUs(time("committed_at"))
            .setSequence(uint64("sequence")).setLane(text("lane")).build();
    }

    private Suppressed suppressed() throws DecodeException {
        return Suppressed.newBuilder()
            .setSource(source()).setLane(text("lane")).setDatabase(text("database")).setTable(text("table"))
            .setSequenceFirst(uint64("sequence_first")).setCount(uint64("count")).setReason(text("reason"))
            .setBy(text("by")).setGtidFirst(optionalText("gtid_first")).setSinceUs(time("since")).build();
    }

    private SnapshotMark mark() throws DecodeException {
        return SnapshotMark.newBuilder()
            .setSource(source()).setSnapshot(text("snapshot")).setDatabase(text("database")).setTable(text("table"))
            .setPhase(named(SnapshotPhase.class, "SNAPSHOT_PHASE_", text("phase"))).setRows(uint64("rows_published"))
            .setChunks(uint64("chunks")).addAllLanes(marks()).setReason(optionalText("reason")).build();
    }

    private TableSchema table() throws DecodeException {
        Document schema = inside("schema");
        TableSchema.Builder table = TableSchema.newBuilder()
            .setDatabase(text("database")).setTable(text("table")).setFingerprint(schema.hex64("fingerprint"))
            .setColumnsNamed(schema.flag("columns_named"));
        List<String> names = new ArrayList<>();
        for (Document column : schema.documents("columns")) {
            names.add(column.text("name"));
            table.addColumns(Column.newBuilder()
                .setName(column.text("name")).setMysqlType(column.optionalText("mysql_type"))
                .setLogicalType(named(LogicalType.class, "LOGICAL_TYPE_", column.text("type")))
                .setNullable(column.flag("nullable")).setUnsigned(column.flag("unsigned"))
                .setCharset(column.optionalText("charset")).setCollation(column.optionalUint32("collation"))
                .addAllMembers(column.has("members") ? column.texts("members") : List.of())
                .setInvisible(column.optionalFlag("invisible")));
        }
        for (String name : schema.texts("primary_key")) {
            if (!names.contains(name)) {
                throw wrong("primary_key", "names of columns");
            }
            table.addPrimaryKey(names.indexOf(name));
        }
        return table.build();
    }

    /** What all batches have. */
    private ChangeBatch.Builder rows() throws DecodeException {
        TableSchema table = table();
        Map<String, Integer> ordinals = ordinals(table);
        ChangeBatch.Builder batch = ChangeBatch.newBuilder()
            .setSource(source()).setTable(table).setLane(text("lane")).setLaneNumber(uint32("lane_number"))
            .setLaneCount(uint32("lane_count"));
        for (Document row : documents("rows")) {
            Row.Builder made = batch.addRowsBuilder()
                .setOp(named(Op.class, "OP_", row.text("op"))).setTransaction(row.optionalUint32("transaction"))
                .setRow(row.optionalUint64("row"));
            if (row.has("before")) {
                made.setBefore(row.inside("before").image(table, ordinals));
            }
            if (row.has("after")) {
                made.setAfter(row.inside("after").image(table, ordinals));
            }
        }
        return batch;
    }

    private static Map<String, Integer> ordinals(TableSchema table) {
        Map<String, Integer> ordinals = new HashMap<>();
        for (Column column : table.getColumnsList()) {
            ordinals.put(column.getName(), ordinals.size());
        }
        return ordinals;
    }

    private ChangeBatch batch() throws DecodeException {
        ChangeBatch.Builder batch = rows()
            .setBeforeImage(named(BeforeImage.class, "BEFORE_IMAGE_", text("before_image")))
            .setSequenceFirst(uint64("sequence_first")).setSnapshotNext(optionalUint64("snapshot_next"))
            .setSnapshotAttempt(optionalUint32("snapshot_attempt"));
        Map<String, Integer> files = new HashMap<>();
        for (Document form : documents("transactions")) {
            long atUs = form.time("committed_at");
            long originalUs = form.has("original_committed_at") ? form.time("original_committed_at") : atUs;
            if (batch.getTransactionsCount() == 0) {
                batch.setCommittedAtBaseUs(atUs);
            }
            Position place = form.asDocument(form.members.get("position"), "position").place();
            if (files.putIfAbsent(place.getFile(), files.size()) == null) {
                batch.addFiles(place.getFile());
            }
            batch.addTransactions(Transaction.newBuilder()
                .setGtid(form.optionalText("gtid")).setCommittedAtDeltaUs(atUs - batch.getCommittedAtBaseUs())
                .setFile(files.get(place.getFile())).setOffset(place.getOffset()).setRows(form.uint32("rows"))
                .setServerId(form.uint32("server_id")).setOriginalCommittedAtDeltaUs(originalUs - atUs)
                .setTraceparent(form.optionalText("traceparent")));
        }
        return batch.build();
    }

    private Position place() throws DecodeException {
        return Position.newBuilder().setFile(text("file")).setOffset(uint64("offset")).build();
    }

    private SnapshotPart part() throws DecodeException {
        ChangeBatch batch = rows().build();
        TableSchema table = batch.getTable();
        SnapshotPart.Builder part = SnapshotPart.newBuilder()
            .setSnapshot(text("snapshot")).setPart(uint64("part")).setBatch(batch).setChunk(uint64("chunk"))
            .setAnchor(LaneMark.newBuilder().setLane(batch.getLane()).setSequenceNext(uint64("anchor"))
                .setEpoch(batch.getSource().getEpoch()))
            .setAttempt(uint32("attempt")).setLastPart(flag("last_part")).setRowsInChunk(uint64("rows_in_chunk"))
            .setRowsSuperseded(uint64("rows_superseded")).setAttemptPart(uint64("attempt_part"));
        if (has("key_columns")) {
            for (Object ordinal : list("key_columns")) {
                part.addKeyColumns(asUint32(ordinal, "key_columns"));
            }
        }
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
        if (has("digest")) {
            Document digest = inside("digest");
            part.setDigest(ChunkDigest.newBuilder().setRows(digest.uint64("rows")).setSum(digest.hex64("sum"))
                .setXor(digest.hex64("xor")));
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
                        value.getVectorBuilder().addElements(Float.parseFloat(floatText(element)));
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
                case LOGICAL_TYPE_FLOAT -> value.setFloat(Float.parseFloat(floatText(form)));
                case LOGICAL_TYPE_DOUBLE -> value.setDouble(Double.parseDouble(floatText(form)));
                case LOGICAL_TYPE_INTEGER -> {
                    return isNumber && integer(value, ((Digits) form).text(), !column.getUnsigned());
                }
                case LOGICAL_TYPE_YEAR -> {
                    return isNumber && integer(value, ((Digits) form).text(), true);
                }
                case LOGICAL_TYPE_BIT -> {
                    return isNumber && integer(value, ((Digits) form).text(), false);
                }
                case LOGICAL_TYPE_BINARY, LOGICAL_TYPE_GEOMETRY, LOGICAL_TYPE_VECTOR ->
                    value.setBytes(base64(form, column.getName()));
                case LOGICAL_TYPE_ENUM, LOGICAL_TYPE_SET -> {
                    if (isText) {
                        value.setText((String) form);
                    } else {
                        return isNumber && integer(value, ((Digits) form).text(), false);
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
        private static boolean integer(Value.Builder value, String digits, boolean isSigned) {
            if (digits.startsWith("-")) {
                value.setInteger(Long.parseLong(digits));
                return true;
            }
            long found = Long.parseUnsignedLong(digits);
            if (isSigned && found >= 0) {
                value.setInteger(found);
            } else {
                value.setUnsigned(found);
            }
            return true;
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
