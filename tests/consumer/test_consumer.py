"""What the sample makes of histories: numbers of lanes in the order in which a consumer receives them."""

import base64
import json
import os
import random
import resource
import sqlite3
import unittest

import consumer
import receive
from consumer import Elsewhere, Malformed, change_pb2, frame_pb2
from once import Full, Gaps, Once


def batch(first, count=1, epoch=1, lane="shop.t#0"):
    """A frame with rows of one lane."""
    frame = frame_pb2.Frame()
    rows = frame.batch
    rows.source.stream, rows.source.epoch, rows.lane, rows.sequence_first = "shop", epoch, lane, first
    rows.table.database, rows.table.table = "shop", "t"
    rows.table.columns.add(name="id")
    rows.files.append("binlog.000001")
    rows.transactions.add()
    for number in range(first, first + count):
        row = rows.rows.add(op=change_pb2.OP_INSERT)
        row.after.values.add().integer = number
    return frame


def canary(lane, number, epoch=1):
    """A frame with a canary whose watermark names one lane."""
    frame = frame_pb2.Frame()
    frame.canary.batch.source.stream = "shop"
    frame.canary.watermark.lanes.add(lane=lane, sequence_next=number, epoch=epoch)
    return frame


def suppressed(first, count, lane="shop.t#0"):
    """A frame that says of numbers of a lane that they are held back."""
    frame = frame_pb2.Frame()
    held = frame.suppressed
    held.source.stream, held.source.epoch, held.lane = "shop", 1, lane
    held.sequence_first, held.count = first, count
    return frame


class Rig:
    """A consumer over SQLite in memory, and what it did."""

    def __init__(self, **options):
        self.db, self.alarms, self.refuses = sqlite3.connect(":memory:"), [], set()
        self.db.execute("CREATE TABLE copy (id INTEGER)")
        self.once = Once(self.db, self.apply, self.alarms.append, **options)

    def apply(self, row):
        self.db.execute("INSERT INTO copy VALUES (?)", (row["after"]["id"],))
        if row["after"]["id"] in self.refuses:
            raise ValueError("this row never can")

    def take(self, *firsts, at=0.0, count=1):
        for first in firsts:
            self.once.take(batch(first, count), at)

    @property
    def applied(self):
        return [number for number, in self.db.execute("SELECT id FROM copy ORDER BY rowid")]


class First(unittest.TestCase):
    """Where a lane begins."""

    def test_two_messages_that_were_swapped_lose_nothing(self):
        rig = Rig()
        rig.take(6, count=5)
        self.assertEqual(rig.applied, [])
        rig.take(1, count=5, at=59)
        self.assertEqual(rig.applied, list(range(1, 11)))

    def test_a_consumer_that_joins_later_begins_with_the_smallest_number_that_came(self):
        rig = Rig()
        rig.take(9, 7, 8)
        rig.once.tick(59.9)
        self.assertEqual(rig.applied, [])
        rig.once.tick(60)
        self.assertEqual(rig.applied, [7, 8, 9])
        rig.take(6, 10, at=61)
        self.assertEqual(rig.applied, [7, 8, 9, 10])
        self.assertEqual(rig.alarms, [])

    def test_a_watermark_shortens_the_wait(self):
        rig = Rig()
        rig.take(7)
        rig.once.take(canary("shop.t#0", 6), 1)  # says nothing of 6
        rig.once.take(canary("shop.t#0", 8, epoch=2), 1)  # of another epoch
        rig.once.tick(30)
        self.assertEqual(rig.applied, [])
        rig.once.take(canary("shop.t#0", 8), 30)
        rig.once.tick(34)
        self.assertEqual(rig.applied, [])
        rig.once.tick(35)
        self.assertEqual(rig.applied, [7])

    def test_a_new_epoch_begins_again_with_1(self):
        rig = Rig()
        rig.take(1, 2)
        rig.once.take(batch(2, epoch=2), 10)
        rig.once.take(batch(1, epoch=2), 11)
        self.assertEqual(rig.applied, [1, 2, 1, 2])

    def test_whatever_the_order_each_row_is_applied_once_and_in_its_order(self):
        for seed in range(200):
            dice = random.Random(seed)
            cuts = sorted(dice.sample(range(2, 40), 8))
            starts = list(zip([1, *cuts], [*cuts, 40]))
            messages = starts + dice.choices(starts, k=5)
            dice.shuffle(messages)
            rig = Rig()
            for at, (first, end) in enumerate(messages):
                rig.once.take(batch(first, end - first), at)
                rig.once.tick(at)
            self.assertEqual(rig.applied, list(range(1, 40)), seed)
            self.assertEqual(rig.alarms, [], seed)


