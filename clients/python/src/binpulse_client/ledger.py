"""Which rows come next, which came before, which are missing. Pure: time is an argument, in seconds since
any fixed moment.

The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order, and some
may be lost. A Lane decides for each message: skip it, go and apply it, or wait; and it names a gap once it
is certain, or has lasted for long enough, that rows do not come.
"""

import bisect
import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


LaneName = tuple[str, int, str]  # stream, epoch, lane


class Decision(Enum):
    SKIP = "skip"  # applied before: delete the message
    GO = "go"  # apply it
    LATE = "late"  # rows that were suppressed have come after all: apply them; newer ones may have been applied
    WAIT = "wait"  # rows before it have not come


@dataclass(frozen=True)
class Waits:
    """How long to wait, seconds: for number 1 of a lane that is not known; for rows of which nothing proves
    that the topic has accepted them (longer than a message takes to become a dead letter); for rows of which
    a canary's watermark proves it, when rows behind them have arrived."""

    first: float = 60
    gap: float = 300
    proven: float = 5


@dataclass(frozen=True)
class Offer:
    """What to do with rows that arrived: apply `take` rows after the first `skip`, which are none unless the
    decision is GO or LATE. Then offer the same rows again: a part of them may be left."""

    decision: Decision
    skip: int = 0
    take: int = 0


@dataclass(frozen=True)
class State:
    """What a store keeps of a lane. `next` is the number that is expected, 0: not known yet. `suppressed` are
    rows that are suppressed and have not come, pairs of a first and a last number."""

    next: int = 0
    suppressed: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Change:
    """A change of a lane, to be stored in the transaction of its rows' effect. `lane` is (stream, epoch, lane);
    `before` is None where the store does not know it yet. `skip` and `take` are those of an Offer."""

    lane: LaneName
    before: State | None
    after: State
    skip: int = 0
    take: int = 0


@dataclass(frozen=True)
class Gap:
    """Rows that are missing, both ends included."""

    first: int
    last: int
    proven: bool


class Lane:
    """The numbers of one lane in one epoch. `next` is the number that is expected, None: not known yet."""

    def __init__(self, next: int | None = None, waits: Waits = Waits(), now: float = 0.0,
                 suppressed: Iterable[tuple[int, int]] = ()):
        self.next, self._waits, self._since = next, waits, now
        self._held, self._absent, self._suppressed = {}, {}, {}  # first number to last
        self._accepted, self._accepted_later = None, None  # number below which all was accepted, and when
        for first, last in suppressed:
            self._suppress(first, last, now)

    @property
    def state(self) -> State:
        """What a store keeps."""
        return State(self.next or 0, tuple(sorted(self._suppressed.items())))

    def offer(self, first: int, count: int, now: float) -> Offer:
        """`count` rows have arrived from `first` on. Who is told to apply some says so with `applied`."""
        after = first + count
        if count <= 0:
            return Offer(Decision.SKIP)
        if self.next is None and first <= 1:
            self._move_to(1, now)
        if self.next is not None and first < self.next:
            late = _first_overlap(self._suppressed, first, min(after, self.next) - 1)
            if late:
                return Offer(Decision.LATE, late[0] - first, late[1] - late[0] + 1)
        if self.next is not None and after <= self.next:
            return Offer(Decision.SKIP)
        if self.next is not None and first <= self.next:
            return Offer(Decision.GO, self.next - first, after - self.next)
        if not self._held:
            self._since = now
        self._held[first] = max(self._held.get(first, 0), after - 1)
        return Offer(Decision.WAIT)

    def applied(self, first: int, count: int, now: float) -> None:
        """`count` rows from `first` on are applied now, as an Offer said."""
        _remove(self._suppressed, first, first + count - 1)
        if self.next is None or first + count > self.next:
            self._move_to(first + count, now)

    def suppressed(self, first: int, last: int, now: float) -> None:
        """A message said that these rows are suppressed: no gap. They may still come, and are then to be
        applied once."""
        if self.next is None and first <= 1:
            self._move_to(1, now)
        # What lies behind was applied, or given up, or is known to be suppressed.
        self._suppress(max(first, self.next or 1), last, now)

    def _suppress(self, first, last, now):
        if first <= last:
            _insert(self._suppressed, first, last)
            self.absent(max(first, self.next or 1), last, now)

    def copy(self) -> "Lane":
        """A lane that changes by itself."""
        other = copy.copy(self)
        other._held, other._absent = dict(self._held), dict(self._absent)
        other._suppressed = dict(self._suppressed)
        return other

    def watermark(self, sequence_next: int, now: float) -> None:
        """A canary's watermark names the lane: all below was accepted by the topic before it was sent."""
        if self._accepted is None:
            self._accepted = (sequence_next, now)
        elif self._accepted[0] < sequence_next:
            if self.next is not None:
                self._accepted_later = (sequence_next, now)
            else:
                self._accepted = (sequence_next, now)
        self._forget_reached()

    def absent(self, first: int, last: int, now: float) -> None:
        """These rows will not come: they were given up. Should they come after all, they are skipped."""
        if first <= last:
            self._absent[first] = max(self._absent.get(first, 0), last)
            if self.next is not None:
                self._move_to(self.next, now)

    def missing(self, now: float) -> Gap | None:
        """The rows that are missing and due; None if there are none. The same gap is told until it is closed:
        by rows, or with `absent`. Begins a lane that is not known when its time has come."""
        due = self.due()
        if due is None or due > now:
            return None
        if self.next is None:
            self._move_to(min(self._held), now)
            return None
        proven = self._is_proven()
        held = min(self._held, default=None)
        ends = [end for end in (held, self._accepted[0] if proven else None, min(self._absent, default=None)) if end]
        return Gap(self.next, min(ends) - 1, proven)

    def due(self) -> float | None:
        """When `missing` will have something to say if nothing changes; None: never."""
        waits, since = self._waits, self._since
        if self.next is None:
            if not self._held:
                return None
            if self._accepted and min(self._held) <= self._accepted[0]:
                return min(since + waits.first, max(self._accepted[1], since) + waits.proven)
            return since + waits.first
        if self._is_proven():
            return max(self._accepted[1], since) + (waits.proven if self._held else waits.gap)
        return since + waits.gap if self._held else None

    def _is_proven(self):
        return self._accepted is not None and self.next is not None and self.next < self._accepted[0]

    def _move_to(self, next, now):
        for first in sorted(self._absent):
            if first > next:
                break
            next = max(next, self._absent.pop(first) + 1)
        if next != self.next:
            self.next, self._since = next, now
        starts = sorted(self._held)
        for first in starts[:bisect.bisect_right(starts, next)]:
            del self._held[first]
        self._forget_reached()

    def _forget_reached(self):
        while self.next is not None and self._accepted and self._accepted[0] <= self.next:
            self._accepted, self._accepted_later = self._accepted_later, None


