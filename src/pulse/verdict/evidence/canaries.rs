//! Canaries that SNS acknowledged, on their way to each consumer and back.

use std::sync::Arc;
use std::time::Instant;

use super::seconds;
use crate::pulse::verdict::obligation::{Obligation, Obligations};
use crate::pulse::verdict::{Condition, Conditions, Parameters, Reason, Status};

/// Canaries missed in a row after which a consumer is lost.
const MISSES: u32 = 2;

#[derive(Debug)]
struct Consumer {
    name: Arc<str>,
    /// The path through an operator's table; `None`: the built-in canary.
    path: Option<Arc<str>>,
    misses: u32,
    last_echo: Option<Instant>,
    /// When the topic last took a canary that is owed.
    last_owed: Option<Instant>,
    maintenance_until: Option<Instant>,
    queue: Queue,
}

/// What is known of an echo queue. Echoes count as missing only while it is read: a queue that can't be
/// read says nothing of what reaches it.
#[derive(Debug, Default)]
struct Queue {
    /// When it was last read.
    read: Option<Instant>,
    /// Since the last good read: when it first failed, how often by now, and the words of the last time.
    failing: Option<(Instant, u32, String)>,
}

#[derive(Debug, Default)]
pub(in super::super) struct CanaryEvidence {
    consumers: Vec<Consumer>,
    /// Why no canary can be written, while that is so.
    unwritten: Option<String>,
    /// Echoes since start, for the exit rules.
    pub(in super::super) echoes: u64,
}

impl CanaryEvidence {
    pub(in super::super) fn new(parameters: &Parameters) -> Self {
        let consumer = |(name, path): (&Arc<str>, Option<&Arc<str>>)| Consumer {
            name: Arc::clone(name),
            path: path.cloned(),
            misses: 0,
            last_echo: None,
            last_owed: None,
            maintenance_until: None,
            queue: Queue::default(),
        };
        let built_in = parameters.consumers.iter().map(|name| (name, None));
        let of_paths = parameters.path_accounts.iter().map(|(name, path)| (name, Some(path)));
        let consumers = built_in.chain(of_paths).map(consumer).collect();
        Self { consumers, unwritten: None, echoes: 0 }
    }

