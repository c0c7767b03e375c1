"""Rows with values typed by their columns.

| MySQL | Python |
|---|---|
| NULL; a column that the source did not log | `None`; `ABSENT`, which is not NULL |
| integers, YEAR, BIT | `int`, exact |
| FLOAT, DOUBLE | `float` |
| DECIMAL | `decimal.Decimal` |
| DATE, TIME, DATETIME, TIMESTAMP | `TimeText`: the text, lossless, and `.value`, where Python has such a value |
| character data, ENUM, SET | `str` |
| ENUM, SET whose labels are not known | `EnumIndex`, `SetMask`: `int` |
| binary data | `bytes` |
| JSON | `Json`: the text, and `.value` |
| spatial types | `Geometry`: `bytes`, 4 of SRID and WKB |
| VECTOR | `list` of `float` |
| a partial update of JSON; text not valid in its character set; too large to travel | `JsonDiff`, `MalformedText`, `Omitted` |
"""

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from . import contract
from .errors import DecodeError


class _Absent:
    def __repr__(self):
        return "ABSENT"

    def __bool__(self):
        return False


ABSENT = _Absent()


class EnumIndex(int):
    """Index of an ENUM's label."""


class SetMask(int):
    """Bit mask of a SET's labels."""


class Geometry(bytes):
    """4 bytes of SRID, little-endian, then WKB."""


class MalformedText(bytes):
    """Text that is not valid in its character set: the bytes as stored."""


class Json(str):
    """A JSON document as MySQL prints it."""

    @property
    def value(self) -> Any:
        """The document; its numbers with a point or an exponent are Decimal."""
        return json.loads(self, parse_float=Decimal)


class JsonDiff(Json):
    """A change of a JSON document whose former value the source's log does not have."""


@dataclass(frozen=True)
class Omitted:
    """A value that was left out because its row was too large for a message."""

    size_bytes: int
    sha256: bytes


class TimeText(str):
    """A DATE, TIME, DATETIME or TIMESTAMP as MySQL prints it."""

    __slots__ = ("kind",)

    def __new__(cls, text, kind):
        self = super().__new__(cls, text)
        self.kind = kind
        return self

    @property
    def value(self) -> datetime.date | datetime.timedelta | datetime.datetime | None:
        """A `date`, `timedelta` or `datetime` (of a TIMESTAMP with UTC); None where Python has no such value,
        as of 0000-00-00."""
        try:
            if self.kind == "date":
                return datetime.date.fromisoformat(self)
            if self.kind == "time":
                return _duration(self)
            zone = datetime.timezone.utc if self.kind == "timestamp" else None
            day, _, time = self.partition(" ")
            midnight = datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(), zone)
            return midnight + _duration(time)
        except (ValueError, OverflowError):
            return None


def _duration(text):
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    seconds, _, fraction = seconds.partition(".")
    micros = int(fraction.ljust(6, "0")) if fraction else 0
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return sign * datetime.timedelta(seconds=whole, microseconds=micros)


Image = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a batch. `before` and `after` are dictionaries by column name, None where the operation has no
    such image. Rows of snapshots have no number and no transaction."""

    op: str
    number: int
    before: Image | None
    after: Image | None
    transaction: Any
    committed_at_us: int | None
    number_in_transaction: int


def rows(batch: Any) -> Iterator[Row]:
    """The rows of a batch, typed."""
    columns = [(column.name, _READERS.get(column.logical_type, _raw)) for column in batch.table.columns]
    for index, row in enumerate(batch.rows):
        transaction = batch.transactions[row.transaction] if batch.transactions else None
        yield Row(
            op=_OPS.get(row.op, "unspecified"),
            number=batch.sequence_first + index if batch.sequence_first else 0,
            before=_image(columns, row.before) if row.HasField("before") else None,
            after=_image(columns, row.after) if row.HasField("after") else None,
            transaction=transaction,
            committed_at_us=transaction and batch.committed_at_base_us + transaction.committed_at_delta_us,
            number_in_transaction=row.row)


def key_of(part: Any, image: Any) -> Image:
    """The values of a key's image of a snapshot part (`key_after`, `key_upto`, one of `touched`), by name."""
    table = part.batch.table
    ordinals = part.key_columns or table.primary_key
    columns = [table.columns[ordinal] for ordinal in ordinals]
    return _image([(column.name, _READERS.get(column.logical_type, _raw)) for column in columns], image)


_OPS = {1: "insert", 2: "update", 3: "delete", 4: "read"}


def _image(columns, image):
    values = image.values
    typed = {name: read(value) for (name, read), value in zip(columns, values)}
    if len(values) < len(columns):
        typed.update((name, ABSENT) for name, _ in columns[len(values):])
    return typed


def _raw(value):
    kind = value.WhichOneof("kind")
    if kind is None:
        return ABSENT
    if kind == "null":
        return None
    found = getattr(value, kind)
    wrap = _WRAPPERS.get(kind)
    return wrap(found) if wrap else found


_WRAPPERS = {
    "malformed_text": MalformedText, "json": Json, "json_diff": JsonDiff,
    "vector": lambda vector: list(vector.elements),
    "omitted": lambda omitted: Omitted(omitted.size_bytes, omitted.sha256),
}


def _wrapping(kind, wrap):
    def read(value):
        return wrap(getattr(value, kind)) if value.WhichOneof("kind") == kind else _raw(value)
    return read


_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _decimal(text):
    # Decimal takes exponents and words too.
    if not _DECIMAL.fullmatch(text):
        raise DecodeError("inconsistent", "a DECIMAL column with a text that is none")
    return Decimal(text)


def _time(kind):
    return _wrapping("text", lambda text: TimeText(text, kind))


_T = contract.LogicalType.Value
_READERS = {
    _T("LOGICAL_TYPE_DECIMAL"): _wrapping("text", _decimal),
    _T("LOGICAL_TYPE_DATE"): _time("date"),
    _T("LOGICAL_TYPE_TIME"): _time("time"),
    _T("LOGICAL_TYPE_DATETIME"): _time("datetime"),
    _T("LOGICAL_TYPE_TIMESTAMP"): _time("timestamp"),
    _T("LOGICAL_TYPE_ENUM"): _wrapping("unsigned", EnumIndex),
    _T("LOGICAL_TYPE_SET"): _wrapping("unsigned", SetMask),
    _T("LOGICAL_TYPE_GEOMETRY"): _wrapping("bytes", Geometry),
}
