//! Side effects without a transaction, such as an e-mail: once, as far as that is possible.
//!
//! A row that changes a database needs none of this: keep the lane's next number in that database, and
//! change it in the transaction of the effect. Elsewhere two states are needed. *In progress*, with a
//! lease: no other process tries meanwhile, and one does after a crash. *Done*: none ever tries again.
//! A single `SET key NX EX` before the effect loses the row when the process dies between the two; one
//! behind it lets two processes act.
//!
//! ```
//! use std::time::Duration;
//! use binpulse_client::once::{MemoryStore, Once, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let once = Once::new(MemoryStore::default(), Duration::from_secs(60), Duration::from_secs(18 * 86_400));
//! let send = async || Ok::<_, std::io::Error>("sent");
//! assert!(matches!(once.run("prod/1/shop.orders#0/17", send()).await, Ok(Outcome::Ran("sent"))));
//! assert!(matches!(once.run("prod/1/shop.orders#0/17", send()).await, Ok(Outcome::Done)));
//! # }
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a store knows of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the caller's until the lease ends. `fence` differs from that of every other claim of it.
    Yours {
        /// To be named when the effect is done, or has failed.
        fence: u64,
    },
    /// Somebody is at it.
    Taken,
    /// It was done.
    Done,
}

/// Where the states lie: Redis, a table, a file. Each call is atomic.
pub trait Store {
    /// Why a call failed.
    type Error;

