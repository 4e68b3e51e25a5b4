"""Long conversations, search, dates, pictures, several accounts, languages."""

import base64
from itertools import pairwise
from pathlib import Path

from playwright.async_api import Browser, expect

import timewire
from tests.web.conftest import Sit
from tests.web.test_text_is_text import PIXEL
from timewire.testing.servers import ServerProcess, running_server

MANY = 400
WHEEL_PX = 600
MAX_ROWS_HELD = 100
"""Rows of one line that fill what is seen and what is near it, and more."""
MAX_ROWS_MADE = 100
"""One turn of the wheel may bring a page of older messages, which moves nothing that is there."""


async def fill(server: ServerProcess, count: int = MANY) -> None:
    """Something to read: bob writes to alice."""
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        to = bob.direct("alice")
        sent = [bob.post(to, f"line {number}") for number in range(count)]
        for one in sent:
            await one


async def test_a_long_history_is_read_as_far_as_one_scrolls(
    sit: Sit, server: ServerProcess
) -> None:
    await fill(server)
    alice = await sit("alice")
    await alice.open("bob")
    await alice.sees(f"line {MANY - 1}")
    assert await alice.page.locator("article").count() < MANY / 4
    assert await alice.texts() == [f"line {number}" for number in range(MANY)]


SCROLL_AND_LAY_OUT = """async (label) => {
  const box = document.querySelector(".scroller");
  const below = () => box.scrollHeight - box.clientHeight - box.scrollTop;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const buttons = [...document.querySelectorAll("dialog button")];
  // Both in one task: the event of the scroll comes after the rows are laid out anew.
  box.scrollTop -= 2000;
  buttons.find((one) => one.textContent === label).click();
  await frame();
  await frame();
  return below();
}"""


async def test_rows_laid_out_before_the_event_of_a_scroll_do_not_undo_it(
    sit: Sit, server: ServerProcess
) -> None:
    await fill(server, 100)
    alice = await sit("alice")
    await alice.open("bob")
    await alice.sees("line 99")
    await alice.row("line 98").hover()
    await alice.row("line 98").get_by_role("button", name="Actions").click()
    below = await alice.page.evaluate(SCROLL_AND_LAY_OUT, "Delete for me")
    assert below > 1_000
    assert await alice.message("line 99").count() == 0


COUNT_ROWS = """() => {
  window.rows = { made: 0 };
  new MutationObserver((all) => {
    for (const { addedNodes } of all) window.rows.made += addedNodes.length;
  }).observe(document.querySelector(".block"), { childList: true });
}"""


async def test_a_turn_of_the_wheel_makes_the_rows_near_what_is_seen_and_no_others(
    sit: Sit, server: ServerProcess
) -> None:
    await fill(server)
    alice = await sit("alice")
    await alice.open("bob")
    await alice.sees(f"line {MANY - 1}")
    page = alice.page
    scroller = page.locator(".scroller")
    await scroller.hover()
    await page.evaluate(COUNT_ROWS)
    made: list[int] = []
    while await alice.message("line 0").count() == 0:
        await page.mouse.wheel(0, -WHEEL_PX)
        await page.wait_for_timeout(100)
        held = await page.locator("article").count()
        made.append(await page.evaluate("rows.made"))
        assert held <= MAX_ROWS_HELD, made
    for before, after in pairwise(made):
        assert after - before <= MAX_ROWS_MADE, made
    assert made[-1] <= 3 * MANY


async def test_search_shows_what_was_found_and_leads_there(sit: Sit, server: ServerProcess) -> None:
    await fill(server, 150)
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        needle = await bob.send(bob.direct("alice"), "the needle in the haystack")
    await fill(server, 150)
    alice = await sit("alice")
    await alice.page.get_by_role("button", name="Search messages").click()
    await alice.page.get_by_role("searchbox", name="Search messages").fill("needle")
    hit = alice.page.locator(".hit")
    await expect(hit.locator("mark")).to_have_text("needle")
    await hit.click()
    await alice.sees("the needle in the haystack")
    await expect(alice.page.locator(f"article[data-key='{needle.seq}']")).to_be_in_viewport()
    # What comes now is not mixed into what stands there; the way back leads to it.
    async with timewire.connect(server.url, server.token("bob"), device="script") as bob:
        await bob.send(bob.direct("alice"), "just said")
    assert await alice.message("just said").count() == 0
    await alice.page.get_by_role("button", name="To the newest messages").click()
    await alice.sees("just said")


