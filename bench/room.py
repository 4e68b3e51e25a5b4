"""A room: very many come and go, some of them comment, and everybody gets what can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from bench.idle import SPARE_FILES, allow_files
from bench.load import DRAIN_TIMEOUT_S, Cost, check
from bench.server import ServerProcess
from bench.stats import Latencies
from bench.wire import Fault, Link, acked_number, close_all, pushed_number, send_template

NAME: Final = "live"
JOINS_AT_ONCE: Final = 100
WAVES: Final = 2
"""So often as many join as are online in the end: whoever came before has gone without leaving."""

COMMENTS_PER_S: Final = 100
"""More than people can read: ``room_messages_per_second`` of them are pushed to everybody."""


class Comments:
    """What was said, and who has it.  The connection that says it gets only its acks."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.acks = Latencies()
        self.deliveries = Latencies()
        self.sent_at: list[float] = []
        self.got: list[int] = []
        self.acked = 0
        self._frame = send_template(NAME)
        self._speaker = links[0]
        self._speaker.on_frame = self._on_ack
        for link in links[1:]:
            link.on_frame = self._on_push

    def say(self) -> None:
        """One more comment."""
        number = len(self.sent_at)
        self.sent_at.append(perf_counter())
        self.got.append(0)
        self._speaker.transport.write(self._frame % (number, number))

    def everywhere(self, others: int) -> bool:
        """Whether all is acked, and each comment is with all others or with nobody."""
        return self.acked == len(self.sent_at) and all(got in (0, others) for got in self.got)

    def _on_ack(self, data: bytes, start: int, end: int, now: float) -> None:
        self.acked += 1
        self.acks.add(now - self.sent_at[acked_number(data, start, end)])

    def _on_push(self, data: bytes, start: int, end: int, now: float) -> None:
        number = pushed_number(data, start, end)
        self.got[number] += 1
        self.deliveries.add(now - self.sent_at[number])


async def room(server: ServerProcess, seconds: float, *, online: int) -> dict[str, float]:
    """Joins a second as the room fills; then comments, pushed to everybody or to nobody."""
    allow_files(online + SPARE_FILES)
    maker = await server.door.link("maker")
    frame = {"type": "create", "id": "create", "conversation": NAME, "kind": "room"}
    await maker.ask(frame, "create")
    found: dict[str, float] = {}
    links: list[Link] = []
    for wave in range(WAVES):
        close_all(links)
        links = await server.door.links([f"w{wave}u{n}" for n in range(online)])
        found[f"joins_{wave}_per_s"], found[f"join_{wave}_us"] = await _join(server, links, maker)
    try:
        return found | await _comment(server, links, seconds)
    finally:
        close_all([maker, *links])


async def _join(server: ServerProcess, links: Sequence[Link], maker: Link) -> tuple[float, float]:
    """Everybody joins, some at a time: joins a second, and the server's time for each (us).

    All of it is fanned out when what the maker says then is.
    """
    cost, began = Cost(server), perf_counter()
    for start in range(0, len(links), JOINS_AT_ONCE):
        some = links[start : start + JOINS_AT_ONCE]
        frame = {"type": "add", "id": "join", "conversation": NAME}
        await asyncio.gather(*(one.ask({**frame, "users": [one.user]}, "join") for one in some))
    welcome = {"type": "send", "id": links[0].user, "to": NAME, "ack": "synced", "body": {}}
    await maker.ask(welcome, links[0].user)
    took = perf_counter() - began
    return len(links) / took, cost.read(len(links))["server_us_each"]


async def _comment(
    server: ServerProcess, links: Sequence[Link], seconds: float
) -> dict[str, float]:
    comments, others = Comments(links), len(links) - 1
    cost, began = Cost(server), perf_counter()
    while (passed := perf_counter() - began) < seconds:
        while len(comments.sent_at) <= passed * COMMENTS_PER_S:
            comments.say()
        await asyncio.sleep(0.002)
    while not comments.everywhere(others):
        check(links)
        if perf_counter() - began > seconds + DRAIN_TIMEOUT_S:
            raise Fault("comments are with some, and not with all")
        await asyncio.sleep(0.01)
    took, sent = perf_counter() - began, len(comments.sent_at)
    everybody = sum(got == others for got in comments.got)
    return {
        "comments_per_s": sent / took,
        "pushed_per_s": everybody / took,
        "per_s": sum(comments.got) / took,
        **cost.read(sum(comments.got)),
        **comments.acks.summary("ack"),
        **comments.deliveries.summary("delivery"),
    }
