package binpulse.client;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Optional;

/**
 * Numbers in a table of a database. It neither begins nor commits: {@code save} belongs to the transaction that is open
 * on the connection. In the transaction of the rows' effect each row is applied once, whatever fails.
 */
public final class SqlStore implements Store {
    /** Makes the table. For MySQL, whose comparisons ignore case, add COLLATE utf8mb4_bin behind the parenthesis. */
    public static final String TABLE = "CREATE TABLE IF NOT EXISTS binpulse_lanes (stream VARCHAR(64) NOT NULL, "
        + "epoch BIGINT NOT NULL, lane VARCHAR(600) NOT NULL, next BIGINT NOT NULL, suppressed TEXT NOT NULL, "
        + "PRIMARY KEY (stream, epoch, lane))";
    private static final String WHERE = " WHERE stream = ? AND epoch = ? AND lane = ?";

    private final Connection connection;

    /** Keeps numbers by this connection. */
    public SqlStore(Connection connection) {
        this.connection = connection;
    }

    @Override
    public Optional<Lane.State> load(LaneName lane) throws SQLException {
        try (PreparedStatement query =
            prepared("SELECT next, suppressed FROM binpulse_lanes" + WHERE, lane.stream(), lane.epoch(), lane.lane());
            ResultSet found = query.executeQuery()) {
            return found.next()
                ? Optional.of(new Lane.State(found.getLong(1), Ranges.parse(found.getString(2)))) : Optional.empty();
        }
    }

    /** Where the lane is new, and another process stored it first, the database throws: the key is there. */
    @Override
    public void save(Change change) throws SQLException, ConflictException {
        LaneName lane = change.lane();
        Lane.State before = change.before();
        Lane.State after = change.after();
        if (before == null) {
            try (PreparedStatement insert = prepared("INSERT INTO binpulse_lanes VALUES (?, ?, ?, ?, ?)",
                lane.stream(), lane.epoch(), lane.lane(), after.next(), Ranges.text(after.suppressed()))) {
                insert.executeUpdate();
            }
        } else if (!before.equals(after)) {
            try (PreparedStatement update = prepared(
                "UPDATE binpulse_lanes SET next = ?, suppressed = ?" + WHERE + " AND next = ? AND suppressed = ?",
                after.next(), Ranges.text(after.suppressed()), lane.stream(), lane.epoch(), lane.lane(),
                before.next(), Ranges.text(before.suppressed()))) {
                if (update.executeUpdate() != 1) {
                    throw new ConflictException(lane);
                }
            }
        }
    }

    private PreparedStatement prepared(String sql, Object... values) throws SQLException {
        PreparedStatement statement = connection.prepareStatement(sql);
        for (int at = 0; at < values.length; at++) {
            statement.setObject(at + 1, values[at]);
        }
        return statement;
    }
}
