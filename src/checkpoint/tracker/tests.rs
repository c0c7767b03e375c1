use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Commit, Misuse, Tracker, TransactionKind};
use crate::change::{Gtid, MariaGtid, Position, Tag, TransactionId, Uuid};
use crate::checkpoint::{Checkpoint, Delta};

fn gtid(sequence: u64) -> TransactionId {
    TransactionId::Gtid(Gtid { source: Uuid([7; 16]), tag: Tag::default(), sequence })
}

pub(super) fn place(offset: u64) -> Position {
    Position::new("binlog.000001", offset)
}

fn commit(tracker: &mut Tracker, sequence: u64, class: TransactionKind) {
    let end = place(sequence * 100);
    tracker.commit(&Commit { id: gtid(sequence), class, end: &end, resolves: &[], open_xa: None });
}

/// The next row of lane `d.t#<lane>` will have the number `next`.
pub(super) fn numbered(tracker: &mut Tracker, lane: u32, next: u64) {
    tracker.numbered(lane, &Arc::from(format!("d.t#{lane}")), next);
}

#[test]
fn a_unit_waits_for_its_messages_and_for_all_earlier_units() {
    // Given two ack groups with a message each, the second with a filtered transaction as well
    let mut tracker = Tracker::new(&Checkpoint::default());
    numbered(&mut tracker, 0, 4);
    tracker.opened(0).expect("the open ack group");
    commit(&mut tracker, 1, TransactionKind::User);
    assert!(tracker.close_ack_group());
    numbered(&mut tracker, 0, 6);
    tracker.opened(1).expect("the open ack group");
    commit(&mut tracker, 2, TransactionKind::User);
    commit(&mut tracker, 3, TransactionKind::Filtered);
    assert!(tracker.close_ack_group());

    // When the second settles first, then nothing is delivered yet
    assert_eq!(tracker.settled(1), Ok(false));
    assert_eq!(tracker.take_delta(0), None);

    // When the first settles too, then everything is
    assert_eq!(tracker.settled(0), Ok(true));
    let delta = tracker.take_delta(9).expect("something was delivered");
    assert_eq!(delta.gtids.to_string(), "07070707-0707-0707-0707-070707070707:1-3");
    assert_eq!(delta.settled.position, place(300));
    assert_eq!(delta.lanes, BTreeMap::from([(Arc::from("d.t#0"), 6)]));
    assert_eq!((delta.transactions, delta.taken_at_us), (3, 9));
    assert_eq!(tracker.take_delta(10), None, "a delta holds only what is new");
}

#[test]
fn the_lanes_of_a_table_are_told_moved_or_not_named_or_not() {
    let lanes = [("d.t#1", 7), ("d.t2#0", 9), ("d.s#0", 3)];
    let lanes = lanes.map(|(key, next)| (Arc::from(key), next)).into();
    let checkpoint = Checkpoint { lanes, ..Checkpoint::default() };
    let mut tracker = Tracker::new(&checkpoint);
    numbered(&mut tracker, 0, 4);
    let found = tracker.lanes_of("d.t#", 9);
    let keys = |found: &super::MovedLanes| {
        found.lanes.iter().map(|(key, next)| (key.to_string(), *next)).collect::<Vec<_>>()
    };
    // What goes by is not delivered yet.
    assert_eq!(keys(&found), [("d.t#0".to_owned(), 1), ("d.t#1".to_owned(), 7)]);
    assert!(!found.truncated && !tracker.lanes_of("d.t#", 2).truncated);
    let found = tracker.lanes_of("d.t#", 1);
    assert!(found.truncated && found.lanes.len() == 1);
    assert_eq!(tracker.take_moved_lanes(9).lanes.len(), 0, "nothing is taken");
}

#[test]
fn filtered_transactions_heartbeats_and_idle_positions_advance_the_checkpoint() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, TransactionKind::Filtered);
    commit(&mut tracker, 2, TransactionKind::Heartbeat(41));
    assert!(tracker.close_ack_group());
    let delta = tracker.take_delta(0).expect("a filtered-only stream advances");
    assert_eq!((delta.settled.position, delta.heartbeat), (place(200), Some(41)));
    assert_eq!(tracker.settled_heartbeat(), Some(41));

    tracker.reached(&place(250), None);
    assert!(tracker.close_ack_group());
    assert_eq!(tracker.take_delta(0).map(|delta| delta.settled.position), Some(place(250)));

    tracker.reached(&place(250), None);
    assert!(!tracker.close_ack_group(), "standing still is no news");
}

#[test]
fn saves_in_the_source_database_do_not_cause_further_saves() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, TransactionKind::Checkpoint);
    assert!(tracker.close_ack_group());
    assert_eq!(tracker.take_delta(0), None);

    commit(&mut tracker, 2, TransactionKind::Filtered);
    assert!(tracker.close_ack_group());
    let delta = tracker.take_delta(0).expect("now there is a reason");
    assert!(delta.gtids.to_string().ends_with(":1-2"), "and the save before comes along");
}

