package binpulse.examples;

import binpulse.client.Cells;
import binpulse.client.Row;
import binpulse.v1.TableSchema;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** Rows to statements of MySQL. */
final class Table {
    private Table() {}

    /** Applies one row. */
    static void apply(Connection db, TableSchema table, Row row) throws SQLException {
        String name = quoted(table.getDatabase()) + "." + quoted(table.getTable());
        if (row.before() != null
            && (row.after() == null || !key(table, row.before()).equals(key(table, row.after())))) {
            List<String> where = new ArrayList<>();
            table.getPrimaryKeyList().forEach(at -> where.add(quoted(table.getColumns(at).getName()) + " = ?"));
            run(db, "DELETE FROM " + name + " WHERE " + String.join(" AND ", where), key(table, row.before()));
        }
        if (row.after() != null) {
            List<String> columns = new ArrayList<>();
            List<String> updates = new ArrayList<>();
            List<Object> values = new ArrayList<>();
            row.after().forEach((column, value) -> {
                if (value != Cells.ABSENT) {
                    columns.add(quoted(column));
                    updates.add(quoted(column) + " = VALUES(" + quoted(column) + ")");
                    values.add(bound(value));
                }
            });
            String places = String.join(", ", Collections.nCopies(columns.size(), "?"));
            run(db, "INSERT INTO " + name + " (" + String.join(", ", columns) + ") VALUES (" + places
                + ") ON DUPLICATE KEY UPDATE " + String.join(", ", updates), values);
        }
    }

    private static void run(Connection db, String sql, List<Object> values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int at = 0; at < values.size(); at++) {
                statement.setObject(at + 1, values.get(at));
            }
            statement.executeUpdate();
        }
    }

    private static String quoted(String name) {
        return "`" + name.replace("`", "``") + "`";
    }

    private static List<Object> key(TableSchema table, Map<String, Object> image) {
        List<Object> values = new ArrayList<>();
        table.getPrimaryKeyList().forEach(at -> values.add(bound(image.get(table.getColumns(at).getName()))));
        return values;
    }

    /** A value as the driver takes it. */
    private static Object bound(Object value) {
        if (value == Cells.ABSENT || value instanceof Cells.Omitted || value instanceof Cells.JsonDiff
            || value instanceof Cells.MalformedText) {
            throw new IllegalArgumentException("a value that this copy can't have: read the row from the source");
        } else if (value instanceof Cells.TimeText time) {
            return time.text();
        } else if (value instanceof Cells.JsonText json) {
            return json.text();
        } else if (value instanceof Cells.EnumIndex index) {
            return index.index();
        } else if (value instanceof Cells.SetMask mask) {
            return mask.mask();
        } else if (value instanceof Cells.Geometry geometry) {
            return geometry.bytes();
        } else if (value instanceof float[] vector) {
            ByteBuffer bytes = ByteBuffer.allocate(4 * vector.length).order(ByteOrder.LITTLE_ENDIAN);
            for (float element : vector) {
                bytes.putFloat(element);
            }
            return bytes.array();
        }
        return value;
    }
}
