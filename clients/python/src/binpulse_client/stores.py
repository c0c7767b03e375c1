"""Where the numbers of lanes are kept, and the states of effects: a SQL database, and Redis.

In a SQL database the numbers change in the transaction of the rows' effect: then each row is applied once,
whatever fails. In Redis they change behind the effect: after a crash between the two the rows come again, and
the effect must bear that.
"""

from typing import Any

from .ledger import Change, LaneName, State
from .once import Claim


class Conflict(Exception):
    """Another process has changed the lane: undo the transaction, and take the message again."""


class SqlStore:
    """Numbers in a table of a database, by a connection of Python's DB-API. It neither begins nor commits:
    `save` belongs to the transaction that is open. `placeholder` is `?` or `%s`, as the driver has it."""

    # For MySQL, whose comparisons ignore case, add `COLLATE utf8mb4_bin` behind the parenthesis.
    TABLE = (
        "CREATE TABLE IF NOT EXISTS binpulse_lanes (stream VARCHAR(64) NOT NULL, epoch BIGINT NOT NULL, "
        "lane VARCHAR(600) NOT NULL, next BIGINT NOT NULL, suppressed TEXT NOT NULL, "
        "PRIMARY KEY (stream, epoch, lane))")
    _WHERE = " WHERE stream = ? AND epoch = ? AND lane = ?"

    def __init__(self, connection: Any, placeholder: str = "?"):
        self._connection, self._placeholder = connection, placeholder

    def load(self, lane: LaneName) -> State | None:
        """The state of a lane, None where the table does not have it."""
        found = self._run("SELECT next, suppressed FROM binpulse_lanes" + self._WHERE, lane).fetchone()
        return found and State(int(found[0]), _ranges(found[1]))

    def save(self, change: Change) -> None:
        """Stores a change, if the lane is as it was before. Raises Conflict, or the error of the database that
        the row is there."""
        before, after = change.before, change.after
        if before is None:
            self._run("INSERT INTO binpulse_lanes VALUES (?, ?, ?, ?, ?)",
                      (*change.lane, after.next, _text(after.suppressed)))
        elif before != after:
            done = self._run(
                "UPDATE binpulse_lanes SET next = ?, suppressed = ?" + self._WHERE + " AND next = ? AND suppressed = ?",
                (after.next, _text(after.suppressed), *change.lane, before.next, _text(before.suppressed)))
            if done.rowcount != 1:
                raise Conflict(f"another process has changed the lane {change.lane[2]}")

    def _run(self, sql, values):
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("?", self._placeholder), values)
        return cursor


_SAVE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisStore:
    """Numbers in Redis. `redis` has redis-py's `execute_command`."""

    def __init__(self, redis: Any, prefix: str = "binpulse:lane:"):
        self._redis, self._prefix = redis, prefix

    def load(self, lane: LaneName) -> State | None:
        """The state of a lane, None where Redis does not have it."""
        found = self._redis.execute_command("GET", self._key(lane))
        if not found:
            return None
        next, _, suppressed = (found.decode() if isinstance(found, bytes) else found).partition(" ")
        return State(int(next), _ranges(suppressed))

    def save(self, change: Change) -> None:
        """Stores a change, if the lane is as it was before; else raises Conflict."""
        before, after = (state and f"{state.next} {_text(state.suppressed)}" for state in (change.before, change.after))
        done = self._redis.execute_command("EVAL", _SAVE, 1, self._key(change.lane), before or "", after)
        if done != 1:
            raise Conflict(f"another process has changed the lane {change.lane[2]}")

    def _key(self, lane):
        return self._prefix + "/".join(map(str, lane))


_CLAIM = """
local state = redis.call('GET', KEYS[1])
if state == 'done' then return 'done' end
if state then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'yours'
"""
_DONE = """
local state = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return state == ARGV[1] and 1 or 0
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"


class RedisOnceStore:
    """States of effects in Redis, for Once."""

    def __init__(self, redis: Any, prefix: str = "binpulse:once:"):
        self._redis, self._prefix = redis, prefix

    def claim(self, id: str, fence: str, lease: float) -> Claim:
        """See MemoryStore."""
        found = self._run(_CLAIM, id, fence, lease)
        return Claim(found.decode() if isinstance(found, bytes) else found)

    def done(self, id: str, fence: str, keep: float) -> bool:
        """See MemoryStore."""
        return self._run(_DONE, id, fence, keep) == 1

    def release(self, id: str, fence: str) -> None:
        """See MemoryStore."""
        self._run(_RELEASE, id, fence, 0)

    def _run(self, script, id, fence, seconds):
        millis = max(int(seconds * 1000), 1)
        return self._redis.execute_command("EVAL", script, 1, self._prefix + id, fence, millis)


def _text(ranges):
    return ",".join(f"{first}-{last}" for first, last in ranges)


def _ranges(text):
    return tuple(tuple(map(int, pair.split("-"))) for pair in text.split(",") if pair)
