"""Reads a queue and prints its rows: `QUEUE_URL=... python sqs.py`."""

import os
import sys

import boto3
from binpulse_client import Freshness, Message, rows

sqs, s3, freshness = boto3.client("sqs"), boto3.client("s3"), Freshness()
url = os.environ["QUEUE_URL"]


def fetch(place):
    return s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()


while True:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20, MessageAttributeNames=["All"])
    for received in answer.get("Messages", []):
        try:
            content = Message.of_boto3(received).decode_with(fetch)
            if content.kind == "canary":
                freshness.observe(content.value)
            if content.kind == "change":
                for row in rows(content.value):
                    print(row.number, row.op, row.before, row.after)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
        except Exception as error:  # it stays in the queue, and becomes a dead letter in the end
            print(received["MessageId"], error, file=sys.stderr)
    print(freshness.health(), file=sys.stderr)