#[test]
fn reports_that_cannot_be_are_refused() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    assert_eq!(tracker.settled(0), Err(Misuse::NotOutstanding { ack_group: 0 }));
    assert_eq!(tracker.settled(5), Err(Misuse::NotOutstanding { ack_group: 5 }));
    commit(&mut tracker, 1, TransactionKind::User);
    tracker.close_ack_group();
    assert_eq!(
        tracker.opened(0),
        Err(Misuse::NotOutstanding { ack_group: 0 }),
        "delivered already"
    );
}

#[test]
fn lanes_that_moved_are_told_once_and_in_portions() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    for number in 0..3 {
        numbered(&mut tracker, number, 5);
    }
    commit(&mut tracker, 1, TransactionKind::User);
    tracker.close_ack_group();
    let first = tracker.take_moved_lanes(2);
    assert_eq!(first.lanes, [("d.t#0".into(), 5), ("d.t#1".into(), 5)]);
    assert!(first.truncated);
    let second = tracker.take_moved_lanes(2);
    assert_eq!((second.lanes.len(), second.truncated), (1, false));
    assert_eq!(tracker.take_moved_lanes(2).lanes, []);
    // One that moves again is told again, and saved again.
    assert_eq!(tracker.take_delta(0).map(|delta| delta.lanes.len()), Some(3));
    for next in [6, 7] {
        numbered(&mut tracker, 1, next);
        commit(&mut tracker, next, TransactionKind::User);
        tracker.close_ack_group();
        assert_eq!(tracker.take_moved_lanes(2).lanes, [("d.t#1".into(), next)]);
        let delta = tracker.take_delta(0).expect("a transaction");
        assert_eq!(delta.lanes, BTreeMap::from([("d.t#1".into(), next)]));
    }
}

#[test]
fn a_failover_is_saved_with_the_first_place_on_the_new_server() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    commit(&mut tracker, 1, TransactionKind::User);
    tracker.close_ack_group();
    tracker.moved_to("another");
    // A place of the server before would be taken for one of this
    assert_eq!(tracker.redial_place().position, Position::default());
    commit(&mut tracker, 2, TransactionKind::User);
    tracker.close_ack_group();
    let mut saved = Checkpoint { server_uuid: "first".into(), ..Checkpoint::default() };
    saved.apply(&tracker.take_delta(0).expect("two transactions"));
    assert_eq!(saved.server_uuid, "another");
}

#[test]
fn mariadbs_position_stays_before_an_open_xa_transaction() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    let mut commit = |sequence, open_xa: Option<u64>| {
        let id = TransactionId::Maria(MariaGtid { domain: 0, server: 1, sequence });
        let (end, open_xa) = (place(sequence * 100), open_xa.map(place));
        let open_xa = open_xa.as_ref();
        tracker.commit(&Commit {
            id,
            class: TransactionKind::User,
            end: &end,
            resolves: &[],
            open_xa,
        });
        tracker.close_ack_group();
        tracker.take_delta(0).expect("a transaction")
    };
    assert_eq!(commit(1, None).resume.maria.to_string(), "0-1-1");
    // An XA transaction is prepared at 150, as number 2.
    let held = commit(3, Some(150));
    assert_eq!(
        (held.resume.maria.to_string().as_str(), held.resume.position),
        ("0-1-1", place(150))
    );
    assert_eq!(
        (held.settled.maria.to_string().as_str(), held.settled.position),
        ("0-1-3", place(300))
    );
    let decided = commit(4, None);
    assert_eq!(decided.resume, decided.settled);
}

#[test]
fn what_lies_before_a_mariadb_stream_that_was_begun_by_offset_is_saved_as_delivered() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    for (domain, server, sequence) in [(0, 1, 100), (7, 2, 5)] {
        tracker.assume_maria(MariaGtid { domain, server, sequence });
    }
    assert!(tracker.close_ack_group());
    let delta = tracker.take_delta(0).expect("it is worth a save");
    assert_eq!(delta.settled.maria.to_string(), "0-1-100,7-2-5");
    assert_eq!(delta.resume, delta.settled);
    assert_eq!(tracker.redial_place().maria, delta.settled.maria);
}

#[test]
fn merged_deltas_say_what_they_say_one_after_the_other() {
    let mut tracker = Tracker::new(&Checkpoint::default());
    let (mut one_by_one, mut merged) = (Checkpoint::default(), Delta::default());
    for sequence in 1..=5 {
        numbered(&mut tracker, 0, 1 + (1..=sequence).sum::<u64>());
        commit(&mut tracker, sequence, TransactionKind::Heartbeat(sequence));
        tracker.close_ack_group();
        let delta = tracker.take_delta(7).expect("a transaction");
        one_by_one.apply(&delta);
        merged.merge(delta);
    }
    let mut at_once = Checkpoint::default();
    at_once.apply(&merged);
    assert_eq!(at_once, one_by_one);
    assert_eq!((merged.heartbeat, merged.transactions), (Some(5), 5));
}
