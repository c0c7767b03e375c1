package binpulse.client;

import binpulse.client.DecodeException.Reason;
import binpulse.v1.ChangeBatch;
import binpulse.v1.Row;
import binpulse.v1.SnapshotPart;
import binpulse.v1.Transaction;
import java.util.List;

/** Refuses what contradicts itself, so that those who read it need not look. */
final class Checks {
    private Checks() {}

    static Content consistent(Content content) throws DecodeException {
        if (content instanceof Content.Change change) {
            check(change.value().getRowsCount() > 0, "a batch without rows");
            batch(change.value(), true);
        } else if (content instanceof Content.Canary canary && canary.value().hasBatch()) {
            batch(canary.value().getBatch(), true);
        } else if (content instanceof Content.Part part) {
            SnapshotPart value = part.value();
            check(value.hasBatch() && value.hasAnchor(), "a part without its batch or its anchor");
            batch(value.getBatch(), false);
            ordinals(value.getKeyColumnsList(), value.getBatch());
        } else if (content instanceof Content.Suppressed suppressed) {
            numbers(suppressed.value().getSequenceFirst(), suppressed.value().getCount());
        }
        return content;
    }

    private static void check(boolean holds, String fault) throws DecodeException {
        if (!holds) {
            throw new DecodeException(Reason.INCONSISTENT, fault);
        }
    }

    private static void batch(ChangeBatch batch, boolean hasTransactions) throws DecodeException {
        check(batch.hasSource() && batch.hasTable(), "a batch without its source or its table");
        ordinals(batch.getTable().getPrimaryKeyList(), batch);
        if (hasTransactions) {
            numbers(batch.getSequenceFirst(), batch.getRowsCount());
        }
        for (Transaction transaction : batch.getTransactionsList()) {
            check(isBelow(transaction.getFile(), batch.getFilesCount()), "a transaction of a file that is not there");
        }
        int columns = batch.getTable().getColumnsCount();
        for (Row row : batch.getRowsList()) {
            check(!hasTransactions || isBelow(row.getTransaction(), batch.getTransactionsCount()),
                "a row of a transaction that is not there");
            check(hasImages(row), "a row with other images than its op has");
            check(Math.max(row.getBefore().getValuesCount(), row.getAfter().getValuesCount()) <= columns,
                "a row with more values than columns");
        }
    }

    private static boolean hasImages(Row row) {
        boolean before = row.hasBefore();
        boolean after = row.hasAfter();
        return switch (row.getOp()) {
            case OP_INSERT, OP_READ -> !before && after;
            case OP_UPDATE -> before && after;
            case OP_DELETE -> before && !after;
            default -> true;
        };
    }

    private static void ordinals(List<Integer> ordinals, ChangeBatch batch) throws DecodeException {
        for (int ordinal : ordinals) {
            check(isBelow(ordinal, batch.getTable().getColumnsCount()), "a key of a column that is not there");
        }
    }

    private static boolean isBelow(int ordinal, int count) {
        return Integer.compareUnsigned(ordinal, count) < 0;
    }

    /** Java's integers have no more than 2^63 - 1. */
    private static void numbers(long first, long count) throws DecodeException {
        check(first > 0 && count >= 0 && count <= Long.MAX_VALUE - first, "numbers that are none");
    }
}
