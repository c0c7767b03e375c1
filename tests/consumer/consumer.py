"""A consumer of binpulse's messages, made from nothing but the .proto files.

    python consumer.py FILE     prints what each line of FILE (a message body) holds, as JSON lines

It needs protobuf, grpcio-tools (which brings the compiler for .proto files) and zstandard.
"""

import base64
import importlib
import json
import os
import sys
import tempfile

import zstandard
from google.protobuf.message import DecodeError

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
CONTENT_BYTES_MAX = 64 << 20


def compile_contract():
    """Compiles the contract into a folder that goes with this process; returns its modules."""
    import grpc_tools
    from grpc_tools import protoc

    folder = tempfile.TemporaryDirectory(prefix="binpulse-consumer-")
    well_known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    files = [f"binpulse/v1/{name}.proto" for name in ("change", "frame", "pulse")]
    failed = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={folder.name}", *files])
    if failed:
        raise SystemExit("the contract does not compile")
    sys.path.insert(0, folder.name)
    modules = [importlib.import_module(f"binpulse.v1.{name}_pb2") for name in ("change", "frame", "pulse")]
    sys.path.remove(folder.name)
    return (folder, *modules)


_FOLDER, change_pb2, frame_pb2, pulse_pb2 = compile_contract()


class Malformed(Exception):
    """The body is not what the contract says."""


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data):
    """CRC-32C (Castagnoli), as the contract has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Elsewhere(Malformed):
    """The content lies in an object store, and nobody was named who fetches it."""


POINTER = "software.amazon.payloadoffloading.PayloadS3Pointer"


def envelope(body):
    """SNS's JSON document around a body, unless the delivery is raw: then None."""
    if not body.startswith("{"):
        return None
    document = parse_json(body)
    is_envelope = document.get("Type") == "Notification" and isinstance(document.get("Message"), str)
    return document if is_envelope else None


def parse_json(text):
    """A JSON document; anything else is malformed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from error


def unwrap(body):
    """The body as published."""
    wrapped = envelope(body)
    return wrapped["Message"] if wrapped else body


def attributes(message):
    """The attributes of a message, by name, in whichever form it came.

    `message` is what ReceiveMessage gave (`MessageAttributes`, `StringValue`), a record of Lambda's
    (`messageAttributes`, `stringValue`), a record of an SNS event of Lambda's (`Sns`), or one with
    SNS's envelope as its body, which has the attributes (`Value`).
    """
    message = message.get("Sns", message)
    found = message.get("MessageAttributes") or message.get("messageAttributes") or {}
    body = message.get("Body", message.get("body", ""))
    if not found and isinstance(body, str):
        found = (envelope(body) or {}).get("MessageAttributes") or {}
    values = {}
    for name, value in found.items():
        for key in ("StringValue", "stringValue", "Value"):
            if value.get(key) is not None:
                values[name] = value[key]
                break
    return values


def body_of(message):
    """The body of a message, in whichever form it came: see `attributes`."""
    message = message.get("Sns", message)
    for key in ("Body", "body", "Message"):
        if key in message:
            return message[key]
    raise Malformed("a message without a body")


def fetched(bucket, key, fetch):
    """The body that a message points to."""
    if fetch is None:
        raise Elsewhere(f"the content is the object {key} of bucket {bucket}")
    text = fetch(bucket, key)
    return text.decode() if isinstance(text, bytes) else text


def follow(body, fetch):
    """The body itself, where it is a pointer of Amazon's extended client."""
    if not body.startswith("["):
        return body
    pointer = parse_json(body)
    try:
        name, place = pointer
        bucket, key = place["s3BucketName"], place["s3Key"]
    except (TypeError, ValueError, KeyError) as error:
        raise Malformed("an array that is no pointer to an object") from error
    if name.rsplit(".", 1)[-1] != POINTER.rsplit(".", 1)[-1]:
        raise Malformed("an array that is no pointer to an object")
    return fetched(bucket, key, fetch)


