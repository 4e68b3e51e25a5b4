"""Whatever others write, in whatever place: it is shown as text, and leads nowhere harmful."""

import base64
from pathlib import Path

from playwright.async_api import expect

import timewire
from tests.web.conftest import Seat, Sit
from timewire.testing.servers import ServerProcess

MARKUP = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>"
NAME = "<b>bob</b><svg onload=window.hurt=1>".replace(" ", "\u2003").replace("/", "∕")
LINKS = (
    "javascript:window.hurt=1",
    "data:text/html,<script>window.hurt=1</script>",
    "vbscript:hurt",
    "file:///etc/passwd",
    "https://example.com/\"onclick='window.hurt=1'",
)
NESTED = "$t(app) {{user}} ${window.hurt=1}"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def unharmed(seat: Seat) -> None:
    assert await seat.page.evaluate("window.hurt") is None
    assert (
        await seat.page.locator("article script, article svg svg, article img[src=x]").count() == 0
    )


async def test_names_texts_and_file_names_stay_text(
    sit: Sit, server: ServerProcess, tmp_path: Path
) -> None:
    alice = await sit("alice")
    picture = tmp_path / "picture.png"
    picture.write_bytes(PIXEL)
    async with timewire.connect(server.url, server.token(NAME), device="script") as mallory:
        group = "trap"
        await mallory.create(group, ["alice"], title=MARKUP)
        for text in (MARKUP, NESTED, *LINKS):
            said = await mallory.send(group, text)
            await mallory.pin(group, said.seq)
        media = (await mallory.upload(picture)).media
        body = {"media": media, "name": MARKUP, "bytes": 70, "type": "image/png"}
        await mallory.send(group, {**body, "width": 1, "height": 1}, kind="image")
        await mallory.send(group, {**body, "type": "text/html"}, kind="file")
        await mallory.send(group, {"x": MARKUP}, kind="odd.kind")

        await alice.open(MARKUP)
        for text in (MARKUP, NESTED, *LINKS):
            await alice.sees(text)
        await expect(alice.page.locator(".about h2")).to_have_text(MARKUP)
        await expect(alice.page.locator(".head strong").first).to_have_text(NAME)
        await expect(alice.page.locator("article .file")).to_contain_text(MARKUP)
        await alice.page.locator("article .picture img").wait_for()
        assert await alice.page.locator("article .picture img").get_attribute("alt") == (
            f"Picture {MARKUP}"
        )
        await alice.page.get_by_role("button", name="Group", exact=True).click()
        await alice.page.locator(".people").get_by_text(NAME).wait_for()
        await alice.page.get_by_role("button", name="Close").click()
        await unharmed(alice)
        await alice.page.get_by_role("button", name="Pinned messages").click()
        await alice.page.locator(".pin", has_text=MARKUP).wait_for()
        await alice.page.get_by_role("button", name="Close").click()
        # A name that would not be found in the text again is not offered.
        await alice.box.press_sequentially("@")
        await expect(alice.page.get_by_role("option")).to_have_text(["Aall"])
        await unharmed(alice)


async def test_only_harmless_links_lead_somewhere(sit: Sit, server: ServerProcess) -> None:
    alice = await sit("alice")
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        for text in (*LINKS, "see https://example.com/a(b). or mailto:bob@example.com"):
            await bob.send(bob.direct("alice"), text)
        await alice.open("bob")
        await alice.page.get_by_role("link", name="mailto:bob@example.com").wait_for()
    links = await alice.page.locator("article a").evaluate_all(
        "all => all.map(one => [one.getAttribute('href'), one.rel, one.target])"
    )
    kept = [href for href, _, _ in links]
    assert kept == ["https://example.com/", "https://example.com/a(b)", "mailto:bob@example.com"]
    assert all("noopener" in rel and target == "_blank" for _, rel, target in links)
    await unharmed(alice)


async def test_the_page_would_not_run_it_even_if_it_were_markup(sit: Sit) -> None:
    alice = await sit("alice")
    refused = await alice.page.evaluate(
        """() => {
          try {
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=window.hurt=1>");
          } catch (fault) {
            return fault.name;
          }
          return "";
        }"""
    )
    assert refused == "TypeError"
    await unharmed(alice)
