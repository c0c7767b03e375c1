//! When a lease may be taken.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Holder, Look, Row, Unrenewed, Watch};
use crate::sink::Permit;

const LIFETIME: Duration = Duration::from_secs(2);

fn row(fence: u64, renewals: u64, age: Option<Duration>) -> Row {
    Row {
        fence,
        renewals,
        lifetime: LIFETIME,
        age,
        since: String::new(),
        holder: Holder { instance: "another".to_owned(), ..Holder::default() },
    }
}

fn look(watch: &mut Watch, row: Option<&Row>, at: Instant) -> Look {
    watch.look(row, at, at)
}

#[test]
fn what_nobody_has_is_free_at_once() {
    let now = Instant::now();
    let mut given_up = row(4, 9, Some(Duration::ZERO));
    given_up.holder.instance.clear();
    assert_eq!(look(&mut Watch::newcomer(), None, now), Look::Free);
    assert_eq!(look(&mut Watch::newcomer(), Some(&given_up), now), Look::Free);
    // Also for one who has watched its holder.
    let mut watch = Watch::newcomer();
    let fresh = row(4, 8, Some(Duration::ZERO));
    assert_eq!(look(&mut watch, Some(&fresh), now), Look::Waits);
    assert_eq!(look(&mut watch, Some(&given_up), now), Look::Free);
}

#[test]
fn a_newcomer_waits_two_lifetimes_for_a_renewal_and_believes_an_age_beyond_them() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    // A holder that crashed just now, and one whose server's clock was put back since.
    for age in [Some(Duration::ZERO), Some(ms(3_999)), None] {
        let mut watch = Watch::newcomer();
        let silent = row(4, 9, age);
        assert_eq!(look(&mut watch, Some(&silent), now), Look::Waits, "{age:?}");
        assert_eq!(look(&mut watch, Some(&silent), now + ms(3_999)), Look::Waits, "{age:?}");
        assert_eq!(look(&mut watch, Some(&silent), now + LIFETIME * 2), Look::Free, "{age:?}");
    }
    let long_dead = row(4, 9, Some(LIFETIME * 2));
    assert_eq!(look(&mut Watch::newcomer(), Some(&long_dead), now), Look::Free);
    // A renewal, or another holder.
    for seen in [row(4, 10, Some(Duration::ZERO)), row(5, 9, Some(Duration::ZERO))] {
        let mut watch = Watch::newcomer();
        assert_eq!(look(&mut watch, Some(&row(4, 9, None)), now), Look::Waits);
        assert_eq!(look(&mut watch, Some(&seen), now + ms(3_999)), Look::Waits);
        let again = row(5, 10, Some(Duration::ZERO));
        assert_eq!(look(&mut watch, Some(&again), now + ms(4_998)), Look::Waits, "in a burst");
        let again = row(5, 11, Some(Duration::ZERO));
        assert_eq!(look(&mut watch, Some(&again), now + ms(4_999)), Look::Renewed);
    }
}

#[test]
fn a_renewal_that_a_dead_holder_sent_and_that_commits_late_is_no_sign_of_life() {
    let now = Instant::now();
    let mut watch = Watch::newcomer();
    assert_eq!(look(&mut watch, Some(&row(4, 9, None)), now), Look::Waits);
    let late = row(4, 10, Some(Duration::ZERO));
    let at = now + LIFETIME;
    assert_eq!(look(&mut watch, Some(&late), at), Look::Waits);
    assert_eq!(look(&mut watch, Some(&late), at + LIFETIME), Look::Waits);
    assert_eq!(look(&mut watch, Some(&late), at + LIFETIME * 2), Look::Free);
}

#[test]
fn a_slow_answer_is_no_time_without_a_renewal() {
    let now = Instant::now();
    let mut watch = Watch::newcomer();
    let seen = row(4, 9, Some(Duration::ZERO));
    // The answer took long to come: it may have been renewed just before that.
    assert_eq!(watch.look(Some(&seen), now, now + LIFETIME * 3), Look::Waits);
    assert_eq!(watch.look(Some(&seen), now + LIFETIME * 3, now + LIFETIME * 9), Look::Waits);
    assert_eq!(watch.look(Some(&seen), now + LIFETIME * 5, now + LIFETIME * 9), Look::Free);
}

