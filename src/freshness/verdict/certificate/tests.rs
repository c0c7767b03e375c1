use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::change::{Gtid, Tag, Uuid};

fn gtid(source: u8, tag: &str, sequence: u64) -> Gtid {
    Gtid { source: Uuid([source; 16]), tag: Tag::new(tag.as_bytes()).expect("a tag"), sequence }
}

fn at(offset: u64) -> Position {
    Position::new("binlog.000001", offset)
}

/// The source's log as it grows, and a stream that may lose some of it.
struct Rig {
    accounting: Accounting,
    recorder: Recorder,
    executed: GtidSet,
    offset: u64,
}

impl Rig {
    fn new() -> Self {
        let mut recorder = Recorder::new();
        recorder.started(Some(&GtidSet::new()), Some(&at(4)));
        Self { accounting: Accounting::default(), recorder, executed: GtidSet::new(), offset: 4 }
    }

    fn deliver(&mut self, id: TransactionId, class: CountedAs) {
        let (start, end) = (at(self.offset), at(self.offset + 100));
        self.offset += 100;
        if let Some(span) = self.recorder.transaction(id, &start, &end, class) {
            self.accounting.arrived(Instant::now(), span);
        }
    }

    fn commit(&mut self, gtid: Gtid, class: CountedAs) {
        self.executed.insert(gtid);
        self.deliver(TransactionId::Gtid(gtid), class);
    }

    fn heartbeat(&mut self, number: u64, gtid: Gtid) {
        self.commit(gtid, CountedAs::Heartbeat(number));
        self.accounting.committed(number, Some(&self.executed), Some(&GtidSet::new()));
    }
}

#[test]
fn silence_between_two_heartbeats_is_certified_by_the_third() {
    let mut rig = Rig::new();
    rig.heartbeat(1, gtid(1, "", 1));
    rig.heartbeat(2, gtid(1, "", 2));
    assert_eq!(rig.accounting.certificate(), None);
    rig.heartbeat(3, gtid(1, "", 3));
    let certificate = rig.accounting.certificate().expect("judged one heartbeat late");
    assert_eq!((certificate.from.number, certificate.to.number), (1, 2));
    assert_eq!(certificate.counts, Counts { heartbeat: 1, ..Counts::default() });
    assert!(certificate.unaccounted.is_empty());
    let executed = |last| (1..=last).map(|number| gtid(1, "", number)).collect::<GtidSet>();
    assert_eq!(certificate.executed, [Some(executed(1)), Some(executed(2))]);

    // An answer that is missing leaves out its set, and no other.
    rig.commit(gtid(1, "", 4), CountedAs::Heartbeat(4));
    rig.heartbeat(5, gtid(1, "", 5));
    rig.heartbeat(6, gtid(1, "", 6));
    let certificate = rig.accounting.certificate().expect("a later one");
    assert_eq!((certificate.from.number, certificate.to.number), (4, 5));
    assert_eq!(certificate.executed, [None, Some(executed(5))]);
}

#[test]
fn a_transaction_that_the_stream_dropped_is_named_and_counted_once() {
    let mut rig = Rig::new();
    rig.heartbeat(1, gtid(1, "", 1));
    rig.executed.insert(gtid(2, "app", 7));
    for number in 2..=6 {
        rig.heartbeat(number, gtid(1, "", number));
        let total = rig.accounting.unaccounted_total();
        assert_eq!(total, u64::from(number > 2), "after heartbeat {number}");
        if number == 3 {
            let certificate = rig.accounting.certificate().expect("a certificate");
            assert_eq!(
                certificate.unaccounted.to_string(),
                "02020202-0202-0202-0202-020202020202:app:7"
            );
        }
    }
    assert!(rig.accounting.certificate().is_some_and(|last| last.unaccounted.is_empty()));
}

#[test]
fn a_loss_that_took_heartbeats_with_it_is_in_the_certificate_of_the_span_that_it_lies_in() {
    let mut rig = Rig::new();
    rig.heartbeat(1, gtid(1, "", 1));
    rig.heartbeat(2, gtid(1, "", 2));
    // Lost on the way: heartbeats 3 and 4, and a user's transaction with them.
    for (number, sequence) in [(3, 3), (4, 5)] {
        rig.executed.insert(gtid(1, "", sequence));
        rig.executed.insert(gtid(1, "", 4));
        rig.accounting.committed(number, Some(&rig.executed), Some(&GtidSet::new()));
    }
    // It is found when the next heartbeat comes, and certified with that one's answer.
    rig.heartbeat(5, gtid(1, "", 6));
    assert_eq!(rig.accounting.unaccounted_total(), 3);
    rig.heartbeat(6, gtid(1, "", 7));
    let certificate = rig.accounting.certificate().expect("a certificate");
    assert_eq!((certificate.from.number, certificate.to.number), (2, 5));
    assert_eq!(certificate.unaccounted.to_string(), "01010101-0101-0101-0101-010101010101:3-5");
    // Each is told of once.
    rig.heartbeat(7, gtid(1, "", 8));
    let certificate = rig.accounting.certificate().expect("a certificate");
    assert!(certificate.unaccounted.is_empty() && rig.accounting.unaccounted_total() == 3);
}

