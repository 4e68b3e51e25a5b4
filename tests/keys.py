"""JSON Web Keys, as key files hold them."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def oct_key(kid: str | None, secret: bytes, **more: Any) -> dict[str, Any]:
    named = {} if kid is None else {"kid": kid}
    return {"kty": "oct", "k": base64url(secret), **named, **more}


def public_key(kid: str, private: Ed25519PrivateKey, **more: Any) -> dict[str, Any]:
    x = base64url(private.public_key().public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, **more}


def jwk_set(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})
