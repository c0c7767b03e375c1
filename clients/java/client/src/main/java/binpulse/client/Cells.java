package binpulse.client;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Values of columns that Java has no type for. */
public final class Cells {
    private Cells() {}

    /** Stands for a column that the source did not log: it says nothing about the value. */
    public static final Absent ABSENT = Absent.ABSENT;

    /** The type of {@link #ABSENT}. */
    public enum Absent {
        /** The only value. */
        ABSENT
    }

    /** Which of MySQL's types a text of time has. */
    public enum TimeKind {
        DATE, TIME, DATETIME, TIMESTAMP
    }

    private static final Pattern CLOCK = Pattern.compile("(-?)(\\d{1,3}):(\\d{2}):(\\d{2})(?:\\.(\\d{1,6}))?");

    /**
     * A DATE, TIME, DATETIME or TIMESTAMP as MySQL prints it, with the fraction digits of its column. The methods are
     * empty where Java has no such value, as of 0000-00-00, and for the other types.
     */
    public record TimeText(String text, TimeKind kind) {
        /** A DATE. */
        public Optional<LocalDate> date() {
            return kind == TimeKind.DATE ? day(text) : Optional.empty();
        }

        /** A TIME, which has more hours than a day has. */
        public Optional<Duration> duration() {
            return kind == TimeKind.TIME ? clock(text) : Optional.empty();
        }

        /** A DATETIME, in no time zone. */
        public Optional<LocalDateTime> dateTime() {
            return kind == TimeKind.DATETIME ? moment() : Optional.empty();
        }

        /** A TIMESTAMP. */
        public Optional<Instant> instant() {
            return kind == TimeKind.TIMESTAMP ? moment().map(at -> at.toInstant(ZoneOffset.UTC)) : Optional.empty();
        }

        private Optional<LocalDateTime> moment() {
            int space = text.indexOf(' ');
            if (space < 0) {
                return Optional.empty();
            }
            Optional<Duration> time = clock(text.substring(space + 1));
            return time.flatMap(past -> day(text.substring(0, space)).map(day -> day.atStartOfDay().plus(past)));
        }

        private static Optional<LocalDate> day(String text) {
            try {
                return Optional.of(LocalDate.parse(text)).filter(day -> day.getYear() > 0);
            } catch (DateTimeException error) {
                return Optional.empty();
            }
        }

        private static Optional<Duration> clock(String text) {
            Matcher found = CLOCK.matcher(text);
            if (!found.matches()) {
                return Optional.empty();
            }
            String micros = (found.group(5) == null ? "" : found.group(5)) + "000000";
            Duration past = Duration.ofHours(Long.parseLong(found.group(2)))
                .plusMinutes(Long.parseLong(found.group(3))).plusSeconds(Long.parseLong(found.group(4)))
                .plusNanos(Long.parseLong(micros.substring(0, 6)) * 1000);
            return Optional.of(found.group(1).isEmpty() ? past : past.negated());
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** A JSON document as MySQL prints it. */
    public record JsonText(String text) {}

    /** A change of a JSON document whose former value the source's log does not have. */
    public record JsonDiff(String text) {}

    /** Index of an ENUM's label, where the labels are not known. */
    public record EnumIndex(BigInteger index) {}

    /** Bit mask of a SET's labels, where the labels are not known. */
    public record SetMask(BigInteger mask) {}

    /** A spatial value: 4 bytes of SRID, little-endian, then WKB. */
    public record Geometry(byte[] bytes) {
        /** The spatial reference system. */
        public int srid() {
            return bytes.length < 4 ? 0 : ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt();
        }
    }

    /** Text that is not valid in its character set: the bytes as stored. */
    public record MalformedText(byte[] bytes) {}

    /** A value that was left out because its row was too large for a message. */
    public record Omitted(long sizeBytes, byte[] sha256) {}
}
