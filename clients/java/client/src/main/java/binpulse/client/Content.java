package binpulse.client;

import binpulse.v1.ChangeBatch;
import binpulse.v1.SchemaChange;
import binpulse.v1.SnapshotMark;
import binpulse.v1.SnapshotPart;

/** What a message holds. */
public sealed interface Content {
    /** The kind, as the conformance suite names it. */
    String kind();

    /** Rows: see {@link Rows#of}. */
    record Change(ChangeBatch value) implements Content {
        @Override
        public String kind() {
            return "change";
        }
    }

    /** A canary: never a row of the business. */
    record Canary(binpulse.v1.Canary value) implements Content {
        @Override
        public String kind() {
            return "canary";
        }
    }

    /** Rows of a table that a snapshot read. */
    record Part(SnapshotPart value) implements Content {
        @Override
        public String kind() {
            return "snapshot_part";
        }
    }

    /** A snapshot of a table began, is complete, or was given up. */
    record Mark(SnapshotMark value) implements Content {
        @Override
        public String kind() {
            return "snapshot_mark";
        }
    }

    /** A heartbeat; reserved. */
    record Heartbeat(binpulse.v1.Heartbeat value) implements Content {
        @Override
        public String kind() {
            return "heartbeat";
        }
    }

    /** A statement, mostly DDL, for information. */
    record Schema(SchemaChange value) implements Content {
        @Override
        public String kind() {
            return "schema";
        }
    }

    /** Numbers that were held back on purpose: no gap. */
    record Suppressed(binpulse.v1.Suppressed value) implements Content {
        @Override
        public String kind() {
            return "suppressed";
        }
    }

    /** A transaction has ended. */
    record TransactionEnd(binpulse.v1.TransactionEnd value) implements Content {
        @Override
        public String kind() {
            return "transaction";
        }
    }

    /** Something of a newer binpulse: count it, and acknowledge it. */
    record Unknown() implements Content {
        @Override
        public String kind() {
            return "unknown";
        }
    }
}
