package binpulse.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import binpulse.client.History;
import binpulse.client.SqlStore;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Numbers in the transaction of a database. BINPULSE_TEST_MYSQL=host:port names one. */
@EnabledIfEnvironmentVariable(named = "BINPULSE_TEST_MYSQL", matches = ".+", disabledReason = "no MySQL")
class SqlStoreTest {
    @Test
    void numbersInTheTransactionOfADatabase() throws Exception {
        String url = "jdbc:mariadb://" + System.getenv("BINPULSE_TEST_MYSQL") + "/?user=root";
        try (Connection db = DriverManager.getConnection(url); Statement statement = db.createStatement()) {
            for (String sql : List.of("DROP DATABASE IF EXISTS java", "CREATE DATABASE java", "USE java",
                SqlStore.TABLE + " COLLATE utf8mb4_bin",
                "CREATE TABLE copy (at INT AUTO_INCREMENT PRIMARY KEY, number INT)")) {
                statement.execute(sql);
            }
            db.setAutoCommit(false);
            SqlStore store = new SqlStore(db);
            List<Long> applied = History.check(store, (change, numbers, isBroken) -> {
                try {
                    for (long number : numbers) {
                        statement.execute("INSERT INTO copy (number) VALUES (" + number + ")");
                    }
                    store.save(change);
                    if (isBroken) {
                        throw new IllegalStateException();
                    }
                    db.commit();
                } catch (Exception error) {
                    db.rollback();
                    throw error;
                }
            });
            List<Long> copied = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery("SELECT number FROM copy ORDER BY at")) {
                while (rows.next()) {
                    copied.add(rows.getLong(1));
                }
            }
            assertEquals(applied, copied);
        }
    }
}
