package binpulse.client;

/**
 * A change of a lane, to be stored in the transaction of its rows' effect. {@code before} is what the store has, null:
 * nothing yet. Rows to apply: {@code take} after the first {@code skip}.
 */
public record Change(LaneName lane, Lane.State before, Lane.State after, int skip, int take) {}
