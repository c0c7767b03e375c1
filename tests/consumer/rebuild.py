"""Rebuilds tables from the messages in an SQS queue, in an empty MySQL: the oracle of live tests.

    python rebuild.py --queue-url URL --endpoint-url URL --mysql-port N [...]

Reads until `--rows` rows have been applied, or nothing has come for `--idle-seconds`, and prints one
JSON document: what was applied, and each gap, duplicate and conflict that was seen. Exits 0 when
every lane is complete, 1 when not. Rows are applied in the order of their numbers, also when a
standard topic delivered them in another; each number once. Tables are made, and altered, from the
schema that comes with the rows. Canaries are counted by number, never applied.
"""

import argparse
import json
import sys
import time

import boto3
import pymysql
from botocore.config import Config
from pymysql.constants import CLIENT

import consumer
from tables import Tables


class Lanes:
    """Puts rows and parts of snapshots back into their order, and drops those seen before."""

    def __init__(self):
        self.next = {}
        self.waiting = {}
        self.parts = {}
        self.duplicates = 0
        self.reordered = 0

    def take(self, batch):
        """What can be applied now: rows with their batches, and parts, of this batch and those that
        waited for it."""
        lane = (batch.source.stream, batch.source.epoch, batch.lane)
        expected = self.next.setdefault(lane, 1)
        waiting = self.waiting.setdefault(lane, {})
        for index, row in enumerate(batch.rows):
            number = batch.sequence_first + index
            if number < expected or number in waiting:
                self.duplicates += 1
                continue
            self.reordered += index == 0 and number != expected
            waiting[number] = (batch, row)
        return list(self.ready(lane))

    def take_part(self, part):
        """The same for a part of a snapshot."""
        lane = (part.batch.source.stream, part.batch.source.epoch, part.batch.lane)
        self.next.setdefault(lane, 1)
        self.waiting.setdefault(lane, {})
        parts = self.parts.setdefault(lane, Parts())
        self.duplicates += not parts.offer(part)
        return list(self.ready(lane))

    def ready(self, lane):
        waiting, parts = self.waiting[lane], self.parts.setdefault(lane, Parts())
        while True:
            number = self.next[lane]
            part = parts.ready(number)
            if part is not None:
                yield part, None
                continue
            if number not in waiting or parts.stand_before(waiting[number][0]):
                return
            self.next[lane] = number + 1
            yield waiting.pop(number)

    def gaps(self):
        """For each lane with rows that still wait: the first number missing, and how many wait."""
        return [
            {"stream": lane[0], "epoch": lane[1], "lane": lane[2], "missing": self.next[lane], "waiting": len(waiting)}
            for lane, waiting in self.waiting.items()
            if waiting
        ] + [
            {"lane": lane[2], "attempt": parts.attempt, "missing_part": parts.next, "waiting": len(parts.waiting)}
            for lane, parts in self.parts.items()
            if parts.waiting
        ]


class Parts:
    """Parts of snapshots of one lane, in their order."""

    def __init__(self):
        self.attempt, self.next = 0, 1
        self.waiting = {}

    def offer(self, part):
        """Keeps a part, unless it was applied or read again since; whether it is kept."""
        key = (part.attempt, part.part)
        if key < (self.attempt, self.next) and part.attempt <= self.attempt or key in self.waiting:
            return False
        self.waiting[key] = part
        return True

    def ready(self, row):
        """The part that is due and stands before this row; None if none does."""
        later = sorted({part.attempt for part in self.waiting.values() if part.attempt > self.attempt})
        for attempt in later:
            begin = next(part.attempt_part for part in self.waiting.values() if part.attempt == attempt)
            if begin > self.next:
                break
            self.attempt, self.next = attempt, begin
            self.waiting = {key: part for key, part in self.waiting.items() if key[0] >= attempt}
        part = self.waiting.get((self.attempt, self.next))
        if part is None or part.anchor.sequence_next > row:
            return None
        del self.waiting[self.attempt, self.next]
        self.next += max(len(part.batch.rows), 1)
        return part

    def stand_before(self, batch):
        """Whether parts that stand before the rows of this batch are still to come."""
        if batch.snapshot_attempt > self.attempt:
            return True
        return batch.snapshot_attempt in (0, self.attempt) and batch.snapshot_next > self.next


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queue-url", required=True)
    parser.add_argument("--endpoint-url", help="of an SQS stand-in")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--rows", type=int, help="stop once so many rows have been applied")
    parser.add_argument("--snapshots", type=int, default=0, help="and so many tables have been snapshotted")
    parser.add_argument("--idle-seconds", type=float, default=5)
    parser.add_argument("--seconds-max", type=float, default=300)
    parser.add_argument("--keep", action="store_true", help="leave the messages in the queue")
    parser.add_argument("--mysql-host", default="127.0.0.1")
    parser.add_argument("--mysql-port", type=int)
    parser.add_argument("--mysql-socket")
    parser.add_argument("--mysql-user", default="root")
    parser.add_argument("--mysql-password", default="")
    options = parser.parse_args()
    if not (options.mysql_port or options.mysql_socket):
        parser.error("--mysql-port or --mysql-socket is needed")
    return options


