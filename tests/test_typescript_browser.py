"""The TypeScript SDK in a real browser: reloads, tabs, and a network that comes and goes."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from shutil import which
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

import timewire
from timewire.testing.servers import ServerProcess, running_server

ROOT = Path(__file__).resolve().parent.parent
WAIT_MS = 60_000
"""How long something may take to happen; a slow machine is no fault."""

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>A device</title>
<script type="module">
  import { connect } from "./sdk.js";

  // What the app has heard, and what went wrong, for the test to look at.
  window.heard = [];
  window.faults = [];
  window.addEventListener("unhandledrejection", ({ reason }) => window.faults.push(String(reason)));

  window.begin = async (url, token) => {
    const backoff = { baseMs: 50, maxMs: 500 };
    window.me = await connect(url, token, { device: "browser", store: "alice", backoff });
    (async () => {
      for await (const event of window.me.events()) window.heard.push(event);
    })().catch((fault) => window.faults.push(String(fault)));
    return window.me.user;
  };
  window.texts = () => window.heard
    .filter(({ type, message }) => type === "received" && message.kind === "text")
    .map(({ message }) => message.body.text);
  window.kept = async (conversation) => (await window.me.kept(conversation, { limit: 1000 }))
    .filter(({ kind }) => kind === "text").map(({ body }) => body.text).reverse();
  window.ready = true;
</script>
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK as one file, as a page loads it."""
    target = tmp_path_factory.mktemp("sdk") / "sdk.js"
    esbuild = ROOT / "node_modules" / ".bin" / "esbuild"
    source = ROOT / "sdk" / "typescript" / "src" / "index.ts"
    flags = ["--bundle", "--format=esm", "--target=es2022", "--log-level=error"]
    subprocess.run([esbuild, source, *flags, f"--outfile={target}"], check=True)
    return target


@pytest.fixture
async def origin(bundle: Path) -> AsyncIterator[str]:
    """Where the page is: not at the server, as an app of one's own."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def sdk(_: web.Request) -> web.FileResponse:
        return web.FileResponse(bundle)

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/sdk.js", sdk)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def server(tmp_path: Path, origin: str) -> AsyncIterator[ServerProcess]:
    async with running_server(tmp_path / "data", origins=origin) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = which("chromium") or which("google-chrome")
    assert chromium, "the tests of the TypeScript SDK need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        # As root Chromium cannot make its sandbox; what it loads here comes from these tests.
        launched = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        await launched.close()


Open = Callable[[], Awaitable[Page]]


@pytest.fixture
async def context(browser: Browser) -> BrowserContext:
    context = await browser.new_context()
    context.set_default_timeout(WAIT_MS)
    return context


@pytest.fixture
async def tab(context: BrowserContext, origin: str) -> AsyncIterator[Open]:
    """Opens tabs of one browser; in none of them may anything go wrong."""
    tabs: list[Page] = []

    async def open_tab() -> Page:
        page = await context.new_page()
        tabs.append(page)
        await page.goto(origin)
        await page.wait_for_function("window.ready")
        return page

    yield open_tab
    for page in tabs:
        if not page.is_closed():
            assert await page.evaluate("window.faults") == []


async def begin(page: Page, server: ServerProcess, user: str = "alice") -> None:
    """Begin to be a device in this tab."""
    got = await page.evaluate(
        "([url, token]) => begin(url, token)", [server.url, server.token(user)]
    )
    assert got == user


async def reload(page: Page) -> None:
    await page.reload()
    await page.wait_for_function("window.ready")


async def until(page: Page, condition: str, argument: Any = None) -> None:
    await page.wait_for_function(condition, arg=argument, timeout=WAIT_MS)


def bob(server: ServerProcess) -> timewire.Client:
    return timewire.connect(server.url, server.token("bob"), device="phone")


DIRECT = "direct:alice:bob"


async def test_a_reload_keeps_messages_cursor_and_outbox(server: ServerProcess, tab: Open) -> None:
    page = await tab()
    await begin(page, server)
    await page.evaluate("me.caughtUp()")
    async with bob(server) as other:
        for number in range(5):
            await other.send(DIRECT, f"before {number}")
        await until(page, "texts().length === 5")
        await server.kill()
        queued = [f"queued {number}" for number in range(10)]
        await page.evaluate(
            f"queued => {{ for (const one of queued) me.post('{DIRECT}', one); }}", queued
        )
        await until(page, "me.queued === 10")
        await reload(page)
        await begin(page, server)
        assert await page.evaluate("me.queued") == 10
        before = [f"before {number}" for number in range(5)]
        assert await page.evaluate(f"kept('{DIRECT}')") == before
        await server.start()
        await page.evaluate("me.flush()")
        assert await page.evaluate(f"kept('{DIRECT}')") == before + queued
        history = await other.history(DIRECT, after=0)
        texts = [one.body["text"] for one in history.messages if one.kind == "text"]
        assert texts == before + queued


async def test_tabs_share_one_connection_and_take_over(server: ServerProcess, tab: Open) -> None:
    first, second, third = await tab(), await tab(), await tab()
    for page in (first, second, third):
        await begin(page, server)
        await page.evaluate("me.caughtUp()")
    assert await connections(server) == 1
    async with bob(server) as other:
        await second.evaluate(f"me.send('{DIRECT}', 'from the second tab')")
        await other.send(DIRECT, "one")
        for page in (first, second, third):
            await until(page, "texts().length === 1")
        await first.close()
        await second.evaluate(f"me.send('{DIRECT}', 'after the first is gone')")
        await other.send(DIRECT, "two")
        for page in (second, third):
            await until(page, "texts().length === 2")
            assert await page.evaluate("texts()") == ["one", "two"]
            assert await page.evaluate(f"kept('{DIRECT}')") == [
                "from the second tab",
                "one",
                "after the first is gone",
                "two",
            ]
        assert await connections(server) == 2
        found = await other.history(DIRECT, after=0)
        assert len([one for one in found.messages if one.kind == "text"]) == 4


async def test_what_was_missed_offline_comes_once_in_order(
    server: ServerProcess, context: BrowserContext, tab: Open
) -> None:
    page = await tab()
    await begin(page, server)
    await page.evaluate("me.caughtUp()")
    async with bob(server) as other:
        # Chromium leaves open sockets alone: the server is what breaks them.
        await context.set_offline(True)
        await server.restart()
        await until(page, "me.state === 'connecting'")
        await page.evaluate(f"() => {{ me.post('{DIRECT}', 'said offline'); }}")
        missed = [f"no. {number}" for number in range(500)]
        for text in missed:
            other.post(DIRECT, text)
        await other.flush()
        assert await page.evaluate("texts()") == []
        await context.set_offline(False)
        await until(page, "texts().length === 500 && me.queued === 0")
        assert await page.evaluate("texts()") == missed
        await page.evaluate("me.caughtUp()")
        assert await page.evaluate(f"kept('{DIRECT}')") == [*missed, "said offline"]


async def connections(server: ServerProcess) -> int:
    """How many WebSockets the server has now."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith("timewire_connections "):
                return int(float(line.split()[1]))
    raise AssertionError("no such metric")