    pub(in super::super) fn acknowledged(
        &mut self,
        at: Instant,
        path: Option<&Arc<str>>,
        number: u64,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            if consumer.path.as_ref() == path && !consumer.in_maintenance(at) {
                consumer.last_owed = Some(at);
                let kind = Obligation::CanaryEcho(index);
                obligations.begin(kind, number, at, parameters.canary_deadline);
            }
        }
    }

    /// An echo, which may be late: then it ends the misses all the same.
    pub(in super::super) fn echoed(
        &mut self,
        at: Instant,
        name: &str,
        number: u64,
        obligations: &mut Obligations,
    ) {
        let found = self.consumers.iter_mut().enumerate().find(|(_, known)| *known.name == *name);
        let Some((index, consumer)) = found else { return };
        obligations.meet_one(Obligation::CanaryEcho(index), number);
        consumer.misses = 0;
        consumer.last_echo = Some(at);
        self.echoes += 1;
    }

    /// A canary was written, or could not be.
    pub(in super::super) fn written(&mut self, failure: Option<String>) {
        self.unwritten = failure;
    }

    /// A consumer's queue was read, or could not be.
    pub(in super::super) fn queue(
        &mut self,
        at: Instant,
        name: &str,
        failure: Option<String>,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        let found = self.consumers.iter_mut().enumerate().find(|(_, known)| *known.name == *name);
        let Some((index, consumer)) = found else { return };
        let queue = &mut consumer.queue;
        let Some(message) = failure else {
            let pause = queue.read.map(|last| at.saturating_duration_since(last));
            if pause.is_none_or(|pause| pause > parameters.canary_deadline) {
                // What waited in the queue meanwhile comes now, and takes some reads.
                consumer.misses = 0;
                obligations.rearm_kind(Obligation::CanaryEcho(index), at);
            }
            *queue = Queue { read: Some(at), failing: None };
            return;
        };
        let (since, times) =
            queue.failing.as_ref().map_or((at, 0), |(since, times, _)| (*since, *times));
        queue.failing = Some((since, times.saturating_add(1), message));
    }

    pub(in super::super) fn maintenance(
        &mut self,
        name: &str,
        until: Option<Instant>,
        obligations: &mut Obligations,
    ) {
        let found = self.consumers.iter_mut().enumerate().find(|(_, known)| *known.name == *name);
        let Some((index, consumer)) = found else { return };
        consumer.maintenance_until = until;
        consumer.misses = 0;
        // An outage that only this consumer made ends here: no echo of it is waited for.
        self.echoes += u64::from(until.is_some()) * u64::from(MISSES);
        obligations.clear(Obligation::CanaryEcho(index));
    }

    /// Takes the canaries whose time is over as missed.
    pub(in super::super) fn advance(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            let kind = Obligation::CanaryEcho(index);
            if consumer.queue.is_unreadable(now, parameters) {
                consumer.misses = 0;
                obligations.clear(kind);
            }
            let overdue = consumer.queue.known_until(now, parameters);
            for number in
                overdue.map(|until| obligations.overdue_numbers(kind, until)).into_iter().flatten()
            {
                obligations.meet_one(kind, number);
                consumer.misses = consumer.misses.saturating_add(1);
            }
            // A path that is not written any more has nothing left that could be echoed, or lost.
            let owed =
                |at: Instant| now.saturating_duration_since(at) <= parameters.echo_validity();
            if consumer.path.is_some() && !consumer.last_owed.is_some_and(owed) {
                consumer.misses = 0;
            }
        }
    }

    /// Those that echo nothing.
    pub(in super::super) fn lost(&self) -> Vec<Arc<str>> {
        let lost = self.consumers.iter().filter(|consumer| consumer.misses >= MISSES);
        lost.map(|consumer| Arc::clone(&consumer.name)).collect()
    }

    /// Why nothing is known, if that is for want of a queue that can be read.
    pub(in super::super) fn unreadable_reason(
        &self,
        now: Instant,
        parameters: &Parameters,
    ) -> Option<Reason> {
        let names: Vec<_> =
            self.unreadable(now, parameters).map(|consumer| Arc::clone(&consumer.name)).collect();
        (!names.is_empty()).then_some(Reason::EchoUnreadable(names))
    }

    fn unreadable(&self, now: Instant, parameters: &Parameters) -> impl Iterator<Item = &Consumer> {
        let judged = self.consumers.iter().filter(move |consumer| !consumer.in_maintenance(now));
        judged.filter(move |consumer| consumer.queue.is_unreadable(now, parameters))
    }

    /// Whether every consumer is lost: then the way to them is broken, not they.
    pub(in super::super) fn all_lost(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.misses >= MISSES)
    }

    pub(in super::super) fn suspected(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.misses > 0)
    }

    pub(in super::super) fn reason(&self) -> Option<Reason> {
        let lost = self.lost();
        (!lost.is_empty()).then_some(Reason::Consumers(lost))
    }

    pub(in super::super) fn forgive(&mut self) {
        for consumer in &mut self.consumers {
            consumer.misses = 0;
        }
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        parameters: &Parameters,
        conditions: &mut Conditions,
    ) {
        let lost = self.lost();
        // Whether an operator's table can be written to says nothing of the way to the consumers: a
        // path that falls silent is told by its own metrics, only what is lost on it is judged here.
        let built_in = self.consumers.iter().filter(|consumer| consumer.path.is_none());
        let judged = built_in.filter(|consumer| !consumer.in_maintenance(now));
        let oldest = judged.map(|consumer| consumer.last_echo).min();
        let (status, because) = match oldest {
            _ if !lost.is_empty() => {
                (Status::False, format!("two canaries in a row did not reach {}", lost.join(", ")))
            }
            Some(Some(echo)) => {
                let age = now.saturating_duration_since(echo);
                let valid = age <= parameters.echo_validity();
                let status = if valid { Status::True } else { Status::Unknown };
                (status, format!("every consumer echoed a canary, last {} ago", seconds(age)))
            }
            Some(None) => (Status::Unknown, "a consumer has echoed no canary yet".to_owned()),
            None if self.consumers.is_empty() => {
                (Status::Unknown, "no consumer echoes canaries".to_owned())
            }
            None => (Status::True, "every consumer is in maintenance".to_owned()),
        };
        let unreadable = self.unreadable(now, parameters).map(|consumer| consumer.complaint(now));
        let unwritten = self.unwritten.iter().map(|why| format!("no canary can be written: {why}"));
        let hindered: Vec<_> = unwritten.chain(unreadable).collect();
        let because = match (hindered.is_empty(), status) {
            (true, _) => because,
            (false, Status::Unknown) => hindered.join("; "),
            (false, Status::True | Status::False) => format!("{because}; {}", hindered.join("; ")),
        };
        let resting = self.consumers.iter().filter(|consumer| consumer.in_maintenance(now));
        let resting: Vec<_> = resting.map(|consumer| &*consumer.name).collect();
        let because = match resting.len() {
            0 => because,
            _ => format!("{because}; not judged, in maintenance: {}", resting.join(", ")),
        };
        conditions.set(now, Condition::CanariesArrive, status, because);
    }
}

