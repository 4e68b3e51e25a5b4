"""The explorer in a browser: what it shows of a server at work, and that it says nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

import timewire
from tests.web.conftest import WAIT_MS
from tests.web.test_accessible import complaints
from timewire.testing.servers import ServerProcess


def admin_key(server: ServerProcess) -> str:
    return (server.data / "admin-key").read_text(encoding="utf-8").strip()


@pytest.fixture
async def page(browser: Browser, server: ServerProcess) -> AsyncIterator[Page]:
    """A browser before the explorer's door."""
    faults: list[str] = []
    context = await browser.new_context(viewport={"width": 1500, "height": 900}, locale="en-GB")
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    await page.goto(f"{server.url}/explorer")
    yield page
    await context.close()
    assert faults == []


async def enter(page: Page, key: str) -> None:
    await page.get_by_label("Admin key").fill(key)
    await page.get_by_role("button", name="Open").click()


async def test_a_message_is_followed_from_the_log_to_every_device(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    async with (
        timewire.connect(server.url, server.token("alice"), device="phone") as alice,
        timewire.connect(server.url, server.token("bob"), device="laptop") as bob,
    ):
        await alice.create("team", ["bob", "carol"])
        sent = await alice.send("team", "nobody reads this here")
        async for event in bob.events():
            if isinstance(event, timewire.Received) and event.message.seq == sent.seq:
                break
        await enter(page, admin_key(server))
        cells = page.locator(f'.strip rect[data-seq="{sent.seq}"]')
        # In the log, in its conversation, in the inboxes of those who are connected.
        await expect(cells).to_have_count(4)
        await expect(page.locator(".reach.live").first).to_be_visible()
        await cells.first.click()
        followed = page.locator(".followed")
        await expect(followed.get_by_role("heading", name=f"Message {sent.seq}")).to_be_visible()
        await expect(followed.get_by_text("3 receivers")).to_be_visible()
        rows = followed.locator(".receivers li")
        await expect(rows.nth(1)).to_contain_text("bob")
        await expect(rows.nth(1).get_by_label("has it", exact=True)).to_have_count(1)
        await expect(rows.nth(2)).to_contain_text("carol")
        await expect(rows.nth(2).get_by_label("has it", exact=True)).to_have_count(0)

        # The thread: log, conversation and two inboxes, then the devices.
        await expect(page.locator(".thread .has")).to_have_count(6)
        await expect(page.locator(".thread .missing")).to_have_count(0)
        figures = page.locator(".charts figure")
        await expect(figures.filter(has_text="Written entries/message")).to_be_visible()

        more = await alice.send("team", "and it moves")
        await expect(page.locator(f'.strip rect[data-seq="{more.seq}"]').first).to_be_visible()
        await expect(page.locator(f'.reach[data-position="{more.seq}"]').first).to_be_attached()
        await alice.recall("team", sent.seq)
        await expect(page.locator(f'.cell.gone[data-seq="{sent.seq}"]').first).to_be_visible()
        assert "nobody reads this" not in await page.content()
        assert await complaints(page) == []


async def test_one_looks_back_and_comes_back_to_the_head(page: Page, server: ServerProcess) -> None:
    async with timewire.connect(server.url, server.token("alice"), device="phone") as alice:
        await alice.create("team", ["bob"])
        for number in range(120):
            last = await alice.send("team", str(number))
        await enter(page, admin_key(server))
        newest = page.locator(f'.strip rect[data-seq="{last.seq}"]')
        await expect(newest.first).to_be_visible()
        await page.get_by_role("button", name="Earlier").click()
        await expect(newest).to_have_count(0)
        await expect(page.locator('.strip rect[data-seq="5"]').first).to_be_attached()
        await page.get_by_label("Follow message").fill("3")
        await page.get_by_label("Follow message").press("Enter")
        await expect(page.get_by_role("heading", name="Message 3", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Follow the head").click()
        await expect(newest.first).to_be_visible()


async def test_without_the_key_nothing_is_shown(page: Page, server: ServerProcess) -> None:
    await enter(page, server.token("alice"))
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await expect(page.locator(".strip")).to_have_count(0)
    assert await complaints(page) == []