    /// Claims an id: in progress from now on for `lease`, unless it is done, or is in progress and its
    /// lease has not ended.
    fn claim(
        &self,
        id: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, Self::Error>> + Send;

    /// It is done, and this is to be known for `keep`. Says whether the claim was still the caller's.
    fn done(
        &self,
        id: &str,
        fence: u64,
        keep: Duration,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// It was not done: anybody may claim it, if the claim is still the caller's.
    fn release(&self, id: &str, fence: u64)
    -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It has taken place now.
    Ran(T),
    /// It has taken place now, but took longer than the lease: somebody else may have done it too.
    Late(T),
    /// It took place before: delete the message.
    Done,
    /// Somebody is at it: leave the message in the queue.
    Taken,
}

/// Why an effect did not take place, or is not known to have.
#[derive(Debug, thiserror::Error)]
pub enum OnceError<S, E> {
    /// The store failed before the effect: nothing took place.
    #[error("the store failed before the effect: {0}")]
    Claim(S),
    /// The effect failed, and may be tried again.
    #[error("the effect failed: {0}")]
    Effect(E),
    /// The effect took place, but the store did not learn of it: it is repeated when the lease ends.
    #[error("the store failed behind the effect: {0}")]
    Done(S),
}

/// Does something once for each id.
#[derive(Debug)]
pub struct Once<S> {
    store: S,
    lease: Duration,
    keep: Duration,
}

impl<S: Store> Once<S> {
    /// `lease` is about the queue's visibility timeout, and longer than the effect takes. `keep` is
    /// longer than queue and dead letter queue keep a message, together.
    pub fn new(store: S, lease: Duration, keep: Duration) -> Self {
        Self { store, lease, keep }
    }

    /// The store, for effects that are not one call: claim, act, then `done` or `release`.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Runs `effect` unless it was done for this id; else it is never polled.
    pub async fn run<T, E>(
        &self,
        id: &str,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<Outcome<T>, OnceError<S::Error, E>> {
        let fence = match self.store.claim(id, self.lease).await.map_err(OnceError::Claim)? {
            Claim::Yours { fence } => fence,
            Claim::Taken => return Ok(Outcome::Taken),
            Claim::Done => return Ok(Outcome::Done),
        };
        match effect.await {
            Ok(value) => {
                let was_ours =
                    self.store.done(id, fence, self.keep).await.map_err(OnceError::Done)?;
                Ok(if was_ours { Outcome::Ran(value) } else { Outcome::Late(value) })
            }
            Err(error) => {
                // Should this fail too, the lease ends by itself.
                let _released = self.store.release(id, fence).await;
                Err(OnceError::Effect(error))
            }
        }
    }
}

/// States in memory: for tests, and for effects that a restart may repeat.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<States>);

#[derive(Debug, Default)]
struct States {
    by_id: HashMap<String, State>,
    fence: u64,
    /// How many there may be before those that have ended are removed.
    sweep_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// `None`: done.
    fence: Option<u64>,
    /// `None`: never, it is that far away.
    ends: Option<Instant>,
}

impl State {
    fn new(fence: Option<u64>, time: Duration) -> Self {
        Self { fence, ends: Instant::now().checked_add(time) }
    }

    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }
}

impl MemoryStore {
    fn states(&self) -> std::sync::MutexGuard<'_, States> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn claim(&self, id: &str, lease: Duration) -> Result<Claim, Infallible> {
        let mut states = self.states();
        match states.by_id.get(id).filter(|state| !state.has_ended()) {
            Some(State { fence: None, .. }) => return Ok(Claim::Done),
            Some(State { fence: Some(_), .. }) => return Ok(Claim::Taken),
            None => {}
        }
        if states.by_id.len() >= states.sweep_at {
            states.by_id.retain(|_, state| !state.has_ended());
            states.sweep_at = (states.by_id.len() * 2).max(1024);
        }
        states.fence += 1;
        let fence = states.fence;
        states.by_id.insert(id.to_owned(), State::new(Some(fence), lease));
        Ok(Claim::Yours { fence })
    }

    async fn done(&self, id: &str, fence: u64, keep: Duration) -> Result<bool, Infallible> {
        let mut states = self.states();
        let was_ours = states.by_id.get(id).is_some_and(|state| state.fence == Some(fence));
        // It has taken place, whoever is at it now.
        states.by_id.insert(id.to_owned(), State::new(None, keep));
        Ok(was_ours)
    }

    async fn release(&self, id: &str, fence: u64) -> Result<(), Infallible> {
        let mut states = self.states();
        if states.by_id.get(id).is_some_and(|state| state.fence == Some(fence)) {
            states.by_id.remove(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn once(lease: Duration, keep: Duration) -> Once<MemoryStore> {
        Once::new(MemoryStore::default(), lease, keep)
    }

    async fn ran(once: &Once<MemoryStore>, result: Result<u8, u8>) -> String {
        match once.run("id", async { result }).await {
            Ok(outcome) => format!("{outcome:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn an_effect_takes_place_once_and_again_only_after_a_failure() {
        let once = once(LONG, LONG);
        assert_eq!(ran(&once, Err(5)).await, "the effect failed: 5");
        assert_eq!(ran(&once, Ok(1)).await, "Ran(1)");
        assert_eq!(ran(&once, Ok(2)).await, "Done");
    }

    #[tokio::test]
    async fn nobody_else_acts_within_the_lease_and_somebody_does_after_it() {
        let held = once(LONG, LONG);
        let claim = held.store().claim("id", LONG).await.expect("never fails");
        assert_eq!(ran(&held, Ok(1)).await, "Taken");
        let Claim::Yours { fence } = claim else { panic!("{claim:?}") };
        held.store().release("id", fence + 1).await.expect("never fails");
        assert_eq!(ran(&held, Ok(1)).await, "Taken");
        held.store().release("id", fence).await.expect("never fails");
        assert_eq!(ran(&held, Ok(1)).await, "Ran(1)");

        let crashed = once(Duration::ZERO, LONG);
        crashed.store().claim("id", Duration::ZERO).await.expect("never fails");
        assert_eq!(ran(&crashed, Ok(1)).await, "Ran(1)");
    }

    #[tokio::test]
    async fn who_was_too_slow_is_told() {
        let once = once(Duration::ZERO, LONG);
        let slow = once.run("id", async {
            let other = once.run("id", async { Ok::<_, ()>(2) }).await;
            assert!(matches!(other, Ok(Outcome::Ran(2))));
            Ok::<_, ()>(1)
        });
        let slow = slow.await;
        assert!(matches!(slow, Ok(Outcome::Late(1))), "{slow:?}");
    }

    #[tokio::test]
    async fn what_has_ended_takes_no_memory() {
        let once = once(LONG, Duration::ZERO);
        for number in 0..5_000 {
            let done = once.run(&number.to_string(), async { Ok::<_, ()>(()) }).await;
            assert!(matches!(done, Ok(Outcome::Ran(()))));
        }
        assert!(once.store().states().by_id.len() <= 1024);
    }
}
