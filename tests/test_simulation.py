"""The simulation: its parts behave as the real ones do, and no seed breaks a rule."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from timewire.backends.memory.log import MemoryLog
from timewire.errors import Retryable, TimewireError, UnknownOutcome
from timewire.inbox import Delivery
from timewire.model import Draft, Receipt, Stored
from timewire.outbox import frame
from timewire.testing.simulation import simulate
from timewire.testing.simulation.__main__ import main
from timewire.testing.simulation.chaos import FAULTS
from timewire.testing.simulation.disk import Disk, SimulatedInbox, SimulatedLog, SimulatedStore
from timewire.testing.simulation.loop import Process, SimulatedLoop, Stuck, run
from timewire.testing.simulation.network import Pipe, frames
from timewire.testing.story import report

SEEDS_A_TEST = 20
TESTS = 26


def simulated(work: Callable[[SimulatedLoop], Coroutine[Any, Any, None]]) -> SimulatedLoop:
    """The loop on which something was run to its end."""
    loops: list[SimulatedLoop] = []

    async def keep(loop: SimulatedLoop) -> None:
        loops.append(loop)
        await work(loop)

    run(keep)
    return loops[0]


# -- every rule, over seeds -----------------------------------------------------------------------


@pytest.mark.parametrize("number", range(TESTS))
def test_no_seed_breaks_a_rule(number: int) -> None:
    for seed in range(number * SEEDS_A_TEST, (number + 1) * SEEDS_A_TEST):
        outcome = simulate(seed)
        told = report(outcome.history, outcome.violations)
        assert outcome.violations == [], f"seed {seed}: {told}"
        assert any(attempt.outcome == "acked" for attempt in outcome.history.attempts)
        assert outcome.history.holdings


def test_a_seed_does_the_same_again_in_another_process() -> None:
    outcomes = [simulate(seed) for seed in (5, 29)]
    told = [f"{one.steps} steps, {one.digest}" for one in outcomes]
    for number, outcome in enumerate(outcomes):
        found = subprocess.run(
            [sys.executable, "-m", "timewire.testing.simulation", "--seed", str(outcome.seed)],
            env=os.environ | {"PYTHONHASHSEED": str(number + 1)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told[number] in found.stdout.splitlines()


def test_every_fault_has_its_turn() -> None:
    outcomes = [simulate(seed) for seed in range(25)]
    assert {fault for one in outcomes for fault in one.faults} == set(FAULTS)
    history = [one.history for one in outcomes]
    assert any(one.restarts for one in history)
    assert {start.reset for one in history for start in one.starts} >= {None, "expired"}
    assert {step.way for one in history for step in one.steps} == {"page", "push", "live", "at"}
    assert {a.outcome for one in history for a in one.attempts} == {"acked", "refused", "unknown"}


def test_many_seeds_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "3", "--seeds", "2"]) == 0
    assert capsys.readouterr().out.startswith("2 runs, ")


# -- time and processes ---------------------------------------------------------------------------


def test_waiting_costs_no_time() -> None:
    async def wait(loop: SimulatedLoop) -> None:
        await asyncio.sleep(3600)
        assert 3600 <= loop.time() < 3601

    loop = simulated(wait)
    assert loop.steps < 20


def test_who_waits_for_nothing_is_told() -> None:
    async def wait(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stuck, match="everybody waits"):
        run(wait)


def test_a_killed_process_does_nothing_more_and_takes_its_tasks_with_it() -> None:
    done: list[str] = []

    async def count(name: str) -> None:
        while True:
            await asyncio.sleep(1)
            done.append(name)

    async def parent() -> None:
        child = asyncio.create_task(count("child"))
        await child

    async def world(loop: SimulatedLoop) -> None:
        one, other = Process(loop, "one"), Process(loop, "other")
        one.run(parent())
        other.run(count("other"))
        await asyncio.sleep(2.5)
        one.kill()
        await asyncio.sleep(2)
        late = one.run(count("late"))
        await asyncio.wait([late])
        assert late.cancelled()

    simulated(world)
    assert (done.count("child"), done.count("other"), len(done)) == (2, 4, 6)


def test_a_break_comes_between_two_steps() -> None:
    seen: list[int] = []

    async def world(loop: SimulatedLoop) -> None:
        loop.at_step(loop.steps + 3, lambda: seen.append(loop.steps))
        loop.at_step(loop.steps + 2, lambda: seen.append(loop.steps))
        first = loop.steps
        for _ in range(5):
            await asyncio.sleep(0)
        assert [step - first for step in seen] == [2, 3]

    simulated(world)


# -- the network ----------------------------------------------------------------------------------


def test_a_pipe_keeps_the_order_and_loses_what_is_under_way_when_cut() -> None:
    got: list[int] = []

    async def world(loop: SimulatedLoop) -> None:
        pipe = Pipe(loop, Random(1), got.append)
        for number in range(50):
            pipe.put(number, 100)
        await asyncio.sleep(100)
        assert got == list(range(50))
        assert pipe.waiting_bytes == 0
        pipe.put(50, 100)
        pipe.cut()
        pipe.put(51, 100)
        await asyncio.sleep(100)
        assert got == list(range(50))
        assert pipe.waiting_bytes == 200

    simulated(world)


def test_a_pipe_that_is_held_lets_everything_through_later() -> None:
    got: list[tuple[int, float]] = []

    async def world(loop: SimulatedLoop) -> None:
        pipe = Pipe(loop, Random(1), lambda number: got.append((number, loop.time())))
        pipe.hold(30)
        pipe.put(1, 1)
        await asyncio.sleep(10)
        pipe.put(2, 1)
        assert got == []
        await asyncio.sleep(21)
        assert [number for number, _ in got] == [1, 2]
        assert all(at >= 30 for _, at in got)

    simulated(world)


def test_frames_are_read_as_they_were_written() -> None:
    payloads = [b"", b"x" * 125, b"y" * 126, b"z" * 70_000]
    written = b"".join(frame(payload, text=False) for payload in payloads)
    assert [message.data for message in frames(written)] == payloads
    assert frames(frame("ü".encode(), text=True))[0].data == "ü"


# -- the disk -------------------------------------------------------------------------------------


def draft(number: int) -> Draft:
    return Draft("team", "alice", str(number), b'{"from":"alice"}')


class Fixed(Random):
    """Chance that keeps the first or the last of what there is to choose from."""

    last = False

    def choice(self, seq: Any) -> Any:
        return seq[-1] if self.last else seq[0]


def test_a_crash_keeps_what_is_durable_and_perhaps_more_of_it_in_order() -> None:
    async def world(loop: SimulatedLoop) -> None:
        chance = Fixed(1)
        log = SimulatedLog(lambda: 1, Disk(chance))
        receipts = await log.append([draft(1), draft(2)])
        assert [one.seq for one in receipts if isinstance(one, Receipt)] == [1, 2]
        log.append([draft(3)])
        log.append([draft(4), draft(5)])
        assert log.head == 2
        assert await log.read(2) == []
        chance.last = False
        assert log.crashed().head == 2
        chance.last = True
        found = log.crashed()
        assert found.head == 5
        assert [message.seq for message in await found.read(0)] == [1, 2, 3, 4, 5]
        assert (await found.append([draft(4)]))[0] == Receipt(4, 1, repeated=True)

    simulated(world)


def test_a_sync_makes_durable_what_was_there_when_it_began() -> None:
    async def world(loop: SimulatedLoop) -> None:
        log = SimulatedLog(lambda: 1, Disk(Random(1)))
        first = log.append([draft(1)])
        second = log.append([draft(2)])
        await first
        assert log.head == 1
        assert not second.done()
        assert await log.find(draft(2)) == Receipt(2, 1, repeated=True)
        assert log.head == 2

    simulated(world)


@pytest.mark.parametrize("last", [False, True])
def test_a_failed_sync_leaves_all_of_it_or_nothing(last: bool) -> None:
    async def world(loop: SimulatedLoop) -> None:
        chance = Fixed(1)
        disk = Disk(chance)
        log = SimulatedLog(lambda: 1, disk)
        await log.append([draft(1)])
        disk.failing, chance.last = 1.0, last
        with pytest.raises(UnknownOutcome):
            await log.append([draft(2)])
        assert not log.writable
        with pytest.raises(Retryable):
            await log.append([draft(3)])
        disk.failing = 0.0
        await asyncio.sleep(1)
        assert log.writable
        answers = await log.append([draft(2)])
        assert answers == [Receipt(2, 1, repeated=last)]

    simulated(world)


async def _refs(inbox: SimulatedInbox) -> list[int]:
    refs, _ = await inbox.scan("bob", 0, 100, 100)
    return [ref.seq for ref in refs]


def test_a_loss_of_power_takes_the_newest_of_the_inbox_with_its_position() -> None:
    async def world(loop: SimulatedLoop) -> None:
        disk = Disk(Random(3))
        log = SimulatedLog(lambda: 1, disk)
        inbox = SimulatedInbox(1000, disk, log)
        for seq in range(1, 21):
            await inbox.put([Delivery(Stored(seq, 1, "team", b""), ["bob"])], seq)
        kept = inbox.crashed(log, power=False)
        assert (kept.position, await _refs(kept)) == (20, list(range(1, 21)))
        positions: set[int] = set()
        for _ in range(20):
            found = inbox.crashed(log, power=True)
            assert await _refs(found) == list(range(1, found.position + 1))
            positions.add(found.position)
        assert len(positions) > 3
        disk.full = True
        with pytest.raises(TimewireError) as caught:
            await inbox.put([], 21)
        assert caught.value.code == "storage_unavailable"

    simulated(world)


def test_a_loss_of_power_takes_nothing_from_before_a_message_that_is_kept() -> None:
    async def world(loop: SimulatedLoop) -> None:
        store = SimulatedStore(lambda: 1, Disk(Random(3)), 1000)
        for seq in (1, 2):
            await store.log.append([draft(seq)])
            await store.inbox.put([Delivery(Stored(seq, 1, "team", b""), ["bob"])], seq)
        positions = {store.crashed(power=True).inbox.position for _ in range(20)}
        assert positions == {1, 2}

    simulated(world)


def test_a_store_after_a_crash_has_nothing_in_common_with_the_one_before() -> None:
    async def world(loop: SimulatedLoop) -> None:
        store = SimulatedStore(lambda: 1, Disk(Random(1)), 1000)
        await store.log.append([draft(1)])
        found = store.crashed(power=True)
        assert isinstance(found.log, MemoryLog)
        await store.log.append([draft(2)])
        assert (found.log.head, found.log.epoch) == (1, store.log.epoch)
        assert found.messages is found.log.messages
        assert await found.messages.count("team") == 1

    simulated(world)
