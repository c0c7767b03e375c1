//! Messages of outboxes on their way: those of one aggregate one after the other.
//!
//! They have no numbers, so nothing of them is saved before they are sent: a message is deleted once it is
//! delivered or parked, and one that comes again goes out under the same id.

use std::collections::{HashMap, VecDeque};

use super::delivery::{Task, What};
use crate::lanes::Order;
use crate::state::Parked;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    /// Aggregates of which a message is under way, each with those behind it.
    behind: HashMap<String, VecDeque<Task>>,
    /// Given up, to be parked before anything else of its aggregate goes: group, message and what is parked.
    pub(super) to_park: Vec<(String, u64, Parked)>,
}

impl Outboxes {
    /// The task if it may go now; else it waits for those of its group.
    pub(super) fn admit(&mut self, order: Order, group: &str, task: Task) -> Option<Task> {
        if order == Order::None {
            return Some(task);
        }
        match self.behind.get_mut(group) {
            Some(behind) => {
                behind.push_back(task);
                None
            }
            None => {
                self.behind.insert(group.to_owned(), VecDeque::new());
                Some(task)
            }
        }
    }

    /// Nothing of the group is under way any more: what comes next.
    pub(super) fn done(&mut self, group: &str) -> Option<Task> {
        let next = self.behind.get_mut(group)?.pop_front();
        if next.is_none() {
            self.behind.remove(group);
        }
        next
    }

    /// Gives up messages that wait, the last one of each group.
    pub(super) fn drop_round(&mut self) -> impl Iterator<Item = u64> {
        let dropped = self.behind.values_mut().filter_map(VecDeque::pop_back);
        dropped.filter_map(|task| match task.what {
            What::Outbox { message, .. } => Some(message),
            What::Rows { .. } | What::Canary { .. } | What::Parked { .. } => None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect is one case")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::outbox::OutboxMessage;

    fn task(message: u64) -> Task {
        let of = OutboxMessage::new(String::from("{}"), BTreeMap::new(), &BTreeMap::new());
        let request = Arc::new(of.request("m"));
        let what = What::Outbox { message, request, sent_at_us: None };
        Task { what, attempts: 0, request: None }
    }

    fn number(task: Option<Task>) -> Option<u64> {
        match task?.what {
            What::Outbox { message, .. } => Some(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_of_an_aggregate_go_one_after_the_other() {
        let mut outboxes = Outboxes::default();
        let admit = |outboxes: &mut Outboxes, group, message| {
            number(outboxes.admit(Order::Key, group, task(message)))
        };
        assert_eq!(admit(&mut outboxes, "a", 1), Some(1));
        assert_eq!(admit(&mut outboxes, "a", 2), None);
        assert_eq!(admit(&mut outboxes, "b", 3), Some(3));
        assert_eq!(admit(&mut outboxes, "a", 4), None);
        // To make room, the last one of each goes back.
        assert_eq!(outboxes.drop_round().collect::<Vec<_>>(), [4]);
        assert_eq!(number(outboxes.done("a")), Some(2));
        assert_eq!(admit(&mut outboxes, "a", 5), None, "2 is under way");
        assert_eq!((number(outboxes.done("a")), number(outboxes.done("a"))), (Some(5), None));
        assert_eq!((number(outboxes.done("b")), admit(&mut outboxes, "b", 6)), (None, Some(6)));
        assert_eq!(number(outboxes.admit(Order::None, "b", task(7))), Some(7));
    }
}
