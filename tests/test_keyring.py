"""Which keys sign tokens, and what happens when the file that names them changes."""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.keys import base64url, jwk_set, oct_key, public_key
from timewire.errors import Unusable
from timewire.keyring import MAX_KEY_FILE_BYTES, MAX_KEYS, MAX_UNNAMED_KEYS, Keyring

SECRET = "s" * 32
LONG = b"k" * 32


def test_a_server_without_a_file_has_its_own_secret_only() -> None:
    ring = Keyring.load(SECRET)
    [own] = ring.find("")
    assert (own.algorithm, own.key) == ("HS256", SECRET.encode())
    assert ring.find("any") == []
    assert SECRET not in repr(own)


def test_a_file_adds_keys_each_with_its_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    edwards = public_key("e", Ed25519PrivateKey.generate(), alg="EdDSA", use="sig")
    path.write_text(jwk_set(oct_key("h", LONG, alg="HS256"), edwards, oct_key(None, b"u" * 40)))
    ring = Keyring.load(SECRET, str(path))
    assert [(key.algorithm, key.key) for key in ring.find("h")] == [("HS256", LONG)]
    assert [key.algorithm for key in ring.find("e")] == ["EdDSA"]
    assert [key.key for key in ring.find("")] == [SECRET.encode(), b"u" * 40]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(jwk_set(oct_key("old", LONG)))
    ring = Keyring.load(SECRET, str(path))
    path.write_text(jwk_set(oct_key("old", LONG), oct_key("new", LONG)))
    assert [len(ring.find(kid)) for kid in ("old", "new")] == [1, 1]
    replacement = tmp_path / "draft"
    replacement.write_text(jwk_set(oct_key("new", LONG)))
    os.replace(replacement, path)
    assert [len(ring.find(kid)) for kid in ("old", "new")] == [0, 1]


@pytest.mark.parametrize("broken", ["", "{", "gone"])
def test_while_the_file_is_broken_the_last_good_one_holds(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(jwk_set(oct_key("a", LONG)))
    ring = Keyring.load(SECRET, str(path))
    if broken == "gone":
        path.unlink()
    else:
        path.write_text(broken)
    assert len(ring.find("a")) == 1
    path.write_text(jwk_set(oct_key("a", LONG), oct_key("b", LONG)))
    assert len(ring.find("b")) == 1


E = public_key("e", Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"keys": 7}',
        '{"keys": ["x"]}',
        "\ud800",
        jwk_set({}),
        jwk_set({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}),
        jwk_set({"kty": ["oct"], "kid": "r"}),
        jwk_set(oct_key("short", b"k" * 31)),
        jwk_set({"kty": "oct", "kid": "none"}),
        jwk_set(oct_key("a", LONG, alg="HS512")),
        jwk_set(oct_key("a", LONG, alg="EdDSA")),
        jwk_set(oct_key("a", LONG) | {"kid": 7}),
        jwk_set(E | {"alg": "HS256"}),
        jwk_set(E | {"crv": "Ed448"}),
        jwk_set(E | {"crv": "X25519"}),
        jwk_set(E | {"x": base64url(b"x" * 31)}),
        jwk_set(E | {"x": 7}),
        jwk_set(E | {"d": base64url(b"d" * 32)}),
        jwk_set(oct_key("a", LONG), oct_key("a", b"b" * 32)),
        jwk_set(*(oct_key(None, LONG) for _ in range(MAX_UNNAMED_KEYS + 1))),
        jwk_set(*(oct_key(str(n), LONG) for n in range(MAX_KEYS + 1))),
        jwk_set(oct_key("a", LONG, note="x" * MAX_KEY_FILE_BYTES)),
    ],
)
def test_a_file_that_is_none_stops_the_start(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(Unusable) as caught:
        Keyring.load(SECRET, str(path))
    assert caught.value.code == "bad_config"
    assert str(path) in caught.value.message


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unusable) as caught:
        Keyring.load(SECRET, str(tmp_path / "none"))
    assert caught.value.code == "bad_config"
