//! The probe's account as metrics, read at the scrape.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, read};
use crate::freshness::probe::{Account, Counts, Kind as Message, Probe};
use crate::telemetry::metrics::{Kind, Sample, ScrapedFamily, timestamp};

const STREAM: &[&str] = &["stream"];

/// All families that follow from the account.
pub(super) fn families(probe: &Shared) -> Vec<ScrapedFamily> {
    let mut families = counters(probe);
    families.extend(gauges(probe));
    families.extend(of_the_queue(probe));
    families
}

/// Makes one family from the account.
fn family(
    probe: &Shared,
    (name, help, kind): (&'static str, &'static str, Kind),
    labels: &'static [&'static str],
    samples: impl Fn(&Probe) -> Vec<Sample> + Send + Sync + 'static,
) -> ScrapedFamily {
    let probe = Arc::clone(probe);
    ScrapedFamily { name, help, kind, labels, read: Arc::new(move || samples(&read(&probe))) }
}

/// A sample for each stream.
fn by_stream(probe: &Probe, value: impl Fn(&Account) -> f64) -> Vec<Sample> {
    let accounts = probe.accounts();
    accounts
        .map(|(stream, account)| (vec![("stream", stream.to_owned())], value(account)))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn number(count: u64) -> f64 {
    count as f64
}

type Count = fn(&Counts) -> u64;

fn counters(probe: &Shared) -> Vec<ScrapedFamily> {
    let counts: [(&str, &str, Count); 7] = [
        (
            "binpulse_probe_received_total",
            "Canary messages received, each counted once.",
            |counts| counts.received,
        ),
        (
            "binpulse_probe_lost_total",
            "Canary messages that had not arrived probe.deadline after a later one.",
            |counts| counts.lost,
        ),
        ("binpulse_probe_late_total", "Lost canary messages that arrived later.", |counts| {
            counts.late
        }),
        ("binpulse_probe_duplicate_total", "Canary messages received more than once.", |counts| {
            counts.duplicate
        }),
        (
            "binpulse_probe_reordered_total",
            "Canary messages received after a later one, in time.",
            |counts| counts.reordered,
        ),
        (
            "binpulse_probe_stale_total",
            "Canary messages older than the probe's memory, or of an earlier epoch.",
            |counts| counts.stale,
        ),
        (
            "binpulse_probe_implausible_total",
            "Canary messages with an implausibly high number.",
            |counts| counts.implausible,
        ),
    ];
    let mut families: Vec<_> = counts
        .into_iter()
        .map(|(name, help, of)| {
            family(probe, (name, help, Kind::Counter), STREAM, move |probe| {
                by_stream(probe, |account| number(of(&account.counts())))
            })
        })
        .collect();
    families.push(family(
        probe,
        (
            "binpulse_probe_source_changes_total",
            "How often the newest canary came from a different server than the one before.",
            Kind::Counter,
        ),
        STREAM,
        |probe| by_stream(probe, |account| number(account.source_changes())),
    ));
    families
}

fn gauges(probe: &Shared) -> Vec<ScrapedFamily> {
    let gauge = |name, help| (name, help, Kind::Gauge);
    let ago = |age: Duration| timestamp(Instant::now()) - age.as_secs_f64();
    let never = |value: Option<f64>| value.unwrap_or(f64::NAN);
    vec![
        family(
            probe,
            gauge(
                "binpulse_probe_newest_canary_timestamp_seconds",
                "When the newest canary was written, by the probe's clock; before the first, when \
                 the probe started.",
            ),
            STREAM,
            move |probe| by_stream(probe, |account| ago(account.age(Instant::now()))),
        ),
        family(
            probe,
            gauge(
                "binpulse_probe_last_arrival_timestamp_seconds",
                "When a newer canary was last received; NaN before the first.",
            ),
            STREAM,
            move |probe| {
                let arrived = |account: &Account| Some(timestamp(account.newest()?.arrived));
                by_stream(probe, |account| never(arrived(account)))
            },
        ),
        family(
            probe,
            gauge(
                "binpulse_probe_watermark_timestamp_seconds",
                "When the newest canary's watermark was taken, by the probe's clock; NaN without one.",
            ),
            STREAM,
            move |probe| {
                let now = Instant::now();
                by_stream(probe, |account| {
                    never(account.newest().and_then(|newest| newest.watermark_age(now)).map(ago))
                })
            },
        ),
        family(
            probe,
            gauge("binpulse_probe_last_canary", "Number of the newest canary; 0 before the first."),
            STREAM,
            |probe| {
                by_stream(probe, |account| number(account.newest().map_or(0, |last| last.number)))
            },
        ),
        family(
            probe,
            gauge(
                "binpulse_probe_last_sequence",
                "Number of the newest canary message in its lane; 0 before the first.",
            ),
            STREAM,
            |probe| {
                by_stream(probe, |account| {
                    number(account.newest().map_or(0, |last| last.place.number))
                })
            },
        ),
        family(
            probe,
            gauge(
                "binpulse_probe_source_info",
                "The server that the newest canary was read from, in the label; always 1.",
            ),
            &["stream", "server_uuid"],
            |probe| {
                let accounts = probe.accounts();
                let sample = |(stream, account): (&str, &Account)| {
                    let server = account.server_uuid().to_owned();
                    (vec![("stream", stream.to_owned()), ("server_uuid", server)], 1.0)
                };
                accounts.map(sample).collect()
            },
        ),
    ]
}

fn of_the_queue(probe: &Shared) -> Vec<ScrapedFamily> {
    vec![
        family(
            probe,
            (
                "binpulse_probe_healthy",
                "1 while /healthz answers 200: each stream's newest canary is younger than probe.deadline.",
                Kind::Gauge,
            ),
            &[],
            |probe| {
                let healthy = probe.complaints(Instant::now()).is_empty();
                vec![(Vec::new(), f64::from(u8::from(healthy)))]
            },
        ),
        family(
            probe,
            (
                "binpulse_probe_messages_total",
                "Messages read from the probe's queue, by what they were.",
                Kind::Counter,
            ),
            &["kind"],
            |probe| {
                let sample = |kind: Message| {
                    (vec![("kind", kind.as_str().to_owned())], number(probe.kind(kind)))
                };
                Message::ALL.into_iter().map(sample).collect()
            },
        ),
        family(
            probe,
            (
                "binpulse_probe_queue_failures_total",
                "Reads of the probe's queue, and deletions from it, that failed.",
                Kind::Counter,
            ),
            &[],
            |probe| vec![(Vec::new(), number(probe.queue().failures))],
        ),
        family(
            probe,
            (
                "binpulse_probe_queue_read_timestamp_seconds",
                "When the probe's queue was last read; NaN before the first time.",
                Kind::Gauge,
            ),
            &[],
            |probe| vec![(Vec::new(), probe.queue().read.map_or(f64::NAN, timestamp))],
        ),
    ]
}
