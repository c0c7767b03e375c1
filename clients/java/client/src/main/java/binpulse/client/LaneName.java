package binpulse.client;

/** A lane of one epoch of one stream. */
public record LaneName(String stream, long epoch, String lane) {}
