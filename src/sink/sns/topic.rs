//! One topic: what is known of it, what waits for it, and whether it takes anything. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::client::TopicFacts;
use super::queue::{Pending, Queue};
use crate::aws;

/// A topic that messages go to.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) arn: Arc<str>,
    /// `None` until its attributes were read; nothing is published before.
    pub(super) facts: Option<TopicFacts>,
    /// Whether they have to be read again before anything else is sent.
    pub(super) is_stale: bool,
    /// Whether its attributes are being read.
    pub(super) is_asking: bool,
    pub(super) queue: Queue,
    /// Whether the delivery state has it among the active.
    pub(super) is_active: bool,
    breaker: CircuitBreaker,
    requests: usize,
}

/// Whether calls may start.
#[derive(Debug)]
enum CircuitBreaker {
    Closed,
    /// An operator has to fix something: one call at a time finds out whether it was fixed, not
    /// before `until`.
    Open {
        until: Instant,
    },
}

/// What a topic would do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Read its attributes.
    Ask,
    /// Publish these.
    Publish(Vec<Pending>),
}

impl Topic {
    pub(super) fn new(arn: Arc<str>, facts: Option<TopicFacts>) -> Self {
        let queue = Queue::new(aws::is_fifo(&arn));
        Self {
            arn,
            facts,
            is_stale: false,
            is_asking: false,
            queue,
            is_active: false,
            breaker: CircuitBreaker::Closed,
            requests: 0,
        }
    }

    /// Largest message, and largest batch, bytes; `None` while unknown.
    pub(super) fn limit_bytes(&self) -> Option<usize> {
        self.facts.as_ref().map(|facts| facts.message_bytes_max)
    }

    /// The next call, if there is one to make now. It counts as started.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        if !self.may_start(now) || !self.queue.is_ready(now) {
            return None;
        }
        let Some(limit) = self.limit_bytes().filter(|_| !self.is_stale) else {
            self.is_asking = true;
            self.requests += 1;
            return Some(Next::Ask);
        };
        let batch = self.queue.take(now, limit);
        if batch.is_empty() {
            return None;
        }
        self.requests += 1;
        Some(Next::Publish(batch))
    }

    /// When [`Topic::next`] will have something that it does not have now, as far as time alone
    /// decides.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let queued = if self.queue.is_ready(now) { Some(now) } else { self.queue.due() };
        match self.breaker {
            CircuitBreaker::Closed => queued.filter(|at| *at > now),
            CircuitBreaker::Open { until } => queued.map(|at| at.max(until)).filter(|at| *at > now),
        }
    }

    /// A call has ended.
    pub(super) fn ended(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// A call succeeded: whatever was wrong was fixed. Whether something was.
    pub(super) fn open(&mut self) -> bool {
        matches!(
            std::mem::replace(&mut self.breaker, CircuitBreaker::Closed),
            CircuitBreaker::Open { .. }
        )
    }

    /// A call failed in a way that only somebody can fix. Whether that is news.
    pub(super) fn shut(&mut self, until: Instant) -> bool {
        matches!(
            std::mem::replace(&mut self.breaker, CircuitBreaker::Open { until }),
            CircuitBreaker::Closed
        )
    }

    fn may_start(&self, now: Instant) -> bool {
        if self.is_asking {
            return false;
        }
        match self.breaker {
            CircuitBreaker::Closed => true,
            CircuitBreaker::Open { until } => until <= now && self.requests == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sink::sns::fixture::pending;

    const FACTS: TopicFacts = TopicFacts {
        message_bytes_max: 1000,
        fifo: false,
        content_based_deduplication: false,
        throughput_per_group: false,
    };

    #[test]
    fn nothing_is_published_before_the_limit_is_known() {
        let now = Instant::now();
        let mut topic = Topic::new(Arc::from("arn:aws:sns:r:000000000000:t"), None);
        assert!(topic.next(now).is_none(), "no message, no question");
        topic.queue.push(pending(0, 1, 10));
        assert!(matches!(topic.next(now), Some(Next::Ask)));
        assert!(topic.next(now).is_none(), "asked once");
        topic.ended();
        topic.is_asking = false;
        topic.facts = Some(FACTS);
        assert!(matches!(topic.next(now), Some(Next::Publish(_))));
    }

    #[test]
    fn a_question_counts_as_a_call_and_a_shut_topic_waits_for_all_that_run() {
        let now = Instant::now();
        let mut topic = Topic::new(Arc::from("arn:aws:sns:r:000000000000:t"), Some(FACTS));
        for number in 0..50 {
            topic.queue.push(pending(number, 1, 10));
        }
        // One call is under way when the facts become old, and are asked for.
        assert!(matches!(topic.next(now), Some(Next::Publish(_))));
        topic.is_stale = true;
        assert!(matches!(topic.next(now), Some(Next::Ask)));
        topic.is_asking = false;
        topic.is_stale = false;
        topic.shut(now);
        topic.ended();
        assert!(topic.next(now).is_none(), "another call still runs");
        topic.ended();
        assert!(matches!(topic.next(now), Some(Next::Publish(_))));
        // Said once.
        assert!(!topic.shut(now));
        assert!(topic.open());
        assert!(!topic.open());
    }

    #[test]
    fn a_topic_is_due_when_its_next_message_is_and_not_before_it_may_be_tried() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut topic = Topic::new(Arc::from("arn:aws:sns:r:000000000000:t"), Some(FACTS));
        assert_eq!(topic.due(now), None);
        topic.queue.push(pending(0, 1, 10));
        assert_eq!(topic.due(now), None, "at once is no time to wait for");
        let Some(Next::Publish(mut batch)) = topic.next(now) else { panic!("it is ready") };
        topic.ended();
        topic.queue.put_back(batch.remove(0), at(20));
        assert_eq!(topic.due(now), Some(at(20)));
        assert_eq!(topic.due(at(20)), None);
        for (until, due) in [(10, 20), (30, 30)] {
            topic.shut(at(until));
            assert_eq!(topic.due(now), Some(at(due)));
            assert_eq!(topic.due(at(due)), None);
        }
        assert!(topic.next(at(29)).is_none());
        assert!(matches!(topic.next(at(30)), Some(Next::Publish(_))));
    }

    #[test]
    fn a_shut_topic_is_tried_with_one_call_at_a_time_and_opens_with_a_success() {
        let now = Instant::now();
        let until = now + Duration::from_secs(5);
        let mut topic = Topic::new(Arc::from("arn:aws:sns:r:000000000000:t"), Some(FACTS));
        for number in 0..50 {
            topic.queue.push(pending(number, 1, 10));
        }
        assert!(topic.shut(until));
        assert!(topic.next(now).is_none());
        assert_eq!(topic.due(now), Some(until));
        assert!(matches!(topic.next(until), Some(Next::Publish(_))));
        assert!(topic.next(until).is_none(), "one call finds out");
        topic.ended();
        assert!(topic.open());
        assert!(matches!(topic.next(until), Some(Next::Publish(_))));
        assert!(matches!(topic.next(until), Some(Next::Publish(_))));
    }
}
