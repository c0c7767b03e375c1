"""Which rows come next, which came before, which are missing. Pure: time is an argument, in seconds since
any fixed moment.

The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order, and some
may be lost. A Lane decides for each message: skip it, go and apply it, or wait; and it names a gap once it
is certain, or has lasted for long enough, that rows do not come.
"""

import bisect
from dataclasses import dataclass
from enum import Enum


class Decision(Enum):
    SKIP = "skip"  # applied before: delete the message
    GO = "go"  # apply it
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
class Gap:
    """Rows that are missing, both ends included."""

    first: int
    last: int
    proven: bool


class Lane:
    """The numbers of one lane in one epoch. `next` is the number that is expected, None: not known yet."""

    def __init__(self, next=None, waits=Waits(), now=0.0):
        self.next, self._waits, self._since = next, waits, now
        self._held, self._absent = {}, {}  # first number to last
        self._accepted, self._accepted_later = None, None  # number below which all was accepted, and when

    def offer(self, first, count, now):
        """`count` rows have arrived from `first` on. A decision, and of Go how many of the first rows were
        applied before. Who is told to go applies the others, and then says so with `applied`."""
        after = first + count
        if count <= 0:
            return Decision.SKIP, 0
        if self.next is None and first <= 1:
            self._move_to(1, now)
        if self.next is not None and after <= self.next:
            return Decision.SKIP, 0
        if self.next is not None and first <= self.next:
            return Decision.GO, self.next - first
        if not self._held:
            self._since = now
        self._held[first] = max(self._held.get(first, 0), after - 1)
        return Decision.WAIT, 0

    def applied(self, next, now):
        """All below `next` is applied now."""
        if self.next is None or next > self.next:
            self._move_to(next, now)

    def watermark(self, sequence_next, now):
        """A canary's watermark names the lane: all below was accepted by the topic before it was sent."""
        if self._accepted is None:
            self._accepted = (sequence_next, now)
        elif self._accepted[0] < sequence_next:
            if self.next is not None:
                self._accepted_later = (sequence_next, now)
            else:
                self._accepted = (sequence_next, now)
        self._forget_reached()

    def absent(self, first, last, now):
        """These rows will not come: they are suppressed, or were given up."""
        if first <= last:
            self._absent[first] = max(self._absent.get(first, 0), last)
            if self.next is not None:
                self._move_to(self.next, now)

    def missing(self, now):
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

    def due(self):
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


class Ledger:
    """The lanes of a consumer, in memory. Who must survive a restart stores the next number of each lane in
    the transaction of its rows' effect, and gives it back with `resume`."""

    def __init__(self, waits=Waits()):
        self.waits, self.lanes = waits, {}

    def resume(self, stream, epoch, lane, next, now):
        """All below `next` was applied, as the consumer's store says."""
        self.lanes[stream, epoch, lane] = Lane(next, self.waits, now)

    def lane(self, stream, epoch, lane, now):
        """The lane, known or new."""
        name = (stream, epoch, lane)
        if name not in self.lanes:
            self.lanes[name] = Lane(None, self.waits, now)
        return self.lanes[name]
