/**
 * Reads the messages of binpulse: from the body of a message to rows, and what is needed to apply each row once and to
 * know that none is missing. Begin with {@link binpulse.client.Message}. No text of an exception shows a value of a row.
 */
package binpulse.client;
