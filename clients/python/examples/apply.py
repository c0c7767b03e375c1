"""Keeps a copy of tables in a MySQL database, each row applied exactly once: see table_copy.py.

    QUEUE_URL=... MYSQL_PORT=3306 python apply.py

The visibility timeout of the queue is longer than the ledger's wait for a gap (300 s): messages that wait are kept in
memory. With ROWS it ends after so many rows.
"""

import json
import math
import os
import time

import boto3
from binpulse_client import Message
from table_copy import Copy

copy, sqs, s3 = Copy(), boto3.client("sqs"), boto3.client("s3")
url, rows_max = os.environ["QUEUE_URL"], float(os.environ.get("ROWS", math.inf))


def fetch(place):
    return s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()


waiting = []
while copy.applied < rows_max:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageAttributeNames=["All"])
    for received in answer.get("Messages", []):
        waiting.append((Message.of_boto3(received).decode_with(fetch), received["ReceiptHandle"]))
    before = -1
    while before != copy.applied:
        before, left = copy.applied, []
        for content, receipt in waiting:
            if copy.take(content):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)
            else:
                left.append((content, receipt))
        waiting = left
    for (_, _, lane), gap in copy.ledger.gaps(time.monotonic()):
        raise SystemExit(f"rows {gap.first} to {gap.last} of {lane} are missing: replay them, or give them up")
print(json.dumps({"rows": copy.applied, "health": copy.freshness.health().state}))
