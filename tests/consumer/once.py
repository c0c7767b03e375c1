"""Applies each row once, in the order of its lane: the sample of docs/consume/exactly-once.md.

What is known of the lanes lies in the database that the effects go to (here SQLite), and changes in the
same transaction as they do. Rows that can't be applied yet are set aside there, so a message whose rows
only have to wait is done with: it is not received again and again until it is a dead letter.
"""

import json
from enum import Enum

import consumer
from parts import Parts

TABLES = """
CREATE TABLE IF NOT EXISTS lanes (
    stream TEXT, epoch INTEGER, lane TEXT,
    next INTEGER,       -- number of the row that is due; NULL until it is known where the lane begins
    wait_until REAL,    -- until when what is set aside waits
    stopped TEXT,       -- why nothing more is applied, until an operator resumes the lane
    PRIMARY KEY (stream, epoch, lane));
CREATE TABLE IF NOT EXISTS aside (
    stream TEXT, epoch INTEGER, lane TEXT, number INTEGER, row TEXT,
    PRIMARY KEY (stream, epoch, lane, number));
CREATE TABLE IF NOT EXISTS suppressed (     -- numbers that an operator of the source held back
    stream TEXT, epoch INTEGER, lane TEXT, first INTEGER, last INTEGER,
    PRIMARY KEY (stream, epoch, lane, first));
"""


class Gaps(Enum):
    """What is done about a number that is missing."""

    STOP = "stop"  # apply nothing more of the lane, set aside what comes, and tell
    WAIT = "wait"  # for `gap_wait` set aside what comes behind it; then the same
    SKIP = "skip"  # for `gap_wait` set aside what comes behind it; then go on with that, and tell


class Full(Exception):
    """So much is set aside that nothing more may be received. The message stays in the queue."""


