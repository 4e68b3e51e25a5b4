"""Two tabs of one account: one device, one connection, the same picture."""

import asyncio

import aiohttp
from playwright.async_api import Page, expect

from tests.web.conftest import Seat, Sit
from tests.web.test_explorer import admin_key
from timewire.testing.servers import ServerProcess


async def another_tab(seat: Seat) -> Seat:
    """The same browser, the same account, once more."""
    page = await seat.context.new_page()
    page.on("pageerror", lambda fault: seat.faults.append(str(fault)))
    tab = Seat(seat.user, page, seat.context, seat.faults)
    await page.goto(seat.page.url)
    await tab.live()
    return tab


async def connected(server: ServerProcess, user: str) -> int:
    """How many connections a user has."""
    key = {"Authorization": f"Bearer {admin_key(server)}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/v1/explorer", headers=key) as answer,
    ):
        seen = await answer.json()
    return sum(one["user"] == user for one in seen["devices"])


async def look_again(page: Page) -> None:
    """Somebody comes back to the page."""
    await page.evaluate("window.dispatchEvent(new Event('focus'))")


async def test_both_tabs_show_the_same_over_one_connection(sit: Sit, server: ServerProcess) -> None:
    first, bob = await sit("alice"), await sit("bob")
    await first.begin("bob")
    second = await another_tab(first)
    assert await connected(server, "alice") == 1
    await first.say("from the first")
    await second.sees("from the first")
    await second.say("from the second")
    await first.sees("from the second")
    await bob.open("alice")
    await bob.say("from bob")
    for tab in (first, second):
        await tab.sees("from bob")
        assert await tab.texts() == ["from the first", "from the second", "from bob"]
    assert await connected(server, "alice") == 1


async def test_the_other_tab_takes_over_what_the_leading_one_has_left(
    sit: Sit, server: ServerProcess
) -> None:
    first, bob = await sit("alice"), await sit("bob")
    await first.begin("bob")
    await first.say("before")
    second = await another_tab(first)
    await second.sees("before")
    await first.page.close()
    await bob.open("alice")
    await bob.say("are you still there?")
    await second.sees("are you still there?")
    await second.say("yes")
    await second.stored("yes")
    await bob.sees("yes")
    assert await connected(server, "alice") == 1
    assert await second.texts() == ["before", "are you still there?", "yes"]


async def test_a_draft_goes_on_in_the_other_tab(sit: Sit) -> None:
    first = await sit("alice")
    await first.begin("bob")
    second = await another_tab(first)
    await first.box.fill("begun here")
    await expect(second.box).to_have_value("begun here")
    await second.box.fill("begun here, ended there")
    await expect(first.box).to_have_value("begun here, ended there")
    await second.box.press("Enter")
    await first.sees("begun here, ended there")
    await expect(first.box).to_have_value("")


async def test_what_waits_in_one_tab_is_seen_in_the_other(sit: Sit, server: ServerProcess) -> None:
    first = await sit("alice")
    await first.begin("bob")
    second = await another_tab(first)
    await server.kill()
    for tab in (first, second):
        await tab.page.locator(".status.offline").wait_for()
    await first.say("said without a server")
    await asyncio.sleep(0.2)
    await look_again(second.page)
    await second.sees("said without a server")
    await expect(second.row("said without a server").get_by_label("Queued")).to_be_visible()
    await server.start()
    for tab in (first, second):
        await tab.stored("said without a server")
        assert await tab.texts() == ["said without a server"]


async def test_logging_out_in_one_tab_is_logging_out_in_all(sit: Sit) -> None:
    first = await sit("alice")
    second = await another_tab(first)
    await second.page.get_by_role("button", name="Menu").click()
    await second.page.get_by_role("button", name="Log out", exact=True).click()
    for tab in (first, second):
        await tab.page.get_by_label("Token", exact=True).wait_for()
