"""Documents of the `json` format to the contract's messages. Their members have the names of its fields."""

import base64
import json
import math
import re
import struct
from datetime import datetime, timedelta, timezone

from . import contract
from .errors import DecodeError
from .frame import FORMAT_VERSION

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What a document need not have, or has as null; of the contract's other fields it has all.
_OPTIONAL = {
    "certificate", "charset", "collation", "connector_version", "database", "digest", "digests", "gtid", "gtid_first",
    "instance", "invisible", "key_after", "key_columns", "key_upto", "members", "mysql_type", "nonce", "numbers",
    "numbers_for", "pass", "path", "position", "reason", "row", "snapshot_attempt", "snapshot_next", "traceparent",
    "transaction", "watermark"}


class _Digits:
    """A number as it stands in the document: no float has lost any of its digits."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


def _members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DecodeError("document", "an object has a member twice")
    return members


def _no_number(name):
    raise ValueError(name)


def parse(text):
    """JSON whose numbers keep their digits."""
    try:
        return json.loads(text, parse_int=_Digits, parse_float=_Digits, parse_constant=_no_number,
                          object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise DecodeError("document", "the body is no JSON") from error


def content(document, cells_max):
    """Kind and contents of a document, whose rows have at most so many values."""
    try:
        return _content(document, cells_max)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        # No words of these: they show values.
        raise DecodeError("document", f"a member is missing or has another form ({type(error).__name__})") from None


def _content(document, cells_max):
    kind, version = document["kind"], int(document["v"].text)
    if version != FORMAT_VERSION:
        raise DecodeError("version", f"found version {version}, expected {FORMAT_VERSION}")
    if kind == "change":
        return kind, _batch(document, cells_max)
    if kind == "canary":
        return kind, _made(contract.Canary, document, batch=_batch(document, cells_max))
    if kind == "snapshot" and document.get("phase"):
        rows = int(document["rows_published"].text)
        return "snapshot_mark", _made(contract.SnapshotMark, document, rows=rows)
    if kind == "snapshot":
        return "snapshot_part", _part(document, cells_max)
    makers = {"heartbeat": contract.Heartbeat, "schema": contract.SchemaChange, "suppressed": contract.Suppressed}
    return (kind, _made(makers[kind], document)) if kind in makers else ("unknown", None)


def _made(message, form, **given):
    """A message of the contract, whose fields are members of an object."""
    for field in message.DESCRIPTOR.fields:
        name = field.name
        if name in given:
            continue
        if name.endswith("_us") and name not in form:
            given[name] = _time(form[name.removesuffix("_us")])
        elif form.get(name) is not None or name not in _OPTIONAL:
            given[name] = _member(field, form[name])
    return message(**given)


def _member(field, form):
    """The value of a field, of which protobuf itself looks at type and range."""
    if isinstance(form, list):
        return [_member(field, one) for one in form]
    if field.message_type:
        return _made(getattr(contract, field.message_type.name), form)
    if field.enum_type:
        return _enum(field.enum_type, form)
    if field.type == field.TYPE_BYTES:
        return base64.b64decode(form, validate=True)
    if field.type == field.TYPE_FIXED64:
        return int.from_bytes(_hex(form, 8))
    if isinstance(form, bool) != (field.type == field.TYPE_BOOL):
        raise TypeError("no value of its field")
    return int(form.text) if isinstance(form, _Digits) else form


def _list(form, name):
    if not isinstance(form[name], list):
        raise TypeError("no array")
    return form[name]


def _hex(form, length):
    if not re.fullmatch("[0-9a-f]{%d}" % (2 * length), form):
        raise ValueError("no hexadecimal digits")
    return bytes.fromhex(form)


_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?Z", re.ASCII)


def _time(text):
    """RFC 3339 to microseconds since 1970, exactly."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("no time")
    whole = datetime.fromisoformat(found[1] + "+00:00") - _EPOCH
    return whole // timedelta(microseconds=1) + int((found[2] or "0").ljust(6, "0"))


