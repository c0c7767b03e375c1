package binpulse.examples;

import binpulse.client.Content;
import binpulse.client.Freshness;
import binpulse.client.Lane;
import binpulse.client.Ledger;
import binpulse.client.Row;
import binpulse.client.Rows;
import binpulse.client.SqlStore;
import binpulse.client.Waits;
import binpulse.v1.ChangeBatch;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.util.List;

/**
 * A copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
 * transaction of the rows. The tables are there already, with the columns of the source's.
 */
final class Copy {
    final Ledger ledger;
    final Freshness freshness = new Freshness();
    /** Rows that were applied. */
    long applied;
    private final Connection db;
    private final SqlStore store;

    /** Connects: {@code jdbc:mariadb://127.0.0.1:3306/?user=root}. */
    Copy(String url) throws SQLException {
        db = DriverManager.getConnection(url);
        try (Statement statement = db.createStatement()) {
            statement.execute("SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0");
            statement.execute("CREATE DATABASE IF NOT EXISTS binpulse_consumer");
            db.setCatalog("binpulse_consumer");
            statement.execute(SqlStore.TABLE + " COLLATE utf8mb4_bin");
        }
        db.setAutoCommit(false);
        store = new SqlStore(db);
        ledger = new Ledger(store, Waits.DEFAULT);
    }

    /** Takes a message; whether it is done with: else rows before it have not come. */
    boolean take(Content content) throws Exception {
        if (content instanceof Content.Canary canary) {
            freshness.observe(canary.value());
            ledger.watermark(canary.value(), Instant.now());
        } else if (content instanceof Content.Suppressed suppressed) {
            ledger.suppressed(suppressed.value(), Instant.now(), change -> {
                store.save(change);
                db.commit();
            });
        } else if (content instanceof Content.Change change) {
            return take(change.value()) != Lane.Decision.WAIT;
        }
        return true;
    }

    private Lane.Decision take(ChangeBatch batch) throws Exception {
        List<Row> rows = Rows.of(batch);
        return ledger.take(batch, Instant.now(), change -> {
            try {
                for (Row row : rows.subList(change.skip(), change.skip() + change.take())) {
                    Table.apply(db, batch.getTable(), row);
                }
                store.save(change);
                db.commit();
            } catch (Exception error) {
                db.rollback();
                throw error;
            }
            applied += change.take();
        });
    }
}