def _first_overlap(ranges, first, last):
    """The first run of numbers that is both in the ranges and between `first` and `last`."""
    found = [start for start, end in ranges.items() if start <= last and end >= first]
    return (max(min(found), first), min(ranges[min(found)], last)) if found else None


def _insert(ranges, first, last):
    """Adds a range, and joins it with those that it overlaps or touches."""
    for start, end in list(ranges.items()):
        if start <= last + 1 and end + 1 >= first:
            del ranges[start]
            first, last = min(first, start), max(last, end)
    ranges[first] = last


def _remove(ranges, first, last):
    """Takes numbers out of the ranges."""
    for start, end in list(ranges.items()):
        if start <= last and end >= first:
            del ranges[start]
            if start < first:
                ranges[start] = first - 1
            if end > last:
                ranges[last + 1] = end


class Store(Protocol):
    """Where the numbers of lanes are kept."""

    def load(self, lane: LaneName) -> State | None:
        """The state of a lane, None where the store does not have it."""

    def save(self, change: Change) -> None:
        """Stores a change, if the lane is as it was before; else raises."""


class Ledger:
    """The lanes of a consumer. With a store they survive a restart: it is asked for each lane that is met, and
    given each change. Stores are in stores.py."""

    def __init__(self, store: Store | None = None, waits: Waits = Waits()):
        self.store, self.waits, self.lanes, self._stored = store, waits, {}, {}

    def lane(self, stream: str, epoch: int, lane: str, now: float) -> Lane:
        """The lane, known, of the store, or new."""
        name = (stream, epoch, lane)
        if name not in self.lanes:
            state = self._stored[name] = self.store.load(name) if self.store else None
            known = state or State()
            self.lanes[name] = Lane(known.next or None, self.waits, now, known.suppressed)
        return self.lanes[name]

    def take(self, batch: Any, now: float, apply: Callable[[Change], object]) -> Decision:
        """Rows of a ChangeBatch have arrived. `apply(change)` is called with each run of rows that is due: it
        applies `change.take` rows after the first `change.skip`, and gives the change to `store.save` in the
        same transaction. What it raises goes on, and nothing is remembered. Returns the Decision about what is
        left: SKIP, delete the message; WAIT, keep it, and take it again when something has changed."""
        name = (batch.source.stream, batch.source.epoch, batch.lane)
        while True:
            first, count = batch.sequence_first, len(batch.rows)
            offer = self.lane(*name, now).offer(first, count, now)
            if not offer.take:
                return offer.decision
            self._change(name, lambda lane: lane.applied(first + offer.skip, offer.take, now), now, apply, offer)

    def suppressed(self, message: Any, now: float, save: Callable[[Change], object] | None = None) -> None:
        """A message of kind `suppressed`. The store's method saves the change, or `save` in its place."""
        name = (message.source.stream, message.source.epoch, message.lane)
        last = message.sequence_first + message.count - 1
        self._change(name, lambda lane: lane.suppressed(message.sequence_first, last, now), now, save)

    def give_up(self, lane: LaneName, gap: Gap, now: float, save: Callable[[Change], object] | None = None) -> None:
        """Goes on without the rows of a gap. The store's method saves the change, or `save` in its place."""
        self._change(lane, lambda copy: copy.absent(gap.first, gap.last, now), now, save)

    def watermark(self, canary: Any, now: float) -> None:
        """A canary has arrived: what it says of lanes that are known."""
        stream = canary.batch.source.stream
        for mark in canary.watermark.lanes:
            name = (stream, mark.epoch, mark.lane)
            if name in self.lanes:
                self.lanes[name].watermark(mark.sequence_next, now)

    def gaps(self, now: float) -> list[tuple[LaneName, Gap]]:
        """Pairs of a lane's name and its Gap, of all lanes with one that is due."""
        found = [(name, lane.missing(now)) for name, lane in self.lanes.items()]
        return [(name, gap) for name, gap in found if gap]

    def forget(self, lane: LaneName) -> None:
        """The lane is loaded again when it is met: another process has changed it."""
        self.lanes.pop(lane, None)

    def _change(self, name, change, now, save, offer=Offer(Decision.GO)):
        changed = self.lane(*name, now).copy()
        change(changed)
        save = save or (self.store.save if self.store else lambda change: None)
        try:
            save(Change(name, self._stored[name], changed.state, offer.skip, offer.take))
        except BaseException:
            self.forget(name)
            raise
        self.lanes[name], self._stored[name] = changed, changed.state
