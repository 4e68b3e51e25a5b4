import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import jwk_set, oct_key, public_key
from timewire.auth import (
    CLOCK_SKEW_S,
    MAX_TOKEN_BYTES,
    TOKEN_LIFE_S,
    Claims,
    Keys,
    find_admin_key,
    find_secret,
    mint,
    verify,
)
from timewire.clock import wall_clock
from timewire.config import Config
from timewire.errors import Forbidden, Invalid, Unusable
from timewire.keyring import Keyring

SECRET = "s" * 32
OTHER = "o" * 32
RING = Keyring(SECRET)
NOW_S = 1_800_000_000
NOW_MS = NOW_S * 1000


def clock() -> int:
    return NOW_MS


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    given = {"sub": "alice", "exp": NOW_S + 60} | claims
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


def refusal(presented: str, device: str | None = "laptop", now_ms: int = NOW_MS) -> str:
    with pytest.raises(Forbidden) as caught:
        verify(RING, presented, device, now_ms)
    return caught.value.code


# Tokens ------------------------------------------------------------------------------------------


def test_a_token_says_who_its_user_is() -> None:
    presented = mint(SECRET, "alice", life_s=60, clock=clock)
    claims = verify(RING, presented, "laptop", NOW_MS)
    assert claims == Claims("alice", None, NOW_S + 60, NOW_MS, claims.id)
    assert len(claims.id) == 16
    assert verify(RING, token(), "laptop", NOW_MS) == Claims("alice", None, NOW_S + 60, 0, "")


def test_a_token_lives_thirty_days_unless_told_otherwise() -> None:
    claims = verify(RING, mint(SECRET, "alice", clock=clock), "laptop", NOW_MS)
    assert claims.expires_s == NOW_S + TOKEN_LIFE_S == NOW_S + 30 * 86_400


def test_a_token_made_now_is_valid_now() -> None:
    import time

    presented = mint(SECRET, "alice", "laptop", life_s=3600)
    assert verify(RING, presented, "laptop", time.time_ns() // 10**6).device == "laptop"


@given(user=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_any_valid_name_comes_back_as_it_was(user: str) -> None:
    assert verify(RING, mint(SECRET, user, user, clock=clock), user, NOW_MS).user == user


def test_a_name_that_no_user_may_have_gets_no_token() -> None:
    for user, device in (("", None), ("a b", None), ("a:b", None), ("alice", "a/b")):
        with pytest.raises(Invalid) as caught:
            mint(SECRET, user, device)
        assert caught.value.code == "bad_name"


def test_a_token_ends_exactly_when_it_says() -> None:
    presented = token(exp=NOW_S + 1)
    assert verify(RING, presented, "laptop", NOW_MS + 999).user == "alice"
    assert refusal(presented, now_ms=NOW_MS + 1000) == "token_expired"


def test_a_token_that_is_not_valid_yet_is_refused_beyond_the_skew_of_clocks() -> None:
    assert verify(RING, token(nbf=NOW_S + CLOCK_SKEW_S), "laptop", NOW_MS).user == "alice"
    assert refusal(token(nbf=NOW_S + CLOCK_SKEW_S + 1)) == "bad_token"


def test_a_token_for_one_device_is_refused_from_another() -> None:
    presented = token(device="laptop")
    assert verify(RING, presented, "laptop", NOW_MS).device == "laptop"
    assert refusal(presented, device="phone") == "bad_device"
    assert verify(RING, presented, None, NOW_MS).device == "laptop"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": -1},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 1e300},
        {"nbf": "now"},
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x" * 129},
        {"device": 7},
        {"aud": "another-service"},
        {"iat": "now"},
        {"iat": -1},
        {"jti": 7},
        {"jti": "x" * 129},
    ],
)
def test_claims_of_another_shape_are_refused(claims: dict[str, Any]) -> None:
    assert refusal(token(**claims)) == "bad_token"


def test_a_number_as_user_is_refused() -> None:
    forged = jwt.PyJWS().encode(b'{"sub":7,"exp":%d}' % (NOW_S + 60), SECRET, algorithm="HS256")
    assert refusal(forged) == "bad_token"


def test_only_our_key_and_our_algorithm_hold() -> None:
    assert refusal(token(secret=OTHER)) == "bad_token"
    assert refusal(token(secret=SECRET * 2, algorithm="HS512")) == "bad_token"
    assert refusal(jwt.encode({"sub": "alice", "exp": NOW_S + 60}, "", algorithm="none")) == (
        "bad_token"
    )


def test_a_token_is_for_the_audience_that_is_configured() -> None:
    ring = Keyring(SECRET, audience="chat")
    assert verify(ring, token(aud="chat"), None, NOW_MS).user == "alice"
    assert verify(ring, token(aud=["shop", "chat"]), None, NOW_MS).user == "alice"
    minted = mint(SECRET, "alice", audience="chat", clock=clock)
    assert verify(ring, minted, None, NOW_MS).user == "alice"
    for wrong in (token(), token(aud="shop"), token(aud=7)):
        with pytest.raises(Forbidden) as caught:
            verify(ring, wrong, None, NOW_MS)
        assert caught.value.code == "bad_token"


