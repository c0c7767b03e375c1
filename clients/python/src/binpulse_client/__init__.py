"""Reads the messages of binpulse: from the body of a message to rows, and what is needed to apply each
row once and to know that none is missing. See README.md."""

from .errors import DecodeError, Elsewhere, WebhookError
from .freshness import Freshness, Health
from .ledger import Change, Decision, Gap, Lane, Ledger, Offer, State, Store, Waits
from .message import Content, Message, Pointer, decode, lambda_batch, lambda_records
from .once import Claim, MemoryStore, Once, Outcome
from .rows import (ABSENT, EnumIndex, Geometry, Image, Json, JsonDiff, MalformedText, Omitted, Row, SetMask, TimeText,
                   key_of, rows)
from .stores import Conflict, RedisOnceStore, RedisStore, SqlStore
from .webhook import verify_webhook

__all__ = [
    "ABSENT", "Change", "Claim", "Conflict", "Content", "DecodeError", "Decision", "Elsewhere", "EnumIndex",
    "Freshness", "Gap", "Geometry", "Health", "Image", "Json", "JsonDiff", "Lane", "Ledger", "MalformedText",
    "MemoryStore", "Message", "Offer", "Omitted", "Once", "Outcome", "Pointer", "RedisOnceStore", "RedisStore",
    "Row", "SetMask", "SqlStore", "State", "Store", "TimeText", "Waits", "WebhookError", "decode", "key_of",
    "lambda_batch", "lambda_records", "rows", "verify_webhook",
]