#[test]
fn what_is_missing_is_named_with_and_without_gtids() {
    let gap = Gap { expected: at(100), found: at(433) };
    let gtids: GtidSet = [gtid(1, "", 1), gtid(1, "", 2)].into_iter().collect();
    let named = |gtids: &GtidSet, gaps: &[Gap]| {
        let missing = Unaccounted { gtids: gtids.clone(), gaps: gaps.to_vec() };
        (missing.is_empty(), missing.to_string())
    };
    let (none, id) = (GtidSet::new(), "01010101-0101-0101-0101-010101010101:1-2");
    assert_eq!(named(&none, &[]), (true, "nothing".to_owned()));
    assert_eq!(named(&gtids, &[]), (false, id.to_owned()));
    let (hole, elsewhere) =
        ("333 bytes after binlog.000001:100", Position::new("binlog.000002", 4));
    assert_eq!(named(&none, std::slice::from_ref(&gap)), (false, hole.to_owned()));
    assert_eq!(named(&gtids, std::slice::from_ref(&gap)), (false, format!("{id}, {hole}")));
    let other = Gap { found: elsewhere, ..gap };
    assert_eq!(other.to_string(), "from binlog.000001:100 to binlog.000002:4");
}

#[test]
fn what_waits_for_its_evaluation_is_bounded_and_the_newest_is_kept() {
    let mut rig = Rig::new();
    // Answers without heartbeats on the stream, then heartbeats without answers.
    for number in 1..=1_000 {
        rig.executed.insert(gtid(1, "", number));
        rig.accounting.committed(number, Some(&rig.executed), None);
    }
    assert_eq!(rig.accounting.executed.len(), SPANS_MAX);
    assert_eq!(rig.accounting.executed.back().map(|read| read.number), Some(1_000));
    for number in 1..=1_000 {
        rig.deliver(TransactionId::Gtid(gtid(1, "", number)), CountedAs::Heartbeat(number));
    }
    // Of all that was read, that of the last heartbeat but one was compared, and nothing is missing.
    assert!(rig.accounting.certificate().is_some_and(|last| last.to.number == 999));
    let mut rig = Rig::new();
    for number in 1..=1_000 {
        rig.deliver(TransactionId::Gtid(gtid(1, "", number)), CountedAs::Heartbeat(number));
    }
    assert_eq!(rig.accounting.waiting.len(), SPANS_MAX);
    assert_eq!(rig.accounting.waiting.back().map(|span| span.to.number), Some(1_000));
}

#[test]
fn what_was_purged_before_the_stream_began_is_not_missing() {
    let mut rig = Rig::new();
    let old: GtidSet = [gtid(9, "", 1), gtid(9, "", 2)].into_iter().collect();
    rig.executed.union(&old);
    for number in 1..=3 {
        rig.commit(gtid(1, "", number), CountedAs::Heartbeat(number));
        rig.accounting.committed(number, Some(&rig.executed), Some(&old));
    }
    assert_eq!(rig.accounting.unaccounted_total(), 0);
    assert!(rig.accounting.certificate().is_some_and(|last| last.unaccounted.is_empty()));
}

#[test]
fn what_a_stream_was_started_after_is_not_missing() {
    let old: GtidSet = [gtid(1, "", 1), gtid(9, "", 2)].into_iter().collect();
    let mut recorder = Recorder::new();
    recorder.started(Some(&old), None);
    let mut rig = Rig { recorder, executed: old, ..Rig::new() };
    for number in 1..=3 {
        rig.heartbeat(number, gtid(1, "", number + 1));
    }
    assert_eq!(rig.accounting.unaccounted_total(), 0);
    assert_eq!(rig.accounting.known(), Some(&rig.executed));
}