class Gap(unittest.TestCase):
    """Numbers that do not come."""

    def test_a_row_that_never_can_be_applied_stays_alone(self):
        rig = Rig(gaps=Gaps.SKIP, gap_wait=100)
        rig.refuses = {2}
        rig.take(1)
        for at in (0, 30, 60):
            with self.assertRaises(ValueError):
                rig.take(2, at=at)
            rig.take(3, 4, 5, 6, at=at)
        self.assertEqual(rig.applied, [1])
        # It is a dead letter now, and the lane goes on.
        rig.once.tick(100)
        self.assertEqual(rig.applied, [1, 3, 4, 5, 6])
        self.assertEqual(len(rig.alarms), 1)
        self.assertIn("rows 2 to 2 are missing", rig.alarms[0])

    def test_a_row_that_can_be_applied_later_keeps_its_place(self):
        rig = Rig(gaps=Gaps.SKIP, gap_wait=100)
        rig.refuses = {2}
        rig.take(1)
        with self.assertRaises(ValueError):
            rig.take(2)
        rig.take(3, 4)
        rig.refuses = set()
        rig.take(2, at=99)
        rig.once.tick(200)
        self.assertEqual(rig.applied, [1, 2, 3, 4])
        self.assertEqual(rig.alarms, [])

    def test_by_policy_the_lane_stops_and_its_messages_are_kept(self):
        for options in ({"gaps": Gaps.STOP}, {"gaps": Gaps.WAIT, "gap_wait": 0}):
            rig = Rig(**options)
            rig.take(1, 3, 4, 5, 6)
            self.assertEqual(rig.applied, [1])
            [(*lane, why)] = rig.once.stopped()
            self.assertEqual(why, "rows 2 to 2 are missing")
            self.assertEqual(len(rig.alarms), 1)
            # Other lanes go on
            rig.once.take(batch(1, lane="shop.u#0"), 1)
            self.assertEqual(rig.applied, [1, 1])
            # The operator sends the dead letter again, or does without
            if options["gaps"] is Gaps.STOP:
                rig.take(2)
                rig.once.resume(lane, 9)
                self.assertEqual(rig.applied, [1, 1, 2, 3, 4, 5, 6])
            else:
                rig.once.resume(lane, 9, skip=True)
                self.assertEqual(rig.applied, [1, 1, 3, 4, 5, 6])

    def test_what_may_still_come_is_waited_for(self):
        rig = Rig(gap_wait=300)
        rig.take(1, 3, 5)
        rig.once.tick(299)
        self.assertEqual(rig.once.stopped(), [])
        rig.take(2, at=299)
        self.assertEqual(rig.applied, [1, 2, 3])
        # 4 has been missing for a moment only
        rig.once.tick(300)
        self.assertEqual(rig.once.stopped(), [])
        rig.once.tick(599)
        self.assertEqual(rig.once.stopped()[0][3], "rows 4 to 4 are missing")

    def test_a_pack_goes_on_where_it_failed(self):
        rig = Rig()
        rig.refuses = {237}
        with self.assertRaises(ValueError):
            rig.take(1, count=400)
        self.assertEqual(rig.applied, list(range(1, 237)))
        rig.refuses = set()
        rig.take(1, count=400)
        self.assertEqual(rig.applied, list(range(1, 401)))

    def test_a_row_that_was_set_aside_and_fails_stops_its_lane_and_not_the_message_in_hand(self):
        rig = Rig()
        rig.refuses = {3}
        rig.take(2, 3, 4)
        rig.take(1)
        self.assertEqual(rig.applied, [1, 2])
        [(*lane, why)] = rig.once.stopped()
        self.assertIn("row 3 can't be applied", why)
        rig.once.resume(lane, 1, skip=True)
        self.assertEqual(rig.applied, [1, 2, 4])

    def test_what_is_set_aside_is_bounded(self):
        rig = Rig(aside_max=10)
        rig.take(2, count=10)
        with self.assertRaises(Full):
            rig.take(12)


