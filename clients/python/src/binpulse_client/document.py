"""Documents of the `json` format to the contract's messages."""

import base64
import json
import re
from datetime import datetime, timedelta, timezone

from . import contract
from .errors import DecodeError
from .frame import FORMAT_VERSION

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Raw(str):
    """The digits of a number as they stand in the document: no float has lost any."""


def _members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DecodeError("document", "an object has a member twice")
    return members


def parse(text):
    """JSON whose numbers keep their digits."""
    try:
        return json.loads(text, parse_int=_Raw, parse_float=_Raw, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise DecodeError("document", "the body is no JSON") from error


def content(document):
    """Kind and contents of a document."""
    try:
        return _content(document)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        # No words of these: they show values.
        raise DecodeError("document", f"a member is missing or has another form ({type(error).__name__})") from None


def _content(document):
    kind, version = document["kind"], int(document["v"])
    if version != FORMAT_VERSION:
        raise DecodeError("version", f"found version {version}, expected {FORMAT_VERSION}")
    if kind == "change":
        return kind, _batch(document)
    if kind == "snapshot":
        return ("snapshot_mark", _mark(document)) if document.get("phase") else ("snapshot_part", _part(document))
    makers = {"canary": _canary, "heartbeat": _heartbeat, "schema": _schema, "suppressed": _suppressed}
    return (kind, makers[kind](document)) if kind in makers else ("unknown", None)


def _source(document):
    source = document["source"]
    return contract.Source(
        stream=source["stream"], server_uuid=source["server_uuid"], server_id=int(source["server_id"]),
        epoch=int(source["epoch"]), connector_version=source.get("connector_version", ""),
        snapshot=source.get("snapshot", False))


def _position(place):
    return contract.Position(file=place["file"], offset=int(place["offset"])) if place else None


def _marks(lanes):
    return [contract.LaneMark(lane=mark["lane"], sequence_next=int(mark["sequence_next"]), epoch=int(mark["epoch"]))
            for mark in lanes]


_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?Z")


def _time(text):
    """RFC 3339 to microseconds since 1970, exactly."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("no time")
    whole = datetime.fromisoformat(found[1] + "+00:00") - _EPOCH
    return whole // timedelta(microseconds=1) + int((found[2] or "0").ljust(6, "0"))


def _watermark(document):
    mark = document.get("watermark")
    if not mark:
        return None
    proof = mark["certificate"]
    numbers = ("heartbeat_first", "heartbeat_last", "user_transactions", "filtered_transactions",
               "heartbeat_transactions", "canary_transactions", "proven_at_us")
    certificate = proof and contract.QuietCertificate(
        gtid_set_first=proof["gtid_set_first"], gtid_set_last=proof["gtid_set_last"],
        **{name: int(proof[name]) for name in numbers})
    return contract.Watermark(
        verdict=mark["verdict"], server_uuid=mark["server_uuid"], gtid_set=mark["gtid_set"],
        position=_position(mark["position"]), lanes=_marks(mark["lanes"]), certificate=certificate,
        lanes_truncated=mark["lanes_truncated"], taken_at_us=int(mark["taken_at_us"]))


def _enum(enum, prefix, name):
    return enum.Value(prefix + name.upper()) if prefix + name.upper() in enum.keys() else 0


def _canary(document):
    return contract.Canary(
        number=int(document["number"]), written_at_us=_time(document["written_at"]), batch=_batch(document),
        phase=_enum(contract.CanaryPhase, "CANARY_PHASE_", document["phase"]), watermark=_watermark(document),
        path=document.get("path") or "", nonce=base64.b64decode(document.get("nonce") or "", validate=True))


def _heartbeat(document):
    return contract.Heartbeat(
        source=_source(document), number=int(document["number"]), written_at_us=_time(document["written_at"]),
        gtid=document["gtid"] or "", position=_position(document["position"]),
        committed_at_us=_time(document["committed_at"]), watermark=_watermark(document))


def _schema(document):
    return contract.SchemaChange(
        source=_source(document), database=document["database"] or "", statement=document["statement"],
        gtid=document["gtid"] or "", position=_position(document["position"]), lane=document["lane"],
        committed_at_us=_time(document["committed_at"]), sequence=int(document["sequence"]))


def _suppressed(document):
    return contract.Suppressed(
        source=_source(document), lane=document["lane"], database=document["database"], table=document["table"],
        sequence_first=int(document["sequence_first"]), count=int(document["count"]), reason=document["reason"],
        by=document["by"], gtid_first=document["gtid_first"] or "", since_us=_time(document["since"]))


def _mark(document):
    return contract.SnapshotMark(
        source=_source(document), snapshot=document["snapshot"], database=document["database"],
        table=document["table"], phase=_enum(contract.SnapshotPhase, "SNAPSHOT_PHASE_", document["phase"]),
        rows=int(document["rows_published"]), chunks=int(document["chunks"]), lanes=_marks(document["lanes"]),
        reason=document["reason"] or "")


def _table(document):
    schema, table = document["schema"], contract.TableSchema(database=document["database"], table=document["table"])
    for column in schema["columns"]:
        table.columns.add(
            name=column["name"], mysql_type=column["mysql_type"], nullable=column["nullable"],
            logical_type=_enum(contract.LogicalType, "LOGICAL_TYPE_", column["type"]), unsigned=column["unsigned"],
            charset=column["charset"], members=column["members"], invisible=column["invisible"],
            collation=int(column["collation"]))
    names = [column.name for column in table.columns]
    table.primary_key.extend(names.index(name) for name in schema["primary_key"])
    table.fingerprint, table.columns_named = int(schema["fingerprint"], 16), schema["columns_named"]
    return table


def _rows(document):
    """What all batches have."""
    batch = contract.ChangeBatch(
        source=_source(document), table=_table(document), lane=document["lane"],
        lane_number=int(document["lane_number"]), lane_count=int(document["lane_count"]))
    columns = {column.name: (at, column) for at, column in enumerate(batch.table.columns)}
    for form in document["rows"]:
        row = batch.rows.add(op=_enum(contract.Op, "OP_", form["op"]), transaction=int(form.get("transaction", 0)),
                             row=int(form.get("row", 0)))
        for member in ("before", "after"):
            if form[member] is not None:
                image = getattr(row, member)
                image.SetInParent()
                image.values.extend(contract.Value() for _ in columns)
                for name, value in form[member].items():
                    at, column = columns[name]
                    _set(image.values[at], column, value)
    return batch


def _batch(document):
    batch = _rows(document)
    batch.sequence_first = int(document["sequence_first"])
    batch.before_image = _enum(contract.BeforeImage, "BEFORE_IMAGE_", document["before_image"])
    batch.snapshot_next = int(document.get("snapshot_next", 0))
    batch.snapshot_attempt = int(document.get("snapshot_attempt", 0))
    files = {}
    for form in document["transactions"]:
        at_us = _time(form["committed_at"])
        if not batch.transactions:
            batch.committed_at_base_us = at_us
        original_us = _time(form["original_committed_at"]) if "original_committed_at" in form else at_us
        batch.transactions.add(
            gtid=form["gtid"] or "", committed_at_delta_us=at_us - batch.committed_at_base_us,
            file=files.setdefault(form["position"]["file"], len(files)), offset=int(form["position"]["offset"]),
            rows=int(form["rows"]), server_id=int(form["server_id"]),
            original_committed_at_delta_us=original_us - at_us)
    batch.files.extend(files)
    return batch


def _part(document):
    batch = _rows(document)
    table = batch.table
    columns = {column.name: column for column in table.columns}
    key_columns = [int(ordinal) for ordinal in document.get("key_columns", ())]
    names = [table.columns[ordinal].name for ordinal in key_columns or table.primary_key]

    def key(form):
        image = contract.Image()
        for name in sorted(form, key=names.index):
            _set(image.values.add(), columns[name], form[name])
        return image

    def bound(name):
        return key(document[name]) if document.get(name) is not None else None

    digest = document.get("digest")
    return contract.SnapshotPart(
        snapshot=document["snapshot"], part=int(document["part"]), batch=batch, chunk=int(document["chunk"]),
        anchor=contract.LaneMark(
            lane=batch.lane, sequence_next=int(document["anchor"]), epoch=batch.source.epoch),
        attempt=int(document["attempt"]), last_part=document["last_part"], key_after=bound("key_after"),
        key_upto=bound("key_upto"), touched=[key(form) for form in document["touched"]],
        rows_in_chunk=int(document["rows_in_chunk"]), rows_superseded=int(document["rows_superseded"]),
        attempt_part=int(document["attempt_part"]), key_columns=key_columns,
        digest=digest and contract.ChunkDigest(
            rows=int(digest["rows"]), sum=int(digest["sum"], 16), xor=int(digest["xor"], 16)))


_T = contract.LogicalType.Value
_INTEGER, _FLOAT, _DOUBLE, _BIT, _YEAR, _BINARY, _ENUM, _SET, _JSON, _GEOMETRY, _VECTOR = (
    _T(f"LOGICAL_TYPE_{name}") for name in
    ("INTEGER", "FLOAT", "DOUBLE", "BIT", "YEAR", "BINARY", "ENUM", "SET", "JSON", "GEOMETRY", "VECTOR"))
_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


def _set(value, column, form):
    """The value that this JSON means in a column."""
    kind = column.logical_type
    if form is None:
        value.null = True
    elif isinstance(form, dict) and _marked(value, kind, form):
        pass
    elif kind == _JSON:
        value.json = _text(form)
    elif kind == _VECTOR and isinstance(form, list):
        value.vector.SetInParent()
        value.vector.elements.extend(_float(element) for element in form)
    elif isinstance(form, _Raw):
        _set_number(value, column, form)
    elif not isinstance(form, str):
        raise TypeError("no value of its column")
    elif kind in (_BINARY, _GEOMETRY, _VECTOR):
        value.bytes = base64.b64decode(form, validate=True)
    elif kind in (_FLOAT, _DOUBLE) and form in _NOT_FINITE:
        setattr(value, "float" if kind == _FLOAT else "double", float(form))
    elif kind in (_INTEGER, _BIT, _YEAR, _FLOAT, _DOUBLE):
        raise TypeError("no value of its column")
    else:
        value.text = form


def _set_number(value, column, form):
    kind = column.logical_type
    if kind in (_FLOAT, _DOUBLE):
        setattr(value, "float" if kind == _FLOAT else "double", float(form))
    elif kind == _YEAR or kind == _INTEGER and not column.unsigned and int(form) < 1 << 63:
        value.integer = int(form)
    elif kind in (_INTEGER, _BIT, _ENUM, _SET):
        value.unsigned = int(form)
    else:
        raise TypeError("no value of its column")


def _float(form):
    if not isinstance(form, _Raw) and form not in _NOT_FINITE:
        raise TypeError("no number")
    return float(form)


def _marked(value, kind, form):
    """Whether the object stands for something that JSON does not have."""
    if len(form) != 1:
        return False
    (name, inside), = form.items()
    if name == "$json" and kind == _JSON and inside is None:
        value.json = "null"
    elif name == "$diff" and kind == _JSON and isinstance(inside, list):
        value.json_diff = _text(inside)
    elif name == "$malformed" and kind != _JSON:
        value.malformed_text = base64.b64decode(inside, validate=True)
    elif name == "$omitted" and isinstance(inside, dict) and inside.keys() == {"size_bytes", "sha256"}:
        value.omitted.size_bytes, value.omitted.sha256 = int(inside["size_bytes"]), bytes.fromhex(inside["sha256"])
    else:
        return False
    return True


def _text(form):
    """JSON as text; its numbers have their digits."""
    if isinstance(form, _Raw):
        return str(form)
    if isinstance(form, dict):
        return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_text(value)}" for name, value in form.items()) + "}"
    if isinstance(form, list):
        return "[" + ", ".join(map(_text, form)) + "]"
    return json.dumps(form, ensure_ascii=False)
