use std::time::{Duration, Instant};

use super::{CanaryArrival, Kind, Probe, STREAMS_MAX};
use crate::freshness::Phase;
use crate::freshness::canary::echo::Canary;

const DEADLINE: Duration = Duration::from_mins(1);
/// When the probe begins, by the wall clock.
const BEGIN_US: i64 = 1_800_000_000_000_000;

/// A probe in virtual time: seconds after its begin.
struct Bench {
    probe: Probe,
    begin: Instant,
}

impl Bench {
    fn new(streams: &[&str]) -> Self {
        let begin = Instant::now();
        let streams = streams.iter().map(|stream| (*stream).to_owned());
        Self { probe: Probe::new(streams, DEADLINE, begin), begin }
    }

    fn at(&self, second: u64) -> Instant {
        self.begin + Duration::from_secs(second)
    }

    /// The message with this number in the lane of canaries comes `took` seconds after its writing.
    fn arrive(
        &mut self,
        second: u64,
        stream: &str,
        sequence: u64,
        took: u64,
    ) -> Option<CanaryArrival> {
        self.arrive_by(second, stream, "", sequence, took)
    }

    /// The same, through a path.
    fn arrive_by(
        &mut self,
        second: u64,
        stream: &str,
        path: &str,
        sequence: u64,
        took: u64,
    ) -> Option<CanaryArrival> {
        let us = |second: u64| i64::try_from(second).expect("small") * 1_000_000;
        let canary = Canary {
            stream: stream.to_owned(),
            server_uuid: "aa".to_owned(),
            epoch: 1,
            sequence,
            path: path.to_owned(),
            number: sequence.div_ceil(3),
            phase: Phase::ALL[usize::try_from((sequence + 2) % 3).expect("small")],
            written_at_us: BEGIN_US + us(second) - us(took),
            watermark_at_us: BEGIN_US + us(second) - us(took) + 1,
            verdict: "live".to_owned(),
            nonce: Vec::new(),
        };
        let evaluated = self.probe.observe(&canary, self.at(second), BEGIN_US + us(second))?;
        assert_eq!(evaluated.transit, Duration::from_secs(took));
        Some(evaluated.arrival)
    }

    fn complaints(&self, second: u64) -> Vec<String> {
        self.probe.complaints(self.at(second))
    }
}

#[test]
fn silence_beyond_the_deadline_names_the_canary_that_was_missed_and_ends_with_the_next() {
    let mut bench = Bench::new(&["shop"]);
    assert_eq!(bench.probe.awaited().count(), 1);
    for sequence in 1..=4 {
        bench.arrive(sequence, "shop", sequence, 1);
    }
    assert_eq!(bench.probe.awaited().count(), 0);
    assert_eq!(bench.complaints(63), [""; 0], "59 s since it came, and 1 s before");
    let complaints = bench.complaints(75);
    assert_eq!(
        complaints,
        ["stream shop: canary 2 (update) has not arrived: silence for 71 s, allowed 60 s; the \
             last was canary 2 (insert), number 4 of its lane in epoch 1; the streamer's verdict \
             was then `live`"]
    );
    bench.arrive(80, "shop", 6, 1);
    assert_eq!(bench.complaints(81), [""; 0]);
    let last = bench.complaints(200);
    assert!(last[0].contains("canary 3 (insert) has not arrived"), "{last:?}");
    assert_eq!(bench.probe.expire(bench.at(200)), [("shop".to_owned(), 1)], "number 5");
}

#[test]
fn canaries_that_come_in_a_steady_stream_but_late_are_no_freshness() {
    let mut bench = Bench::new(&["shop"]);
    for sequence in 1..=50 {
        bench.arrive(sequence, "shop", sequence, 300);
    }
    let complaints = bench.complaints(51);
    assert!(complaints[0].contains("301 s after they were written"), "{complaints:?}");
    // Duplicates and old ones prove nothing.
    assert_eq!(bench.arrive(52, "shop", 50, 0), Some(CanaryArrival::Duplicate));
    assert_eq!(bench.complaints(52).len(), 1);
    bench.arrive(53, "shop", 51, 2);
    assert_eq!(bench.complaints(53), [""; 0], "it has caught up");
}

#[test]
fn a_stream_that_was_named_is_missed_also_if_it_never_sent_anything() {
    let mut bench = Bench::new(&["bank", "shop"]);
    bench.arrive(50, "shop", 1, 0);
    assert_eq!(bench.complaints(60), [""; 0]);
    let complaints = bench.complaints(61);
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].starts_with("stream bank: no canary has arrived in the 61 s"),
        "{complaints:?}"
    );
    assert_eq!(bench.arrive(62, "other", 1, 0), None, "it was not named");
    assert_eq!(bench.probe.kind(Kind::OtherStream), 1);
}

#[test]
fn without_names_each_stream_that_comes_is_taken_up_and_one_is_awaited() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.complaints(60), [""; 0]);
    let complaints = bench.complaints(61);
    assert!(complaints[0].starts_with("no canary of any stream has arrived"), "{complaints:?}");
    for number in 0..STREAMS_MAX as u64 + 5 {
        bench.arrive(62, &format!("s{number}"), 1, 0);
    }
    assert_eq!(bench.probe.accounts().count(), STREAMS_MAX, "bounded");
    assert_eq!(bench.probe.kind(Kind::OtherStream), 5);
    assert_eq!(bench.complaints(100), [""; 0]);
    assert_eq!(bench.complaints(123).len(), STREAMS_MAX);
}