impl Queue {
    /// It fails, and has not been read for a while: one failed read is no blindness.
    fn is_unreadable(&self, now: Instant, parameters: &Parameters) -> bool {
        let blind = |at: Instant| now.saturating_duration_since(at) > parameters.evidence_grace;
        self.failing.is_some() && self.read.is_none_or(blind)
    }

    /// Until when it is known what came out of it: a read that is under way is waited for.
    fn known_until(&self, now: Instant, parameters: &Parameters) -> Option<Instant> {
        self.read.map(|read| now.min(read + parameters.canary_deadline / 2))
    }
}

impl Consumer {
    /// What is wrong with its queue.
    fn complaint(&self, now: Instant) -> String {
        let Some((since, times, message)) = &self.queue.failing else { return String::new() };
        let lasting = seconds(now.saturating_duration_since(*since));
        format!(
            "what reaches {} is not known, its echo queue can't be read ({times} times in {lasting}): \
             {message}",
            self.name
        )
    }

    fn in_maintenance(&self, now: Instant) -> bool {
        self.maintenance_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A consumer with its built-in account and one of a path, after `number` canaries ten seconds
    /// apart; on the path they are written until `written`, and never echoed.
    fn after(canaries: u64, written: u64) -> (CanaryEvidence, Conditions) {
        let parameters = Parameters {
            consumers: vec!["billing".into()],
            path_accounts: vec![("billing/orders".into(), "orders".into())],
            ..Parameters::default()
        };
        let (start, path) = (Instant::now(), Arc::from("orders"));
        let mut obligations = Obligations::default();
        let mut evidence = CanaryEvidence::new(&parameters);
        let mut now = start;
        for number in 1..=canaries {
            now = start + Duration::from_secs(number * 10);
            if number <= written {
                evidence.acknowledged(now, Some(&path), number, &parameters, &mut obligations);
            }
            evidence.acknowledged(now, None, number, &parameters, &mut obligations);
            evidence.echoed(now, "billing", number, &mut obligations);
            for name in ["billing", "billing/orders"] {
                evidence.queue(now, name, None, &parameters, &mut obligations);
            }
            now += Duration::from_secs(9);
            evidence.advance(now, &parameters, &mut obligations);
        }
        let mut conditions = Conditions::new(&parameters, start);
        evidence.apply(now, &parameters, &mut conditions);
        (evidence, conditions)
    }

    fn status(conditions: &Conditions) -> Status {
        conditions.status(Condition::CanariesArrive)
    }

    #[test]
    fn a_path_is_lost_by_itself_and_named_so() {
        let (evidence, conditions) = after(6, 6);
        assert_eq!(evidence.lost(), [Arc::from("billing/orders")]);
        assert!(!evidence.all_lost(), "the way to the consumer stands");
        assert_eq!(status(&conditions), Status::False);
    }

    #[test]
    fn a_path_that_is_not_written_is_no_evidence_against_anybody() {
        for written in [0, 3] {
            let (evidence, conditions) = after(60, written);
            assert_eq!(evidence.lost(), [] as [Arc<str>; 0], "{written}");
            assert_eq!(status(&conditions), Status::True, "{written}");
        }
    }
}
