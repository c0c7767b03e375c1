"""A history on a FIFO queue with a redrive policy: message 2 of 6 never can be applied.

    python redrive.py --endpoint-url URL

Prints what was applied, by policy, what became a dead letter, and the alarms, as one JSON document.
"""

import argparse
import json
import time
import uuid

import boto3

from once import Gaps
from receive import poll
from test_consumer import Rig, batch, plain

RECEIVES_MAX = 3


def queue(sqs, name, **attributes):
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "1", **attributes}
    return sqs.create_queue(QueueName=f"{name}-{uuid.uuid4().hex[:8]}.fifo", Attributes=attributes)["QueueUrl"]


def run(sqs, gaps):
    dead = queue(sqs, "dead")
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX})
    source = queue(sqs, "source", RedrivePolicy=policy)
    for number in range(1, 7):
        sqs.send_message(
            QueueUrl=source, MessageBody=plain(batch(number)), MessageGroupId="shop.t#0",
            MessageDeduplicationId=str(number),
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "change"}})
    rig = Rig(gaps=gaps, gap_wait=6)
    rig.refuses = {2}
    end = time.monotonic() + 60
    # A failed message is hidden for a second; the third receive is the last.
    while not (rig.once.stopped() or 6 in rig.applied) and time.monotonic() < end:
        poll(sqs, source, rig.once, wait_seconds=1)
    found = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    bodies = {plain(batch(number)): number for number in range(1, 7)}
    return {
        "applied": rig.applied,
        "dead": sorted(bodies[message["Body"]] for message in found.get("Messages", [])),
        "stopped": [why for *_, why in rig.once.stopped()],
        "alarms": [alarm.split(": ", 1)[1] for alarm in rig.alarms],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--region", default="us-east-1")
    options = parser.parse_args()
    sqs = boto3.client(
        "sqs", endpoint_url=options.endpoint_url, region_name=options.region,
        aws_access_key_id="test", aws_secret_access_key="test")
    print(json.dumps({gaps.value: run(sqs, gaps) for gaps in (Gaps.WAIT, Gaps.SKIP)}))


if __name__ == "__main__":
    main()