def _enum(enum, name):
    """The value with this name, in small letters and without its prefix; 0: none."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    found = enum.values_by_name.get(prefix + name.upper())
    return found.number if found else 0


def _table(document):
    schema = document["schema"]
    logical_type = contract.Column.DESCRIPTOR.fields_by_name["logical_type"].enum_type
    columns = [_made(contract.Column, column, logical_type=_enum(logical_type, column["type"]))
               for column in _list(schema, "columns")]
    names = [column.name for column in columns]
    return _made(contract.TableSchema, schema, columns=columns, database=document["database"], table=document["table"],
                 primary_key=[names.index(name) for name in _list(schema, "primary_key")])


def _rows(document, cells_max, **given):
    """A batch with its rows."""
    table = _table(document)
    columns = {column.name: (at, column) for at, column in enumerate(table.columns)}
    batch = _made(contract.ChangeBatch, document, table=table, rows=[], **given)
    op = contract.Row.DESCRIPTOR.fields_by_name["op"].enum_type
    forms = _list(document, "rows")
    if sum((form["before"] is not None) + (form["after"] is not None) for form in forms) * len(columns) > cells_max:
        raise DecodeError("document", "more values than the limits allow")
    for form in forms:
        row = batch.rows.add(op=_enum(op, form["op"]))
        for member in ("transaction", "row"):
            if member in form:
                setattr(row, member, int(form[member].text))
        for member in ("before", "after"):
            if form[member] is not None:
                values = [contract.Value() for _ in columns]
                for name, value in form[member].items():
                    at, column = columns[name]
                    _set(values[at], column, value)
                getattr(row, member).values.extend(values)
                getattr(row, member).SetInParent()
    return batch


def _batch(document, cells_max):
    batch = _rows(document, cells_max, transactions=[], files=[], committed_at_base_us=0)
    files = {}
    for form in _list(document, "transactions"):
        at_us = _time(form["committed_at"])
        if not batch.transactions:
            batch.committed_at_base_us = at_us
        original_us = _time(form["original_committed_at"]) if "original_committed_at" in form else at_us
        place = _made(contract.Position, form["position"])
        batch.transactions.append(_made(
            contract.Transaction, form, file=files.setdefault(place.file, len(files)), offset=place.offset,
            committed_at_delta_us=at_us - batch.committed_at_base_us, original_committed_at_delta_us=original_us - at_us))
    batch.files.extend(files)
    return batch


def _part(document, cells_max):
    batch = _rows(document, cells_max, transactions=[], files=[], committed_at_base_us=0, sequence_first=0,
                  before_image=0)
    columns = {column.name: column for column in batch.table.columns}
    key_columns = [int(ordinal.text) for ordinal in document.get("key_columns", ())]
    names = [batch.table.columns[ordinal].name for ordinal in key_columns or batch.table.primary_key]

    def key(form):
        image = contract.Image()
        for name in sorted(form, key=names.index):
            _set(image.values.add(), columns[name], form[name])
        return image

    bounds = {name: key(document[name]) for name in ("key_after", "key_upto") if document.get(name) is not None}
    anchor = contract.LaneMark(
        lane=batch.lane, sequence_next=int(document["anchor"].text), epoch=batch.source.epoch)
    return _made(contract.SnapshotPart, document, batch=batch, anchor=anchor, key_columns=key_columns,
                 touched=[key(form) for form in _list(document, "touched")], **bounds)


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
        value.vector.elements.extend(_float(element, _FLOAT) for element in form)
    elif kind in (_FLOAT, _DOUBLE):
        setattr(value, "float" if kind == _FLOAT else "double", _float(form, kind))
    elif isinstance(form, _Digits):
        _set_integer(value, column, int(form.text))
    elif kind in (_INTEGER, _BIT, _YEAR):
        raise TypeError("no value of its column")
    elif kind in (_BINARY, _GEOMETRY, _VECTOR):
        value.bytes = base64.b64decode(form, validate=True)
    else:
        value.text = form


def _set_integer(value, column, number):
    kind = column.logical_type
    is_signed = kind == _YEAR or kind == _INTEGER and not column.unsigned
    # Where the log does not tell the sign, a value may be above what a signed one holds.
    if kind == _INTEGER and number < 0 or is_signed and number < 1 << 63:
        value.integer = number
    elif kind in (_INTEGER, _BIT, _ENUM, _SET):
        value.unsigned = number
    else:
        raise TypeError("no value of its column")


def _float(form, kind):
    if isinstance(form, str) and form in _NOT_FINITE:
        return float(form)
    number = float(form.text)
    if not math.isfinite(number):
        raise OverflowError("more than a double holds")
    if kind == _FLOAT:
        struct.pack("<f", number)  # raises where it is more than a float holds
    return number


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
        value.omitted.size_bytes, value.omitted.sha256 = int(inside["size_bytes"].text), _hex(inside["sha256"], 32)
    else:
        return False
    return True


def _text(form):
    """JSON as text; its numbers have their digits."""
    if isinstance(form, _Digits):
        return form.text
    if isinstance(form, dict):
        return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_text(value)}" for name, value in form.items()) + "}"
    if isinstance(form, list):
        return "[" + ", ".join(map(_text, form)) + "]"
    return json.dumps(form, ensure_ascii=False)
