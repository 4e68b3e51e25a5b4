"""Make the pictures of web client and explorer in docs/, and note which sources they show."""

import asyncio
import hashlib
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import Browser, async_playwright

import timewire
from timewire.testing.servers import ServerProcess, running_server

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PICTURES = {
    "web-light.png": {"color_scheme": "light", "viewport": {"width": 1100, "height": 680}},
    "web-phone.png": {"color_scheme": "dark", "viewport": {"width": 390, "height": 680}},
}
EXPLORER = "web-explorer.png"
PICTURES[EXPLORER] = {"color_scheme": "light", "viewport": {"width": 1400, "height": 1180}}
NOTE = DOCS / "web-pictures.txt"

BUSY = {"write_members_max": 3, "read_members_min": 4}
"""Of a server whose larger groups are read."""
DEVICES = (
    ("alice", "laptop"),
    ("bob", "phone"),
    ("carol", "tablet"),
    ("dave", "phone"),
    ("eve", "laptop"),
)

SAID = (
    ("bob", "Morning! The release is out since six."),
    ("carol", "Nice. Did the cluster take it?"),
    ("bob", "All three, one after the other. Nobody noticed."),
    ("carol", "@alice the notes are at https://example.com/notes"),
    ("bob", "Well done!"),
)


def sources() -> str:
    """A digest of what the pictures show."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "web" / "src").rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


async def main() -> None:
    async with async_playwright() as play:
        browser = await play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with tempfile.TemporaryDirectory() as directory:
            async with running_server(Path(directory) / "data") as server:
                await fill(server)
                for name, options in PICTURES.items():
                    if name != EXPLORER:
                        await take(browser, server, name, options)
            async with running_server(Path(directory) / "busy", **BUSY) as server:
                await explore(browser, server)
        await browser.close()
    NOTE.write_text(sources() + "\n", encoding="utf-8")


async def fill(server: ServerProcess) -> None:
    """Have something said."""
    async with (
        timewire.connect(server.url, server.token("bob"), device="script") as bob,
        timewire.connect(server.url, server.token("carol"), device="script") as carol,
    ):
        people = {"bob": bob, "carol": carol}
        await bob.send(bob.direct("alice"), "Lunch at twelve?")
        await carol.send(carol.direct("alice"), "See you tomorrow")
        await bob.create("garden", ["alice"], title="Garden")
        await bob.send("garden", "@alice it is your turn to water", mentions=["alice"])
        await bob.create("team", ["alice", "carol"], title="The team")
        await carol.caught_up()
        sent = [await people[who].send("team", text) for who, text in SAID]
        await carol.react("team", sent[0].seq, "♥")
        await bob.send("team", "Thank you, all of you", reply=sent[1].seq)


async def take(browser: Browser, server: ServerProcess, name: str, options: dict) -> None:
    context = await browser.new_context(locale="en-GB", **options)
    page = await context.new_page()
    await page.goto(server.url)
    await page.get_by_label("Token", exact=True).fill(server.token("alice"))
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.locator("button.conversation", has_text="The team").click()
    await page.get_by_text("Thank you, all of you").last.wait_for()
    if options["color_scheme"] == "light":
        await page.get_by_label("Write a message").fill("And the next one?")
        await page.keyboard.press("Enter")
        await page.locator(".message:not(.waiting) .state").wait_for()
    await page.wait_for_timeout(700)
    await page.screenshot(path=DOCS / name)
    await context.close()


async def explore(browser: Browser, server: ServerProcess) -> None:
    """Five devices at work, and a message that is followed to those that receive it."""
    page = await browser.new_page(locale="en-GB", **PICTURES[EXPLORER])
    await page.goto(f"{server.url}/explorer")
    await page.get_by_label("Admin key").fill((server.data / "admin-key").read_text().strip())
    await page.get_by_role("button", name="Open").click()
    async with AsyncExitStack() as stack:
        people = [
            await stack.enter_async_context(
                timewire.connect(server.url, server.token(user), device=device)
            )
            for user, device in DEVICES
        ]
        one, two, three, _, five = people
        await one.create("team", ["bob", "carol"], title="The team")
        await two.create("everybody", ["alice", "carol", "dave", "eve"], title="Everybody")
        await five.create("party", ["alice"], kind="room")
        for each in people:
            await each.caught_up()
        for number in range(120):
            who = people[number % 5]
            if number % 3 == 0 and who in (one, two, three):
                followed = await who.send("team", "to the team")
            elif number % 4 == 0:
                await who.send("everybody", "to everybody")
            elif number % 7 == 0:
                await five.send("party", "to the room")
            else:
                await who.send(who.direct(DEVICES[(number + 1) % 5][0]), "to one")
            await asyncio.sleep(0.1)
        await page.locator(f'rect[data-seq="{followed.seq}"]').first.click()
        await page.locator(".thread circle").first.wait_for()
        await page.wait_for_timeout(1500)
        await page.screenshot(path=DOCS / EXPLORER)


if __name__ == "__main__":
    asyncio.run(main())
