"""A browser, a server, and people who sit before the web client."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    async_playwright,
    expect,
)

from timewire.pages import ASSETS, NOT_BUILT
from timewire.testing.servers import ServerProcess, running_server

CHROMIUM = "chromium"
WAIT_MS = 20_000
"""How long something may take to be seen; a slow machine is no fault."""

expect.set_options(timeout=WAIT_MS)


class Network:
    """What lies between browsers and a server: it can be cut, and mended."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self._cut = False
        self._pipes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, target: int) -> None:
        """Lead to a port of this machine."""
        self.target = target
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and let nothing through."""
        self._cut = True
        for pipe in self._pipes:
            pipe.cancel()

    def mend(self) -> None:
        """Let everything through again."""
        self._cut = False

    async def close(self) -> None:
        """Break everything off."""
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            inner = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, inner[1]), (inner[0], writer)):
            pipe = asyncio.get_running_loop().create_task(_pour(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.transport.abort()


@dataclass
class Seat:
    """Somebody before a page: one device of one user."""

    user: str
    page: Page
    context: BrowserContext
    faults: list[str] = field(default_factory=list)

    async def log_in(self, url: str, token: str) -> None:
        """Begin with a token, and wait until the device is there."""
        await self.page.goto(url)
        await self.page.get_by_label("Token", exact=True).fill(token)
        await self.page.get_by_role("button", name="Log in", exact=True).click()
        await self.live()

    async def live(self) -> None:
        """Wait until nothing is missing."""
        await self.page.locator(".status.live").wait_for(state="attached")

    async def begin(self, user: str) -> None:
        """Begin to talk with somebody."""
        await self.page.get_by_role("button", name="New conversation").click()
        await self.page.get_by_label("The person’s user name").fill(user)
        await self.page.get_by_role("button", name="Begin", exact=True).click()
        await self.box.wait_for()

    async def open(self, title: str) -> None:
        """Open a conversation of the list."""
        await self.page.locator("button.conversation", has_text=title).first.click()
        await self.box.wait_for()

    @property
    def box(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_label("Write a message")

    async def say(self, text: str) -> None:
        """Write a message and send it."""
        await self.box.fill(text)
        await self.box.press("Enter")

    def message(self, text: str) -> Locator:
        """The messages with exactly this text, as far as they are in sight."""
        return self.page.locator("article .text", has_text=_exactly(text))

    def row(self, text: str) -> Locator:
        """The row of the last of these messages."""
        said = self.page.locator(".text", has_text=_exactly(text))
        return self.page.locator("article", has=said).last

    async def sees(self, text: str) -> None:
        """Wait for a message."""
        await self.message(text).last.wait_for()

    async def act(self, text: str, action: str) -> None:
        """Do something with a message, by its menu."""
        row = self.row(text)
        await row.hover()
        await row.get_by_role("button", name="Actions").click()
        await self.page.get_by_role("button", name=action, exact=True).click()

    async def stored(self, text: str) -> None:
        """Wait until a message of one's own is stored."""
        row = self.row(text)
        await row.locator(".message:not(.waiting) .state").wait_for()

    async def texts(self) -> list[str]:
        """All texts of the conversation, from its beginning: scrolls through them."""
        return await self.page.evaluate(_READ)


def _exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")


_READ = """async () => {
  const box = document.querySelector(".scroller");
  const found = new Map();
  const pause = () => new Promise((done) => setTimeout(done, 60));
  // The beginning is there when nothing more comes before it.
  for (let quiet = 0, first = ""; quiet < 5; ) {
    box.scrollTop = 0;
    await pause();
    const key = box.querySelector("article")?.dataset.key ?? "";
    quiet = key === first ? quiet + 1 : 0;
    first = key;
  }
  for (;;) {
    for (const row of box.querySelectorAll("article")) {
      const text = row.querySelector(".text");
      if (text) found.set(Number(row.dataset.key), text.textContent);
    }
    if (box.scrollHeight - box.clientHeight - box.scrollTop < 2) break;
    const last = box.scrollTop;
    box.scrollTop += box.clientHeight / 2;
    await pause();
    if (box.scrollTop <= last) throw new Error(`the list stays at ${last}`);
  }
  return [...found].sort(([one], [other]) => one - other).map(([, text]) => text);
}"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert (ASSETS / "index.html").is_file(), NOT_BUILT
    async with async_playwright() as playwright:
        # As root Chromium cannot make its sandbox; what it loads here comes from these tests.
        launched = await playwright.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield launched
        finally:
            await launched.close()


def _chromium() -> str:
    from shutil import which

    found = which(CHROMIUM) or which("google-chrome")
    assert found, "the tests of the web client need Chromium: apt-get install chromium"
    return found


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with running_server(tmp_path / "data") as running:
        yield running


Sit = Callable[..., Awaitable[Seat]]


@pytest.fixture
async def sit(browser: Browser, server: ServerProcess) -> AsyncIterator[Sit]:
    """Seats for users, each a browser of its own; none of them may see a fault."""
    seats: list[Seat] = []

    async def seat(user: str, url: str = "", **options: object) -> Seat:
        settings = {"viewport": {"width": 1100, "height": 800}, "locale": "en-GB", **options}
        context = await browser.new_context(**settings)  # pyright: ignore[reportArgumentType]
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        taken = Seat(user, page, context)
        page.on("pageerror", lambda fault: taken.faults.append(str(fault)))
        seats.append(taken)
        await taken.log_in(url or server.url, server.token(user))
        return taken

    yield seat
    assert {one.user: one.faults for one in seats if one.faults} == {}


@asynccontextmanager
async def network(server: ServerProcess) -> AsyncIterator[tuple[Network, str]]:
    """A network of its own to a server, and the server's address over it."""
    line = Network()
    await line.open(int(server.url.rpartition(":")[2]))
    try:
        yield line, f"http://127.0.0.1:{line.port}"
    finally:
        await line.close()