async def test_a_date_leads_to_what_was_said_first_on_it(sit: Sit, server: ServerProcess) -> None:
    await fill(server, 200)
    alice = await sit("alice")
    await alice.open("bob")
    today = await alice.page.evaluate("new Date().toLocaleDateString('sv')")
    await alice.page.get_by_role("button", name="Go to a date").click()
    await alice.page.get_by_label("Go to a date").last.fill(today)
    await alice.page.get_by_role("button", name="Go", exact=True).click()
    await alice.sees("line 0")
    await alice.page.get_by_role("button", name="Go to a date").click()
    await alice.page.get_by_label("Go to a date").last.fill("2100-01-01")
    await alice.page.get_by_role("button", name="Go", exact=True).click()
    await alice.page.get_by_text("Nothing was said on or after that day.").wait_for()


PASTE = """async ([data, how]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], `${how}.png`, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event =
    how === "pasted"
      ? new ClipboardEvent("paste", { ...options, clipboardData: carried })
      : new DragEvent("drop", { ...options, dataTransfer: carried });
  document.querySelector("textarea").dispatchEvent(event);
}"""


async def test_pictures_are_pasted_and_dropped(sit: Sit) -> None:
    alice, bob = await sit("alice"), await sit("bob")
    await alice.begin("bob")
    data = base64.b64encode(PIXEL).decode()
    for how in ("pasted", "dropped"):
        await alice.page.evaluate(PASTE, [data, how])
        await alice.page.locator(".attachments").get_by_text(f"{how}.png").wait_for()
    await alice.say("two pictures")
    await bob.open("alice")
    await expect(bob.page.locator("article .picture img")).to_have_count(2)
    await bob.sees("two pictures")
    await bob.page.locator("article .picture").first.click()
    await bob.page.get_by_role("dialog").locator("img").wait_for()


async def test_several_accounts_side_by_side(sit: Sit, server: ServerProcess) -> None:
    alice, carol = await sit("alice"), await sit("carol")
    await alice.page.get_by_role("button", name="Add an account").click()
    await alice.page.get_by_label("Token", exact=True).fill(server.token("bob"))
    await alice.page.get_by_role("button", name="Log in", exact=True).click()
    await alice.live()
    await carol.begin("alice")
    await carol.say("for alice")
    await alice.page.get_by_role("button", name="alice, 1 unread").click()
    await alice.open("carol")
    await alice.sees("for alice")
    await alice.page.get_by_role("button", name="bob, 0 unread").click()
    await expect(alice.page.locator("button.conversation", has_text="carol")).to_have_count(0)
    await alice.page.reload()
    await alice.page.get_by_role("button", name="alice, 0 unread").click()
    await alice.page.locator("button.conversation", has_text="carol").wait_for()


async def test_languages_and_appearance_are_kept(sit: Sit) -> None:
    alice = await sit("alice")
    await alice.page.get_by_role("button", name="Menu").click()
    await alice.page.get_by_label("Language").select_option("zh")
    await alice.page.get_by_role("button", name="菜单").click()
    await alice.page.get_by_label("外观").select_option("dark")
    await alice.page.reload()
    await alice.page.get_by_placeholder("查找会话").wait_for()
    assert await alice.page.evaluate("document.documentElement.lang") == "zh"
    assert await alice.page.evaluate("document.documentElement.dataset.theme") == "dark"


async def test_what_is_logged_out_is_forgotten(sit: Sit) -> None:
    alice = await sit("alice")
    await alice.begin("bob")
    await alice.box.fill("a draft")
    await alice.page.get_by_role("button", name="Menu").click()
    await alice.page.get_by_role("button", name="Log out").click()
    await alice.page.get_by_label("Token", exact=True).wait_for()
    await alice.page.wait_for_function(
        "async () => (await indexedDB.databases()).every(({ name }) => !name.includes('alice'))"
    )
    kept = await alice.page.evaluate("Object.entries(localStorage).join()")
    assert "alice" not in kept
    assert "a draft" not in kept


async def test_demo_accounts_on_a_server_in_development_mode(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_server(tmp_path / "dev", mode="development") as server:
        page = await browser.new_page()
        await page.goto(server.url)
        await page.get_by_role("button", name="Log in as carol").click()
        await page.locator(".status.live").wait_for(state="attached")
        # Somebody who is here for the first time is shown where to begin.
        await page.get_by_role("button", name="Begin a conversation").click()
        await page.get_by_label("The person’s user name").fill("dave")
        await page.get_by_role("button", name="Begin", exact=True).click()
        await page.get_by_label("Write a message").wait_for()