#[test]
fn a_queue_that_cannot_be_read_is_named_beside_what_was_missed() {
    let mut bench = Bench::new(&["shop"]);
    bench.arrive(1, "shop", 1, 0);
    bench.probe.read(bench.at(1));
    bench.probe.failed("echo queue q: receive: AccessDenied".to_owned());
    assert_eq!(bench.complaints(30), [""; 0], "it may pass");
    let complaints = bench.complaints(90);
    assert_eq!(complaints[1], "echo queue q: receive: AccessDenied; it was last read 89 s ago");
    bench.probe.read(bench.at(90));
    assert_eq!(bench.complaints(90).len(), 1);
}

#[test]
fn a_path_has_an_account_of_its_own_which_is_judged_only_if_it_was_named() {
    // The same numbers on a lane of their own are neither duplicates nor gaps of the others.
    for (named, evaluated) in [(&[][..], false), (&["shop", "shop/orders"][..], true)] {
        let mut bench = Bench::new(named);
        for sequence in 1..=3 {
            assert_eq!(bench.arrive(sequence, "shop", sequence, 0), Some(CanaryArrival::New));
            let by_path = bench.arrive_by(sequence, "shop", "orders", sequence, 0);
            assert_eq!(by_path, Some(CanaryArrival::New), "{sequence}");
        }
        bench.arrive(80, "shop", 4, 0);
        let counts: Vec<_> = bench.probe.accounts().map(|(name, it)| (name, it.counts())).collect();
        let received = counts.iter().map(|(name, counts)| (*name, counts.received));
        assert_eq!(received.collect::<Vec<_>>(), [("shop", 4), ("shop/orders", 3)]);
        assert!(counts.iter().all(|(_, it)| it.duplicate + it.lost + it.stale == 0), "{counts:?}");
        let complaints = bench.complaints(100);
        assert_eq!(complaints.len(), usize::from(evaluated), "{complaints:?}");
        let names = |text: &String| text.starts_with("stream shop/orders: the next canary has not");
        assert!(complaints.iter().all(names), "{complaints:?}");
    }
    let mut bench = Bench::new(&["shop"]);
    assert_eq!(bench.arrive_by(1, "shop", "orders", 1, 0), None, "it was not named");
}

#[test]
fn another_server_behind_the_same_stream_is_counted() {
    let mut bench = Bench::new(&["shop"]);
    bench.arrive(1, "shop", 1, 0);
    let canary = |sequence, server: &str| Canary {
        stream: "shop".to_owned(),
        server_uuid: server.to_owned(),
        epoch: 1,
        sequence,
        path: String::new(),
        number: sequence,
        phase: Phase::Insert,
        written_at_us: 0,
        watermark_at_us: 0,
        verdict: String::new(),
        nonce: Vec::new(),
    };
    let now = bench.at(2);
    bench.probe.observe(&canary(2, "bb"), now, BEGIN_US);
    bench.probe.observe(&canary(3, "bb"), now, BEGIN_US);
    let (_, account) = bench.probe.accounts().next().expect("one");
    assert_eq!((account.source_changes(), account.server_uuid()), (1, "bb"));
    let newest = account.newest().expect("it came");
    assert_eq!((newest.transit, newest.watermark_age(now)), (Duration::ZERO, None));
}

#[test]
fn forged_canaries_do_not_make_the_probe_deaf() {
    // A far number, an epoch that cannot be, a new epoch, and the first message of all
    for (epoch, sequence) in
        [(1, 5_000_000), (u64::MAX, 1), (u64::MAX, u64::MAX), (2, 1), (1_800_000_000, 7_777)]
    {
        for forged_first in [false, true] {
            let what = format!("{epoch} {sequence} {forged_first}");
            let mut bench = Bench::new(&["shop"]);
            let forge = |bench: &mut Bench, second| {
                let canary = Canary {
                    stream: "shop".to_owned(),
                    server_uuid: "aa".to_owned(),
                    epoch,
                    sequence,
                    path: String::new(),
                    number: 1,
                    phase: Phase::Insert,
                    written_at_us: 0,
                    watermark_at_us: 0,
                    verdict: String::new(),
                    nonce: Vec::new(),
                };
                let now = bench.at(second);
                let us = i64::try_from(second).expect("small") * 1_000_000;
                bench.probe.observe(&canary, now, BEGIN_US + us);
            };
            if forged_first {
                forge(&mut bench, 0);
            }
            // Three messages each ten seconds, for ten minutes
            for sequence in 1..=180_u64 {
                let second = sequence.div_ceil(3) * 10;
                if sequence == 31 && !forged_first {
                    forge(&mut bench, second);
                }
                bench.arrive(second, "shop", sequence, 0);
                assert_eq!(bench.complaints(second), [""; 0], "{what}: at {second} s");
                assert_eq!(bench.probe.expire(bench.at(second)), [], "{what}: at {second} s");
            }
            let (_, account) = bench.probe.accounts().next().expect("one");
            let newest = account.newest().expect("it came").place;
            assert_eq!((newest.epoch, newest.number), (1, 180), "{what}");
        }
    }
}