#[test]
fn a_holder_yields_to_a_later_fence_only() {
    assert_eq!(Unrenewed::of(None, 5), Unrenewed::WentBack);
    assert_eq!(Unrenewed::of(Some(&row(4, 1, None)), 5), Unrenewed::WentBack);
    for fence in [5, 6] {
        assert_eq!(Unrenewed::of(Some(&row(fence, 1, None)), 5), Unrenewed::Lost);
    }
}

/// Longest time that a publish call takes.
const REQUEST: Duration = Duration::from_secs(2);

/// A statement under way.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are three of them")]
enum Statement {
    Read,
    Take { seen: Option<Row>, from: Instant },
    Renew,
    GiveUp,
}

/// What the server made of it.
#[derive(Debug)]
enum Answer {
    Row(Option<Row>),
    Fence(Option<u64>),
    Renewed(bool),
    GivenUp,
}

/// One process, which stands still whenever nobody lets it take a step.
struct Process {
    name: String,
    /// How far its clock is from that of the world, and of every other process.
    offset: Duration,
    watch: Watch,
    fence: Option<u64>,
    permit: Permit,
    /// From when, and until when, it may publish, by the world's clock; and the last moment at which it
    /// may have begun a call.
    open: Option<(Instant, Instant)>,
    last_call: Option<Instant>,
    sent: Option<(Statement, Instant)>,
    answered: Option<(Answer, Statement, Instant)>,
}

struct World {
    now: Instant,
    row: Option<Row>,
    /// Of the checkpoint's table.
    owner: u64,
    savers: Vec<u64>,
    processes: Vec<Process>,
}

impl Process {
    fn grant(&mut self, from: Instant, asked: Instant) {
        self.permit.grant(from, asked + LIFETIME);
        let by_clock = |time: Instant| time.checked_sub(self.offset).expect("clocks begin late");
        self.open = Some((by_clock(from), by_clock(asked + LIFETIME)));
    }

    fn stand_by(&mut self) {
        self.permit.withdraw();
        (self.fence, self.open, self.watch) = (None, None, Watch::standby());
    }

    /// Takes note of an answer at `now`, by its own clock; what it sends then.
    fn hears(
        &mut self,
        answer: Answer,
        of: Statement,
        asked: Instant,
        now: Instant,
    ) -> Option<Statement> {
        match (answer, of) {
            (Answer::Row(row), _) => {
                let is_free = self.watch.look(row.as_ref(), asked, now) == Look::Free;
                let from = self.watch.publishes_from(row.as_ref(), REQUEST, now);
                is_free.then_some(Statement::Take { seen: row, from })
            }
            (Answer::Fence(Some(fence)), Statement::Take { from, .. }) => {
                self.fence = Some(fence);
                self.grant(from, asked);
                None
            }
            (Answer::Renewed(true), _) => {
                if let Some((from, _)) = self.open {
                    self.grant(from + self.offset, asked);
                }
                None
            }
            (Answer::Fence(_) | Answer::Renewed(false) | Answer::GivenUp, _) => {
                self.stand_by();
                None
            }
        }
    }
}

impl World {
    fn new() -> Self {
        let process = |number: u64| Process {
            name: format!("process {number}"),
            offset: Duration::from_hours(number),
            watch: Watch::standby(),
            fence: None,
            permit: Permit::withheld(),
            open: None,
            last_call: None,
            sent: None,
            answered: None,
        };
        let processes = (0..3).map(process).collect();
        Self { now: Instant::now(), row: None, owner: 0, savers: Vec::new(), processes }
    }

