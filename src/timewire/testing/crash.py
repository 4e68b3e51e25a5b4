"""Crash runs: a real server under a real load, killed again and again, and then checked.

    python -m timewire.testing.crash --seeds 200 --first 1000

Every run has a seed, which fixes what the users do and when the server dies; how the two interleave
is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from timewire.backends.rocksdb import RocksStore
from timewire.commands import Add, Command, Create, Edit, MarkRead, React, Recall, Remove, Send
from timewire.merge import Source, read_spans
from timewire.model import Message, Ref
from timewire.names import direct
from timewire.parts import Store
from timewire.testing.checker import Violation, check
from timewire.testing.devices import raw_device
from timewire.testing.history import History, InboxDump, Restart, Start, Who, modes_in
from timewire.testing.servers import running_server
from timewire.testing.story import report
from timewire.testing.witness import Witness, clock


class Crowd:
    """Who takes part in a run.  A suffix of all names keeps the runs on one server apart."""

    def __init__(self, suffix: str = "") -> None:
        self.users = tuple(name + suffix for name in ("alice", "bob", "carol", "dave", "erin"))
        self.group = "team" + suffix
        alice, bob, carol, *_ = self.users
        self.founder = Who(alice, "phone")
        self.wanderer = Who(carol, "tablet")
        """The device that is offline most of the time."""
        phones = (Who(user, "phone") for user in self.users)
        self.devices = (*phones, Who(alice, "laptop"), Who(bob, "laptop"), self.wanderer)


ALL: Final = Crowd()
DEVICES: Final = ALL.devices

MAX_PENDING_COMMANDS: Final = 30
PAGE: Final = 100


class Plan(msgspec.Struct, frozen=True):
    """How often the server is hurt, and how long it lives each time and devices pause (s)."""

    kills: int = 2
    life_s: tuple[float, float] = (0.1, 0.5)
    pause_s: float = 0.012


SHORT: Final = Plan()
RUN_TIMEOUT_S: Final = 100.0


class Victim(Protocol):
    """What is run against: a server, or several that are one.  ``data``: where its inboxes are."""

    @property
    def url(self) -> str: ...
    @property
    def data(self) -> Path: ...
    def token(self, user: str) -> str:
        """A token for a user."""
        ...

    async def restart(self) -> str | None:
        """Hurt it, and return when it is whole again: how it was hurt, when it was not killed."""
        ...

    async def stop(self) -> object:
        """Have it end in good order."""
        ...


Serving = Callable[[Path], AbstractAsyncContextManager[Victim]]


async def run(
    seed: int,
    directory: Path,
    plan: Plan = SHORT,
    serving: Serving | None = None,
    **settings: Any,
) -> History:
    """One run: everything that happened, ready to be checked.

    ``settings`` are those of a server; ``serving`` starts something else in its place.
    """
    history = History()
    async with (
        asyncio.timeout(RUN_TIMEOUT_S + sum(plan.life_s) * plan.kills),
        serving(directory) if serving else running_server(directory / "data", **settings) as server,
    ):
        await run_on(server, seed, plan, ALL, history)
        await server.stop()
        await dump_inboxes(server.data, ALL, history)
    return history


async def run_on(server: Victim, seed: int, plan: Plan, crowd: Crowd, history: History) -> None:
    """Everything but the inboxes as they are stored, on a server that runs."""
    chance = random.Random(seed)
    tokens = {user: server.token(user) for user in crowd.users}
    everyone = {
        who: Witness(who, history, lambda: server.url, tokens[who.user]) for who in crowd.devices
    }
    await _live_through_crashes(server, everyone, chance, plan, crowd)
    witnesses = list(everyone.values())
    async with _online(witnesses):
        await _settle(everyone[crowd.founder], witnesses, crowd)
    async with _online(witnesses):
        await asyncio.gather(*(witness.live.wait() for witness in witnesses))
        await _probe(server, everyone[crowd.founder])
        await _read_back(witnesses)


async def _live_through_crashes(
    server: Victim,
    everyone: dict[Who, Witness],
    chance: random.Random,
    plan: Plan,
    crowd: Crowd,
) -> None:
    founder = everyone[crowd.founder]
    steady = [witness for who, witness in everyone.items() if who != crowd.wanderer]
    async with _online(steady):
        await _found(founder, crowd)
        work = [
            _work(one, random.Random(chance.random()), plan.pause_s, crowd)
            for one in everyone.values()
        ]
        wander = _wander(everyone[crowd.wanderer], random.Random(chance.random()))
        async with _running([*work, wander]):
            for _ in range(plan.kills):
                await asyncio.sleep(chance.uniform(*plan.life_s))
                how = await server.restart()
                founder.history.restarts.append(Restart(clock(), how or "killed"))
            await asyncio.sleep(plan.life_s[0])


def _online(witnesses: Iterable[Witness]) -> AbstractAsyncContextManager[None]:
    """Keep devices connected."""
    return _running([witness.run() for witness in witnesses])


@asynccontextmanager
async def _running(work: Iterable[Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Have things done beside the body.  What failed among them is raised at the end."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        faults = [end for end in ends if isinstance(end, Exception)]
        if faults:
            raise ExceptionGroup("devices failed", faults)


# The load --------------------------------------------------------------------------------------


async def _found(founder: Witness, crowd: Crowd) -> None:
    """Make the group."""
    await founder.submit(Create("found", crowd.group, list(crowd.users[:3]), "The team"))
    await founder.quiet()


async def _wander(witness: Witness, chance: random.Random) -> None:
    """Be online now and then."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.05, 0.3)):
                await witness.run()
        await asyncio.sleep(chance.uniform(0.1, 0.6))


