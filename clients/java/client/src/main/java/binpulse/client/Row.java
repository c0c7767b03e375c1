package binpulse.client;

import binpulse.v1.Transaction;
import java.util.Map;

/**
 * A row of a batch. {@code before} and {@code after} have values by column name (see {@link Rows}), and are null where
 * the operation has no such image. Rows of snapshots have no number (0) and no transaction (null). {@code
 * numberInTransaction} and the transaction identify the row in another way, which also holds across epochs. {@code
 * committedAtUs} is in microseconds since 1970.
 */
public record Row(
    String op, long number, Map<String, Object> before, Map<String, Object> after, Transaction transaction,
    long committedAtUs, long numberInTransaction) {}