def connect(options):
    place = {"unix_socket": options.mysql_socket} if options.mysql_socket else {
        "host": options.mysql_host, "port": options.mysql_port}
    return pymysql.connect(
        user=options.mysql_user, password=options.mysql_password, charset="utf8mb4", autocommit=False,
        binary_prefix=True, client_flag=CLIENT.FOUND_ROWS, **place)


class Rebuild:
    """Reads, applies and counts."""

    def __init__(self, options):
        self.options = options
        self.sqs = boto3.client(
            "sqs", endpoint_url=options.endpoint_url, region_name=options.region,
            config=Config(retries={"max_attempts": 5, "mode": "standard"}))
        self.lanes = Lanes()
        self.tables = Tables(connect(options))
        self.report = {
            "messages": 0, "rows": 0, "heartbeats": 0, "schema_changes": 0, "unknown": 0, "kinds": {},
            "parts": 0, "snapshot_rows": 0, "marks": {}}
        self.canaries = {}

    def run(self):
        begun = last = time.monotonic()
        while time.monotonic() - begun < self.options.seconds_max:
            done = len(self.report["marks"].get("SNAPSHOT_PHASE_DONE", []))
            if self.options.rows is not None and self.report["rows"] >= self.options.rows and done >= self.options.snapshots:
                break
            found = self.sqs.receive_message(
                QueueUrl=self.options.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1,
                MessageAttributeNames=["All"])
            messages = found.get("Messages", [])
            for message in messages:
                self.take(message)
            self.tables.commit()
            if messages:
                last = time.monotonic()
                self.delete(messages)
            elif time.monotonic() - last > self.options.idle_seconds:
                break

    def take(self, message):
        frame = consumer.decode_body(message["Body"])
        content = frame.WhichOneof("content")
        self.report["messages"] += 1
        kind = message.get("MessageAttributes", {}).get("kind", {}).get("StringValue", "absent")
        self.report["kinds"][kind] = self.report["kinds"].get(kind, 0) + 1
        if content == "batch":
            self.apply(self.lanes.take(frame.batch))
        elif content == "snapshot_part":
            self.apply(self.lanes.take_part(frame.snapshot_part))
        elif content == "snapshot_mark":
            mark = frame.snapshot_mark
            phase = consumer.change_pb2.SnapshotPhase.Name(mark.phase)
            self.report["marks"].setdefault(phase, []).append(f"{mark.database}.{mark.table}")
        elif content == "canary":
            number = (frame.canary.path, frame.canary.number)
            self.canaries[number] = self.canaries.get(number, 0) + 1
        elif content == "heartbeat":
            self.report["heartbeats"] += 1
        elif content == "schema_change":
            self.report["schema_changes"] += 1
        else:
            self.report["unknown"] += 1

    def apply(self, ready):
        for batch, row in ready:
            if row is None:
                self.tables.apply_part(batch)
                self.report["parts"] += 1
                self.report["snapshot_rows"] += len(batch.batch.rows)
            else:
                self.tables.apply(batch, row)
                self.report["rows"] += 1

    def delete(self, messages):
        if self.options.keep:
            return
        entries = [{"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(messages)]
        self.sqs.delete_message_batch(QueueUrl=self.options.queue_url, Entries=entries)

    def document(self):
        gaps = self.lanes.gaps()
        return {
            **self.report,
            "complete": not gaps,
            "gaps": gaps,
            "duplicates": self.lanes.duplicates,
            "reordered": self.lanes.reordered,
            "lanes": {f"{lane[0]}/{lane[1]}/{lane[2]}": next for lane, next in self.lanes.next.items()},
            "canaries": len(self.canaries),
            "canary_messages": sum(self.canaries.values()),
            **self.tables.report,
        }


def main():
    rebuild = Rebuild(arguments())
    rebuild.run()
    document = rebuild.document()
    print(json.dumps(document))
    sys.exit(0 if document["complete"] else 1)


if __name__ == "__main__":
    main()
