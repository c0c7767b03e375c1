"""Reads a queue of SQS into a `Once`, or takes what Lambda read."""

import time

import consumer
from once import Full


def frame_of(message, fetch=None):
    """The frame of a message, and None where there is nothing to apply."""
    kind = consumer.attributes(message).get("kind")
    if kind not in (None, "change", "canary", "suppressed"):
        return None  # statements, and kinds of a newer binpulse
    return consumer.decode_body(consumer.body_of(message), fetch)


def take(message, once, fetch=None):
    """Takes one message; what it raises leaves the message in the queue, whose redrive policy makes a
    dead letter of it in the end. Messages behind it in a FIFO group are taken all the same: they were
    received with it, and each receive counts. `Once` keeps them until their turn."""
    frame = frame_of(message, fetch)
    if frame is not None:
        once.take(frame, time.time())


def poll(sqs, queue_url, once, fetch=None, wait_seconds=20):
    """Receives once and takes what came."""
    once.tick(time.time())
    found = sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds,
        MessageAttributeNames=["All"])
    for message in found.get("Messages", []):
        try:
            take(message, once, fetch)
        except Full:
            raise  # receive nothing more until an operator has resumed the lanes that stand
        except Exception as error:
            once.alarm(f"message {message['MessageId']}: {error}")
            continue
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])


def lambda_handler(event, once, fetch=None):
    """The answer to an event of SQS: what failed, and nothing else, comes again. The event source
    mapping needs `FunctionResponseTypes = ["ReportBatchItemFailures"]`."""
    once.tick(time.time())
    failures = []
    for record in event["Records"]:
        try:
            take(record, once, fetch)
        except Exception as error:
            once.alarm(f"message {record['messageId']}: {error}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