def decode_body(body, fetch=None):
    """The frame in a message's body with its typed content, decompressed and checked.

    The content is one of batch, heartbeat, canary, schema_change, snapshot_part, snapshot_mark,
    suppressed, transaction_end; `frame.WhichOneof("content")` says which, and is None for a content of a newer version. `fetch(bucket, key)` returns the text of an
    object: give it where `sink.oversize = "claim-check"`.
    """
    body = follow(unwrap(body), fetch)
    frame = outer_frame(body)
    if frame.WhichOneof("content") == "claim_check":
        claim = frame.claim_check
        frame = outer_frame(fetched(claim.bucket, claim.key, fetch))
    if frame.WhichOneof("content") != "payload":
        return frame
    content = decompressed(frame)
    if crc32c(content) != frame.crc32c:
        raise Malformed("CRC-32C does not fit")
    return parsed(content)


def outer_frame(body):
    """The frame that a body is."""
    if not body:
        raise Malformed("an empty body")
    if body.startswith("{"):
        raise Malformed("a document of the JSON format, not of the Protobuf one: see `document_rows`")
    try:
        encoded = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise Malformed(f"no base64: {error}") from error
    frame = parsed(encoded)
    if frame.format_version != 1:
        raise Malformed(f"format version {frame.format_version}")
    return frame


def parsed(encoded):
    """The bytes as a Frame."""
    try:
        return frame_pb2.Frame.FromString(encoded)
    except DecodeError as error:
        raise Malformed(f"no frame: {error}") from error


def decompressed(frame):
    """The content of a frame. What it states is looked at before memory is taken for it."""
    size, content = frame.uncompressed_size, frame.payload
    if size > CONTENT_BYTES_MAX:
        raise Malformed(f"content of {size} bytes, {CONTENT_BYTES_MAX} at most")
    if frame.codec == frame_pb2.CODEC_ZSTD:
        content = unzstd(content, size)
    elif frame.codec not in (frame_pb2.CODEC_UNSPECIFIED, frame_pb2.CODEC_NONE):
        raise Malformed(f"codec {frame.codec}")
    if len(content) != size:
        raise Malformed(f"{len(content)} bytes of content instead of {size}")
    return content


def unzstd(compressed, size):
    """One zstd frame of exactly `size` bytes, and nothing behind it: no more memory is taken than its header states,
    which must be the size."""
    try:
        stated = zstandard.frame_content_size(compressed)
        if stated != size:
            raise Malformed(f"a zstd frame of {stated} bytes instead of {size}")
        return zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"zstd: {error}") from error


def json_value(value):
    """A value as JSON can show it; absent values are for the caller to leave out."""
    kind = value.WhichOneof("kind")
    if kind == "null":
        return None
    if kind in ("bytes", "malformed_text"):
        return {kind: base64.b64encode(getattr(value, kind)).decode()}
    if kind in ("json", "json_diff"):
        return {kind: json.loads(getattr(value, kind))}
    if kind == "vector":
        return {kind: [repr(element) for element in value.vector.elements]}
    if kind == "omitted":
        return {kind: {"size_bytes": value.omitted.size_bytes, "sha256": value.omitted.sha256.hex()}}
    if kind in ("float", "double"):
        return {kind: repr(getattr(value, kind))}
    return getattr(value, kind)


def image(batch, row, member):
    """An image as a dictionary by column name, absent values left out; None without an image."""
    if not row.HasField(member):
        return None
    columns = batch.table.columns
    values = getattr(row, member).values
    return {
        column.name: json_value(value)
        for column, value in zip(columns, values)
        if value.WhichOneof("kind") is not None
    }


def rows(batch):
    """The rows of a batch, with their numbers and transactions, as dictionaries."""
    for index, row in enumerate(batch.rows):
        transaction = batch.transactions[row.transaction]
        yield {
            "stream": batch.source.stream,
            "epoch": batch.source.epoch,
            "lane": batch.lane,
            "sequence": batch.sequence_first + index,
            "database": batch.table.database,
            "table": batch.table.table,
            "op": change_pb2.Op.Name(row.op).removeprefix("OP_").lower(),
            "gtid": transaction.gtid,
            "file": batch.files[transaction.file],
            "offset": transaction.offset,
            "row": row.row,
            "snapshot_next": batch.snapshot_next,
            "snapshot_attempt": batch.snapshot_attempt,
            "committed_at_us": batch.committed_at_base_us + transaction.committed_at_delta_us,
            "before": image(batch, row, "before"),
            "after": image(batch, row, "after"),
        }