class Once:
    """Takes messages in whatever order they come.

    `apply(row)` is your effect, in the transaction of `db`. `alarm(text)` tells somebody. `gap_wait` must
    be longer than a message takes to become a dead letter (receives times visibility timeout): until
    then a row that can't be applied is not missing.

    `read(chunk)` takes parts of snapshots, for who subscribes to kind `snapshot` too. Rows of parts come
    to `apply` as `op` = `read`: insert or replace the row. After a chunk's last part in the lane `read`
    gets `database`, `table`, `lane`, `key`, `key_after` (excluded), `key_upto` (included), and `keys`:
    rows of your copy in this lane and range whose key is not in `keys` are gone.
    """

    def __init__(self, db, apply, alarm, *, gaps=Gaps.WAIT, first_wait=60, mark_wait=5, gap_wait=300,
                 aside_max=100_000, read=None):
        self.db, self.apply, self.alarm, self.gaps = db, apply, alarm, gaps
        self.first_wait, self.mark_wait, self.gap_wait = first_wait, mark_wait, gap_wait
        self.aside_max, self.read = aside_max, read
        db.isolation_level = None
        db.executescript(TABLES)
        self.parts = Parts(db)

    def take(self, frame, now):
        """Takes a message. Afterwards it may be deleted. Raises what `apply` raises: then the rows
        before the one at fault are applied and known, and the message must come again."""
        content = frame.WhichOneof("content")
        if content == "batch":
            self.take_rows(list(consumer.rows(frame.batch)), now)
        elif content == "canary":
            marks = [(mark.epoch, mark.lane, mark.sequence_next) for mark in frame.canary.watermark.lanes]
            self.take_marks(frame.canary.batch.source.stream, marks, now)
        elif content == "suppressed":
            self.take_suppressed(frame.suppressed, now)
        elif content == "snapshot_part" and self.read:
            self.take_part(consumer.snapshot_part(frame.snapshot_part), now)
        # Statements are for information; what a newer binpulse sends is nothing to us.

    def take_rows(self, rows, now):
        """Takes rows of one lane with contiguous numbers."""
        lane = (rows[0]["stream"], rows[0]["epoch"], rows[0]["lane"])
        self.make_room(len(rows))
        failure = None
        self.db.execute("BEGIN IMMEDIATE")
        try:
            due, stopped = self.lane(lane, now)
            if due is None and rows[0]["sequence"] == 1:
                due = 1
            for row in rows:
                number = row["sequence"]
                if due is not None and number < due and not self.is_released(lane, number):
                    continue  # applied before
                if due is not None and number < due:
                    failure = self.attempt(row)
                    if failure:
                        break
                    self.released(lane, number)
                    continue
                if number != due or stopped or self.waits_for_parts(lane, due, row):
                    self.set_aside(lane, number, row)
                    continue
                failure = self.attempt(row)
                if failure:
                    break
                due += 1
            self.keep(lane, due)
            if not failure:
                self.advance(lane, now)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        if failure:
            raise failure

    def take_part(self, part, now):
        """Takes a part of a snapshot: it is set aside, and applied at its place."""
        lane = (part["stream"], part["epoch"], part["lane"])
        self.make_room(len(part["rows"]))
        self.db.execute("BEGIN IMMEDIATE")
        try:
            due, _ = self.lane(lane, now)
            if due is None and part["anchor"] == 1:
                due = 1
            self.parts.offer(lane, part)
            self.keep(lane, due)
            self.advance(lane, now)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def take_suppressed(self, held, now):
        """Takes a range of numbers that were held back: no gap. They may still come, and are applied
        then."""
        lane = (held.source.stream, held.source.epoch, held.lane)
        first, last = held.sequence_first, held.sequence_first + held.count - 1
        self.db.execute("BEGIN IMMEDIATE")
        due, _ = self.lane(lane, now)
        if due is None and first == 1:
            due = 1
        # What is known by now was applied, or is in an older range.
        first = max(first, due or 0)
        if first <= last:
            self.db.execute("INSERT OR REPLACE INTO suppressed VALUES (?, ?, ?, ?, ?)", (*lane, first, last))
        self.keep(lane, due)
        self.advance(lane, now)
        self.db.execute("COMMIT")

    def take_marks(self, stream, marks, now):
        """Takes a canary's watermark: what is smaller was accepted by the topic before the canary was
        sent, so a lane whose beginning is not known waits only a moment longer for it."""
        for epoch, lane, number in marks:
            smallest = "SELECT MIN(number) FROM aside WHERE stream = ? AND epoch = ? AND lane = ?"
            held = self.db.execute(smallest, (stream, epoch, lane)).fetchone()[0]
            if held is not None and number >= held:
                self.db.execute(
                    "UPDATE lanes SET wait_until = MIN(wait_until, ?) "
                    "WHERE stream = ? AND epoch = ? AND lane = ? AND next IS NULL",
                    (now + self.mark_wait, stream, epoch, lane))

    def tick(self, now):
        """Ends what has waited long enough. Call it each second, also while nothing comes."""
        late = "SELECT stream, epoch, lane FROM lanes WHERE wait_until <= ? AND stopped IS NULL"
        for lane in self.db.execute(late, (now,)).fetchall():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                self.end_wait(lane, now)
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise

    def resume(self, lane, now, skip=False):
        """An operator has fixed a stopped lane. With `skip` the row that is due, and what is missing
        before the next one, are given up."""
        self.db.execute("BEGIN IMMEDIATE")
        self.update(lane, "stopped = NULL, wait_until = NULL")
        if skip:
            due, _ = self.lane(lane, now)
            if part := self.parts.ready(lane, due):
                self.parts.applied(lane, part)
            else:
                self.db.execute("DELETE FROM aside WHERE stream = ? AND epoch = ? AND lane = ? AND number = ?", (*lane, due))
                self.keep(lane, self.smallest(lane) or due + 1)
        self.advance(lane, now)
        self.db.execute("COMMIT")

    def stopped(self):
        """The lanes that stand, and why."""
        return self.db.execute("SELECT stream, epoch, lane, stopped FROM lanes WHERE stopped IS NOT NULL").fetchall()

    # Inside a transaction

    def lane(self, lane, now):
        """The number that is due and why the lane stands, both None if so; a lane not met yet waits."""
        self.db.execute("INSERT OR IGNORE INTO lanes VALUES (?, ?, ?, NULL, ?, NULL)", (*lane, now + self.first_wait))
        found = "SELECT next, stopped FROM lanes WHERE stream = ? AND epoch = ? AND lane = ?"
        return self.db.execute(found, lane).fetchone()

    def keep(self, lane, due):
        """Each number that is missing is waited for anew."""
        if due is not None:
            self.update(lane, "wait_until = CASE WHEN next = ? THEN wait_until END, next = ?", due, due)

    def set_aside(self, lane, number, row):
        self.db.execute("INSERT OR IGNORE INTO aside VALUES (?, ?, ?, ?, ?)", (*lane, number, json.dumps(row)))

    def is_released(self, lane, number):
        """Whether this number was held back, and so not applied."""
        return self.range_of(lane, number) is not None

    def range_of(self, lane, number):
        found = ("SELECT first, last FROM suppressed WHERE stream = ? AND epoch = ? AND lane = ? "
                 "AND first <= ? AND last >= ?")
        return self.db.execute(found, (*lane, number, number)).fetchone()

    def released(self, lane, number):
        """A number that was held back has come after all: the range goes on without it."""
        first, last = self.range_of(lane, number)
        self.db.execute("DELETE FROM suppressed WHERE stream = ? AND epoch = ? AND lane = ? AND first = ?", (*lane, first))
        for rest in ((first, number - 1), (number + 1, last)):
            if rest[0] <= rest[1]:
                self.db.execute("INSERT INTO suppressed VALUES (?, ?, ?, ?, ?)", (*lane, *rest))

    def attempt(self, row):
        """Applies a row; what `apply` raised, and then nothing of this row is left."""
        self.db.execute("SAVEPOINT row")
        try:
            self.apply(row)
        except Exception as error:
            self.db.execute("ROLLBACK TO row")
            return error
        finally:
            self.db.execute("RELEASE row")
        return None

    def advance(self, lane, now):
        """Applies what was set aside and is due now; then waits, if more is set aside."""
        while True:
            due, stopped = self.lane(lane, now)
            if due is None or stopped:
                return
            due, failure = self.drain(lane, due)
            self.keep(lane, due)
            if failure:
                return self.stop(lane, failure)
            smallest = self.smallest(lane)
            if smallest is None and not self.parts.waiting(lane):
                return self.update(lane, "wait_until = NULL")
            if self.gap_wait > 0 and self.gaps is not Gaps.STOP:
                return self.update(lane, "wait_until = COALESCE(wait_until, ?)", now + self.gap_wait)
            if not self.give_up(lane, due, smallest):
                return

    def drain(self, lane, due):
        """Applies what was set aside, up to the next gap. Why nothing more can be applied, if so."""
        found = "SELECT row FROM aside WHERE stream = ? AND epoch = ? AND lane = ? AND number = ?"
        failure = None
        while not failure:
            if part := self.parts.ready(lane, due):
                failure = self.attempt_part(lane, part)
                continue
            held = self.db.execute(found, (*lane, due)).fetchone()
            row = json.loads(held[0]) if held else None
            if row and not self.waits_for_parts(lane, due, row):
                error = self.attempt(row)
                failure = error and f"row {due} can't be applied: {error}"
                due += not error
            elif row is None and (suppressed := self.range_of(lane, due)):
                due = suppressed[1] + 1
            else:
                break
        self.db.execute("DELETE FROM aside WHERE stream = ? AND epoch = ? AND lane = ? AND number < ?", (*lane, due))
        return due, failure

    def waits_for_parts(self, lane, due, row):
        """Whether a part of a snapshot is to be applied before the row that is due."""
        return bool(self.read) and (self.parts.stand_before(lane, row) or self.parts.ready(lane, due) is not None)

    def attempt_part(self, lane, part):
        """Applies a part; why it can't be, and then nothing of it is left."""
        self.db.execute("SAVEPOINT part")
        try:
            for row in part["rows"]:
                self.apply(row)
            keys = self.parts.applied(lane, part)
            if keys is not None and part["key"]:
                self.read({**part, "keys": keys})
        except Exception as error:
            self.db.execute("ROLLBACK TO part")
            return f"part {part['part']} can't be applied: {error}"
        finally:
            self.db.execute("RELEASE part")
        return None

    def end_wait(self, lane, now):
        """What was waited for has not come."""
        due, _ = self.lane(lane, now)
        smallest, part = self.smallest(lane), self.parts.waiting(lane)
        # A lane that was not known is one that we have joined later: it begins here.
        if due is None and (smallest is not None or part):
            self.keep(lane, min(number for number in (smallest, part and part[2]) if number is not None))
            if part and self.parts.due(lane)[0] is None:
                self.parts.begin(lane, *part[:2])
        elif due is not None and not self.give_up(lane, due, smallest):
            return
        self.advance(lane, now)

    def give_up(self, lane, due, smallest):
        """Rows or parts are missing for good. Whether to go on without them."""
        part, (_, part_due) = self.parts.waiting(lane), self.parts.due(lane)
        waited = []
        if part and part[2] <= due:
            waited.append(part[:2])
        if smallest == due:
            row = json.loads(self.db.execute(
                "SELECT row FROM aside WHERE stream = ? AND epoch = ? AND lane = ? AND number = ?",
                (*lane, due)).fetchone()[0])
            waited.append((row["snapshot_attempt"] or self.parts.due(lane)[0] or (part[0] if part else 0), row["snapshot_next"]))
        at = min(waited, default=None)
        if at is None:
            end = min(number for number in (smallest, part and part[2]) if number is not None)
        # Parts of which none was ever seen are of a time before us.
        if at and part_due is None:
            self.parts.begin(lane, *at)
            return True
        missing = f"parts {part_due} to {at[1] - 1} are missing" if at else f"rows {due} to {end - 1} are missing"
        if self.gaps is not Gaps.SKIP:
            self.stop(lane, missing)
            return False
        self.alarm(f"{lane}: {missing}; going on without them")
        self.parts.begin(lane, *at) if at else self.keep(lane, end)
        return True

    def stop(self, lane, why):
        self.update(lane, "stopped = ?, wait_until = NULL", why)
        self.alarm(f"{lane}: stopped: {why}")

    def update(self, lane, changes, *values):
        self.db.execute(f"UPDATE lanes SET {changes} WHERE stream = ? AND epoch = ? AND lane = ?", (*values, *lane))

    def smallest(self, lane):
        found = "SELECT MIN(number) FROM aside WHERE stream = ? AND epoch = ? AND lane = ?"
        return self.db.execute(found, lane).fetchone()[0]

    def make_room(self, rows):
        if self.count("SELECT COUNT(*) FROM aside") + self.parts.rows() + rows > self.aside_max:
            raise Full(f"{self.aside_max} rows are set aside")

    def count(self, sql):
        return self.db.execute(sql).fetchone()[0]
