"""People chat over the web client, on several devices, whatever breaks between them."""

from playwright.async_api import expect

import timewire
from tests.web.conftest import Sit, network
from timewire.testing.servers import ServerProcess

MISSED = [f"missed {number}" for number in range(200)]


async def test_two_accounts_on_two_devices_each(sit: Sit) -> None:
    alice, alices_phone = (
        await sit("alice"),
        await sit("alice", viewport={"width": 390, "height": 800}),
    )
    bob, bobs_phone = await sit("bob"), await sit("bob", viewport={"width": 390, "height": 800})
    await alice.begin("bob")
    await alice.say("hello")
    for other, title in ((alices_phone, "bob"), (bob, "alice"), (bobs_phone, "alice")):
        await other.open(title)
        await other.sees("hello")
    await bobs_phone.say("hi there")
    for one in (alice, alices_phone, bob):
        await one.sees("hi there")
    assert await bob.texts() == ["hello", "hi there"]
    assert await alices_phone.texts() == ["hello", "hi there"]


async def test_a_device_without_network_shows_exactly_what_it_missed(
    sit: Sit, server: ServerProcess
) -> None:
    async with network(server) as (line, url):
        alice, bob = await sit("alice", url), await sit("bob")
        await bob.begin("alice")
        await bob.say("before")
        await alice.open("bob")
        await alice.sees("before")

        line.cut()
        await alice.context.set_offline(True)
        await alice.page.locator(".status.offline").wait_for()
        async with timewire.connect(server.url, server.token("bob"), device="script") as script:
            for text in MISSED:
                await script.send("direct:alice:bob", text)
        await alice.say("written without network")
        await alice.page.get_by_label("Queued").wait_for()
        await bob.sees(MISSED[-1])

        line.mend()
        await alice.context.set_offline(False)
        await alice.live()
        await alice.stored("written without network")
        assert await alice.texts() == ["before", *MISSED, "written without network"]
        await bob.sees("written without network")


async def test_a_reload_keeps_what_was_begun_and_what_waits(
    sit: Sit, server: ServerProcess
) -> None:
    alice = await sit("alice")
    await alice.begin("bob")
    await alice.say("first")
    await alice.stored("first")
    await server.kill()
    await alice.page.locator(".status.offline").wait_for()
    await alice.say("waits for the server")
    await alice.box.fill("just begun")
    # The page itself cannot be had now: it is loaded again once the server is back.
    url = alice.page.url
    await alice.page.goto("about:blank")
    await server.start()
    await alice.page.goto(url)
    await expect(alice.box).to_have_value("just begun")
    await alice.sees("first")
    await alice.stored("waits for the server")


async def test_a_server_that_is_killed_in_the_middle_loses_and_doubles_nothing(
    sit: Sit, server: ServerProcess
) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.begin("bob")
    await alice.say("0")
    await bob.open("alice")
    await bob.sees("0")
    for number in range(1, 10):
        await alice.say(str(number))
    await server.restart()
    for number in range(10, 15):
        await alice.say(str(number))
    await bob.sees("14")
    await alice.stored("14")
    expected = [str(number) for number in range(15)]
    assert await bob.texts() == expected
    assert await alice.texts() == expected


async def test_a_recall_takes_the_message_from_every_screen(sit: Sit) -> None:
    alice, bob, phone = await sit("alice"), await sit("bob"), await sit("bob")
    await alice.begin("bob")
    await alice.say("a secret")
    await alice.say("the rest")
    for seat in (bob, phone):
        await seat.open("alice")
        await seat.sees("a secret")
    await alice.act("a secret", "Take back for everybody")
    for seat in (alice, bob, phone):
        await seat.page.get_by_text("This message was taken back.").wait_for()
        assert await seat.message("a secret").count() == 0
        assert await seat.texts() == ["the rest"]


async def test_edits_reactions_and_replies(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.begin("bob")
    await alice.say("a mistaek")
    await bob.open("alice")
    await bob.act("a mistaek", "React with 🎉")
    await alice.page.get_by_role("button", name="🎉 1, bob").wait_for()
    await alice.box.press("ArrowUp")
    await expect(alice.box).to_have_value("a mistaek")
    await alice.say("a mistake")
    await bob.sees("a mistake")
    await bob.page.get_by_text("edited", exact=True).wait_for()
    await bob.act("a mistake", "Reply")
    await bob.say("no matter")
    quote = alice.page.locator(".quote")
    await expect(quote).to_contain_text("alice")
    await expect(quote).to_contain_text("a mistake")


async def test_who_is_there_who_types_and_who_has_read(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.begin("bob")
    await alice.say("are you there?")
    await alice.stored("are you there?")
    await alice.page.locator(".sub.here", has_text="online").wait_for()
    counted = bob.page.locator("button.conversation", has_text="alice").locator(".badge")
    await expect(counted).to_contain_text("1")
    await bob.open("alice")
    await bob.box.press_sequentially("ye")
    await alice.page.get_by_text("bob is typing …").wait_for()
    await alice.page.locator(".state.read").wait_for()
    await expect(counted).to_have_count(0)


async def test_groups_and_their_members(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.page.get_by_role("button", name="New conversation").click()
    await alice.page.get_by_label("Name of the group").fill("The team")
    await alice.page.get_by_label("Members: user names").fill("bob, carol")
    await alice.page.get_by_role("button", name="Make the group").click()
    await alice.say("welcome @bob")
    await bob.open("The team")
    await bob.sees("welcome @bob")
    await bob.page.get_by_text("3 members").wait_for()
    await alice.page.get_by_role("button", name="Group", exact=True).click()
    await alice.page.get_by_label("Role of bob").select_option("admin")
    await bob.page.locator(".notice", has_text="alice made bob admin").wait_for()
    await alice.page.get_by_role("button", name="Remove carol").click()
    await bob.page.get_by_text("2 members").wait_for()
    await alice.page.get_by_label("Add a person").fill("dave")
    await alice.page.get_by_role("button", name="Add", exact=True).click()
    await bob.page.locator(".notice", has_text="alice added dave").wait_for()
    await alice.page.get_by_role("button", name="Remove bob").click()
    await bob.page.get_by_text("You are not a member of this group any more.").wait_for()


async def test_an_unread_mention_stands_out(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.page.get_by_role("button", name="New conversation").click()
    await alice.page.get_by_label("Name of the group").fill("Loud")
    await alice.page.get_by_label("Members: user names").fill("bob")
    await alice.page.get_by_role("button", name="Make the group").click()
    row = bob.page.locator("button.conversation", has_text="Loud")
    await row.wait_for()
    await alice.page.get_by_text("2 members").wait_for()
    await alice.say("hello @bob, are you there?")
    await expect(row.locator(".badge.mention")).to_have_attribute("title", "1 mention")
    await expect(row.locator(".badge").last).to_have_attribute("title", "1 unread")


async def test_the_list_shows_what_was_said_last_whatever_came_of_it(
    sit: Sit, server: ServerProcess
) -> None:
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        to = bob.direct("alice")
        said = await bob.send(to, "worth a heart")
        await bob.react(to, said.seq, "♥")
        alice = await sit("alice")
        preview = alice.page.locator("button.conversation", has_text="bob").locator(".preview")
        await expect(preview).to_have_text("worth a heart")
        await bob.recall(to, said.seq)
        await expect(preview).to_have_text("This message was taken back.")
