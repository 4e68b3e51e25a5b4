"""The soak: real servers and real devices for as long as one likes, hurt all the time.

    python -m timewire.testing.soak --minutes 60

One server, one data directory.  Each round has a crowd of its own on it, and one kind of harm; what
the crowd has seen is checked by every rule.  In the second half nothing ends the server, so that
its memory can be watched.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from timewire.testing.checker import Violation, check
from timewire.testing.crash import Crowd, Plan, dump_inboxes, run_on
from timewire.testing.devices import raw_device
from timewire.testing.harm import HARMS, Harm, Machine, machine
from timewire.testing.history import History
from timewire.testing.story import report

ROUND: Final = Plan(kills=4, life_s=(0.5, 2.0), pause_s=0.08)
ROUND_TIMEOUT_S: Final = 300.0
DISK_MEGABYTES: Final = 1024
BEATS: Final = 100
"""Sends, one after the other, by which latency is measured after a round."""

MAX_GROWTH: Final = {"memory": 1.5, "latency": 5.0}
"""From the first rounds of the second half to its last, by their medians."""

FOR_NOW: Final = ("storage_unavailable", "too_busy", "rate_limited", "outcome_unknown")

COMPARED_SHARE: Final = 0.25


class Round(msgspec.Struct, frozen=True):
    """What a round was, what was wrong with it, and how the server was after it."""

    number: int
    harm: Harm
    seconds: float
    attempts: int
    unknown: int
    refused: int
    """For a time: the server could not write, or had no room."""
    violations: list[Violation]
    story: str
    age_s: float
    """How long the server's process has lived."""
    memory_mib: float
    store_mib: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return (
            f"{self.number:4} {self.harm:<12}{self.seconds:6.1f}{self.attempts:8}{self.unknown:6}"
            f"{self.refused:8}"
            f"{len(self.violations):6}{self.age_s:8.0f}{self.memory_mib:8.1f}{self.store_mib:8.1f}"
            f"{self.p50_ms:8.2f}{self.p99_ms:8.2f}"
        )


HEAD: Final = (
    "round harm        time s   sends  lost refused broken age s RSS MiB disk MiB p50 ms  p99 ms"
)


class Suffering:
    """A server that is hurt in one way: what a crowd runs against."""

    def __init__(self, machine: Machine, harm: Harm) -> None:
        self._machine = machine
        self._harm: Harm = harm
        self.url = machine.relay.url
        self.data = machine.server.data

    def token(self, user: str) -> str:
        """A token of the server."""
        return self._machine.server.token(user)

    async def restart(self) -> str:
        """Hurt it, and return when it is whole again."""
        await self._machine.suffer(self._harm)
        return self._harm

    async def stop(self) -> int:
        """Have it end in good order."""
        return await self._machine.server.stop()


class Soak:
    """Round after round on one machine."""

    def __init__(self, machine: Machine, seed: int, plan: Plan) -> None:
        self.rounds: list[Round] = []
        self._machine = machine
        self._seed = seed
        self._plan = plan
        self._born = time.monotonic()

    async def round(self, harm: Harm) -> Round:
        """One more round, which ends with a proper stop when its harm is to kill."""
        machine, number, began = self._machine, len(self.rounds), time.monotonic()
        history, crowd = History(), Crowd(f"-{number}")
        machine.chance.seed(self._seed * 1_000_003 + number)
        victim = Suffering(machine, harm)
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            await run_on(victim, self._seed + number, self._plan, crowd, history)
            if harm == "killed":
                await victim.stop()
                await dump_inboxes(victim.data, crowd, history)
                await machine.server.start()
                self._born = time.monotonic()
        violations = await asyncio.to_thread(check, history)
        story = await asyncio.to_thread(report, history, violations) if violations else ""
        beats = await self._beats()
        done = Round(
            number,
            harm,
            time.monotonic() - began,
            len(history.attempts),
            sum(attempt.outcome == "unknown" for attempt in history.attempts),
            sum(attempt.code in FOR_NOW for attempt in history.attempts),
            violations,
            story,
            time.monotonic() - self._born,
            _memory_mib(machine.server.process.pid),
            _size_mib(machine.server.data),
            statistics.median(beats),
            sorted(beats)[len(beats) * 99 // 100],
        )
        self.rounds.append(done)
        return done

    async def _beats(self) -> list[float]:
        """How long sends take to their acks, in ms, when nothing else happens."""
        server, beats = self._machine.server, list[float]()
        async with raw_device(server.url) as device:
            await device.hello(server.token("pulse"), "watch")
            for beat in range(BEATS):
                began = time.perf_counter()
                id = f"{len(self.rounds)}.{beat}"
                answer = await device.ask("send", id=id, to="self:pulse", body={"text": "beat"})
                assert answer["type"] == "ack", answer
                beats.append((time.perf_counter() - began) * 1000)
        return beats


def growth(rounds: Sequence[Round], of: Callable[[Round], float]) -> float:
    """How much more the last rounds have of something than the first ones, by medians."""
    some = max(1, int(len(rounds) * COMPARED_SHARE))
    first = statistics.median(map(of, rounds[:some]))
    return statistics.median(map(of, rounds[-some:])) / first


def schedule(minutes: float, passed_s: float, number: int, missing: Sequence[Harm]) -> Harm | None:
    """What the next round suffers; None when the time is over."""
    if passed_s >= minutes * 60:
        return None
    late = passed_s >= minutes * 30
    possible: list[Harm] = [
        one for one in HARMS if one not in missing and not (late and one == "killed")
    ]
    return possible[number % len(possible)]


async def soak(minutes: float, seed: int, directory: Path, say: Callable[[str], object]) -> bool:
    """Round after round, told as they end; whether nothing was wrong."""
    async with machine(directory, DISK_MEGABYTES, sends_per_second=0) as victim:
        for harm, why in victim.missing.items():
            say(f"no round with: {harm} ({why})")
        say("the network is a relay that delays, holds and cuts connections, not netem")
        say(HEAD)
        run, began, lives = Soak(victim, seed, ROUND), time.monotonic(), list[Round]()
        while harm := schedule(
            minutes, time.monotonic() - began, len(run.rounds), list(victim.missing)
        ):
            done = await run.round(harm)
            say(str(done))
            if done.violations:
                say(done.story)
            if time.monotonic() - began >= minutes * 30:
                lives.append(done)
        return _verdict(run.rounds, lives, say)


def _verdict(rounds: Sequence[Round], lives: Sequence[Round], say: Callable[[str], object]) -> bool:
    broken = [one.number for one in rounds if one.violations]
    sends = sum(one.attempts for one in rounds)
    say(f"{len(rounds)} rounds, {sends} sends, violations in {broken or 'none'}")
    good = not broken
    for what, of in (("memory", _memory), ("latency", _latency)):
        grown = growth(lives, of) if lives else 1.0
        say(f"{what} over the last {len(lives)} rounds, by one process: {grown:.2f} of what it was")
        good = good and grown <= MAX_GROWTH[what]
    return good


def _memory(one: Round) -> float:
    return one.memory_mib


def _latency(one: Round) -> float:
    return one.p50_ms


def _memory_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _size_mib(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a rule was broken, or memory or latency have grown beyond bounds."""
    parser = argparse.ArgumentParser(prog="python -m timewire.testing.soak")
    parser.add_argument("--minutes", type=float, default=10, help="how long, about")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    given = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="timewire-soak-") as directory:
        good = asyncio.run(soak(given.minutes, given.seed, Path(directory), say))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