async def _work(witness: Witness, chance: random.Random, pause_s: float, crowd: Crowd) -> None:
    """What one device does, until cancelled."""
    number = 0
    while True:
        number += 1
        await asyncio.sleep(chance.uniform(0, pause_s))
        await witness.quiet(MAX_PENDING_COMMANDS)
        await _act(witness, chance, f"{witness.who}#{number}", crowd)


async def _act(witness: Witness, chance: random.Random, id: str, crowd: Crowd) -> None:
    user, group = witness.who.user, crowd.group
    body = {"text": f"{id} " + "x" * chance.randrange(60)}
    match chance.choices(
        ["group", "direct", "self", "member", "mark", "change", "again", "reuse", "read"],
        [40, 20, 3, 6, 6, 12, 6, 1, 6],
    )[0]:
        case "group":
            await witness.submit(Send(id, group, body, ack=chance.choice(["stored", "synced"])))
        case "direct":
            await witness.submit(Send(id, direct(user, chance.choice(crowd.users)), body))
        case "self":
            await witness.submit(Send(id, direct(user, user), body))
        case "member":
            moves: list[str] = chance.sample(crowd.users[1:], 2)
            change = Add(id, group, moves) if chance.random() < 0.6 else Remove(id, group, moves)
            await witness.submit(change)
        case "mark" if witness.shown:
            message = chance.choice(witness.shown).message
            await witness.submit(MarkRead(id, message.conversation, message.seq))
        case "change" if witness.shown:
            message = chance.choice(witness.shown[-100:]).message
            await witness.submit(_change(id, user, message, chance))
        case "again" if witness.answered:
            await witness.submit(chance.choice(witness.answered[-50:]))
        case "reuse" if witness.answered:
            used = chance.choice(witness.answered).id
            await witness.submit(Send(used, group, {"text": f"not what {used} was"}))
        case "read":
            await witness.read(group, chance.choice([1, 10, PAGE]), **_somewhere(witness, chance))
        case _:
            pass


def _change(id: str, user: str, message: Message, chance: random.Random) -> Command:
    """Do something to a message: most of one's own, some of others'."""
    place = message.conversation, message.seq
    if message.sender != user or chance.random() < 0.3:
        return React(id, *place, chance.choice("👍🎉"), chance.random() < 0.7)
    if chance.random() < 0.6:
        return Edit(id, *place, {"text": f"{id} edits {message.seq}"})
    return Recall(id, *place)


def _somewhere(witness: Witness, chance: random.Random) -> dict[str, int]:
    """Where to begin to read."""
    seq = chance.randrange((witness.cursor or 0) + 2)
    return chance.choice([{}, {"after": seq}, {"before": seq + 1}])


# The end ---------------------------------------------------------------------------------------


async def _settle(last: Witness, witnesses: Sequence[Witness], crowd: Crowd) -> None:
    """Have every command answered, and everything pushed to devices that are all live.

    What they have then is written down too: here a device must be complete by pushes alone.
    """
    await asyncio.gather(*(witness.quiet() for witness in witnesses))
    await asyncio.gather(*(witness.live.wait() for witness in witnesses))
    for witness in witnesses:
        await witness.submit(Send(f"{witness.who} late", crowd.group, {"text": "good night"}))
    await asyncio.gather(*(witness.quiet() for witness in witnesses))
    await last.submit(Send("last", f"self:{last.who.user}", {"text": "the end"}, ack="synced"))
    await last.quiet()
    await _hold(witnesses)


