"""What somebody sets for all devices, and what stays in sight until it is dealt with."""

import re

from playwright.async_api import expect

import timewire
from tests.web.conftest import Sit
from tests.web.test_accessible import complaints
from timewire.testing.servers import ServerProcess


async def test_presence_blocked_users_and_devices(sit: Sit, server: ServerProcess) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    async with timewire.connect(server.url, server.token("alice"), device="old-phone"):
        await alice.begin("bob")
        await alice.say("hello")
        await bob.open("alice")
        await bob.page.locator(".sub.here").wait_for()

        await alice.page.get_by_role("button", name="About bob").click()
        await alice.page.get_by_role("button", name="Block bob").click()
        await alice.page.get_by_role("button", name="Unblock bob").wait_for()
        assert await complaints(alice.page) == []
        await alice.page.keyboard.press("Escape")
        await alice.page.locator(".about .sub", has_text="blocked").wait_for()

        await alice.page.get_by_role("button", name="Menu").click()
        shown = alice.page.get_by_label("Show others that I am online")
        await expect(shown).to_be_checked()
        await shown.uncheck()
        devices = alice.page.locator("section", has=alice.page.locator("#devices"))
        await expect(devices.locator("li")).to_have_count(2)
        await expect(devices.get_by_text("this device")).to_have_count(1)
        assert await complaints(alice.page) == []
        await alice.page.get_by_role("button", name="Log out old-phone").click()
        await expect(devices.locator("li")).to_have_count(1)

    # Another device knows all of it.
    other = await sit("alice")
    await other.page.get_by_role("button", name="Menu").click()
    await expect(other.page.get_by_label("Show others that I am online")).not_to_be_checked()
    await other.page.get_by_role("button", name="Unblock bob").click()
    await other.page.get_by_text("Nobody is blocked.").wait_for()
    await alice.page.get_by_text("Nobody is blocked.").wait_for()


async def test_a_refused_message_stays_with_its_reason_until_it_is_dealt_with(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.begin("bob")
    await alice.say("hello")
    await alice.stored("hello")
    await alice.page.get_by_role("button", name="About bob").click()
    await alice.page.get_by_role("button", name="Block bob").click()
    await alice.page.get_by_role("button", name="Unblock bob").wait_for()
    await bob.open("alice")
    await bob.say("please listen")
    fault = bob.row("please listen").locator(".fault")
    await expect(fault).to_contain_text("Not sent:")
    await bob.page.reload()
    await bob.live()
    await expect(fault).to_contain_text("Not sent:")

    await alice.page.get_by_role("button", name="Unblock bob").click()
    await alice.page.get_by_role("button", name="Block bob", exact=True).wait_for()
    await alice.page.keyboard.press("Escape")
    await fault.get_by_role("button", name="Try again").click()
    await bob.stored("please listen")
    await alice.sees("please listen")
    await bob.page.reload()
    await bob.sees("please listen")
    await expect(bob.page.locator(".fault")).to_have_count(0)


async def test_a_refused_message_is_removed_for_good(sit: Sit, server: ServerProcess) -> None:
    bob = await sit("bob")
    async with timewire.connect(server.url, server.token("alice"), device="script") as alice:
        await alice.block("bob")
    await bob.begin("alice")
    await bob.say("nobody wants it")
    fault = bob.row("nobody wants it").locator(".fault")
    await fault.get_by_role("button", name="Remove").click()
    await expect(bob.message("nobody wants it")).to_have_count(0)
    await bob.page.reload()
    await bob.live()
    await bob.box.wait_for()
    await expect(bob.message("nobody wants it")).to_have_count(0)


async def test_pinned_messages_are_listed_and_lead_to_their_place(
    sit: Sit, server: ServerProcess
) -> None:
    alice = await sit("alice")
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        to = bob.direct("alice")
        first = await bob.send(to, "the address is Main Street 1")
        sent = [bob.post(to, f"line {number}") for number in range(150)]
        for one in sent:
            await one
        await bob.pin(to, first.seq)
    await alice.open("bob")
    await alice.sees("line 149")
    await alice.act("line 149", "Pin")
    await alice.page.get_by_role("button", name="Pinned messages").click()
    pins = alice.page.locator(".pins .pin")
    await expect(pins).to_have_count(2)
    await expect(pins.nth(0)).to_contain_text("line 149")
    await expect(pins.nth(1)).to_contain_text("the address is Main Street 1")
    assert await complaints(alice.page) == []
    await alice.page.get_by_role("button", name="Unpin").first.click()
    await expect(pins).to_have_count(1)
    await pins.click()
    await alice.sees("the address is Main Street 1")


async def test_names_are_offered_while_one_writes_them(sit: Sit, server: ServerProcess) -> None:
    alice = await sit("alice")
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        await bob.create("team", ["alice", "carol", "caspar", "dave"], title="The team")
        await bob.send("team", "hello")
        await alice.open("The team")
        await alice.page.get_by_text("5 members").wait_for()
        await alice.box.press_sequentially("well, @ca")
        options = alice.page.get_by_role("option")
        await expect(options).to_have_text(["Ccarol", "Ccaspar"])
        await expect(alice.page.get_by_role("status").filter(has_text="2 names")).to_be_attached()
        await expect(alice.box).to_have_attribute("aria-activedescendant", "mention-0")
        assert await complaints(alice.page) == []
        await alice.box.press("ArrowDown")
        await expect(alice.box).to_have_attribute("aria-activedescendant", "mention-1")
        await alice.box.press("Enter")
        await expect(alice.box).to_have_value("well, @caspar ")
        await alice.box.press_sequentially("and @da")
        await options.filter(has_text="dave").click()
        await expect(alice.box).to_have_value("well, @caspar and @dave ")
        await alice.box.press_sequentially("@b")
        await options.first.wait_for()
        await alice.box.press("Escape")
        await expect(options).to_have_count(0)
        await alice.box.press_sequentially("ob")
        await alice.box.press("Enter")
        await alice.stored("well, @caspar and @dave @bob")
        [said] = [one async for one in bob.scroll("team", after=0) if one.sender == "alice"]
        assert sorted(said.mentions) == ["bob", "caspar", "dave"]


async def test_a_link_opens_in_the_account_that_has_the_conversation(
    sit: Sit, server: ServerProcess
) -> None:
    alice = await sit("alice")
    page = alice.page
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        await bob.create("garden", ["carol"], title="Garden")
        await bob.send("garden", "for carol")
    await page.get_by_role("button", name="Add an account").click()
    await page.get_by_label("Token", exact=True).fill(server.token("carol"))
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.locator("button.conversation", has_text="Garden").wait_for()
    await page.get_by_role("button", name=re.compile("^alice, ")).click()
    await expect(page.locator("button.conversation", has_text="Garden")).to_have_count(0)
    await page.goto(f"{server.url}/c/garden")
    await alice.sees("for carol")
    await expect(page.locator(".account[aria-current=true]")).to_have_attribute("title", "carol")
    await page.goto(f"{server.url}/c/direct%3Aalice%3Adave")
    await alice.box.wait_for()
    await expect(page.locator(".account[aria-current=true]")).to_have_attribute("title", "alice")