def document_rows(document):
    """The rows of a document of the JSON format, as `rows` gives them."""
    source = document["source"]
    for index, row in enumerate(document["rows"]):
        transaction = document["transactions"][row["transaction"]]
        yield {
            "stream": source["stream"],
            "epoch": source["epoch"],
            "lane": document["lane"],
            "sequence": document["sequence_first"] + index,
            "database": document["database"],
            "table": document["table"],
            "op": row["op"],
            "gtid": transaction["gtid"] or "",
            "file": transaction["position"]["file"],
            "offset": transaction["position"]["offset"],
            "row": row["row"],
            "snapshot_next": document.get("snapshot_next", 0),
            "snapshot_attempt": document.get("snapshot_attempt", 0),
            "committed_at": transaction["committed_at"],
            "before": row["before"],
            "after": row["after"],
        }


def key_image(names, part, member):
    """The values of a key by column name; None where the range is open."""
    if not part.HasField(member):
        return None
    return key_values(names, getattr(part, member))


def key_values(names, image):
    return {name: json_value(value) for name, value in zip(names, image.values)}


def snapshot_part(part):
    """A part of a snapshot: its place in its lane, its rows, and what it tells of its range of keys.

    `key` names the columns of the key; it is empty when the table has no primary key, and then nothing
    can be deleted by what the part tells.
    """
    batch, table = part.batch, part.batch.table
    names = [table.columns[ordinal].name for ordinal in table.primary_key]
    where = {
        "stream": batch.source.stream,
        "epoch": batch.source.epoch,
        "lane": batch.lane,
        "database": table.database,
        "table": table.table,
    }
    return {
        **where,
        "snapshot": part.snapshot,
        "attempt": part.attempt,
        "attempt_part": part.attempt_part,
        "part": part.part,
        "anchor": part.anchor.sequence_next,
        "chunk": part.chunk,
        "last_part": part.last_part,
        "numbers": part.numbers,
        "key": names,
        "key_after": key_image(names, part, "key_after"),
        "key_upto": key_image(names, part, "key_upto"),
        "touched": [key_values(names, image) for image in part.touched],
        "rows": [{**where, "op": "read", "before": None, "after": image(batch, row, "after")} for row in batch.rows],
    }


def document_part(document):
    """The part of a snapshot in a document of the JSON format, as `snapshot_part` gives it."""
    source = document["source"]
    where = {
        "stream": source["stream"],
        "epoch": source["epoch"],
        "lane": document["lane"],
        "database": document["database"],
        "table": document["table"],
    }
    same = ("snapshot", "attempt", "attempt_part", "part", "anchor", "chunk", "last_part", "touched")
    return {
        **where,
        **{name: document[name] for name in same},
        "numbers": document.get("numbers", 0),
        "key": document["schema"]["primary_key"],
        "key_after": document.get("key_after"),
        "key_upto": document.get("key_upto"),
        "rows": [{**where, "op": "read", "before": None, "after": row["after"]} for row in document["rows"]],
    }


def snapshot_mark(mark):
    """A mark of a snapshot: `started`, `done` or `abandoned`, of one table."""
    return {
        "stream": mark.source.stream,
        "snapshot": mark.snapshot,
        "database": mark.database,
        "table": mark.table,
        "phase": change_pb2.SnapshotPhase.Name(mark.phase).removeprefix("SNAPSHOT_PHASE_").lower(),
        "rows": mark.rows,
        "reason": mark.reason,
    }


def main(path):
    with open(path, encoding="utf-8") as bodies:
        for body in bodies:
            frame = decode_body(body.strip())
            kind = frame.WhichOneof("content")
            if kind == "batch":
                for row in rows(frame.batch):
                    print(json.dumps(row, ensure_ascii=False))
            elif kind == "snapshot_part":
                part = snapshot_part(frame.snapshot_part)
                for row in part.pop("rows"):
                    print(json.dumps({"part": part["part"], **row}, ensure_ascii=False))
                print(json.dumps({"kind": kind, **part}, ensure_ascii=False))
            elif kind == "snapshot_mark":
                print(json.dumps({"kind": kind, **snapshot_mark(frame.snapshot_mark)}, ensure_ascii=False))
            elif kind == "canary":
                for row in rows(frame.canary.batch):
                    print(json.dumps({"canary": frame.canary.number, **row}, ensure_ascii=False))
            else:
                print(json.dumps({"kind": kind}))


if __name__ == "__main__":
    main(sys.argv[1])