async def _hold(witnesses: Iterable[Witness]) -> None:
    for witness in witnesses:
        witness.history.holdings.append(await witness.hold())


async def _probe(server: Victim, witness: Witness) -> None:
    """Come back with cursors that cannot be served."""
    head = witness.cursor or 0
    good, foreign = "", ""
    for start in witness.history.starts:
        if start.who.user == witness.who.user:
            good = start.base
        else:
            foreign = start.base
    version, _, whose = good.split(".")
    for cursor_is, base, pos in (
        ("garbage", "?", "1"),
        ("garbage", good, "one"),
        ("other_log", f"{version}.0000.{whose}", "1"),
        ("other_user", foreign, "1"),
        ("future", good, str(head + 10**9)),
        ("good", good, str(head // 2)),
    ):
        await _come_back(server, witness, cursor_is, {"base": base, "pos": pos})


async def _come_back(
    server: Victim, witness: Witness, cursor_is: str, cursor: dict[str, str]
) -> None:
    async with raw_device(server.url) as raw:
        who = Who(witness.who.user, f"probe-{cursor_is}")
        token = server.token(who.user)
        welcome = await raw.hello(token, who.device, cursor=cursor)
        frame = await raw.next()
        reset = frame["reason"] if frame["type"] == "reset" else None
        pos = cursor["pos"]
        witness.history.starts.append(
            Start(
                who,
                -len(witness.history.starts),
                clock(),
                int(welcome["pos"]),
                int(pos) if pos.isdecimal() else 0,
                cursor_is,  # pyright: ignore[reportArgumentType]
                reset,
                welcome["base"],
            )
        )


async def _read_back(witnesses: Sequence[Witness]) -> None:
    """Everyone reads everything, and each device says what it has."""
    for witness in witnesses:
        if witness.who.device == "phone":
            async for state in witness.conversations():
                await witness.read_all(state["conversation"], PAGE)
    await _hold(witnesses)


async def dump_inboxes(data: Path, crowd: Crowd, history: History) -> None:
    """What the server keeps for each user: in the inbox, or in conversations of mode ``read``."""
    store = await RocksStore.open(data)
    try:
        inbox, head = store.inbox, store.log.head
        for user in crowd.users:
            refs: list[Ref] = []
            more = True
            while more:
                found, more = await inbox.scan(user, refs[-1].seq if refs else 0, head, PAGE)
                refs += found
            read = tuple(await read_refs(store, user))
            history.inboxes.append(InboxDump(user, inbox.floor, inbox.position, tuple(refs), read))
        after, batch = 0, await store.log.read(0)
        while batch:
            history.modes += modes_in(batch)
            after = batch[-1].seq
            batch = await store.log.read(after)
    finally:
        await store.aclose()


async def read_refs(store: Store, user: str) -> list[Ref]:
    """What a sync reads in the user's conversations of mode ``read``."""
    after, upto = store.inbox.floor - 1, store.inbox.position
    refs: list[Ref] = []
    for name in (await store.directory.reading(user)).names:
        conversation = await store.directory.conversation(name)
        spans = read_spans(conversation, user, after, upto) if conversation else []
        source = Source(store.messages, name, spans, PAGE)
        while (entry := await source.head()) is not None:
            refs.append(Ref(entry.seq, name))
            source.take()
    return refs


# The soak --------------------------------------------------------------------------------------


def examine(seed: int, plan: Plan = SHORT, **settings: Any) -> tuple[History, list[Violation]]:
    """One run in a directory of its own, and what was wrong with it."""
    with tempfile.TemporaryDirectory(prefix="timewire-crash-") as directory:
        history = asyncio.run(run(seed, Path(directory), plan, **settings))
    return history, check(history)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many seeds, one after the other; exit status 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m timewire.testing.crash")
    parser.add_argument("--seeds", type=int, default=100, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--kills", type=int, default=4, help="kills in a run")
    parser.add_argument("--policy", default="adaptive", help="the server's fanout_policy")
    given = parser.parse_args(arguments)
    failed: list[int] = []
    for seed in range(given.first, given.first + given.seeds):
        history, violations = examine(seed, Plan(kills=given.kills), fanout_policy=given.policy)
        failed += [seed] * bool(violations)
        told = report(history, violations)
        sys.stdout.write(f"seed {seed}: {len(history.attempts)} attempts, {told}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{given.seeds} runs, violations in {failed or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
