"""A message, in whichever form it comes, to what it holds."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import document
from .errors import DecodeError, Elsewhere
from .frame import CONTENT_BYTES_MAX, elements_max, open_frame

_OBJECT_BYTES_MAX = 256 << 20
# The contract's names of contents to kinds.
_KINDS = {
    "batch": "change", "snapshot_part": "snapshot_part", "snapshot_mark": "snapshot_mark", "canary": "canary",
    "heartbeat": "heartbeat", "schema_change": "schema", "suppressed": "suppressed",
    "transaction_end": "transaction",
}


@dataclass(frozen=True)
class Content:
    """What a message holds. `kind` is `change`, `canary`, `snapshot_part`, `snapshot_mark`, `heartbeat`,
    `schema`, `suppressed`, `transaction`, or `unknown`: of a newer binpulse, to be counted and acknowledged.
    `value` is the contract's message, None of an unknown kind."""

    kind: str
    value: Any = None


@dataclass(frozen=True)
class Pointer:
    """Where the content of a message lies. The object is not the consumer's to delete."""

    bucket: str
    key: str
    size_bytes: int | None = None
    sha256: bytes | None = None

    def decode(self, text: str | bytes, bytes_max: int = _OBJECT_BYTES_MAX) -> Content:
        """What the message holds that pointed here; `text` is the object's."""
        encoded = text.encode() if isinstance(text, str) else text
        if self.size_bytes is not None and len(encoded) != self.size_bytes:
            raise DecodeError("object", f"the object has {len(encoded)} bytes, expected {self.size_bytes}")
        if self.sha256 is not None and hashlib.sha256(encoded).digest() != self.sha256:
            raise DecodeError("object", "the object has another SHA-256 than the stated one")
        try:
            return Message(encoded.decode()).decode(bytes_max)
        except Elsewhere as error:
            raise DecodeError("object", "the object is a pointer to another object") from error
        except UnicodeDecodeError as error:
            raise DecodeError("object", "the object is no text") from error


@dataclass(frozen=True)
class Message:
    """A message without what SNS put around it: its body as published, and its attributes."""

    body: str
    attributes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def received(cls, body: str, attributes: Mapping[str, str] | None = None) -> "Message":
        """A message as a queue gives it. Where the body is SNS's envelope, body and attributes are those in
        it; attributes that came beside it take precedence."""
        given = dict(attributes or {})
        if body.startswith("{"):
            outer = document.parse(body)
            if outer.get("Type") == "Notification" and isinstance(outer.get("Message"), str):
                return cls(outer["Message"], {**_texts(outer.get("MessageAttributes"), "Value"), **given})
        return cls(body, given)

    @classmethod
    def of_boto3(cls, message: Mapping[str, Any]) -> "Message":
        """A message of boto3's ReceiveMessage; ask it for `MessageAttributeNames=["All"]`."""
        return cls.received(message["Body"], _texts(message.get("MessageAttributes"), "StringValue"))

    @property
    def kind(self) -> str | None:
        """The attribute `kind`."""
        return self.attributes.get("kind")

    @property
    def replay(self) -> str | None:
        """The attribute `replay`, percent-encoded: for whom the rows are published again."""
        return self.attributes.get("replay")

    def decode(self, bytes_max: int = CONTENT_BYTES_MAX) -> Content:
        """What it holds. Raises Elsewhere where that is in an object store."""
        if self.body.startswith("["):
            raise Elsewhere(self._pointer())
        if self.body.startswith("{"):
            kind, value = document.content(document.parse(self.body), elements_max(bytes_max))
            return _consistent(Content(kind, value))
        frame = open_frame(self.body, bytes_max)
        name = frame.WhichOneof("content")
        if name == "claim_check":
            claim = frame.claim_check
            raise Elsewhere(Pointer(claim.bucket, claim.key, claim.size_bytes or None, claim.sha256 or None))
        if name not in _KINDS:
            return Content("unknown")
        return _consistent(Content(_KINDS[name], getattr(frame, name)))

    def decode_with(self, fetch: Callable[[Pointer], str | bytes]) -> Content:
        """What it holds; where that is in an object store, `fetch` is given the Pointer, and gives the object."""
        try:
            return self.decode()
        except Elsewhere as elsewhere:
            return elsewhere.pointer.decode(fetch(elsewhere.pointer))

    def _pointer(self):
        try:
            name, place = document.parse(self.body)
            bucket, key = place["s3BucketName"], place["s3Key"]
            is_pointer = name.rsplit(".", 1)[-1] == "PayloadS3Pointer" and type(bucket) is type(key) is str
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DecodeError("document", "an array that is no pointer to an object") from error
        if not is_pointer:
            raise DecodeError("document", "an array that is no pointer to an object")
        size = self.attributes.get("ExtendedPayloadSize") or self.attributes.get("SQSLargePayloadSize")
        return Pointer(bucket, key, int(size) if size and re.fullmatch("[0-9]{1,19}", size) else None)


