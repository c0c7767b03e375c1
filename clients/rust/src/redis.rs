//! Numbers of lanes, and states of effects, in Redis.
//!
//! Numbers change behind the effect of the rows: after a crash between the two the rows come again, and the effect
//! must bear that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, RedisError, cmd};

use crate::ledger::{self, Change, LaneName, State, StoreError};
use crate::once::{self, Claim};

/// A store over a connection of the crate `redis`, such as its `MultiplexedConnection`: for a
/// [`Ledger`](ledger::Ledger), and for [`Once`](once::Once).
#[derive(Debug, Clone)]
pub struct RedisStore<C> {
    connection: C,
    prefix: String,
}

const SAVE: &str = "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end \
     redis.call('SET', KEYS[1], ARGV[2]) return 1";
const CLAIM: &str = "local state = redis.call('GET', KEYS[1]) \
     if state == 'done' then return 'done' end \
     if state then return 'taken' end \
     redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 'yours'";
const DONE: &str = "local state = redis.call('GET', KEYS[1]) \
     redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2]) \
     return state == ARGV[1] and 1 or 0";
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0";

impl<C: ConnectionLike + Clone + Send + Sync> RedisStore<C> {
    /// Keys begin with `binpulse:`.
    pub fn new(connection: C) -> Self {
        Self::with_prefix(connection, "binpulse:")
    }

    /// Keys begin with this.
    pub fn with_prefix(connection: C, prefix: impl Into<String>) -> Self {
        Self { connection, prefix: prefix.into() }
    }

    fn key(&self, lane: &LaneName) -> String {
        format!("{}lane:{}/{}/{}", self.prefix, lane.stream, lane.epoch, lane.lane)
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &str,
        key: &str,
        values: [&str; 2],
    ) -> Result<T, RedisError> {
        let mut command = cmd("EVAL");
        command.arg(script).arg(1).arg(key).arg(&values);
        command.query_async(&mut self.connection.clone()).await
    }

    async fn effect<T: FromRedisValue>(
        &self,
        script: &str,
        id: &str,
        fence: u64,
        time: Duration,
    ) -> Result<T, RedisError> {
        let (fence, millis) = (fence.to_string(), time.as_millis().max(1).to_string());
        self.run(script, &format!("{}once:{id}", self.prefix), [&fence, &millis]).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> ledger::Store for RedisStore<C> {
    type Error = StoreError<RedisError>;

    async fn load(&mut self, lane: &LaneName) -> Result<Option<State>, Self::Error> {
        let key = self.key(lane);
        let found: Option<String> = cmd("GET").arg(key).query_async(&mut self.connection).await?;
        let Some(found) = found else { return Ok(None) };
        let (next, suppressed) = found.split_once(' ').unwrap_or((&found, ""));
        let state = next.parse().ok().and_then(|next| ledger::state(next, suppressed));
        state.map(Some).ok_or_else(|| StoreError::State(lane.lane.clone()))
    }

    async fn save(&mut self, change: &Change) -> Result<(), Self::Error> {
        let form = |state: &State| {
            format!("{} {}", state.next.unwrap_or(0), ledger::text(&state.suppressed))
        };
        let before = change.before.as_ref().map(form).unwrap_or_default();
        let done: i64 =
            self.run(SAVE, &self.key(&change.lane), [&before, &form(&change.after)]).await?;
        if done == 1 { Ok(()) } else { Err(StoreError::Conflict(change.lane.lane.clone())) }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> once::Store for RedisStore<C> {
    type Error = RedisError;

    async fn claim(&self, id: &str, lease: Duration) -> Result<Claim, RedisError> {
        // A number that nobody else has: the hasher's keys are random.
        let fence = RandomState::new().build_hasher().finish();
        let found: String = self.effect(CLAIM, id, fence, lease).await?;
        Ok(match found.as_str() {
            "yours" => Claim::Yours { fence },
            "done" => Claim::Done,
            _ => Claim::Taken,
        })
    }

    async fn done(&self, id: &str, fence: u64, keep: Duration) -> Result<bool, RedisError> {
        let was_ours: i64 = self.effect(DONE, id, fence, keep).await?;
        Ok(was_ours == 1)
    }

    async fn release(&self, id: &str, fence: u64) -> Result<(), RedisError> {
        let _: i64 = self.effect(RELEASE, id, fence, Duration::ZERO).await?;
        Ok(())
    }
}
