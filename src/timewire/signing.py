"""How a request proves where it comes from, as Standard Webhooks has it.

The signature is an HMAC-SHA256 over id, time and body.  There may be several secrets: every one
signs, so that a receiver can go over from one to the next.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from timewire.errors import error

PREFIX: Final = "whsec_"
MIN_SECRET_BYTES: Final = 24


class Signer:
    """Signs with every secret of a text: ``whsec_`` and base64, several with spaces between.

    Raises ``Unusable`` (bad_config) for what is none.
    """

    def __init__(self, secrets: str) -> None:
        self._keys: Sequence[bytes] = [_key(one) for one in secrets.split()]

    def headers(self, id: str, now_ms: int, body: bytes) -> dict[str, str]:
        """What a request carries: the event's id, the time of sending (s), the signatures."""
        stamp = str(now_ms // 1000)
        signed = b"%b.%b.%b" % (id.encode(), stamp.encode(), body)
        return {
            "webhook-id": id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(_signature(key, signed) for key in self._keys),
            "Content-Type": "application/json",
        }


def secret_of(key: str) -> str:
    """A key of this server in the form that receivers are given."""
    return PREFIX + base64.b64encode(key.encode()).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < MIN_SECRET_BYTES or not secret.startswith(PREFIX):
        reason = f"a webhook secret is `{PREFIX}` and base64 of {MIN_SECRET_BYTES} bytes or more"
        raise error("bad_config", reason, key="webhook_secret")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
