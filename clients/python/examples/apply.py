"""Keeps a copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
transaction of the rows.

    QUEUE_URL=... MYSQL_PORT=3306 python apply.py

The tables are there already, with the columns of the source's. The visibility timeout of the queue is longer than
the ledger's wait for a gap (300 s): messages that wait are kept in memory. With ROWS it ends after so many rows.
"""

import json
import math
import os
import struct
import time

import boto3
import pymysql
from binpulse_client import (ABSENT, Decision, Freshness, JsonDiff, Ledger, MalformedText, Message, Omitted, SqlStore,
                             rows)

db = pymysql.connect(
    host=os.environ.get("MYSQL_HOST", "127.0.0.1"), port=int(os.environ.get("MYSQL_PORT", "3306")), user="root",
    charset="utf8mb4", autocommit=False, binary_prefix=True,
    init_command="SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0")
with db.cursor() as cursor:
    cursor.execute("CREATE DATABASE IF NOT EXISTS binpulse_consumer")
    db.select_db("binpulse_consumer")
    cursor.execute(SqlStore.TABLE + " COLLATE utf8mb4_bin")
store = SqlStore(db, placeholder="%s")
ledger, freshness = Ledger(store), Freshness()
sqs, s3 = boto3.client("sqs"), boto3.client("s3")
url, rows_max = os.environ["QUEUE_URL"], float(os.environ.get("ROWS", math.inf))
applied = 0


def fetch(place):
    return s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()


def bound(value):
    """A value as MySQL takes it."""
    if value is ABSENT or isinstance(value, (Omitted, JsonDiff, MalformedText)):
        raise ValueError("a value that this copy can't have: read the row from the source")
    if isinstance(value, list):
        return struct.pack(f"<{len(value)}f", *value)
    for plain in (str, bytes, int):  # the driver knows no classes made of these
        if isinstance(value, plain):
            return plain(value)
    return value


def quoted(name):
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def apply(cursor, table, row):
    """Applies one row."""
    name = f"{quoted(table.database)}.{quoted(table.table)}"
    key = [table.columns[at].name for at in table.primary_key]
    before, after = ([bound(image[column]) for column in key] if image else None for image in (row.before, row.after))
    if before and before != after:
        where = " AND ".join(f"{quoted(column)} = %s" for column in key)
        cursor.execute(f"DELETE FROM {name} WHERE {where}", before)
    if after:
        values = {column: bound(value) for column, value in row.after.items() if value is not ABSENT}
        columns = ", ".join(map(quoted, values))
        places = ", ".join(["%s"] * len(values))
        updates = ", ".join(f"{quoted(column)} = VALUES({quoted(column)})" for column in values)
        cursor.execute(
            f"INSERT INTO {name} ({columns}) VALUES ({places}) ON DUPLICATE KEY UPDATE {updates}", [*values.values()])


def take(content):
    """Takes a message; whether it is done with: else rows before it have not come."""
    if content.kind == "canary":
        freshness.observe(content.value)
        ledger.watermark(content.value, time.monotonic())
    elif content.kind == "suppressed":
        ledger.suppressed(content.value, time.monotonic(), lambda change: (store.save(change), db.commit()))
    elif content.kind == "change":
        batch = content.value
        due = list(rows(batch))

        def run(change):
            global applied
            try:
                with db.cursor() as cursor:
                    for row in due[change.skip:change.skip + change.take]:
                        apply(cursor, batch.table, row)
                store.save(change)
                db.commit()
            except BaseException:
                db.rollback()
                raise
            applied += change.take

        return ledger.take(batch, time.monotonic(), run) is not Decision.WAIT
    return True


waiting = []
while applied < rows_max:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageAttributeNames=["All"])
    for received in answer.get("Messages", []):
        waiting.append((Message.of_boto3(received).decode_with(fetch), received["ReceiptHandle"]))
    before = -1
    while before != applied:
        before, left = applied, []
        for content, receipt in waiting:
            if take(content):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)
            else:
                left.append((content, receipt))
        waiting = left
    for (_, _, lane), gap in ledger.gaps(time.monotonic()):
        raise SystemExit(f"rows {gap.first} to {gap.last} of {lane} are missing: replay them, or give them up")
print(json.dumps({"rows": applied, "health": freshness.health().state}))