def frame_of(content, stated=None, codec=frame_pb2.CODEC_ZSTD):
    """A body with this payload."""
    frame = frame_pb2.Frame(format_version=1, codec=codec, payload=content)
    frame.uncompressed_size = len(content) if stated is None else stated
    return base64.b64encode(frame.SerializeToString()).decode()


def bomb(size):
    """A zstd frame of so many zeros: blocks of 128 KiB, each of them one byte that is repeated."""
    block, full = 128 << 10, size // (128 << 10)
    head = bytes.fromhex("28b52ffd") + bytes([0xE0]) + size.to_bytes(8, "little")
    blocks = b"".join(
        (block << 3 | 1 << 1 | (at == full - 1)).to_bytes(3, "little") + b"\0" for at in range(full))
    return head + blocks


def plain(frame):
    """The frame as published, without compression."""
    content = frame.SerializeToString()
    outer = frame_pb2.Frame(format_version=1, payload=content, uncompressed_size=len(content))
    outer.crc32c = consumer.crc32c(content)
    return base64.b64encode(outer.SerializeToString()).decode()


class Suppressed(unittest.TestCase):
    """Numbers that an operator of the source held back."""

    def test_numbers_that_were_held_back_are_no_gap_in_whatever_order_that_is_learned(self):
        for first in (True, False):
            rig = Rig(gaps=Gaps.STOP)
            rig.take(1, 2)
            messages = [suppressed(3, 1_000_000), batch(1_000_003, 2)]
            for frame in messages if first else reversed(messages):
                rig.once.take(frame, 1)
            if not first:
                self.assertEqual(len(rig.once.stopped()), 1)
                rig.once.resume(("shop", 1, "shop.t#0"), 2)
            self.assertEqual(rig.applied, [1, 2, 1_000_003, 1_000_004])
            self.assertEqual(rig.once.stopped(), [])

    def test_what_was_held_back_is_applied_once_when_it_comes_after_all(self):
        rig = Rig()
        rig.take(1)
        rig.once.take(suppressed(2, 3), 0)
        rig.take(5)
        rig.once.take(suppressed(2, 3), 0)
        rig.take(3, 3, 2, 2, 4, 4, 5, 1)
        self.assertEqual(rig.applied, [1, 5, 3, 2, 4])

    def test_a_lane_may_begin_with_numbers_that_are_held_back(self):
        rig = Rig()
        rig.once.take(suppressed(1, 10), 0)
        rig.take(11)
        self.assertEqual(rig.applied, [11])


class Kinds(unittest.TestCase):
    """Contents that this sample does not apply."""

    def test_they_are_opened_and_change_nothing(self):
        part, mark, end = frame_pb2.Frame(), frame_pb2.Frame(), frame_pb2.Frame()
        row = part.snapshot_part.batch.rows.add(op=change_pb2.OP_READ)
        row.after.values.add().integer = 1
        mark.snapshot_mark.phase = change_pb2.SNAPSHOT_PHASE_DONE
        end.transaction_end.rows = 7
        rig = Rig()
        for frame in (part, mark, end):
            opened = consumer.decode_body(plain(frame))
            self.assertEqual(opened, frame)
            rig.once.take(opened, 0)
        self.assertEqual(rig.applied, [])
        self.assertEqual(rig.once.count("SELECT COUNT(*) FROM lanes"), 0)


