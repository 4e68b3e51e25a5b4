"""What axe has to say of each view, light and dark, wide and narrow: nothing."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

import timewire
from tests.web.conftest import Sit
from timewire.testing.servers import ServerProcess

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"


async def complaints(page: Page) -> list[Any]:
    """The rules that are broken, and where."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("() => axe.run(document)")
    return [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]])
        for one in found["violations"]
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1100), ("dark", 390)])
async def test_every_view_is_clean(sit: Sit, server: ServerProcess, theme: str, width: int) -> None:
    alice = await sit("alice", color_scheme=theme, viewport={"width": width, "height": 800})
    page = alice.page
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        await bob.create("team", ["alice", "carol"], title="The team")
        first = await bob.send("team", "hello @alice, see https://example.com", mentions=["alice"])
        await bob.send("team", "and more", reply=first.seq)
        await bob.react("team", first.seq, "👍")
        gone = await bob.send("team", "to be taken back")
        await bob.recall("team", gone.seq)
        await page.locator(".badge.mention").wait_for()
        assert await complaints(page) == []
        await alice.open("The team")
        await alice.say("my answer")
        await alice.stored("my answer")
        await page.locator("article .reactions").wait_for()
    assert await complaints(page) == []
    await alice.row("my answer").hover()
    await alice.row("my answer").get_by_role("button", name="Actions").click()
    assert await complaints(page) == []
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Group", exact=True).click()
    await page.get_by_label("Add a person").wait_for()
    assert await complaints(page) == []
    await page.keyboard.press("Escape")
    if width < 720:
        await page.get_by_role("button", name="Back").click()
    for name in ("New conversation", "Menu"):
        await page.get_by_role("button", name=name).click()
        assert await complaints(page) == []
        await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Search messages").click()
    await page.get_by_role("searchbox").fill("hello")
    await page.locator("mark").wait_for()
    assert await complaints(page) == []


async def test_the_login_is_clean(sit: Sit) -> None:
    alice = await sit("alice")
    await alice.page.get_by_role("button", name="Add an account").click()
    await alice.page.get_by_label("Token", exact=True).wait_for()
    assert await complaints(alice.page) == []


async def test_everything_can_be_done_by_keyboard(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await bob.begin("alice")
    await bob.say("to be answered")
    keys = alice.page.keyboard
    await alice.page.locator("button.conversation", has_text="bob").wait_for()
    await keys.press("Control+k")
    await keys.type("bob")
    await keys.press("Enter")
    await alice.sees("to be answered")
    await alice.box.focus()
    await keys.type("an answer")
    await keys.press("Shift+Enter")
    await keys.type("of two lines")
    await keys.press("Enter")
    await bob.page.get_by_text("an answer of two lines").last.wait_for()
    await alice.stored("an answer\nof two lines")
    await alice.row("to be answered").focus()
    await keys.press("ArrowDown")
    focused = await alice.page.evaluate("document.activeElement.innerText")
    assert "an answer" in focused
