"""The web client as it is served: addresses, headers, compression, demo accounts."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from timewire.api.edge import Headers, errors
from timewire.auth import Keys, verify
from timewire.config import Config
from timewire.errors import Unusable
from timewire.hosts import is_loopback
from timewire.keyring import Keyring
from timewire.pages import DEMO_USERS, NOT_BUILT, POLICY, Pages
from timewire.settings import load

KEYS = Keys("s" * 32, "a" * 32)
NOW_MS = 1_700_000_000_000
SCRIPT = "export const words = 'a text that is long enough to be worth compressing';\n" * 20


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    root = tmp_path / "made"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>chat</title>")
    (root / "explorer.html").write_text("<!doctype html><title>explorer</title>")
    (root / "icon.svg").write_text("<svg/>")
    (root / "assets" / "index-abc123.js").write_text(SCRIPT)
    return root


@asynccontextmanager
async def site(assets: Path, **settings: Any) -> AsyncIterator[str]:
    """The pages alone, with what every response of a server carries."""
    application = web.Application(middlewares=[errors])
    application.on_response_prepare.append(Headers(()).prepare)
    Pages(Config(**settings), KEYS, lambda: NOW_MS, assets).install(application)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def get(url: str, **options: Any) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(url, **options) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


@pytest.mark.parametrize("path", ["/", "/c/team", "/c/direct:alice:bob", "/c/%E5%9B%A2%E9%98%9F"])
async def test_every_conversation_has_an_address_that_leads_to_the_page(
    assets: Path, path: str
) -> None:
    async with site(assets) as url:
        status, headers, body = await get(url + path)
    assert status == 200
    assert b"<title>chat</title>" in body
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"


async def test_another_page_has_an_address_of_its_own(assets: Path) -> None:
    async with site(assets) as url:
        status, headers, body = await get(f"{url}/explorer")
    assert status == 200
    assert b"<title>explorer</title>" in body
    assert headers["Content-Security-Policy"] == POLICY


async def test_nothing_runs_in_a_page_but_what_the_server_hands_out(assets: Path) -> None:
    async with site(assets) as url:
        _, headers, _ = await get(url)
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert "script-src 'self'" in POLICY
    assert "default-src 'none'" in POLICY


async def test_files_with_a_hash_in_their_names_are_kept_for_ever(assets: Path) -> None:
    async with site(assets) as url:
        _, hashed, body = await get(f"{url}/assets/index-abc123.js")
        _, plain, _ = await get(f"{url}/icon.svg")
    assert gzip.decompress(body).decode() == SCRIPT
    assert "immutable" in hashed["Cache-Control"]
    assert hashed["Content-Type"].startswith("text/javascript")
    assert plain["Cache-Control"] == "no-cache"
    assert plain["Content-Type"] == "image/svg+xml"


async def test_files_are_compressed_where_that_is_taken(assets: Path) -> None:
    async with site(assets) as url:
        _, headers, body = await get(
            f"{url}/assets/index-abc123.js", headers={"Accept-Encoding": "br, gzip"}
        )
        _, plain, _ = await get(
            f"{url}/assets/index-abc123.js", headers={"Accept-Encoding": "identity"}
        )
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(body).decode() == SCRIPT
    assert "Content-Encoding" not in plain


@pytest.mark.parametrize(
    "path", ["/assets/other.js", "/assets/..%2f..%2fpages.py", "/nothing", "/c/a/b"]
)
async def test_nothing_else_is_there(assets: Path, path: str) -> None:
    async with site(assets) as url:
        status, _, body = await get(url + path)
    assert status == 404
    assert b"unknown_path" in body


async def test_a_client_that_was_not_built_says_what_to_run(tmp_path: Path) -> None:
    async with site(tmp_path / "missing") as url:
        status, _, body = await get(url)
    assert (status, body.decode()) == (503, NOT_BUILT)
    assert "make web" in NOT_BUILT


async def test_development_mode_lets_demo_accounts_in(assets: Path) -> None:
    async with site(assets, mode="development") as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/demo/users") as answer:
            assert await answer.json() == {"users": list(DEMO_USERS)}
        async with http.post(f"{url}/demo/tokens/alice") as answer:
            token = (await answer.json())["token"]
        async with http.post(f"{url}/demo/tokens/mallory") as answer:
            assert answer.status == 404
    assert verify(Keyring(KEYS.secret), token, "phone", NOW_MS).user == "alice"


async def test_production_has_no_demo_accounts(assets: Path) -> None:
    async with site(assets) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/demo/users") as answer:
            assert await answer.json() == {"users": []}
        async with http.post(f"{url}/demo/tokens/alice") as answer:
            assert answer.status == 404


async def test_a_foreign_name_that_leads_here_gets_no_demo_account(assets: Path) -> None:
    foreign = {"Host": "rebound.example:7447"}
    async with site(assets, mode="development") as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/demo/users", headers=foreign) as answer:
            assert await answer.json() == {"users": []}
        async with http.post(f"{url}/demo/tokens/alice", headers=foreign) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_development_mode_is_for_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert load({"mode": "development", "host": host}).mode == "development"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "chat.example.com", ""])
def test_development_mode_is_not_for_others(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(Unusable) as caught:
        load({"mode": "development", "host": host or "0.0.0.0"})
    assert caught.value.code == "bad_config"
    assert caught.value.fields["key"] == "mode"