#[test]
fn a_hole_in_front_of_the_first_transaction_of_a_dump_or_a_file_is_found() {
    let hole = |take_up: fn(&mut Recorder), start: u64| {
        let mut recorder = Recorder::new();
        take_up(&mut recorder);
        let (id, class) = (TransactionId::Anonymous, CountedAs::Heartbeat(1));
        let span = recorder.transaction(id, &at(start), &at(start + 100), class);
        span.expect("a heartbeat ends a span").gaps.len()
    };
    assert_eq!(hole(|recorder| recorder.started(None, Some(&at(157))), 157), 0);
    assert_eq!(hole(|recorder| recorder.started(None, Some(&at(157))), 158), 1);
    assert_eq!(hole(|recorder| recorder.rotated(&at(4)), 4), 0);
    assert_eq!(hole(|recorder| recorder.rotated(&at(4)), 5), 1);
    assert_eq!(hole(|_| (), 5_000), 0, "nobody knows where it began");
}

#[test]
fn what_a_stream_began_after_by_position_is_known_with_the_first_comparison() {
    let mut rig = Rig { recorder: Recorder::new(), ..Rig::new() };
    let old: GtidSet = [gtid(9, "", 1), gtid(9, "", 2)].into_iter().collect();
    rig.executed.union(&old);
    for number in 1..=2 {
        assert_eq!(rig.accounting.known(), None);
        rig.commit(gtid(1, "", number), CountedAs::Heartbeat(number));
        rig.accounting.committed(number, Some(&rig.executed), Some(&old));
    }
    rig.commit(gtid(1, "", 3), CountedAs::Heartbeat(3));
    assert_eq!(rig.accounting.known(), Some(&rig.executed), "with what was purged before");
}

#[test]
fn what_commits_while_the_writer_reads_is_not_missing_yet() {
    let mut rig = Rig::new();
    rig.heartbeat(1, gtid(1, "", 1));
    // Heartbeat 2 commits, then a user's transaction, then the writer reads; the stream is behind.
    let after = gtid(1, "", 3);
    rig.executed.insert(gtid(1, "", 2));
    rig.executed.insert(after);
    rig.accounting.committed(2, Some(&rig.executed), Some(&GtidSet::new()));
    rig.commit(gtid(1, "", 2), CountedAs::Heartbeat(2));
    assert_eq!(rig.accounting.unaccounted_total(), 0);
    rig.commit(after, CountedAs::User);
    rig.heartbeat(3, gtid(1, "", 4));
    assert_eq!(rig.accounting.unaccounted_total(), 0);
    assert!(rig.accounting.certificate().is_some_and(|last| last.to.number == 2));
}

#[test]
fn a_heartbeat_without_an_answer_is_certified_with_the_next() {
    let mut rig = Rig::new();
    rig.heartbeat(1, gtid(1, "", 1));
    rig.commit(gtid(1, "", 2), CountedAs::User);
    // Heartbeat 2 is on the stream; its answer never came.
    rig.commit(gtid(1, "", 3), CountedAs::Heartbeat(2));
    rig.heartbeat(3, gtid(1, "", 4));
    assert_eq!(
        rig.accounting.certificate(),
        None,
        "only what was read after heartbeat 1 is compared"
    );
    rig.heartbeat(4, gtid(1, "", 5));
    let certificate = rig.accounting.certificate().expect("a certificate");
    assert_eq!((certificate.from.number, certificate.to.number), (2, 3));
}

#[test]
fn without_gtids_a_hole_in_the_file_is_found_at_once() {
    let mut rig = Rig::new();
    rig.deliver(TransactionId::Anonymous, CountedAs::Heartbeat(1));
    rig.deliver(TransactionId::Anonymous, CountedAs::Filtered);
    rig.deliver(TransactionId::Anonymous, CountedAs::Heartbeat(2));
    let certificate = rig.accounting.certificate().expect("no third heartbeat is needed");
    assert!(certificate.unaccounted.is_empty());
    assert_eq!(certificate.counts.filtered, 1);

    rig.offset += 333;
    rig.deliver(TransactionId::Anonymous, CountedAs::Heartbeat(3));
    let certificate = rig.accounting.certificate().expect("a certificate");
    assert_eq!(certificate.unaccounted.to_string(), "333 bytes after binlog.000001:304");
    assert_eq!(rig.accounting.unaccounted_total(), 1);
}

#[test]
fn with_gtids_a_hole_in_the_file_is_no_loss() {
    let mut recorder = Recorder::new();
    recorder.started(Some(&GtidSet::new()), None);
    let at = |offset| Position::new("binlog.000001", offset);
    recorder.passed(&at(100), &at(200));
    recorder.passed(&at(9_000), &at(9_100));
    let gtid = Gtid { source: Uuid([7; 16]), tag: Tag::default(), sequence: 1 };
    let id = TransactionId::Gtid(gtid);
    let span = recorder.transaction(id, &at(20_000), &at(20_100), CountedAs::Heartbeat(1));
    assert_eq!(span.expect("a heartbeat ends a span").gaps, []);
}

