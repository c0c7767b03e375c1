package binpulse.client;

import binpulse.v1.ChangeBatch;
import binpulse.v1.Column;
import binpulse.v1.Image;
import binpulse.v1.SnapshotPart;
import binpulse.v1.TableSchema;
import binpulse.v1.Transaction;
import binpulse.v1.Value;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Rows with values typed by their columns.
 *
 * <table>
 * <caption>Values</caption>
 * <tr><th>MySQL</th><th>Java</th></tr>
 * <tr><td>NULL; a column that the source did not log</td><td>null; {@link Cells.Absent}, which is not NULL</td></tr>
 * <tr><td>integers, YEAR; unsigned integers, BIT</td><td>Long; BigInteger</td></tr>
 * <tr><td>FLOAT; DOUBLE</td><td>Float; Double</td></tr>
 * <tr><td>DECIMAL</td><td>BigDecimal, with the column's scale</td></tr>
 * <tr><td>DATE, TIME, DATETIME, TIMESTAMP</td><td>{@link Cells.TimeText}: the text, and values of java.time</td></tr>
 * <tr><td>character data, ENUM, SET</td><td>String</td></tr>
 * <tr><td>ENUM, SET whose labels are not known</td><td>{@link Cells.EnumIndex}, {@link Cells.SetMask}</td></tr>
 * <tr><td>binary data</td><td>byte[]</td></tr>
 * <tr><td>JSON</td><td>{@link Cells.JsonText}, for the JSON library of your choice</td></tr>
 * <tr><td>spatial types</td><td>{@link Cells.Geometry}</td></tr>
 * <tr><td>VECTOR</td><td>float[]</td></tr>
 * <tr><td>a partial update of JSON; text not valid in its character set; too large to travel</td>
 * <td>{@link Cells.JsonDiff}, {@link Cells.MalformedText}, {@link Cells.Omitted}</td></tr>
 * </table>
 */
public final class Rows {
    private static final Pattern DECIMAL = Pattern.compile("-?[0-9]+(\\.[0-9]+)?");

    private Rows() {}

    /** The rows of a batch, typed. */
    public static List<Row> of(ChangeBatch batch) {
        List<Column> columns = batch.getTable().getColumnsList();
        List<Row> rows = new ArrayList<>(batch.getRowsCount());
        for (binpulse.v1.Row row : batch.getRowsList()) {
            int at = row.getTransaction();
            boolean hasTransaction = Integer.compareUnsigned(at, batch.getTransactionsCount()) < 0;
            Transaction transaction = hasTransaction ? batch.getTransactions(at) : null;
            rows.add(new Row(
                row.getOp() == binpulse.v1.Op.UNRECOGNIZED ? "unspecified"
                    : row.getOp().name().substring("OP_".length()).toLowerCase(Locale.ROOT),
                batch.getSequenceFirst() == 0 ? 0 : batch.getSequenceFirst() + rows.size(),
                row.hasBefore() ? image(columns, row.getBefore()) : null,
                row.hasAfter() ? image(columns, row.getAfter()) : null,
                transaction,
                hasTransaction ? batch.getCommittedAtBaseUs() + transaction.getCommittedAtDeltaUs() : 0,
                row.getRow()));
        }
        return rows;
    }

    /** The values of a key's image of a snapshot part ({@code key_after}, {@code key_upto}, one of {@code touched}). */
    public static Map<String, Object> keyOf(SnapshotPart part, Image key) {
        TableSchema table = part.getBatch().getTable();
        List<Integer> ordinals = part.getKeyColumnsCount() > 0 ? part.getKeyColumnsList() : table.getPrimaryKeyList();
        return image(ordinals.stream().map(table::getColumns).toList(), key);
    }

    private static Map<String, Object> image(List<Column> columns, Image image) {
        Map<String, Object> values = new LinkedHashMap<>(columns.size() * 2);
        for (int at = 0; at < columns.size(); at++) {
            Column column = columns.get(at);
            values.put(column.getName(), at < image.getValuesCount() ? cell(column, image.getValues(at)) : Cells.ABSENT);
        }
        return values;
    }

    private static Object cell(Column column, Value value) {
        return switch (value.getKindCase()) {
            case NULL -> null;
            case INTEGER -> value.getInteger();
            case UNSIGNED -> unsigned(column, new BigInteger(Long.toUnsignedString(value.getUnsigned())));
            case FLOAT -> value.getFloat();
            case DOUBLE -> value.getDouble();
            case TEXT -> text(column, value.getText());
            case BYTES -> column.getLogicalType() == binpulse.v1.LogicalType.LOGICAL_TYPE_GEOMETRY
                ? new Cells.Geometry(value.getBytes().toByteArray()) : value.getBytes().toByteArray();
            case MALFORMED_TEXT -> new Cells.MalformedText(value.getMalformedText().toByteArray());
            case JSON -> new Cells.JsonText(value.getJson());
            case JSON_DIFF -> new Cells.JsonDiff(value.getJsonDiff());
            case VECTOR -> vector(value.getVector());
            case OMITTED -> new Cells.Omitted(
                value.getOmitted().getSizeBytes(), value.getOmitted().getSha256().toByteArray());
            case KIND_NOT_SET -> Cells.ABSENT;
        };
    }

    private static Object unsigned(Column column, BigInteger value) {
        return switch (column.getLogicalType()) {
            case LOGICAL_TYPE_ENUM -> new Cells.EnumIndex(value);
            case LOGICAL_TYPE_SET -> new Cells.SetMask(value);
            default -> value;
        };
    }

    private static Object text(Column column, String text) {
        return switch (column.getLogicalType()) {
            case LOGICAL_TYPE_DECIMAL -> decimal(text);
            case LOGICAL_TYPE_DATE -> new Cells.TimeText(text, Cells.TimeKind.DATE);
            case LOGICAL_TYPE_TIME -> new Cells.TimeText(text, Cells.TimeKind.TIME);
            case LOGICAL_TYPE_DATETIME -> new Cells.TimeText(text, Cells.TimeKind.DATETIME);
            case LOGICAL_TYPE_TIMESTAMP -> new Cells.TimeText(text, Cells.TimeKind.TIMESTAMP);
            default -> text;
        };
    }

    /** BigDecimal itself takes exponents too, of which a text of a gigabyte can be made; and its errors show values. */
    private static BigDecimal decimal(String text) {
        if (!DECIMAL.matcher(text).matches()) {
            throw new IllegalArgumentException("a DECIMAL column with a text that is none");
        }
        return new BigDecimal(text);
    }

    private static float[] vector(binpulse.v1.Vector vector) {
        float[] elements = new float[vector.getElementsCount()];
        for (int at = 0; at < elements.length; at++) {
            elements[at] = vector.getElements(at);
        }
        return elements;
    }
}
