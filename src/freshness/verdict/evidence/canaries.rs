//! Canaries that SNS acknowledged, on their way to each consumer and back.

use std::sync::Arc;
use std::time::Instant;

use super::seconds;
use crate::freshness::SqlFailure;
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::reason::named;
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status};
use crate::telemetry::few;

/// Canaries missed in a row after which a consumer is lost.
const MISSES: u32 = 2;

#[derive(Debug)]
struct ConsumerEvidence {
    /// The consumer's name; of a path `consumer/path`.
    name: Arc<str>,
    consumer: Arc<str>,
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
    /// Since the last good read: when it first failed, how often by now, and the words of the last
    /// time.
    failing: Option<(Instant, u32, String)>,
}

#[derive(Debug, Default)]
pub(in super::super) struct CanaryEvidence {
    accounts: Vec<ConsumerEvidence>,
    /// Why no canary can be written, while that is so.
    unwritten: Option<(SqlFailure, String)>,
    /// Echoes since start, for the exit rules.
    pub(in super::super) echoes: u64,
}

impl CanaryEvidence {
    pub(in super::super) fn new(parameters: &Parameters) -> Self {
        let account =
            |name: &Arc<str>, consumer: &Arc<str>, path: Option<&Arc<str>>| ConsumerEvidence {
                name: Arc::clone(name),
                consumer: Arc::clone(consumer),
                path: path.cloned(),
                misses: 0,
                last_echo: None,
                last_owed: None,
                maintenance_until: None,
                queue: Queue::default(),
            };
        let built_in = parameters.consumers.iter().map(|name| account(name, name, None));
        let of_paths = parameters.path_accounts.iter();
        let of_paths = of_paths.map(|it| account(&it.name, &it.consumer, Some(&it.path)));
        let accounts = built_in.chain(of_paths).collect();
        Self { accounts, unwritten: None, echoes: 0 }
    }

