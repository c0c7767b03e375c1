package binpulse.client;

import binpulse.v1.Canary;
import binpulse.v1.QuietCertificate;
import binpulse.v1.Watermark;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Optional;

/**
 * What the canaries of one stream tell: is a silent table quiet, or am I cut off? One for each stream, and for each path
 * through a table of yours. It is not for several threads at a time.
 */
public final class Freshness {
    /** The answer of a health check. */
    public enum State {
        /** The newest canary is young enough. */
        FRESH,
        /** No canary for too long: cut off, whatever the last verdict was. */
        STALE,
        /** There was no canary yet. */
        UNKNOWN
    }

    /** The answer of a health check: the age is null before the first canary, the verdict unless fresh. */
    public record Health(State state, Duration age, String verdict) {}

    private Instant writtenAt;
    private Watermark watermark;
    private QuietCertificate certificate;

    /** Takes a canary, in whichever order they come. */
    public void observe(Canary canary) {
        long us = canary.getWrittenAtUs();
        if (us == 0 && canary.getBatch().getTransactionsCount() > 0) {
            us = canary.getBatch().getCommittedAtBaseUs()
                + canary.getBatch().getTransactions(0).getCommittedAtDeltaUs();
        }
        if (us == 0) {
            return;
        }
        if (canary.getWatermark().hasCertificate()) {
            QuietCertificate proof = canary.getWatermark().getCertificate();
            if (certificate == null || certificate.getProvenAtUs() < proof.getProvenAtUs()) {
                certificate = proof;
            }
        }
        Instant at = Instant.EPOCH.plus(us, ChronoUnit.MICROS);
        if (writtenAt == null || !at.isBefore(writtenAt)) {
            writtenAt = at;
            watermark = canary.hasWatermark() ? canary.getWatermark() : null;
        }
    }

    /** Age of the newest canary; 0 of one of the future: clocks differ. */
    public Optional<Duration> age(Instant now) {
        return Optional.ofNullable(writtenAt).map(at -> at.isAfter(now) ? Duration.ZERO : Duration.between(at, now));
    }

    /**
     * All in one: a canary older than {@code ageMax} is too old. A minute, six times {@code canary.interval} unless that
     * was changed, passes over one that is late.
     */
    public Health health(Duration ageMax, Instant now) {
        Duration age = age(now).orElse(null);
        if (age == null) {
            return new Health(State.UNKNOWN, null, null);
        }
        if (age.compareTo(ageMax) > 0) {
            return new Health(State.STALE, age, null);
        }
        return new Health(State.FRESH, age, watermark == null ? "" : watermark.getVerdict());
    }

    /** The watermark of the newest canary. */
    public Optional<Watermark> watermark() {
        return Optional.ofNullable(watermark);
    }

    /** The newest certificate that any canary carried. */
    public Optional<QuietCertificate> certificate() {
        return Optional.ofNullable(certificate);
    }

    /** Until when it is proven that no transaction had rows for this stream; empty where that is not proven. */
    public Optional<Instant> quietUntil() {
        return certificate().filter(proof -> proof.getUserTransactions() == 0)
            .map(proof -> Instant.EPOCH.plus(proof.getProvenAtUs(), ChronoUnit.MICROS));
    }
}
