"""Keys of administrators: each does what its scopes say, and nothing after it was revoked."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from timewire import adminkeys as module
from timewire import cli
from timewire.adminkeys import FILE, PREFIX, SCOPES, AdminKeys, create, read, revoke
from timewire.api.routes import ROUTES
from timewire.auth import Keys, mint
from timewire.backends.memory import MemoryStore
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.server import Server
from timewire.testing.servers import serving

ALL = "the key that may do everything, long enough"
NOW = 1_800_000_000_000


def refused(keys: AdminKeys, given: str, scope: Any) -> str | None:
    try:
        keys.check(given, scope)
    except TimewireError as fault:
        return fault.code
    return None


def test_the_key_of_the_server_has_all_scopes(tmp_path: Path) -> None:
    keys = AdminKeys(tmp_path, ALL)
    assert [refused(keys, ALL, scope) for scope in SCOPES] == [None] * len(SCOPES)
    own = Keys.load(Config(), tmp_path)
    assert refused(AdminKeys(tmp_path, own.admin_key), own.admin_key, "act") is None
    for wrong in ("", ALL + "x", ALL[:-1], own.secret, "schlüssel", "\ud800", PREFIX, "twk_\ud800"):
        assert refused(keys, wrong, "act") == "bad_admin_key"


@given(scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
def test_a_key_does_what_its_scopes_say(
    tmp_path_factory: pytest.TempPathFactory, scopes: set[str]
) -> None:
    directory = tmp_path_factory.mktemp("keys")
    keys, key = AdminKeys(directory, ALL), create(directory, "one", sorted(scopes), NOW)
    for scope in SCOPES:
        assert refused(keys, key, scope) == (None if scope in scopes else "missing_scope")
    assert refused(keys, key[:-1], "act") == "bad_admin_key"


def test_it_is_told_which_scope_is_missing(tmp_path: Path) -> None:
    key = create(tmp_path, "login", ["tokens"], NOW)
    with pytest.raises(TimewireError) as caught:
        AdminKeys(tmp_path, ALL).check(key, "explorer")
    assert caught.value.fields == {"scope": "explorer", "scopes": ["tokens"]}


def test_only_hashes_are_kept(tmp_path: Path) -> None:
    key = create(tmp_path, "login", ["tokens", "act"], NOW)
    kept = (tmp_path / FILE).read_text()
    assert key not in kept
    assert key.removeprefix(PREFIX) not in kept
    [one] = read(tmp_path)
    assert (one.name, one.scopes, one.created) == ("login", ("act", "tokens"), NOW)


def test_what_changes_holds_at_once(tmp_path: Path) -> None:
    keys = AdminKeys(tmp_path, ALL)
    assert refused(keys, PREFIX + "none", "act") == "bad_admin_key"
    one, two = (create(tmp_path, name, ["act"], NOW) for name in ("one", "two"))
    assert [refused(keys, key, "act") for key in (one, two)] == [None, None]
    revoke(tmp_path, "one")
    assert [refused(keys, key, "act") for key in (one, two)] == ["bad_admin_key", None]
    (tmp_path / FILE).unlink()
    assert refused(keys, two, "act") == "bad_admin_key"


def test_a_file_that_is_broken_lets_nobody_in(tmp_path: Path) -> None:
    keys, key = AdminKeys(tmp_path, ALL), create(tmp_path, "one", ["act"], NOW)
    (tmp_path / FILE).write_text('[{"name": ')
    assert [refused(keys, one, "act") for one in (key, ALL)] == ["bad_admin_key", None]
    with pytest.raises(TimewireError, match="directory_unusable"):
        create(tmp_path, "two", ["act"], NOW)
    assert (tmp_path / FILE).read_text() == '[{"name": ', "nothing is lost that could be mended"


@pytest.mark.parametrize(
    ("name", "scopes", "code"),
    [
        ("one", ["act"], "bad_name"),
        ("a b", ["act"], "bad_name"),
        ("two", [], "bad_scope"),
        ("two", ["act", "everything"], "bad_scope"),
    ],
)
def test_keys_that_cannot_be_made(tmp_path: Path, name: str, scopes: list[str], code: str) -> None:
    create(tmp_path, "one", ["act"], NOW)
    with pytest.raises(TimewireError) as caught:
        create(tmp_path, name, scopes, NOW)
    assert caught.value.code == code
    assert len(read(tmp_path)) == 1


def test_their_number_is_bounded_and_an_unknown_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 1)
    create(tmp_path, "one", ["act"], NOW)
    for act, code in (
        (lambda: create(tmp_path, "two", ["act"], NOW), "list_full"),
        (lambda: revoke(tmp_path, "two"), "unknown_key"),
    ):
        with pytest.raises(TimewireError) as caught:
            act()
        assert caught.value.code == code


# -- a whole server, and the command line ---------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data", MemoryStore()) as running:
        yield running


def test_every_route_of_administrators_has_a_scope() -> None:
    assert all((route.scope is not None) == (route.access == "admin") for route in ROUTES)


async def test_every_route_asks_for_its_scope(server: Server) -> None:
    directory = Path(server.config.data)
    keys = {scope: create(directory, scope, [scope], NOW) for scope in SCOPES}
    admin = [route for route in ROUTES if route.access == "admin"]
    assert {route.scope for route in admin} == set(SCOPES) - {"act"}
    async with aiohttp.ClientSession(server.url) as http:
        for route in admin:
            for scope, key in keys.items():
                path = route.path.replace("{seq}", "1")
                headers = {"Authorization": f"Bearer {key}"}
                async with http.request(route.method, path, headers=headers, json={}) as answer:
                    told = await answer.read()
                lacks = b"missing_scope" in told
                assert (answer.status == 403 and lacks) == (scope != route.scope), (path, scope)


async def test_acting_for_users_is_a_scope_too(server: Server) -> None:
    directory = Path(server.config.data)
    act, other = (create(directory, scope, [scope], NOW) for scope in ("act", "tokens"))
    found: list[tuple[int, str]] = []
    async with aiohttp.ClientSession(server.url) as http:
        for key in (act, other, mint(server.keys.secret, "alice")):
            headers = {"Authorization": f"Bearer {key}"}
            url = "/v1/conversations?as=alice"
            async with http.get(url, headers=headers) as answer:
                found.append((answer.status, (await answer.json()).get("code", "")))
        async with http.get("/v1/conversations", headers={"Authorization": f"Bearer {act}"}) as one:
            found.append((one.status, (await one.json())["code"]))
    assert found == [(200, ""), (403, "missing_scope"), (401, "bad_admin_key"), (401, "bad_token")]


def test_keys_are_made_listed_and_revoked_by_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("TIMEWIRE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["keys", *arguments, "--data", str(tmp_path)])

    made = run("create", "login", "--scope", "tokens", "--scope", "act")
    assert made.exit_code == 0
    assert refused(AdminKeys(tmp_path, ALL), made.stdout.strip(), "tokens") is None
    [listed] = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert (listed["name"], listed["scopes"]) == ("login", ["act", "tokens"])
    assert "login" in run("list").stdout
    assert run("revoke", "login").exit_code == 0
    assert read(tmp_path) == []
    refusal = run("revoke", "login")
    assert refusal.exit_code == 1
    assert "timewire keys list" in refusal.output
