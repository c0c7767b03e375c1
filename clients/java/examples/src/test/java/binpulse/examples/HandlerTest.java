package binpulse.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** The handler answers as the conformance suite says. BINPULSE_TEST_MYSQL=host:port names a server. */
@EnabledIfEnvironmentVariable(named = "BINPULSE_TEST_MYSQL", matches = ".+", disabledReason = "no MySQL")
class HandlerTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @Test
    void theHandlerTellsWhichMessagesFailed() throws Exception {
        String url = "jdbc:mariadb://" + System.getenv("BINPULSE_TEST_MYSQL") + "/?user=root";
        try (Connection db = DriverManager.getConnection(url); Statement statement = db.createStatement()) {
            for (JsonNode one : JSON.readTree(Path.of("../../../conformance/handler.json").toFile())) {
                for (JsonNode sql : one.get("statements")) {
                    statement.execute(sql.asText());
                }
                Handler handler = new Handler(url);
                for (JsonNode step : one.get("steps")) {
                    ArrayNode failures = JSON.createArrayNode();
                    step.get("failures").forEach(id -> failures.addObject().set("itemIdentifier", id));
                    ByteArrayOutputStream answer = new ByteArrayOutputStream();
                    handler.handleRequest(
                        new ByteArrayInputStream(JSON.writeValueAsBytes(step.get("event"))), answer, null);
                    assertEquals(
                        JSON.createObjectNode().set("batchItemFailures", failures), JSON.readTree(answer.toByteArray()));
                }
                ArrayNode rows = JSON.createArrayNode();
                try (ResultSet found = statement.executeQuery(one.get("select").asText())) {
                    while (found.next()) {
                        rows.addArray().add(found.getString(1)).add(found.getString(2));
                    }
                }
                assertEquals(one.get("rows"), rows);
            }
        }
    }
}
