package binpulse.client;

import java.util.Map;
import java.util.Set;

/**
 * What a frame takes in memory once it is decoded, estimated from its bytes before that.
 *
 * <p>An empty element of a list takes two bytes of a frame, and 50 to 200 once it is decoded: a few kilobytes,
 * compressed, could become gigabytes although their content is within its limit.
 */
final class MemoryEstimate {
    static final int ELEMENT_BYTES = 100;

    /** A message with lists, or with messages that have some: the numbers of these fields. */
    private record Level(Set<Integer> lists, Map<Integer, Level> inside) {}

    private static final Level IMAGE = leaf(1);
    private static final Level ROW = new Level(Set.of(), Map.of(4, IMAGE, 5, IMAGE));
    private static final Level TABLE = new Level(Set.of(3), Map.of(3, leaf(7)));
    private static final Level BATCH = new Level(Set.of(8, 9, 11), Map.of(2, TABLE, 11, ROW));
    private static final Level WATERMARK = leaf(5);
    private static final Level FRAME = new Level(Set.of(), Map.of(
        6, BATCH,
        7, new Level(Set.of(), Map.of(7, WATERMARK)),
        8, new Level(Set.of(7), Map.of(4, BATCH, 5, WATERMARK)),
        11, new Level(Set.of(10), Map.of(4, BATCH, 8, IMAGE, 9, IMAGE, 10, IMAGE)),
        12, leaf(8),
        14, leaf(5)));

    private final byte[] bytes;
    private long room;
    private int at;

    private MemoryEstimate(byte[] bytes, long room) {
        this.bytes = bytes;
        this.room = room;
    }

    private static Level leaf(int list) {
        return new Level(Set.of(list), Map.of());
    }

    /**
     * Whether the elements of all lists in a frame take at most so many bytes. Bytes that are no frame fit: decoding
     * them tells what is wrong.
     */
    static boolean fits(byte[] frame, long bytesMax) {
        long room = bytesMax / ELEMENT_BYTES;
        // Each element takes two bytes at least: most contents need no closer look.
        return frame.length / 2 <= room || new MemoryEstimate(frame, room).walk(FRAME, 0, frame.length);
    }

    private boolean walk(Level level, int start, int end) {
        at = start;
        while (at < end) {
            long tag = varint();
            switch ((int) (tag & 7)) {
                case 0 -> varint();
                case 1 -> at += 8;
                case 3, 4 -> { }
                case 5 -> at += 4;
                case 2 -> {
                    long length = varint();
                    if (length < 0 || length > end - at) {
                        return true;
                    }
                    int after = at + (int) length;
                    int field = (int) (tag >>> 3);
                    if (level.lists.contains(field) && --room < 0) {
                        return false;
                    }
                    Level inside = level.inside.get(field);
                    if (inside != null && !walk(inside, at, after)) {
                        return false;
                    }
                    at = after;
                }
                default -> {
                    return true;
                }
            }
        }
        return true;
    }

    private long varint() {
        long value = 0;
        for (int shift = 0; shift < 70 && at < bytes.length; shift += 7) {
            byte next = bytes[at++];
            value |= (long) (next & 0x7f) << shift;
            if (next >= 0) {
                break;
            }
        }
        return value;
    }
}
