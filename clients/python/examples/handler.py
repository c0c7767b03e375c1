"""A function of AWS Lambda, whose event source mapping has `FunctionResponseTypes = ["ReportBatchItemFailures"]`.
With a ledger each row takes effect once, also when messages come twice or in another order: see apply.py."""

import boto3
from binpulse_client import lambda_batch, rows

s3 = boto3.client("s3")


def fetch(place):
    return s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()


def take(message):
    content = message.decode_with(fetch)
    if content.kind == "change":
        for row in rows(content.value):
            print(content.value.table.table, row.number, row.op, row.after or row.before)


def handler(event, context):
    return lambda_batch(event, take, failed=print)
