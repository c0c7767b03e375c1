//! The store in Redis: all keys of a route have one hash tag, and each transition is one Lua script,
//! which Redis runs as a whole, by its own clock.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, Script, ScriptInvocation};
use tokio::sync::Mutex;

use super::{
    Acquired, DEADLINE, LaneRecord, LaneStatus, Lease, PARKED_BYTES_MAX, Parked, ParkedEntry,
    ParkedFilter, ParkedHeader, Save, StateError, from_json, to_json,
};
use crate::lane::LaneKey;

/// Keys behind the route's prefix, in the order in which scripts have them:
/// 1 lanes (name to record), 2 leases (name to fence, owner and end), 3 the last number of a parked row,
/// 4 parked rows by number, 5 rows without their bodies by id, 6 bodies by id, 7 ids to be tried again.
const KEYS: [&str; 7] = ["lanes", "leases", "number", "parked", "rows", "bodies", "retry"];
/// What scripts share.
const COMMON: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function lease(lane)
  local text = redis.call('HGET', KEYS[2], lane)
  if not text then return 0, 0, '' end
  local fence, ends, owner = string.match(text, '^(%d+) (%d+) (.*)$')
  return tonumber(fence), tonumber(ends), owner
end
local function hold(lane, fence, ends, owner)
  redis.call('HSET', KEYS[2], lane, string.format('%d %d %s', fence, ends, owner))
end
local function park(id, row, body)
  if redis.call('HSETNX', KEYS[5], id, row) == 0 then return end
  redis.call('HSET', KEYS[6], id, body)
  redis.call('ZADD', KEYS[4], redis.call('INCR', KEYS[3]), id)
end
local function unpark(id)
  redis.call('ZREM', KEYS[4], id)
  redis.call('HDEL', KEYS[6], id)
  redis.call('SREM', KEYS[7], id)
  return redis.call('HDEL', KEYS[5], id)
