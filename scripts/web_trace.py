"""Scroll through a long conversation in Chromium, and tell from its trace what that has cost.

    make web-trace                          # 10,000 messages
    make web-trace TRACE_ARGS="--messages 2000 --slower 4"

Told is the processor time of the page's main thread, which does not depend on what else the machine
does. Ends with status 1 when a task took longer than people notice.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, async_playwright

import timewire
from timewire.testing.servers import ServerProcess, running_server

MESSAGES: Final = 10_000
BLOCK: Final = 20
"""So many messages one says before the other one answers."""
LONG_TASK_MS: Final = 50
"""A task of the main thread that is longer than this keeps people waiting."""
WHEEL_PX: Final = 1_500
"""One turn of the wheel: two screens, as somebody scrolls who looks for something."""
JUMPS: Final = 20
"""Places of the list that are gone to at once, as by the scroll bar."""
CATEGORIES: Final = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
WORDS: Final = (
    *("the", "release", "is", "out", "since", "six", "nobody", "noticed", "see"),
    *("https://example.com/notes", "@alice", "ok"),
)


@dataclass
class Cost:
    """What a stretch of scrolling has cost: tasks of the main thread in ms of processor time."""

    tasks: list[float]
    rows_max: int

    @property
    def long(self) -> int:
        return sum(task > LONG_TASK_MS for task in self.tasks)


def texts(count: int) -> list[str]:
    """Messages of one word to many lines, the same each time."""
    made: list[str] = []
    for number in range(count):
        length = 1 + (number * 7_919) % 60 if number % 5 == 0 else 1 + number % 12
        words = [WORDS[(number + at) % len(WORDS)] for at in range(length)]
        made.append(f"{number}: " + ("\n" if number % 17 == 0 else " ").join(words))
    return made


async def fill(server: ServerProcess, count: int) -> None:
    """A conversation of alice and bob that is as long as that."""
    async with (
        timewire.connect(server.url, server.token("alice"), device="script") as alice,
        timewire.connect(server.url, server.token("bob"), device="script") as bob,
    ):
        to = bob.direct("alice")
        said = texts(count)
        for at in range(0, count, BLOCK):
            who = (alice, bob)[at // BLOCK % 2]
            for one in [who.post(to, text) for text in said[at : at + BLOCK]]:
                await one


STEP = """async (px) => {
  const box = document.querySelector(".scroller");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  await frame();
  const below = box.scrollHeight - box.clientHeight - box.scrollTop;
  const first = box.querySelector("article .text")?.textContent ?? "";
  const rows = box.querySelectorAll("article").length;
  return [px < 0 ? box.scrollTop : below, rows, first];
}"""


async def wheel(page: Page, px: int) -> int:
    """Scroll until nothing more comes; the most rows that the page held."""
    rows_max = still = 0
    while still < 5:
        await page.mouse.wheel(0, px)
        rest, rows, _ = await page.evaluate(STEP, px)
        rows_max = max(rows_max, rows)
        still = still + 1 if rest < 2 else 0
        if still:
            await page.wait_for_timeout(100)
    return rows_max


async def jump(page: Page) -> int:
    """Go to places all over the list, as somebody does who drags the scroll bar."""
    rows_max = 0
    for number in range(JUMPS):
        part = (number * 7 % JUMPS) / JUMPS
        await page.evaluate(
            "(part) => { const box = document.querySelector('.scroller');"
            " box.scrollTop = part * box.scrollHeight; }",
            part,
        )
        _, rows, _ = await page.evaluate(STEP, 1)
        rows_max = max(rows_max, rows)
    return rows_max


def main_tasks(trace: dict[str, Any]) -> list[float]:
    """The tasks of the page's main thread, in ms of processor time, the longest first."""
    events = trace["traceEvents"]
    mains = {
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        one.get("tdur", one["dur"]) / 1_000
        for one in events
        if one["name"] in ("RunTask", "ThreadControllerImpl::RunTask")
        and one.get("ph") == "X"
        and (one["pid"], one["tid"]) in mains
    ]
    return sorted(tasks, reverse=True)


async def measure(page: Page, count: int, slower: float) -> dict[str, Cost]:
    """Scroll up through everything, down again, and here and there; what each has cost."""
    costs: dict[str, Cost] = {}
    browser = page.context.browser
    assert browser is not None
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    box = await page.locator(".scroller").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    ways = {"up": wheel(page, -WHEEL_PX), "down": wheel(page, WHEEL_PX), "jumps": jump(page)}
    for name, way in ways.items():
        await browser.start_tracing(page=page, categories=CATEGORIES)
        rows_max = await way
        trace = json.loads(await browser.stop_tracing())
        costs[name] = Cost(main_tasks(trace), rows_max)
        if name == "up":
            first = await page.locator("article .text").first.text_content()
            assert (first or "").startswith("0: "), f"{count} messages end at {first!r}"
    return costs


def told(costs: dict[str, Cost], slower: float) -> str:
    """A table of the costs."""
    lines = [f"processor {slower:g} times slower" if slower > 1 else "processor as it is"]
    lines.append(f"{'scrolling':10} {'tasks':>7} {'over 50 ms':>10} {'longest ms':>10} {'rows':>6}")
    for name, cost in costs.items():
        longest = cost.tasks[0] if cost.tasks else 0
        lines.append(
            f"{name:10} {len(cost.tasks):7} {cost.long:10} {longest:10.1f} {cost.rows_max:6}"
        )
    return "\n".join(lines)


async def run(count: int, slower: float) -> dict[str, Cost]:
    """A server, a long conversation, a browser before it."""
    with tempfile.TemporaryDirectory() as directory:
        async with running_server(Path(directory) / "data") as server, async_playwright() as play:
            await fill(server, count)
            browser = await play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = await browser.new_page(viewport={"width": 1100, "height": 800})
            await page.goto(server.url)
            await page.get_by_label("Token", exact=True).fill(server.token("alice"))
            await page.get_by_role("button", name="Log in", exact=True).click()
            await page.locator("button.conversation", has_text="bob").click()
            await page.locator("article .text", has_text=f"{count - 1}: ").wait_for()
            costs = await measure(page, count, slower)
            await browser.close()
    return costs


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="What scrolling through a conversation costs.")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--slower", type=float, default=1.0, help="how much slower to be")
    asked = parser.parse_args(arguments)
    costs = asyncio.run(run(asked.messages, asked.slower))
    print(f"{asked.messages} messages, {told(costs, asked.slower)}")
    return 1 if any(cost.long for cost in costs.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