    /// What the statements of [`super::table`] do.
    fn execute(&mut self, name: &str, fence: Option<u64>, statement: &Statement) -> Answer {
        let is_mine = |row: &&mut Row| Some(row.fence) == fence && row.holder.instance == name;
        match statement {
            Statement::Read => Answer::Row(self.row.clone()),
            Statement::Take { seen, .. } => {
                let key = |row: &Row| (row.fence, row.renewals);
                if self.row.as_ref().map(key) != seen.as_ref().map(key) {
                    return Answer::Fence(None);
                }
                let before = seen.as_ref().map_or((0, 0), key);
                let mut taken = row(before.0.max(self.owner) + 1, before.1 + 1, None);
                name.clone_into(&mut taken.holder.instance);
                self.owner = taken.fence;
                self.row = Some(taken);
                Answer::Fence(Some(self.owner))
            }
            Statement::Renew => {
                let mine = self.row.as_mut().filter(is_mine);
                Answer::Renewed(mine.map(|row| row.renewals += 1).is_some())
            }
            Statement::GiveUp => {
                if let Some(row) = self.row.as_mut().filter(is_mine) {
                    row.renewals += 1;
                    row.holder.instance.clear();
                }
                Answer::GivenUp
            }
        }
    }

    /// Lets a process, or the server with what it sent, take one step.
    fn step(&mut self, index: usize, gives_up: bool) {
        let now = self.now;
        let process = &mut self.processes[index];
        let local = now + process.offset;
        if let Some((answer, of, asked)) = process.answered.take() {
            let next = process.hears(answer, of, asked, local);
            process.sent = next.map(|next| (next, local));
        } else if let Some((statement, asked)) = process.sent.take() {
            let (name, fence) = (process.name.clone(), process.fence);
            let answer = self.execute(&name, fence, &statement);
            self.processes[index].answered = Some((answer, statement, asked));
        } else if process.fence.is_some() && gives_up {
            // What was under way has been delivered.
            process.permit.withdraw();
            (process.open, process.last_call) = (None, None);
            process.sent = Some((Statement::GiveUp, local));
        } else {
            let statement =
                if process.fence.is_some() { Statement::Renew } else { Statement::Read };
            process.sent = Some((statement, local));
        }
    }

    /// Each tries to save and to publish.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let now = self.now;
        for process in &mut self.processes {
            if process.fence.is_some_and(|fence| fence == self.owner) {
                self.savers.push(self.owner);
            }
            if let Some((_, until)) = process.open.filter(|(from, _)| *from < now) {
                process.last_call = process.last_call.max(Some(now.min(until)));
            }
        }
        prop_assert!(self.savers.is_sorted(), "a former owner saved: {:?}", self.savers);
        let savers = self.processes.iter().filter(|it| it.fence == Some(self.owner));
        prop_assert!(savers.count() <= 1, "two save");
        let may = |it: &Process| it.permit.wait(now + it.offset).is_none();
        for (index, process) in self.processes.iter().enumerate().filter(|(_, it)| may(it)) {
            for (other, former) in self.processes.iter().enumerate() {
                let ended = former.last_call.is_none_or(|at| at + REQUEST <= now);
                prop_assert!(
                    other == index || ended,
                    "{} and {} publish",
                    process.name,
                    former.name
                );
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Processes that are let run, and left to stand, as it comes, with clocks that are hours apart.
    #[test]
    fn at_most_one_saves_and_at_most_one_publishes_whatever_is_paused(
        steps in proptest::collection::vec(
            (0_usize..3, prop_oneof![6 => 0_u64..200, 1 => 0_u64..5_000], 0_u8..40),
            20..400,
        ),
    ) {
        let mut world = World::new();
        for (process, pause, act) in steps {
            world.now += Duration::from_millis(pause);
            world.check()?;
            world.step(process, act == 0);
            world.check()?;
        }
    }
}

proptest! {
    #[test]
    fn while_it_is_renewed_in_time_nobody_takes_it(
        pauses in proptest::collection::vec(0_u64..4_000, 1..40),
        phase in 0_u64..2_000,
        // What a stepped clock of the server makes of the age.
        ages in proptest::collection::vec(proptest::option::of(0_u64..3_999), 40),
    ) {
        let (start, mut at) = (Instant::now(), 0);
        let mut watch = Watch::newcomer();
        for (pause, age) in pauses.iter().zip(&ages) {
            at += pause;
            // Renewed each lifetime.
            let renewals = (at + phase) / 2_000;
            let seen = row(4, renewals, age.map(Duration::from_millis));
            let found = look(&mut watch, Some(&seen), start + Duration::from_millis(at));
            prop_assert_ne!(found, Look::Free, "at {} ms", at);
        }
    }
}