end
";
/// Lane, owner, time to live; answers fence and record, or 0 and the owner.
const ACQUIRE: &str = r"
local fence, ends, owner = lease(ARGV[1])
if owner ~= '' and owner ~= ARGV[2] and ends > now then return {0, owner} end
hold(ARGV[1], fence + 1, now + ARGV[3], ARGV[2])
return {fence + 1, redis.call('HGET', KEYS[1], ARGV[1]) or ''}
";
/// Time to live, then lane and fence of each; answers the places of those that were lost.
const RENEW: &str = r"
local lost = {}
for at = 2, #ARGV, 2 do
  local fence, ends, owner = lease(ARGV[at])
  if owner ~= '' and fence == tonumber(ARGV[at + 1]) then
    hold(ARGV[at], fence, now + ARGV[1], owner)
  else
    lost[#lost + 1] = at / 2 - 1
  end
end
return lost
";
/// Lane and fence of each.
const RELEASE: &str = r"
for at = 1, #ARGV, 2 do
  local fence = lease(ARGV[at])
  if fence == tonumber(ARGV[at + 1]) then hold(ARGV[at], fence, 0, '') end
end
return 0
";
/// For each lane: lane, fence, record, how many rows to park (id, row, body), to put back (the same) and
/// to remove (id). Answers the places of those that were lost.
const SAVE: &str = r"
local at, lost, place = 1, {}, 0
local function next_one() at = at + 1; return ARGV[at - 1] end
while at <= #ARGV do
  local name, named, record = next_one(), tonumber(next_one()), next_one()
  local fence, ends, owner = lease(name)
  local held = owner ~= '' and fence == named
  if held then redis.call('HSET', KEYS[1], name, record) else lost[#lost + 1] = place end
  for _ = 1, tonumber(next_one()) do
    local id, row, body = next_one(), next_one(), next_one()
    if held then park(id, row, body) end
  end
  for _ = 1, tonumber(next_one()) do
    local id, row, body = next_one(), next_one(), next_one()
    if held and redis.call('HEXISTS', KEYS[5], id) == 1 then
      redis.call('HSET', KEYS[5], id, row)
      redis.call('HSET', KEYS[6], id, body)
      redis.call('SREM', KEYS[7], id)
    end
  end
  for _ = 1, tonumber(next_one()) do
    local id = next_one()
    if held then unpark(id) end
  end
  place = place + 1
end
return lost
";
/// Id, row and body of each.
const PARK: &str = r"
for at = 1, #ARGV, 3 do park(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
return 0
";
/// Ids; answers how many were there.
const RETRY: &str = r"
local found = 0
for _, id in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[5], id) == 1 then
    redis.call('SADD', KEYS[7], id)
    found = found + 1
  end
end
return found
";
/// The same.
const UNPARK: &str = r"
local found = 0
for _, id in ipairs(ARGV) do found = found + unpark(id) end
return found
";
/// Number behind which, most rows; answers number, row, whether to be tried again, bytes of the body.
const LIST: &str = r"
local found = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {}
for at = 1, #found, 2 do
  local id = found[at]
  answer[#answer + 1] = {tonumber(found[at + 1]), redis.call('HGET', KEYS[5], id) or '',
    redis.call('SISMEMBER', KEYS[7], id), redis.call('HSTRLEN', KEYS[6], id)}
end
return answer
";
/// Answers lane, record and owner of each.
const LANES: &str = r"
local answer, found = {}, redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local fence, ends, owner = lease(found[at])
  if ends <= now then owner = '' end
  answer[#answer + 1] = {found[at], found[at + 1], owner}
end
return answer
";
/// Rows that are looked at in one call of a script.
const ROWS_AT_ONCE: usize = 500;

/// See the module.
#[derive(Debug)]
pub struct RedisStore {
    place: String,
    client: Client,
    keys: Vec<String>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisStore {
    pub(super) async fn open(url: &str, route: &str) -> Result<Self, StateError> {
        // Words about the address may quote its password.
        let client = Client::open(url).map_err(|_| {
            let needed = "redis://HOST:PORT/ or rediss://USER:PASSWORD@HOST:PORT/";
            StateError::unfit("redis", "an address of another form", needed, "change relay.state")
        })?;
        let place = format!("redis://{}", client.get_connection_info().addr());
        let keys = KEYS.iter().map(|key| format!("binpulse:relay:{{{route}}}:{key}")).collect();
        let store = Self { place, client, keys, connection: Mutex::default() };
        store.check_policy().await?;
        Ok(store)
    }

    /// Refuses a server that would throw away what it was given. Who may not ask is not refused.
    async fn check_policy(&self) -> Result<(), StateError> {
        let said: String = self
            .timed(async {
                let mut connection = self.connection().await?;
                let said = redis::cmd("INFO").arg("memory").query_async(&mut connection).await;
                // No right to ask, or no such command: not the same as no answer.
                let refused = redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm);
                said.or_else(
                    |error: RedisError| {
                        if error.kind() == refused { Ok(String::new()) } else { Err(error) }
                    },
                )
            })
            .await?;
        let policy = said.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        match policy.map(str::trim) {
            None | Some("noeviction") => Ok(()),
            Some(policy) => Err(StateError::unfit(
                &self.place,
                format!("maxmemory-policy {policy}"),
                "noeviction: a server that evicts keys forgets what was delivered",
                "set maxmemory-policy to noeviction, or use another server",
            )),
        }
    }

    /// The connection that calls share, or a new one.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref() {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// What came within the deadline. Behind a failure the next call connects again.
    async fn timed<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StateError> {
        let message = match tokio::time::timeout(DEADLINE, Box::pin(work)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        };
        *self.connection.lock().await = None;
        Err(StateError::unavailable(&self.place, message))
    }

    async fn ask<T: FromRedisValue>(&self, command: redis::Cmd) -> Result<T, StateError> {
        self.timed(async {
            let mut connection = self.connection().await?;
            command.query_async(&mut connection).await
        })
        .await
    }

    /// Runs a script with the route's keys.
    async fn run<T: FromRedisValue>(
        &self,
        text: &str,
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, StateError> {
        let script = Script::new(&format!("{COMMON}{text}"));
        let mut invocation = script.prepare_invoke();
        for key in &self.keys {
            invocation.key(key);
        }
        arguments(&mut invocation);
        self.timed(async {
            let mut connection = self.connection().await?;
            invocation.invoke_async(&mut connection).await
        })
        .await
    }

    pub(super) async fn acquire(
        &self,
        lane: &LaneKey,
        owner: &str,
        ttl: Duration,
    ) -> Result<Acquired, StateError> {
        let name = to_json(&self.place, lane)?;
        let (fence, text): (u64, Vec<u8>) = self
            .run(ACQUIRE, |script| {
                script.arg(&name).arg(owner).arg(millis(ttl));
            })
            .await?;
        if fence == 0 {
            return Ok(Acquired::Held { owner: String::from_utf8_lossy(&text).into_owned() });
        }
        let record = if text.is_empty() {
            LaneRecord::default()
        } else {
            from_json(&self.place, format_args!("the record of lane {lane}"), &text)?
        };
        Ok(Acquired::Leased { fence, record })
    }

    pub(super) async fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<LaneKey>, StateError> {
        let names = self.names(leases.iter().map(|lease| &lease.lane))?;
        let lost: Vec<usize> = self
            .run(RENEW, |script| {
                script.arg(millis(ttl));
                for (name, lease) in names.iter().zip(leases) {
                    script.arg(name).arg(lease.fence);
                }
            })
            .await?;
        let lanes = lost.into_iter().filter_map(|place| leases.get(place));
        Ok(lanes.map(|lease| lease.lane.clone()).collect())
    }

    fn names<'l>(
        &self,
        lanes: impl Iterator<Item = &'l LaneKey>,
    ) -> Result<Vec<String>, StateError> {
        lanes.map(|lane| to_json(&self.place, lane)).collect()
    }

    pub(super) async fn release(&self, leases: &[Lease]) -> Result<(), StateError> {
        let names = self.names(leases.iter().map(|lease| &lease.lane))?;
        self.run(RELEASE, |script| {
            for (name, lease) in names.iter().zip(leases) {
                script.arg(name).arg(lease.fence);
            }
        })
        .await
    }

    pub(super) async fn save(&self, saves: &[Save]) -> Result<Vec<LaneKey>, StateError> {
        let mut arguments: Vec<Vec<u8>> = Vec::new();
        for save in saves {
            arguments.push(to_json(&self.place, &save.lane)?.into());
            arguments.push(save.fence.to_string().into());
            arguments.push(to_json(&self.place, &save.record)?.into());
            for rows in [&save.park, &save.put_back] {
                arguments.push(rows.len().to_string().into());
                self.push_rows(&mut arguments, rows)?;
            }
            arguments.push(save.unpark.len().to_string().into());
            arguments.extend(save.unpark.iter().map(|id| id.clone().into()));
        }
        let lost: Vec<usize> = self.run_with(SAVE, arguments).await?;
        let lanes = lost.into_iter().filter_map(|place| saves.get(place));
        Ok(lanes.map(|save| save.lane.clone()).collect())
    }

    fn push_rows(&self, arguments: &mut Vec<Vec<u8>>, rows: &[Parked]) -> Result<(), StateError> {
        for parked in rows {
            arguments.push(parked.id.clone().into());
            arguments.push(to_json(&self.place, &ParkedHeader::of(parked))?.into());
            arguments.push(parked.body.clone());
        }
        Ok(())
    }

    async fn run_with<T: FromRedisValue>(
        &self,
        text: &str,
        arguments: Vec<Vec<u8>>,
    ) -> Result<T, StateError> {
        self.run(text, |script| {
            for argument in arguments {
                script.arg(argument);
            }
        })
        .await
    }

    pub(super) async fn park(&self, parked: &[Parked]) -> Result<(), StateError> {
        let mut arguments = Vec::new();
        self.push_rows(&mut arguments, parked)?;
        self.run_with(PARK, arguments).await
    }

    /// Numbers, rows without bodies, marks and sizes that the filter admits, behind a number.
    async fn list(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, ParkedHeader, bool, usize)>, StateError> {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let page: Vec<(u64, Vec<u8>, bool, usize)> = self
                .run(LIST, |script| {
                    script.arg(after).arg(ROWS_AT_ONCE);
                })
                .await?;
            let Some((last, ..)) = page.last() else { break };
            after = *last;
            for (number, row, to_retry, size) in page {
                let what = format_args!("parked row {number}");
                let header: ParkedHeader = from_json(&self.place, what, &row)?;
                let is_it = filter.id.as_ref().is_none_or(|id| *id == header.id);
                if is_it && filter.admits(number, &header, to_retry) && found.len() < limit {
                    found.push((number, header, to_retry, size));
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn parked(
        &self,
        filter: &ParkedFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedEntry>, StateError> {
        let mut found = self.list(filter, after, limit).await?;
        let mut bytes = 0_usize;
        let fits = found.iter().take_while(|(.., size)| {
            bytes = bytes.saturating_add(*size);
            bytes <= PARKED_BYTES_MAX
        });
        found.truncate(fits.count().max(1));
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.get(5));
        for (_, header, ..) in &found {
            command.arg(&header.id);
        }
        let bodies: Vec<Option<Vec<u8>>> = self.ask(command).await?;
        let entries =
            found.into_iter().zip(bodies).filter_map(|((number, header, to_retry, _), body)| {
                // Without a body it was removed since.
                Some(ParkedEntry { number, to_retry, parked: header.with_body(body?) })
            });
        Ok(entries.collect())
    }

    pub(super) async fn parked_count(&self, filter: &ParkedFilter) -> Result<u64, StateError> {
        if *filter == ParkedFilter::default() {
            let mut command = redis::cmd("ZCARD");
            command.arg(self.keys.get(3));
            return self.ask(command).await;
        }
        Ok(self.list(filter, 0, usize::MAX).await?.len() as u64)
    }

    pub(super) async fn retry(&self, ids: &[String]) -> Result<u64, StateError> {
        self.run_with(RETRY, ids.iter().map(|id| id.clone().into()).collect()).await
    }

    pub(super) async fn unpark(&self, ids: &[String]) -> Result<u64, StateError> {
        self.run_with(UNPARK, ids.iter().map(|id| id.clone().into()).collect()).await
    }

    pub(super) async fn lanes(&self) -> Result<Vec<LaneStatus>, StateError> {
        let found: Vec<(Vec<u8>, Vec<u8>, String)> = self.run(LANES, |_| {}).await?;
        let statuses = found.into_iter().map(|(lane, record, owner)| {
            let lane: LaneKey = from_json(&self.place, "the name of a lane", &lane)?;
            let what = format_args!("the record of lane {lane}");
            let record = from_json(&self.place, what, &record)?;
            Ok(LaneStatus { lane, owner: Some(owner).filter(|owner| !owner.is_empty()), record })
        });
        let mut statuses: Vec<_> = statuses.collect::<Result<_, StateError>>()?;
        statuses.sort_by(|one, other| one.lane.cmp(&other.lane));
        Ok(statuses)
    }
}

fn millis(ttl: Duration) -> u64 {
    // A thousand years: the sum with the clock is still exact in Lua, whose numbers are doubles.
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(31_557_600_000_000)
}
