"""Is a silent table quiet, or am I cut off? Canaries tell."""

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Health:
    """`state` is `fresh`; `stale`: no canary for too long, cut off whatever the last verdict was; or `unknown`:
    there was no canary yet. `age` in seconds; `verdict` only where fresh."""

    state: str
    age: float | None = None
    verdict: str | None = None


class Freshness:
    """What the canaries of one stream tell. One for each stream, and for each path through a table of yours."""

    def __init__(self):
        self.written_at_us = self.watermark = self.certificate = None

    def observe(self, canary: Any) -> None:
        """Takes a canary, in whichever order they come."""
        written_at_us = canary.written_at_us or _committed_at_us(canary)
        if not written_at_us:
            return
        mark = canary.watermark if canary.HasField("watermark") else None
        if mark is not None and mark.HasField("certificate"):
            if self.certificate is None or self.certificate.proven_at_us < mark.certificate.proven_at_us:
                self.certificate = mark.certificate
        if self.written_at_us is None or self.written_at_us <= written_at_us:
            self.written_at_us, self.watermark = written_at_us, mark

    def age(self, now: float | None = None) -> float | None:
        """Age of the newest canary in seconds, None before the first; 0 of one of the future: clocks differ."""
        if self.written_at_us is None:
            return None
        now = time.time() if now is None else now
        return max(now - self.written_at_us / 1e6, 0.0)

    def health(self, age_max: float = 60.0, now: float | None = None) -> Health:
        """All in one: a canary older than `age_max` seconds is too old. Six times `canary.interval`, which is
        60 s unless it was changed, passes over one that is late."""
        age = self.age(now)
        if age is None:
            return Health("unknown")
        if age > age_max:
            return Health("stale", age)
        return Health("fresh", age, self.watermark.verdict if self.watermark is not None else "")

    def quiet_until_us(self) -> int | None:
        """Until when it is proven that no transaction had rows for this stream, microseconds since 1970; None
        where that is not proven."""
        proof = self.certificate
        return proof.proven_at_us if proof is not None and proof.user_transactions == 0 else None


def _committed_at_us(canary):
    batch = canary.batch
    return batch.committed_at_base_us + batch.transactions[0].committed_at_delta_us if batch.transactions else 0