    pub(in super::super) fn acknowledged(
        &mut self,
        at: Instant,
        path: Option<&Arc<str>>,
        number: u64,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        for (index, account) in self.accounts.iter_mut().enumerate() {
            if account.path.as_ref() == path && !account.in_maintenance(at) {
                account.last_owed = Some(at);
                let kind = Obligation::CanaryEcho(index);
                obligations.begin(kind, number, at, parameters.periods.canary_deadline);
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
        let found = self.accounts.iter_mut().enumerate().find(|(_, known)| *known.name == *name);
        let Some((index, account)) = found else { return };
        obligations.meet_one(Obligation::CanaryEcho(index), number);
        account.misses = 0;
        account.last_echo = Some(at);
        self.echoes += 1;
    }

    /// A canary was written, or could not be.
    pub(in super::super) fn written(&mut self, failure: Option<(SqlFailure, String)>) {
        self.unwritten = failure;
    }

    /// A consumer's queue was read, or could not be, which is said of all of its accounts.
    pub(in super::super) fn queue(
        &mut self,
        at: Instant,
        consumer: &str,
        failure: Option<&str>,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        for (index, account) in Self::accounts_of(&mut self.accounts, consumer) {
            let queue = &mut account.queue;
            if let Some(message) = failure {
                let (since, times) =
                    queue.failing.as_ref().map_or((at, 0), |(since, times, _)| (*since, *times));
                queue.failing = Some((since, times.saturating_add(1), message.to_owned()));
                continue;
            }
            let pause = queue.read.map(|last| at.saturating_duration_since(last));
            if pause.is_none_or(|pause| pause > parameters.periods.canary_deadline) {
                // What waited in the queue meanwhile comes now, and takes some reads.
                account.misses = 0;
                obligations.rearm_kind(Obligation::CanaryEcho(index), at);
            }
            account.queue = Queue { read: Some(at), failing: None };
        }
    }

    pub(in super::super) fn maintenance(
        &mut self,
        consumer: &str,
        until: Option<Instant>,
        obligations: &mut Obligations,
    ) {
        for (index, account) in Self::accounts_of(&mut self.accounts, consumer) {
            account.maintenance_until = until;
            account.misses = 0;
            // An outage that only this consumer made ends here: no echo of it is waited for.
            self.echoes += u64::from(until.is_some()) * u64::from(MISSES);
            obligations.clear(Obligation::CanaryEcho(index));
        }
    }

    fn accounts_of<'a>(
        accounts: &'a mut [ConsumerEvidence],
        consumer: &'a str,
    ) -> impl Iterator<Item = (usize, &'a mut ConsumerEvidence)> {
        accounts.iter_mut().enumerate().filter(move |(_, account)| *account.consumer == *consumer)
    }

    /// Takes the canaries whose time is over as missed.
    pub(in super::super) fn advance(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        for (index, account) in self.accounts.iter_mut().enumerate() {
            let kind = Obligation::CanaryEcho(index);
            if account.queue.is_unreadable(now, parameters) {
                account.misses = 0;
                obligations.clear(kind);
            }
            let overdue = account.queue.known_until(now, parameters);
            for number in
                overdue.map(|until| obligations.overdue_numbers(kind, until)).into_iter().flatten()
            {
                obligations.meet_one(kind, number);
                account.misses = account.misses.saturating_add(1);
            }
            // A path that is not written any more has nothing left that could be echoed, or lost.
            let owed =
                |at: Instant| now.saturating_duration_since(at) <= parameters.echo_validity();
            if account.path.is_some() && !account.last_owed.is_some_and(owed) {
                account.misses = 0;
            }
        }
    }

    /// Those that echo nothing.
    pub(in super::super) fn lost(&self) -> Vec<Arc<str>> {
        let lost = self.accounts.iter().filter(|account| account.misses >= MISSES);
        lost.map(|account| Arc::clone(&account.name)).collect()
    }

    /// Why nothing is known, if that is for want of a queue that can be read.
    pub(in super::super) fn unreadable_reason(
        &self,
        now: Instant,
        parameters: &Parameters,
    ) -> Option<Reason> {
        let names: Vec<_> =
            self.unreadable(now, parameters).map(|account| Arc::clone(&account.name)).collect();
        (!names.is_empty()).then_some(Reason::EchoUnreadable(names))
    }

    fn unreadable(
        &self,
        now: Instant,
        parameters: &Parameters,
    ) -> impl Iterator<Item = &ConsumerEvidence> {
        let evaluated = self.accounts.iter().filter(move |account| !account.in_maintenance(now));
        evaluated.filter(move |account| account.queue.is_unreadable(now, parameters))
    }

    /// Whether every consumer is lost: then the way to them is broken, not they.
    pub(in super::super) fn all_lost(&self) -> bool {
        self.accounts.iter().all(|account| account.misses >= MISSES)
    }

    pub(in super::super) fn suspected(&self) -> bool {
        self.accounts.iter().any(|account| account.misses > 0)
    }

    pub(in super::super) fn reason(&self) -> Option<Reason> {
        let lost = self.lost();
        (!lost.is_empty()).then_some(Reason::Consumers(lost))
    }

    pub(in super::super) fn reset(&mut self) {
        for account in &mut self.accounts {
            account.misses = 0;
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
        // path that falls silent is told by its own metrics, only what is lost on it is evaluated here.
        let built_in = self.accounts.iter().filter(|account| account.path.is_none());
        let evaluated = built_in.filter(|account| !account.in_maintenance(now));
        let oldest = evaluated.map(|account| account.last_echo).min();
        let (status, because) = match oldest {
            _ if !lost.is_empty() => {
                let of = match self.accounts.len() {
                    1 => String::new(),
                    all => format!(" ({} of {all})", lost.len()),
                };
                let names = named(&lost);
                (Status::False, format!("two canaries in a row did not reach {names}{of}"))
            }
            Some(Some(echo)) => {
                let age = now.saturating_duration_since(echo);
                let valid = age <= parameters.echo_validity();
                let status = if valid { Status::True } else { Status::Unknown };
                (status, format!("every consumer echoed a canary, last {} ago", seconds(age)))
            }
            Some(None) => (Status::Unknown, "a consumer has echoed no canary yet".to_owned()),
            None if self.accounts.is_empty() => {
                (Status::Unknown, "no consumer echoes canaries".to_owned())
            }
            None => (Status::True, "every consumer is in maintenance".to_owned()),
        };
        let mut unreadable = self.unreadable(now, parameters);
        let first = unreadable.next().map(|account| account.complaint(now));
        let others = match unreadable.count() {
            0 => None,
            1 => Some("so it is with 1 other".to_owned()),
            others => Some(format!("so it is with {others} others")),
        };
        let unwritten = self.unwritten.iter().map(|(reason, message)| {
            format!("no canary can be written: {}: {message}", reason.as_str())
        });
        let hindered: Vec<_> = unwritten.chain(first).chain(others).collect();
        let because = match (hindered.is_empty(), status) {
            (true, _) => because,
            (false, Status::Unknown) => hindered.join("; "),
            (false, Status::True | Status::False) => format!("{because}; {}", hindered.join("; ")),
        };
        let resting = self.accounts.iter().filter(|account| account.in_maintenance(now));
        let resting: Vec<_> = resting.map(|account| &*account.name).collect();
        let because = match resting.len() {
            0 => because,
            _ => format!("{because}; not evaluated, in maintenance: {}", few(&resting)),
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
        self.read.map(|read| now.min(read + parameters.periods.canary_deadline / 2))
    }
}

impl ConsumerEvidence {
    /// What is wrong with its queue.
    fn complaint(&self, now: Instant) -> String {
        let Some((since, times, message)) = &self.queue.failing else { return String::new() };
        let lasting = seconds(now.saturating_duration_since(*since));
        format!(
            "whether messages reach {} is not known: its echo queue can't be read ({times} times \
             in {lasting}): {message}",
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
    use crate::freshness::verdict::PathAccount;

    /// A consumer with its built-in account and one of a path, after `number` canaries ten seconds
    /// apart; on the path they are written until `written`, and never echoed.
    fn after(canaries: u64, written: u64) -> (CanaryEvidence, Conditions) {
        let parameters = Parameters {
            consumers: vec!["billing".into()],
            path_accounts: vec![PathAccount {
                name: "billing/orders".into(),
                consumer: "billing".into(),
                path: "orders".into(),
            }],
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
            evidence.queue(now, "billing", None, &parameters, &mut obligations);
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
