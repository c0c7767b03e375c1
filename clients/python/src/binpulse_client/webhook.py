"""Requests of binpulse's relay, verified by Standard Webhooks, version 1."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping

from .errors import WebhookError

TOLERANCE_SECONDS = 300


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secrets: Iterable[str], now: float | None = None,
) -> str:
    """Verifies a request and returns its id, which is the same however often the same rows are sent: act once
    for each. `body` is the bytes as received; `headers` a mapping, whatever the case of its names; one of
    `secrets` (`whsec_` and base64; during a rotation the new and the old one) must have signed."""
    names = {name.lower(): value for name, value in headers.items()}

    def required(name):
        if not isinstance(names.get(name), str):
            raise WebhookError("missing", f"the header {name} is missing")
        return names[name]

    id, timestamp, signatures = (required(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if not re.fullmatch("[0-9]{1,15}", timestamp):
        raise WebhookError("time", "the header webhook-timestamp is no number of seconds since 1970")
    apart = abs((time.time() if now is None else now) - int(timestamp))
    if apart > TOLERANCE_SECONDS:
        raise WebhookError("time", f"the request was signed {apart:.0f} s from now, at most {TOLERANCE_SECONDS} s")
    for number, secret in enumerate(secrets):
        signed = f"{id}.{timestamp}.".encode() + body
        expected = hmac.new(_key(secret, number), signed, hashlib.sha256).digest()
        for signature in signatures.split(" ")[:16]:
            version, _, text = signature.partition(",")
            if version == "v1" and hmac.compare_digest(text.encode(), base64.b64encode(expected)):
                return id
    raise WebhookError("signature", "no signature fits any of the secrets")


def _key(secret, number):
    text = secret.removeprefix("whsec_").rstrip("=")  # with or without padding: both are in use
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise WebhookError("secret", f"secret {number} of the receiver is not whsec_ and base64")
    return key
