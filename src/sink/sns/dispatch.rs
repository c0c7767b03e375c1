//! The loop: takes messages in, starts calls, hands over what came of them.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::client::{EntryResult, SnsClient, TopicFacts};
use super::delivery_state::{At, DeliveryState};
use super::policy::Failure;
use super::queue::Pending;
use super::topic::Next;
use crate::platform;
use crate::sink::intake::Ticket;
use crate::sink::{Error, Health, Intake, Permit, Settlement};

/// Messages taken from the intake in one go before calls are started, so that a burst fills them.
const INTAKE_BURST: usize = 256;

/// A call that has ended, with its messages.
struct Ended {
    topic: usize,
    started: Instant,
    call: Call,
}

enum Call {
    Asked(Result<TopicFacts, Failure>),
    Published(Vec<Pending>, Result<Vec<EntryResult>, Failure>),
}

/// A running sink.
pub(super) struct Dispatcher {
    config: Config,
    client: SnsClient,
    health: Arc<Health>,
    delivery_state: DeliveryState,
    calls: JoinSet<Ended>,
    permit: Permit,
}

impl Dispatcher {
    pub(super) fn new(
        config: Config,
        client: SnsClient,
        known: Vec<(Arc<str>, TopicFacts)>,
        health: Arc<Health>,
    ) -> Self {
        let delivery_state = DeliveryState::new(&config, Arc::clone(&health), known, now());
        let (calls, permit) = (JoinSet::new(), Permit::default());
        Self { config, client, health, delivery_state, calls, permit }
    }

    /// Starts calls only while that is permitted.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    pub(super) async fn run(
        mut self,
        mut intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut is_open = true;
        let mut deadline = None;
        loop {
            let wake = self.start_calls(now());
            if self.calls.is_empty() && self.delivery_state.is_finished(is_open) {
                return self.delivery_state.verdict();
            }
            tokio::select! {
                biased;

                // 1. The end of the grace outranks everything: somebody waits for us to be gone.
                () = sleep_until(deadline), if deadline.is_some() => {
                    return Err(self.delivery_state.unfinished());
                }
                // 2. A request to stop, or a busy intake would starve it.
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(now() + self.config.grace);
                    intake.close();
                }
                // 3. Outcomes go out before new messages come in.
                permit = settlements.reserve(), if self.delivery_state.has_settlements() => {
                    self.hand_over(permit.map_err(|_| Error::Abandoned)?, &settlements);
                }
                // 4. Ended calls free their slots.
                Some(ended) = self.calls.join_next() => self.conclude(ended?),
                // 5. New messages.
                ticket = intake.recv(), if is_open => match ticket {
                    Some(ticket) => self.take_in(ticket, &mut intake),
                    None => is_open = false,
                },
                // 6. A pause has ended.
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
    }

    fn take_in(&mut self, ticket: Ticket, intake: &mut Intake) {
        self.delivery_state.accept(ticket);
        for _ in 1..INTAKE_BURST {
            let Some(ticket) = intake.try_recv() else { break };
            self.delivery_state.accept(ticket);
        }
        self.delivery_state.publish_health();
    }

    /// Starts as many calls as may be; when to look again, as far as time alone decides.
    fn start_calls(&mut self, now: Instant) -> Option<Instant> {
        while self.calls.len() < self.config.in_flight_max.max(1) {
            // Looked at before each call, by the time that it is then.
            if let Some(again) = self.permit.wait(self::now()) {
                return Some(again);
            }
            match self.delivery_state.next_call(now) {
                Ok((topic, next)) => self.start(topic, next, now),
                Err(wake) => return wake,
            }
        }
        None
    }

    fn start(&mut self, topic: usize, next: Next, started: Instant) {
        let Some(arn) = self.delivery_state.arn(topic) else { return };
        let client = self.client.clone();
        let ended = move |call| Ended { topic, started, call };
        match next {
            Next::Ask => {
                self.health.started(0);
                let call = async move { ended(Call::Asked(client.facts(&arn).await)) };
                self.calls.spawn(platform::part(call));
            }
            Next::Publish(batch) => {
                self.health.started(bytes_of(&batch));
                self.calls.spawn(platform::part(async move {
                    let result = client.publish(&arn, &batch).await;
                    ended(Call::Published(batch, result))
                }));
            }
        }
    }

    fn conclude(&mut self, ended: Ended) {
        let Ended { topic, started, call } = ended;
        let at = At { topic, started, now: now() };
        match call {
            Call::Asked(result) => {
                self.health.ended(0);
                self.delivery_state.learn(at, result);
            }
            Call::Published(batch, result) => {
                self.health.ended(bytes_of(&batch));
                self.delivery_state.conclude(at, batch, result);
            }
        }
        self.delivery_state.publish_health();
    }

    /// Hands over as many settlements as there is room for.
    fn hand_over(
        &mut self,
        permit: mpsc::Permit<'_, Settlement>,
        settlements: &mpsc::Sender<Settlement>,
    ) {
        let mut permit = Some(permit);
        while let Some(free) = permit.take() {
            let Some(settlement) = self.delivery_state.next_settlement() else { return };
            free.send(settlement);
            permit = settlements.try_reserve().ok();
        }
    }
}

/// Sleeps until `at`; for ever without one.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    platform::now()
}

fn bytes_of(batch: &[Pending]) -> usize {
    batch.iter().map(|pending| pending.bytes).sum()
}