def test_a_token_holds_by_the_key_it_names_and_no_other(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    keys = tmp_path / "keys.json"
    keys.write_text(jwk_set(oct_key("a", b"a" * 32), public_key("e", private)))
    ring = Keyring.load(SECRET, str(keys))

    def signed(key: Any, algorithm: str, **headers: str) -> str:
        claims = {"sub": "alice", "exp": NOW_S + 60}
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    public = private.public_key().public_bytes_raw()
    good = [
        signed(b"a" * 32, "HS256", kid="a"),
        signed(private, "EdDSA", kid="e"),
        signed(SECRET, "HS256"),
    ]
    bad = [
        signed(b"a" * 32, "HS256"),
        signed(SECRET, "HS256", kid="a"),
        signed(b"a" * 32, "HS256", kid="e"),
        signed(public, "HS256", kid="e"),  # a public key is no secret
        signed(private, "EdDSA", kid="a"),
        signed(private, "EdDSA"),
        signed(SECRET, "HS256", kid="unknown"),
        jwt.encode({"sub": "alice", "exp": NOW_S + 60}, "", "none", headers={"kid": "e"}),
    ]
    assert [verify(ring, one, None, NOW_MS).user for one in good] == ["alice"] * 3
    for one in bad:
        with pytest.raises(Forbidden) as caught:
            verify(ring, one, None, NOW_MS)
        assert caught.value.code == "bad_token"


def test_a_changed_token_is_refused() -> None:
    head, claims, signature = token().split(".")
    other_claims = token(sub="mallory").split(".")[1]
    assert refusal(f"{head}.{other_claims}.{signature}") == "bad_token"
    assert refusal(f"{head}.{claims}.") == "bad_token"
    assert refusal(f"{head}.{claims}") == "bad_token"


@given(st.text(max_size=200))
def test_garbage_is_a_bad_token(garbage: str) -> None:
    assert refusal(garbage) == "bad_token"


def test_a_token_of_great_length_is_not_even_read() -> None:
    assert refusal("a" * (MAX_TOKEN_BYTES + 1)) == "bad_token"


# Keys --------------------------------------------------------------------------------------------


def test_missing_keys_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    first = Keys.load(Config(), directory)
    again = Keys.load(Config(), directory)

    assert first.made == (directory / "secret", directory / "admin-key")
    assert again.made == ()
    assert (first.secret, first.admin_key) == (again.secret, again.admin_key)
    assert first.secret != first.admin_key
    for path in first.made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(directory)) == ["admin-key", "secret"]


def test_configured_keys_win_and_no_file_is_made(tmp_path: Path) -> None:
    Keys.load(Config(), tmp_path / "data")
    keys = Keys.load(Config(secret=SECRET), tmp_path / "data")
    assert keys.secret == SECRET

    Keys.load(Config(secret=SECRET, admin_key=OTHER), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: Keys.load(Config(), tmp_path), range(8)))

    assert len({(k.secret, k.admin_key) for k in keys}) == 1
    assert sum(len(k.made) for k in keys) == 2
    assert sorted(os.listdir(tmp_path)) == ["admin-key", "secret"]


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_damaged_key_file_is_refused_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(Unusable) as caught:
        Keys.load(Config(), tmp_path)
    assert caught.value.code == "directory_unusable"
    assert (tmp_path / "secret").read_bytes() == content


def test_a_place_that_cannot_hold_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable) as caught:
        Keys.load(Config(), tmp_path / "file" / "data")
    assert caught.value.code == "directory_unusable"


def test_finding_a_secret_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unusable) as caught:
        find_secret(Config(), tmp_path / "data")
    assert caught.value.code == "directory_unusable"
    assert not (tmp_path / "data").exists()

    keys = Keys.load(Config(), tmp_path / "data")
    assert find_secret(Config(), tmp_path / "data") == keys.secret
    assert find_secret(Config(secret=SECRET), tmp_path / "data") == SECRET


def test_keys_are_not_shown(tmp_path: Path) -> None:
    keys = Keys.load(Config(), tmp_path)
    assert keys.secret not in repr(keys)
    assert keys.admin_key not in repr(keys)


def test_the_admin_key_of_a_server_that_has_run_here(tmp_path: Path) -> None:
    with pytest.raises(Unusable) as caught:
        find_admin_key(Config(), tmp_path)
    assert caught.value.code == "directory_unusable"
    keys = Keys.load(Config(), tmp_path)
    assert find_admin_key(Config(), tmp_path) == keys.admin_key
    assert find_admin_key(Config(admin_key="k" * 32), tmp_path) == "k" * 32


def test_the_secret_can_be_changed_without_ending_its_tokens(tmp_path: Path) -> None:
    """The old one goes into the key file, without a name, until its tokens have expired."""
    old, new = "o" * 40, "n" * 40
    token = mint(old, "alice")
    path = tmp_path / "keys.json"
    encoded = base64.urlsafe_b64encode(old.encode()).decode().rstrip("=")
    path.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encoded}]}))
    now = wall_clock()
    with pytest.raises(Forbidden):
        verify(Keyring.load(new, "", ""), token, None, now)
    ring = Keyring.load(new, str(path), "")
    assert [verify(ring, one, None, now).user for one in (token, mint(new, "bob"))] == [
        "alice",
        "bob",
    ]
