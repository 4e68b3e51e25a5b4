"""Fan-out by mode: a very large group, a sync over very many groups, and modes that change."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

import aiohttp

from bench.catchup import CREDIT_PAGES, Catching
from bench.group import NAME, Group, make_group
from bench.load import Cost, Turns, check, drain, measure
from bench.server import ServerProcess
from bench.wire import Fault, Link, close_all

SETTLE_TIMEOUT_S: Final = 60.0
REPEATS: Final = 15
NEWS: Final = 5


async def counted(server: ServerProcess, name: str) -> float:
    """A counter of the server's metrics, over all its labels."""
    async with aiohttp.ClientSession() as http, http.get(server.door.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def reach_mode(server: ServerProcess, mode: str, conversations: int) -> None:
    """Wait until so many conversations have been given a mode; all begin in ``write``."""
    name = f'timewire_mode_changes_total{{mode="{mode}"}}'
    deadline = perf_counter() + SETTLE_TIMEOUT_S
    while mode != "write" and await counted(server, name) < conversations:
        if perf_counter() > deadline:
            raise Fault(f"conversations are not in mode {mode}")
        await asyncio.sleep(0.05)


async def crowd(
    server: ServerProcess, seconds: float, *, members: int, online: int, mode: str
) -> dict[str, float]:
    """One member writes, one message in flight, until every online member has it."""
    users = [f"m{n}" for n in range(members)]
    links = await server.door.links(users[:online])
    made = await make_group(links[0], NAME, users)
    for link in links[1:]:
        await link.reach(made)
    await reach_mode(server, mode, 1)
    turns = Turns()
    team = Group(turns, links, 1, 1)
    for writer in team.writers:
        turns.add(writer)
    before = await counted(server, "timewire_fanout_refs_total")
    cost = Cost(server)
    try:
        found = await measure(server, seconds, team.delivered, (team.acks, team.deliveries))
        turns.stopped = True
        await drain(team.done, links)
        check(links)
        sent = len(team.sent_at)
        found["server_ms_a_message"] = cost.read(sent)["server_us_each"] / 1000
        refs = await counted(server, "timewire_fanout_refs_total") - before
    finally:
        close_all(links)
    found |= team.acks.summary("ack") | team.deliveries.summary("delivery")
    found["messages_per_s"] = found["per_s"] / (online - 1)
    found["writes_a_message"] = 1 + refs / sent
    return found


async def many_groups(server: ServerProcess, *, groups: int, mode: str) -> dict[str, float]:
    """A device that was away: hello to live, with news in a few of its user's groups."""
    door = server.door
    maker, reader = await door.links(["maker", "reader"])
    try:
        for n in range(groups):
            frame = {"type": "create", "id": f"c{n}", "conversation": f"g{n}"}
            made = await maker.ask({**frame, "members": ["reader"]}, f"c{n}")
        await reach_mode(server, mode, groups)
        # Something was said after the mode had changed, and the device has it.
        last = await _say(maker, [f"g{n}" for n in range(groups)], "old")
        await reader.reach(max(last, int(made["seq"])))
        cursor = {"base": reader.base, "pos": reader.pos}
        await reader.reach(
            await _say(maker, [f"g{n * groups // NEWS}" for n in range(NEWS)], "new")
        )
        took: list[float] = []
        for n in range(REPEATS):
            device = await door.link("reader", f"late{n}", live=False)
            catching = Catching(device)
            hello = door.hello(device, cursor=cursor, credit=CREDIT_PAGES)
            began = perf_counter()
            await device.ask(hello, "live")
            took.append(perf_counter() - began)
            if sum(page.count(b'"kind":"text"') for page in catching.pages) != NEWS:
                raise Fault(f"{NEWS} messages are new; the device got {catching.pages!r:.500}")
            close_all([device])
    finally:
        close_all([maker, reader])
    took.sort()
    return {
        "sync_ms": took[len(took) // 2] * 1000,
        "sync_max_ms": took[-1] * 1000,
    }


async def _say(link: Link, conversations: list[str], what: str) -> int:
    """Say something in each conversation; the SeqId of the last message, which is everywhere."""
    ack: dict[str, Any] = {}
    for name in conversations:
        frame = {"type": "send", "id": f"{what}-{name}", "to": name, "ack": "synced"}
        ack = await link.ask({**frame, "body": {"text": what}}, f"{what}-{name}")
    return int(ack["seq"])


async def switching(
    server: ServerProcess, seconds: float, *, members: int, writers: int, window: int
) -> dict[str, float]:
    """A group under load whose mode changes many times a second.

    Beside it a device of a member connects again and again, with the cursor it had: what it gets
    by pages and pushes must be every message once, in the order that all others saw.
    """
    links = await server.door.links([f"m{n}" for n in range(members)])
    made = await make_group(links[0], NAME, [link.user for link in links])
    for link in links[1:]:
        await link.reach(made)
    turns = Turns()
    team = Group(turns, links, writers, window)
    wanderer = asyncio.create_task(_wander(server, links[-1], team))
    for writer in team.writers:
        turns.add(writer)
    before = await counted(server, "timewire_mode_changes_total")
    try:
        found = await measure(server, seconds, team.delivered, (team.acks, team.deliveries))
        turns.stopped = True
        await drain(team.done, links)
        check(links)
        changes = await counted(server, "timewire_mode_changes_total") - before
        wanderings = await asyncio.wait_for(wanderer, SETTLE_TIMEOUT_S)
    finally:
        wanderer.cancel()
        close_all(links)
    found |= team.acks.summary("ack") | team.deliveries.summary("delivery")
    return {**found, "changes": changes, "wanderings": wanderings}


async def _wander(server: ServerProcess, link: Link, team: Group) -> float:
    """Catch up, go away, come back, until the load has ended; how often."""
    seen: list[int] = []
    cursor = {"base": link.base, "pos": link.pos}
    turns = 0
    while True:
        stopped = team.turns.stopped and team.done()
        device = await server.door.link(link.user, "wanderer", live=False)
        pages = Catching(device)
        hello = server.door.hello(device, cursor=cursor, credit=CREDIT_PAGES)
        live = await device.ask(hello, "live")
        cursor = {"base": cursor["base"], "pos": live["pos"]}
        seen += pages.numbers()
        close_all([device])
        turns += 1
        both = min(len(seen), len(team.order))
        if seen[:both] != team.order[:both]:
            raise Fault(f"{link.user}: pages gave {seen[-20:]}, others had another order")
        if stopped:
            if seen != team.order:
                raise Fault(f"{link.user}: pages gave {len(seen)} of {len(team.order)} messages")
            return float(turns)
        await asyncio.sleep(0.05)
