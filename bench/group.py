"""A group of online members: a few of them write, all the others receive."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from bench.load import Turns, check, drain, measure
from bench.server import ServerProcess
from bench.stats import Latencies
from bench.wire import (
    Fault,
    Link,
    acked_number,
    close_all,
    pushed_number,
    send_template,
)

NAME: Final = "team"
MEMBERS_A_REQUEST: Final = 1000


class Group:
    """The members of one group.  A message is in flight until everyone has it and it is acked.

    Messages are numbered across all senders.  ``missing[n]`` counts who still has to get message
    n, its sender's ack included; it must end at 0.  ``order`` is the one order in which every
    member that does not write must see them.
    """

    def __init__(
        self, turns: Turns, links: list[Link], writers: int, window: int, name: str = NAME
    ) -> None:
        self.window = window
        self.frame = send_template(name)
        self.acks = Latencies()
        self.deliveries = Latencies()
        self.sent_at: list[float] = []
        self.missing: list[int] = []
        self.owner: list[Writer] = []
        self.order: list[int] = []
        self.turns = turns
        self.size = len(links)
        self.writers: Sequence[Writer] = [Writer(self, link) for link in links[:writers]]
        self.readers = [Reader(self, link) for link in links[writers:]]

    def delivered(self) -> int:
        """Pushes that have come, on all connections."""
        return sum(one.seen for one in (*self.writers, *self.readers))

    def got(self, number: int) -> None:
        """One more has message ``number``."""
        left = self.missing[number] - 1
        self.missing[number] = left
        if not left:
            writer = self.owner[number]
            writer.in_flight -= 1
            self.turns.add(writer)
        elif left < 0:
            raise Fault(f"message {number} came once too often")

    def done(self) -> bool:
        """Whether everyone has everything, in the one order."""
        sent = len(self.sent_at)
        return (
            not any(writer.in_flight for writer in self.writers)
            and all(reader.seen == sent for reader in self.readers)
            and all(one.acked == one.sent and one.seen == sent - one.sent for one in self.writers)
        )


class Reader:
    """A member that only receives."""

    def __init__(self, group: Group, link: Link) -> None:
        self.seen = 0
        self._group = group
        self._user = link.user
        link.on_frame = self._on_push

    def _on_push(self, data: bytes, start: int, end: int, now: float) -> None:
        number, group, seen = pushed_number(data, start, end), self._group, self.seen
        order = group.order
        if seen == len(order):
            order.append(number)
        elif order[seen] != number:
            raise Fault(f"{self._user}: {number} as message {seen}, others had {order[seen]}")
        self.seen = seen + 1
        group.deliveries.add(now - group.sent_at[number])
        group.got(number)


class Writer:
    """A member that writes, and receives what the others write."""

    def __init__(self, group: Group, link: Link) -> None:
        self.in_flight = self.sent = self.acked = self.seen = 0
        self._group = group
        self._link = link
        link.on_frame = self._on_frame

    def pump(self) -> None:
        """Fill the window."""
        group = self._group
        room = group.window - self.in_flight
        if room <= 0:
            return
        first = len(group.sent_at)
        group.sent_at += [perf_counter()] * room
        group.missing += [group.size] * room
        group.owner += [self] * room
        self.in_flight += room
        self.sent += room
        frame = group.frame
        self._link.transport.write(b"".join([frame % (n, n) for n in range(first, first + room)]))

    def _on_frame(self, data: bytes, start: int, end: int, now: float) -> None:
        group = self._group
        if data.startswith(b'{"type":"ack"', start):
            number = acked_number(data, start, end)
            self.acked += 1
            group.acks.add(now - group.sent_at[number])
        else:
            number = pushed_number(data, start, end)
            self.seen += 1
            group.deliveries.add(now - group.sent_at[number])
        group.got(number)


async def make_group(maker: Link, name: str, users: list[str]) -> int:
    """Make a group of these users and its maker; the SeqId of the last change."""
    rest = [user for user in users if user != maker.user]
    some, rest = rest[: MEMBERS_A_REQUEST - 1], rest[MEMBERS_A_REQUEST - 1 :]
    create = {"type": "create", "id": f"{name}-create", "conversation": name, "members": some}
    ack = await maker.ask(create, f"{name}-create")
    for at in range(0, len(rest), MEMBERS_A_REQUEST):
        add = {"type": "add", "id": f"{name}-{at}", "conversation": name}
        ack = await maker.ask({**add, "users": rest[at : at + MEMBERS_A_REQUEST]}, f"{name}-{at}")
    return int(ack["seq"])


async def group(
    server: ServerProcess,
    seconds: float,
    *,
    members: int,
    writers: int,
    window: int,
    name: str = NAME,
) -> dict[str, float]:
    """Deliveries a second, and the latencies of acks and deliveries."""
    links = await server.door.links([f"{name}-m{n}" for n in range(members)])
    made = await make_group(links[0], name, [link.user for link in links])
    for link in links[1:]:
        await link.reach(made)
    turns = Turns()
    team = Group(turns, links, writers, window, name)
    for writer in team.writers:
        turns.add(writer)
    try:
        found = await measure(server, seconds, team.delivered, (team.acks, team.deliveries))
        found |= team.acks.summary("ack") | team.deliveries.summary("delivery")
        turns.stopped = True
        await drain(team.done, links)
        check(links)
    finally:
        close_all(links)
    found["messages_per_s"] = found["per_s"] / (members - 1)
    return found
