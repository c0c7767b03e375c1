package binpulse.client;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** Runs of numbers as text, as stores keep them: {@code 4-7,9-12}. */
final class Ranges {
    private Ranges() {}

    static String text(List<Lane.Range> ranges) {
        return ranges.stream().map(rows -> rows.first() + "-" + rows.last()).collect(Collectors.joining(","));
    }

    static List<Lane.Range> parse(String text) {
        List<Lane.Range> ranges = new ArrayList<>();
        for (String pair : text.split(",")) {
            int dash = pair.indexOf('-');
            if (dash > 0) {
                long first = Long.parseLong(pair.substring(0, dash));
                ranges.add(new Lane.Range(first, Long.parseLong(pair.substring(dash + 1))));
            }
        }
        return List.copyOf(ranges);
    }
}
