"""A function of AWS Lambda, whose event source mapping has `FunctionResponseTypes = ["ReportBatchItemFailures"]`. It keeps
a copy of tables, each row applied once: a message whose rows are early fails, and comes again."""

import boto3
from binpulse_client import lambda_batch
from table_copy import Copy

copy, s3 = Copy(), boto3.client("s3")


def fetch(place):
    return s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()


def take(message):
    if not copy.take(message.decode_with(fetch)):
        raise RuntimeError("rows before these have not come")


def handler(event, context):
    return lambda_batch(event, take, failed=print)
