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


def unwrap(body):
    """The body as published: SNS wraps it in a JSON document unless the delivery is raw."""
    if body.startswith("{"):
        document = json.loads(body)
        if document.get("Type") == "Notification" and "TopicArn" in document:
            return document["Message"]
    return body


def decode_body(body):
    """The frame in a message's body with its typed content, decompressed and checked.

    The content is one of batch, heartbeat, canary, schema_change, claim_check;
    `frame.WhichOneof("content")` says which, and is None for a content of a newer version.
    """
    frame = frame_pb2.Frame.FromString(base64.b64decode(unwrap(body), validate=True))
    if frame.format_version != 1:
        raise Malformed(f"format version {frame.format_version}")
    if frame.WhichOneof("content") != "payload":
        return frame
    if frame.uncompressed_size > CONTENT_BYTES_MAX:
        raise Malformed(f"content of {frame.uncompressed_size} bytes")
    content = frame.payload
    if frame.codec == frame_pb2.CODEC_ZSTD:
        content = zstandard.ZstdDecompressor().decompress(content, max_output_size=CONTENT_BYTES_MAX)
    elif frame.codec not in (frame_pb2.CODEC_UNSPECIFIED, frame_pb2.CODEC_NONE):
        raise Malformed(f"codec {frame.codec}")
    if len(content) != frame.uncompressed_size:
        raise Malformed(f"{len(content)} bytes of content instead of {frame.uncompressed_size}")
    if crc32c(content) != frame.crc32c:
        raise Malformed("CRC-32C does not fit")
    return frame_pb2.Frame.FromString(content)


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
            "committed_at_us": batch.committed_at_base_us + transaction.committed_at_delta_us,
            "before": image(batch, row, "before"),
            "after": image(batch, row, "after"),
        }


def main(path):
    with open(path, encoding="utf-8") as bodies:
        for body in bodies:
            frame = decode_body(body.strip())
            kind = frame.WhichOneof("content")
            if kind == "batch":
                for row in rows(frame.batch):
                    print(json.dumps(row, ensure_ascii=False))
            elif kind == "canary":
                for row in rows(frame.canary.batch):
                    print(json.dumps({"canary": frame.canary.number, **row}, ensure_ascii=False))
            else:
                print(json.dumps({"kind": kind}))


if __name__ == "__main__":
    main(sys.argv[1])
