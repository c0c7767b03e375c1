"""Side effects without a transaction, such as an e-mail: once, as far as that is possible.

Two states are needed. *In progress*, with a lease: no other process tries meanwhile, and one does after a
crash. *Done*: none ever tries again. A single `SET key NX EX` before the effect loses the row when the
process dies between the two; one behind it lets two processes act.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Claim(Enum):
    YOURS = "yours"
    TAKEN = "taken"
    DONE = "done"


class Outcome(Enum):
    RAN = "ran"
    LATE = "late"  # it ran, but took longer than the lease: somebody else may have done it too
    DONE = "done"  # it took place before: delete the message
    TAKEN = "taken"  # somebody is at it: leave the message in the queue


class Once:
    """Does something once for each id. `lease` is about the queue's visibility timeout, and longer than the
    effect takes; `keep` is longer than queue and dead letter queue keep a message, together. Seconds."""

    def __init__(self, store: Any, lease: float = 60.0, keep: float = 18 * 86_400.0):
        self.store, self.lease, self.keep = store, lease, keep

    def run(self, id: str, effect: Callable[[], object]) -> Outcome:
        """Runs `effect` unless it was done for this id. What it raises goes on; then it may be tried again."""
        fence = secrets.token_hex(8)
        claim = self.store.claim(id, fence, self.lease)
        if claim is not Claim.YOURS:
            return Outcome(claim.value)
        try:
            effect()
        except BaseException:
            self.store.release(id, fence)
            raise
        return Outcome.RAN if self.store.done(id, fence, self.keep) else Outcome.LATE


@dataclass
class _State:
    fence: str | None  # None: done
    ends: float


class MemoryStore:
    """States in memory: for tests, and for effects that a restart may repeat. A store of your own has these
    three methods, each atomic."""

    def __init__(self):
        self._states, self._lock, self._sweep_at = {}, threading.Lock(), 1024

    def claim(self, id: str, fence: str, lease: float) -> Claim:
        """Claims an id for `lease`, unless it is done, or in progress and its lease has not ended."""
        with self._lock:
            now = time.monotonic()
            state = self._states.get(id)
            if state and state.ends > now:
                return Claim.DONE if state.fence is None else Claim.TAKEN
            if len(self._states) >= self._sweep_at:
                self._states = {one: state for one, state in self._states.items() if state.ends > now}
                self._sweep_at = max(2 * len(self._states), 1024)
            self._states[id] = _State(fence, now + lease)
            return Claim.YOURS

    def done(self, id: str, fence: str, keep: float) -> bool:
        """It is done, and this is known for `keep`. Whether the claim was still the caller's."""
        with self._lock:
            state = self._states.get(id)
            self._states[id] = _State(None, time.monotonic() + keep)
            return state is not None and state.fence == fence

    def release(self, id: str, fence: str) -> None:
        """It was not done: anybody may claim it, if the claim is still the caller's."""
        with self._lock:
            state = self._states.get(id)
            if state and state.fence == fence:
                del self._states[id]