#[test]
fn what_is_sent_again_after_a_redial_leaves_no_hole() {
    let mut rig = Rig::new();
    rig.deliver(TransactionId::Anonymous, CountedAs::Heartbeat(1));
    rig.deliver(TransactionId::Anonymous, CountedAs::User);
    rig.recorder.started(None, Some(&at(104)));
    rig.offset = 104;
    rig.deliver(TransactionId::Anonymous, CountedAs::User);
    rig.recorder.rotated(&Position::new("binlog.000002", 4));
    let (start, end) = (Position::new("binlog.000002", 4), Position::new("binlog.000002", 90));
    let span =
        rig.recorder.transaction(TransactionId::Anonymous, &start, &end, CountedAs::Heartbeat(2));
    rig.accounting.arrived(Instant::now(), span.expect("a heartbeat ends a span"));
    assert!(rig.accounting.certificate().is_some_and(|last| last.unaccounted.is_empty()));
}

/// One transaction of a concurrent history.
#[derive(Debug, Clone, Copy)]
struct Step {
    source: u8,
    tagged: bool,
    /// Steps by which it enters `gtid_executed` after it was logged.
    executed_late: usize,
    lost: bool,
    heartbeat: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..3, any::<bool>(), 0_usize..4, 0_u8..12, 0_u8..4);
    proptest::collection::vec(step, 1..80).prop_map(|steps| {
        let step = |(source, tagged, executed_late, lost, kind)| Step {
            source,
            tagged,
            executed_late,
            lost: lost == 0,
            heartbeat: kind == 0,
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    /// Log order and the order of entering `gtid_executed` differ, as with concurrent commits that
    /// are not ordered; the stream trails the log by any amount that the heartbeats allow.
    #[test]
    fn exactly_what_was_lost_is_reported_whatever_the_order_of_commits(steps in steps()) {
        let mut rig = Rig::new();
        let mut lost = BTreeSet::new();
        let mut late: Vec<(usize, Gtid)> = Vec::new();
        let mut number = 0;
        let mut all = steps;
        // Four heartbeats at the end flush out what is late.
        all.extend([Step { source: 0, tagged: false, executed_late: 0, lost: false, heartbeat: true }; 8]);
        for (index, step) in all.iter().enumerate() {
            let sequence = index as u64 + 1;
            let gtid = gtid(step.source, if step.tagged { "t" } else { "" }, sequence);
            late.retain(|(due, gtid)| {
                if *due <= index { rig.executed.insert(*gtid); }
                *due > index
            });
            if step.heartbeat {
                number += 1;
                // Its commit is answered, so it is executed; the stream may lose it all the same.
                rig.executed.insert(gtid);
                if step.lost {
                    lost.insert(gtid);
                } else {
                    rig.deliver(TransactionId::Gtid(gtid), CountedAs::Heartbeat(number));
                }
                rig.accounting.committed(number, Some(&rig.executed), Some(&GtidSet::new()));
            } else {
                late.push((index + step.executed_late, gtid));
                if step.lost {
                    lost.insert(gtid);
                } else {
                    rig.deliver(TransactionId::Gtid(gtid), CountedAs::User);
                }
            }
            let reported = rig.accounting.reported.clone();
            prop_assert!(reported.is_subset_of(&lost.iter().copied().collect()), "false alarm");
        }
        prop_assert_eq!(&rig.accounting.reported, &lost.iter().copied().collect::<GtidSet>());
        prop_assert_eq!(rig.accounting.unaccounted_total(), lost.len() as u64);
    }
}

#[test]
fn what_a_server_skips_while_it_seeks_is_no_hole_and_what_it_skips_later_is_one() {
    let maria = |sequence| {
        TransactionId::Maria(crate::change::MariaGtid { domain: 0, server: 1, sequence })
    };
    let mut recorder = Recorder::new();
    let heartbeat = |recorder: &mut Recorder, number: u64, start: u64| {
        let span = recorder.transaction(
            maria(number),
            &at(start),
            &at(start + 100),
            CountedAs::Heartbeat(number),
        );
        span.expect("a heartbeat ends a span").gaps.len()
    };
    // A dump, and one more after a redial: the front of the file comes first, then a jump.
    for (round, start) in [(0, 5_000), (1, 6_000)] {
        recorder.sought();
        recorder.rotated(&at(4));
        recorder.passed(&at(4), &at(256));
        assert_eq!(heartbeat(&mut recorder, round * 2 + 1, start), 0, "round {round}");
        assert_eq!(heartbeat(&mut recorder, round * 2 + 2, start + 100), 0, "round {round}");
    }
    assert_eq!(heartbeat(&mut recorder, 9, 9_000), 1, "that was dropped");
}
