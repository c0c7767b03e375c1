package binpulse.client;

import binpulse.v1.ChangeBatch;
import binpulse.v1.SchemaChange;
import binpulse.v1.SnapshotMark;
import binpulse.v1.SnapshotPart;
import java.util.Locale;

/** What a message holds. */
public sealed interface Content {
    /** The kind, as the conformance suite names it. */
    default String kind() {
        return switch (getClass().getSimpleName()) {
            case "Part" -> "snapshot_part";
            case "Mark" -> "snapshot_mark";
            case "TransactionEnd" -> "transaction";
            default -> getClass().getSimpleName().toLowerCase(Locale.ROOT);
        };
    }

    /** Rows: see {@link Rows#of}. */
    record Change(ChangeBatch value) implements Content {}

    /** A canary: never a row of the business. */
    record Canary(binpulse.v1.Canary value) implements Content {}

    /** Rows of a table that a snapshot read. */
    record Part(SnapshotPart value) implements Content {}

    /** A snapshot of a table began, is complete, or was given up. */
    record Mark(SnapshotMark value) implements Content {}

    /** A heartbeat; reserved. */
    record Heartbeat(binpulse.v1.Heartbeat value) implements Content {}

    /** A statement, mostly DDL, for information. */
    record Schema(SchemaChange value) implements Content {}

    /** Numbers that were held back on purpose: no gap. */
    record Suppressed(binpulse.v1.Suppressed value) implements Content {}

    /** A transaction has ended. */
    record TransactionEnd(binpulse.v1.TransactionEnd value) implements Content {}

    /** Something of a newer binpulse: count it, and acknowledge it. */
    record Unknown() implements Content {}
}