def decode(body: str) -> Content:
    """What a body holds: raw, or in SNS's envelope. Raises DecodeError, and Elsewhere for a pointer."""
    return Message.received(body).decode()


def lambda_records(event: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    """The messages of an event of AWS Lambda, from SQS or SNS: pairs of an id, which names the message in
    `batchItemFailures`, and a Message. `event` is the dictionary that Lambda gives."""
    for record in event["Records"]:
        if sns := record.get("Sns"):
            yield sns["MessageId"], Message(sns["Message"], _texts(sns.get("MessageAttributes"), "Value"))
        else:
            attributes = _texts(record.get("messageAttributes"), "stringValue")
            yield record["messageId"], Message.received(record["body"], attributes)


def lambda_batch(
    event: Mapping[str, Any], take: Callable[[Message], object],
    failed: Callable[[str, Exception], object] | None = None,
) -> dict[str, list[dict[str, str]]]:
    """Gives each Message of an event to `take`, one after the other, and answers with those that failed: what a
    Lambda function returns whose event source mapping has `ReportBatchItemFailures`. `failed` is told id and error."""
    failures = []
    for record in event["Records"]:
        try:
            (_, message), = lambda_records({"Records": [record]})
            take(message)
        except Exception as error:
            id = record["Sns"]["MessageId"] if "Sns" in record else record["messageId"]
            if failed:
                failed(id, error)
            failures.append({"itemIdentifier": id})
    return {"batchItemFailures": failures}


def _texts(attributes, text):
    found = (attributes or {}).items()
    return {name: value[text] for name, value in found if isinstance(value.get(text), str)}


def _consistent(content):
    """Refuses what contradicts itself, so that those who read it need not look."""
    value = content.value
    if content.kind == "change":
        if not value.rows:
            raise DecodeError("inconsistent", "a batch without rows")
        _check_batch(value, True)
    elif content.kind == "canary" and value.HasField("batch"):
        _check_batch(value.batch, True)
    elif content.kind == "snapshot_part":
        if not value.HasField("batch") or not value.HasField("anchor"):
            raise DecodeError("inconsistent", "a part without its batch or its anchor")
        _check_batch(value.batch, False)
        _check_ordinals(value.key_columns, value.batch)
    elif content.kind == "suppressed":
        _check_numbers(value.sequence_first, value.count)
    return content


_IMAGES = {1: (False, True), 2: (True, True), 3: (True, False), 4: (False, True)}


def _check_batch(batch, has_transactions):
    if not batch.HasField("source") or not batch.HasField("table"):
        raise DecodeError("inconsistent", "a batch without its source or its table")
    _check_ordinals(batch.table.primary_key, batch)
    if has_transactions:
        _check_numbers(batch.sequence_first, len(batch.rows))
    if any(transaction.file >= len(batch.files) for transaction in batch.transactions):
        raise DecodeError("inconsistent", "a transaction of a file that is not there")
    columns, transactions = len(batch.table.columns), len(batch.transactions)
    for row in batch.rows:
        if has_transactions and row.transaction >= transactions:
            raise DecodeError("inconsistent", "a row of a transaction that is not there")
        images = (row.HasField("before"), row.HasField("after"))
        if _IMAGES.get(row.op, images) != images:
            raise DecodeError("inconsistent", "a row with other images than its op has")
        if max(len(row.before.values), len(row.after.values)) > columns:
            raise DecodeError("inconsistent", "a row with more values than columns")


def _check_ordinals(ordinals, batch):
    if any(ordinal >= len(batch.table.columns) for ordinal in ordinals):
        raise DecodeError("inconsistent", "a key of a column that is not there")


def _check_numbers(first, count):
    if first == 0 or first + count > (1 << 64) - 1:
        raise DecodeError("inconsistent", "numbers that are none")