class Bodies(unittest.TestCase):
    """Bodies in every form, and such as are none."""

    def test_what_is_no_message_is_told_as_that(self):
        bodies = ["", " ", "[", "[]", "[1]", '["x",{}]', '["x",{"s3BucketName":"b","s3Key":"k"}]', "{", "{}", "null",
                  "AAAA", "hello", "\u00e9", frame_of(b"junk"), frame_of(b"\x07", codec=frame_pb2.CODEC_NONE)]
        whole = plain(batch(1))
        bodies += [whole[:length] for length in range(1, len(whole))]
        for body in bodies:
            with self.assertRaises(Malformed, msg=body):
                frame = consumer.decode_body(body)
                self.assertIsNone(frame.WhichOneof("content"), body)
                raise Malformed("of a newer version")

    def test_content_is_bounded_before_memory_is_taken_for_it(self):
        gib = 1 << 30
        bodies = [frame_of(bomb(2 * gib), stated) for stated in (10, 64 << 20, 2 * gib)]
        self.assertLess(len(bodies[0]), 100_000)
        for body in bodies:
            with self.assertRaises(Malformed):
                consumer.decode_body(body)
        # KiB, of the whole process
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 300 << 10)

    def test_the_largest_content_is_taken(self):
        size = 64 << 20
        self.assertEqual(len(consumer.unzstd(bomb(size), size)), size)

    def test_a_claim_check_is_followed_in_both_forms(self):
        whole = plain(batch(7))
        pointer = json.dumps([consumer.POINTER, {"s3BucketName": "b", "s3Key": "k"}])
        claim = frame_pb2.Frame(format_version=1)
        claim.claim_check.bucket, claim.claim_check.key = "b", "k"
        claim = base64.b64encode(claim.SerializeToString()).decode()
        for body in (pointer, claim):
            frame = consumer.decode_body(body, lambda bucket, key: {("b", "k"): whole}[bucket, key])
            self.assertEqual(frame.batch.sequence_first, 7)
            with self.assertRaises(Elsewhere):
                consumer.decode_body(body)

    def test_attributes_are_read_from_each_form(self):
        body = plain(batch(1))
        wrapped = json.dumps({
            "Type": "Notification", "TopicArn": "arn", "Message": body,
            "MessageAttributes": {"kind": {"Type": "String", "Value": "change"}}})
        forms = [
            {"Body": body, "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "change"}}},
            {"body": body, "messageAttributes": {"kind": {"dataType": "String", "stringValue": "change", "binaryListValues": []}}},
            {"Sns": {"Message": body, "MessageAttributes": {"kind": {"Type": "String", "Value": "change"}}}},
            {"Body": wrapped},
            {"body": wrapped, "messageAttributes": {}},
        ]
        for message in forms:
            self.assertEqual(consumer.attributes(message), {"kind": "change"}, message)
            self.assertEqual(consumer.decode_body(consumer.body_of(message)).batch.sequence_first, 1)
        self.assertEqual(consumer.attributes({"Body": body}), {})


class Lambda(unittest.TestCase):
    """Events of Lambda."""

    def test_only_what_failed_comes_again_and_what_is_behind_it_waits(self):
        def record(name, body, kind="change", group=None):
            attributes = {"kind": {"dataType": "String", "stringValue": kind}}
            return {"messageId": name, "body": body, "messageAttributes": attributes,
                    "attributes": {"MessageGroupId": group} if group else {}}

        rig = Rig()
        rig.refuses = {2}
        other = plain(batch(1, lane="shop.u#0"))
        event = {"Records": [
            record("a", plain(batch(1)), group="t"), record("b", plain(batch(2)), group="t"),
            record("c", plain(batch(3)), group="t"), record("d", other, group="u"),
            record("e", "[", group="v"), record("f", "whatever", kind="of-a-newer-version"),
        ]}
        answer = receive.lambda_handler(event, rig.once)
        self.assertEqual([one["itemIdentifier"] for one in answer["batchItemFailures"]], ["b", "e"])
        self.assertEqual(rig.applied, [1, 1])
        rig.refuses = set()
        again = [record for record in event["Records"] if record["messageId"] == "b"]
        self.assertEqual(receive.lambda_handler({"Records": again}, rig.once), {"batchItemFailures": []})
        self.assertEqual(rig.applied, [1, 1, 2, 3])


def read_part(number, rows, *, attempt=1, begin=1, anchor=1, chunk=1, last=False, touched=(), after=None, upto=None):
    """A frame with a part of a snapshot: rows as (id, value)."""
    frame = frame_pb2.Frame()
    part = frame.snapshot_part
    part.snapshot, part.part, part.chunk, part.attempt, part.last_part = "01J", number, chunk, attempt, last
    part.attempt_part = begin
    part.anchor.lane, part.anchor.sequence_next, part.anchor.epoch = "shop.t#0", anchor, 1
    table(part.batch)
    for key, value in rows:
        row = part.batch.rows.add(op=change_pb2.OP_READ)
        row.after.values.add().integer = key
        row.after.values.add().integer = value
    for key in touched:
        part.touched.add().values.add().integer = key
    for member, key in (("key_after", after), ("key_upto", upto)):
        if key is not None:
            getattr(part, member).values.add().integer = key
    return frame


def table(rows):
    rows.source.stream, rows.source.epoch, rows.lane = "shop", 1, "shop.t#0"
    rows.table.database, rows.table.table = "shop", "t"
    for name in ("id", "v"):
        rows.table.columns.add(name=name)
    rows.table.primary_key.append(0)


def changed(number, op, key, value, snapshot_next=0, snapshot_attempt=0):
    """A frame with one row."""
    frame = frame_pb2.Frame()
    rows = frame.batch
    table(rows)
    rows.sequence_first, rows.snapshot_next, rows.snapshot_attempt = number, snapshot_next, snapshot_attempt
    rows.files.append("binlog.000001")
    rows.transactions.add()
    row = rows.rows.add(op=op)
    image = row.before if op == change_pb2.OP_DELETE else row.after
    image.values.add().integer = key
    image.values.add().integer = value
    return frame


class Copy:
    """A consumer that keeps a copy of the table."""

    def __init__(self, rows=(), **options):
        self.db, self.alarms = sqlite3.connect(":memory:"), []
        self.db.execute("CREATE TABLE copy (id INTEGER PRIMARY KEY, v INTEGER)")
        self.db.executemany("INSERT INTO copy VALUES (?, ?)", rows)
        self.once = Once(self.db, self.apply, self.alarms.append, read=self.read, **options)

    def apply(self, row):
        if row["op"] == "delete":
            self.db.execute("DELETE FROM copy WHERE id = ?", (row["before"]["id"],))
        else:
            self.db.execute("INSERT OR REPLACE INTO copy VALUES (?, ?)", (row["after"]["id"], row["after"]["v"]))

    def read(self, chunk):
        kept = {key for key, in chunk["keys"]}
        for key in self.rows:
            after = chunk["key_after"] is None or key > chunk["key_after"]["id"]
            upto = chunk["key_upto"] is None or key <= chunk["key_upto"]["id"]
            if after and upto and key not in kept:
                self.db.execute("DELETE FROM copy WHERE id = ?", (key,))

    def take(self, *frames, at=0.0):
        for frame in frames:
            self.once.take(frame, at)

    @property
    def waiting(self):
        """Rows and parts that are set aside."""
        return self.once.count("SELECT (SELECT COUNT(*) FROM aside) + (SELECT COUNT(*) FROM parts)")

    @property
    def rows(self):
        return dict(self.db.execute("SELECT id, v FROM copy"))


class Source:
    """A table that changes, and a snapshot of it, as binpulse publishes both."""

    def __init__(self, dice):
        self.dice, self.rows, self.sent = dice, {key: 0 for key in dice.sample(range(40), 25)}, []
        self.number, self.value, self.part, self.attempt, self.begin, self.chunk, self.cursor = 1, 0, 1, 1, 1, 0, None
        self.is_done, self.saved = False, None
        self.log = []

    def change(self):
        """One row changes; its key."""
        key, self.value = self.dice.randrange(40), self.value + 1
        op = change_pb2.OP_INSERT if key not in self.rows else self.dice.choice((change_pb2.OP_UPDATE, change_pb2.OP_DELETE))
        if op == change_pb2.OP_DELETE:
            del self.rows[key]
        else:
            self.rows[key] = self.value
        self.log.append((self.number, op, key, self.value))
        self.send(self.log[-1])
        self.number += 1
        return key

    def send(self, row):
        # A process that has sent no part yet goes on with the numbers of those before.
        attempt = self.attempt if self.part > self.begin else 0
        self.sent.append(changed(*row, snapshot_next=self.part, snapshot_attempt=attempt))

    def changes(self):
        for _ in range(self.dice.randrange(4)):
            self.change()

    def read(self, limit):
        """One chunk, with changes before and after its view is opened; in one part or more."""
        touched = {self.change() for _ in range(self.dice.randrange(4))}
        behind = sorted(key for key in self.rows if self.cursor is None or key > self.cursor)
        keys, is_end = behind[:limit], len(behind) <= limit
        view = {key: self.rows[key] for key in keys}
        touched |= {self.change() for _ in range(self.dice.randrange(4))}
        rows = [(key, value) for key, value in view.items() if key not in touched]
        self.chunk += 1
        upto = None if is_end else keys[-1]
        cut = self.dice.randrange(len(rows) + 1)
        parts = [(rows[:cut], touched, False), (rows[cut:], (), True)] if cut else [(rows, touched, True)]
        for rows, touched, last in parts:
            self.sent.append(read_part(self.part, rows, attempt=self.attempt, begin=self.begin, anchor=self.number, chunk=self.chunk,
                                       last=last, touched=touched, after=self.cursor, upto=upto))
            self.part += max(len(rows), 1)
        self.cursor, self.is_done = upto, is_end

    def save(self):
        self.saved = self.number, self.part, self.chunk, self.cursor, self.is_done

    def crash(self):
        """What was not saved is sent again: rows with their numbers, chunks by another reading."""
        number, self.part, self.chunk, self.cursor, self.is_done = self.saved
        self.attempt, self.begin = self.attempt + 1, self.part
        for row in self.log[number - 1:]:
            self.send(row)


class Snapshots(unittest.TestCase):
    """Parts of snapshots."""

    def test_who_did_not_ask_for_snapshots_waits_for_no_part(self):
        rig = Rig()
        rig.once.take(batch(1), 0)
        frame = batch(2)
        frame.batch.snapshot_next = 500
        rig.once.take(frame, 0)
        rig.once.take(read_part(1, [(9, 9)]), 0)
        self.assertEqual(rig.applied, [1, 2])

    def test_a_part_waits_for_the_rows_before_it_and_rows_wait_for_the_parts_before_them(self):
        copy = Copy()
        copy.take(changed(1, change_pb2.OP_INSERT, 6, 60))
        copy.take(read_part(1, [(1, 10)], anchor=3), changed(3, change_pb2.OP_UPDATE, 1, 20, snapshot_next=3))
        self.assertEqual(copy.rows, {6: 60})
        copy.take(changed(2, change_pb2.OP_INSERT, 5, 50))
        self.assertEqual(copy.rows, {1: 10, 5: 50, 6: 60}, "part 2 is missing")
        copy.take(read_part(2, [], anchor=3))
        self.assertEqual(copy.rows, {1: 20, 5: 50, 6: 60})

    def test_what_is_in_the_range_and_in_no_part_is_gone_unless_the_stream_touched_it(self):
        copy = Copy([(1, 1), (2, 2), (3, 3), (4, 4), (9, 9)])
        copy.take(read_part(1, [(1, 11)], last=False, touched=[3], upto=4))
        self.assertEqual(copy.rows, {1: 11, 2: 2, 3: 3, 4: 4, 9: 9})
        copy.take(read_part(2, [(4, 44)], last=True, upto=4))
        self.assertEqual(copy.rows, {1: 11, 3: 3, 4: 44, 9: 9})
        # A chunk of single rows, which is never complete; then one that does not have them.
        copy.take(read_part(3, [(3, 33)], chunk=2), read_part(4, [(9, 99)], chunk=3, last=True, after=2))
        self.assertEqual(copy.rows, {1: 11, 9: 99})

    def test_a_part_is_the_same_in_both_formats(self):
        frame = read_part(3, [(1, 11)], attempt=5, anchor=9, chunk=2, last=True, touched=[3], after=0, upto=4)
        document = {
            "kind": "snapshot", "snapshot": "01J", "part": 3, "anchor": 9, "chunk": 2, "attempt": 5, "attempt_part": 1,
            "last_part": True,
            "key_after": {"id": 0}, "key_upto": {"id": 4}, "touched": [{"id": 3}], "rows_in_chunk": 2,
            "rows_superseded": 1, "v": 1, "source": {"stream": "shop", "epoch": 1, "snapshot": True},
            "database": "shop", "table": "t", "lane": "shop.t#0", "schema": {"primary_key": ["id"]},
            "rows": [{"op": "read", "before": None, "after": {"id": 1, "v": 11}}],
        }
        self.assertEqual(consumer.snapshot_part(frame.snapshot_part), consumer.document_part(document))

    def test_missing_parts_stop_the_lane_or_are_skipped(self):
        for gaps, expected in ((Gaps.WAIT, {1: 1}), (Gaps.SKIP, {1: 1, 7: 7, 8: 8})):
            copy = Copy(gaps=gaps)
            copy.take(read_part(1, [(1, 1)]))
            copy.take(read_part(3, [(7, 7)]), changed(1, change_pb2.OP_INSERT, 8, 8, snapshot_next=4))
            copy.once.tick(301)
            self.assertEqual(copy.rows, expected)
            self.assertIn("parts 2 to 2 are missing", copy.alarms[0])

    def test_who_joins_in_the_middle_of_a_snapshot_begins_with_what_comes(self):
        copy = Copy()
        copy.take(read_part(8, [(2, 2)], anchor=7), read_part(7, [(1, 1)], anchor=7))
        copy.take(changed(7, change_pb2.OP_UPDATE, 1, 3, snapshot_next=9))
        copy.once.tick(60)
        self.assertEqual((copy.rows, copy.alarms), ({1: 3, 2: 2}, []))
        # Parts of before that never come are those of a time before us.
        copy = Copy()
        copy.take(changed(7, change_pb2.OP_INSERT, 1, 3, snapshot_next=9))
        copy.once.tick(60)
        copy.once.tick(361)
        self.assertEqual((copy.rows, copy.alarms), ({1: 3}, []))

    def test_an_older_reading_is_not_taken_after_a_newer_one(self):
        copy = Copy()
        copy.take(read_part(1, [(1, 1)]), read_part(2, [(2, 2)], chunk=2))
        copy.take(read_part(1, [(1, 10), (2, 20)], attempt=2, anchor=1))
        copy.take(read_part(2, [(2, 2)], chunk=2), read_part(3, [(3, 3)], chunk=3), read_part(3, [(3, 30)], attempt=2, chunk=2))
        self.assertEqual(copy.rows, {1: 10, 2: 20, 3: 30})

    def test_a_row_waits_for_parts_that_were_read_again_before_it(self):
        copy = Copy()
        copy.take(read_part(1, [(1, 1), (2, 2)]))
        copy.take(changed(1, change_pb2.OP_UPDATE, 1, 5, snapshot_next=2, snapshot_attempt=2))
        self.assertEqual(copy.rows, {1: 1, 2: 2})
        copy.take(read_part(1, [(1, 4)], attempt=2))
        self.assertEqual(copy.rows, {1: 5, 2: 2})

    def test_whatever_changes_meanwhile_the_copy_is_the_source(self):
        for seed in range(60):
            dice = random.Random(seed)
            source = Source(dice)
            while not source.is_done:
                source.read(dice.randrange(1, 9))
                source.changes()
            # Standard topics deliver in any order, and again.
            frames = source.sent + dice.choices(source.sent, k=10)
            dice.shuffle(frames)
            copy = Copy([(key, -1) for key in dice.sample(range(40), 20)])
            copy.take(*frames)
            self.assertEqual((copy.rows, copy.alarms, copy.waiting), (source.rows, [], 0), seed)

    def test_whatever_is_read_again_after_a_crash_the_copy_is_the_source(self):
        for seed in range(60):
            dice = random.Random(seed)
            source = Source(dice)
            source.save()
            while not source.is_done:
                source.read(dice.randrange(1, 9))
                source.changes()
                if dice.random() < 0.4:
                    source.save()
                if dice.random() < 0.3:
                    source.crash()
            source.changes()
            # A FIFO topic keeps the order; a consumer may take a message again, also much later.
            frames = []
            for frame in source.sent:
                frames += [frame, *dice.sample(frames, min(len(frames), dice.choice((0, 0, 1))))]
            if seed % 2:
                dice.shuffle(frames)
            copy = Copy([(key, -1) for key in dice.sample(range(40), 20)])
            copy.take(*frames)
            self.assertEqual((copy.rows, copy.alarms, copy.waiting), (source.rows, [], 0), seed)


def suite(name):
    """Cases of the conformance suite."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conformance", f"{name}.json")
    with open(path, encoding="utf-8") as cases:
        return json.load(cases)


class Conformance(unittest.TestCase):
    KINDS = {"change": "batch", "schema": "schema_change", "transaction": "transaction_end", "unknown": None}

    def test_the_suite_decodes(self):
        count = 0
        for case in suite("messages"):
            kind = case["content"]["kind"]
            for message in case["messages"]:
                if message["form"] == "json":
                    continue
                frame = consumer.decode_body(message["body"])
                self.assertEqual(frame.WhichOneof("content"), self.KINDS.get(kind, kind), case["name"])
                if kind == "change":
                    numbers = [str(row["sequence"]) for row in consumer.rows(frame.batch)]
                    self.assertEqual(numbers, [row["number"] for row in case["content"]["rows"]], case["name"])
                count += 1
        self.assertGreater(count, 30)

    def test_the_hostile_part_is_refused(self):
        # What contradicts itself decodes here; it fails when it is applied.
        beyond = ("inconsistent", "memory")
        for case in suite("hostile"):
            if case["reason"] not in beyond:
                self.assertRaises(Malformed, consumer.decode_body, case["body"])


if __name__ == "__main__":
    unittest.main()
