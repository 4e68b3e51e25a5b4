"""One run: devices, a server, a network and a disk; what happens, and what the checker says."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Final

import msgspec
import structlog

from timewire.config import Config
from timewire.model import Message, Stored, decode_message, message_head, message_json
from timewire.policy import Policy
from timewire.testing.checker import Violation, check
from timewire.testing.flipping import Flipping
from timewire.testing.history import History, Who, modes_in
from timewire.testing.simulation.bounds import small_bounds
from timewire.testing.simulation.chaos import FAULTS, Chaos
from timewire.testing.simulation.device import Device
from timewire.testing.simulation.disk import Disk
from timewire.testing.simulation.load import GROUPS, USERS, Load, found
from timewire.testing.simulation.loop import SimulatedLoop, Stuck, run
from timewire.testing.simulation.machine import LIFE_S, Machine
from timewire.testing.simulation.network import Network
from timewire.testing.simulation.recorder import Recorder

DEVICES: Final = (
    Who("alice", "phone"),
    Who("bob", "phone"),
    Who("carol", "phone"),
    Who("alice", "laptop"),
    Who("bob", "laptop"),
)
SYSTEM: Final = "system:"
"""Conversations that nobody is a member of."""

SETTLE_S: Final = 600.0
"""Simulated: when all is well again, everything must be done within this time."""

POLL_S: Final = 0.1


class Outcome(msgspec.Struct):
    """What a run was, and what was wrong with it."""

    seed: int
    faults: list[str]
    steps: int
    history: History
    violations: list[Violation]

    @property
    def digest(self) -> str:
        """Names everything that has happened: the same for the same seed."""
        return blake2b(msgspec.json.encode((self.steps, self.history)), digest_size=8).hexdigest()


class World:
    """Everything there is in a run, made by a seed."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        chance = self.chance = Random(seed)
        self.loop = loop
        self.faults: list[str] = chance.sample(FAULTS, chance.choice([0, 1, 2, 3, 5]))
        self.disk = Disk(Random(chance.random()))
        self.network = Network(loop, Random(chance.random()))
        self.machine = Machine(loop, self.network, self.disk, self._config(), self._policy())
        self.recorder = Recorder(lambda: self.machine.store.inbox.floor)
        self.violations: list[Violation] = []
        self.devices = [self._device(who) for who in DEVICES[: chance.choice([3, 4, 5])]]
        self.loads = [Load(device, Random(chance.random())) for device in self.devices]
        self.chaos = Chaos(
            loop,
            Random(chance.random()),
            self.faults,
            network=self.network,
            machine=self.machine,
            disk=self.disk,
            devices=self.devices,
            history=self.recorder.history,
        )

    def _config(self) -> Config:
        return Config(
            data="simulated",
            outbox_bytes=self.chance.choice([2_000, 10_000, 1_000_000]),
            sends_per_second=self.chance.choice([5, 100, 0]),
            sends_in_flight=self.chance.choice([1, 3, 100]),
            inbox_days=LIFE_S / 86_400,
        )

    def _policy(self) -> Policy | None:
        """What changes the modes of conversations: the usual one, or one that never rests."""
        policy = Flipping(Config(data=str(self.chance.random())))
        policy.pause_s = self.chance.choice([0.1, 1.0])
        return self.chance.choice([None, policy])

    def _device(self, who: Who) -> Device:
        return Device(
            who,
            self.machine.token(who.user),
            loop=self.loop,
            network=self.network,
            recorder=self.recorder,
            chance=Random(self.chance.random()),
        )

    async def live(self) -> None:
        """The run, from the first message to what everybody has in the end."""
        self.machine.start()
        for device in self.devices:
            device.switch_on()
        for number in range(len(GROUPS)):
            await self._until(lambda: self.devices[0].driver is not None, "alice starts")
            self.devices[0].do(found(number))
        chaos = asyncio.create_task(self.chaos.run(self.chance.choice([0.1, 0.5, 2.0])))
        pauses = self._pauses()
        for _ in range(self.chance.choice([20, 60, 120])):
            await asyncio.sleep(self.chance.choice(pauses))
            await self._act()
        chaos.cancel()
        await asyncio.wait([chaos])
        await self.chaos.heal()
        await self._settle()
        for device in self.devices:
            await self._say_good_night(device)
        await self._settle()
        await self._read_back()

    def _pauses(self) -> tuple[float, ...]:
        """Between what users do, in s: long ones where inboxes are to expire meanwhile."""
        if {"device away", "inboxes expire"} & set(self.faults):
            return self.chance.choice([(0.0, 0.01, 3.0), (0.0, LIFE_S / 8)])
        return self.chance.choice([(0.0,), (0.0, 0.001), (0.0, 0.001, 0.05, 0.3)])

    async def _act(self) -> None:
        """One of the devices does something; who reads does not keep the others."""
        work = asyncio.create_task(self.chance.choice(self.loads).act())
        await asyncio.wait([work], timeout=0.0)
        work.add_done_callback(lambda task: task.cancelled() or task.result())

    async def _say_good_night(self, device: Device) -> None:
        load = self.loads[self.devices.index(device)]
        for _ in range(2):
            await load.act()

    async def _settle(self) -> None:
        """Wait until everything is done.  Rule 18: this takes a bounded time."""
        await self._until(lambda: all(device.is_done for device in self.devices), "devices end")
        await self._until(self._is_quiet, "fan-out ends")

    def _is_quiet(self) -> bool:
        server = self.machine.server
        return (
            server is not None
            and server.reached == self.machine.store.log.head
            and all(device.is_done for device in self.devices)
        )

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        latest = self.loop.time() + SETTLE_S
        while not condition():
            await asyncio.sleep(POLL_S)
            if self.loop.time() > latest:
                raise Stuck(f"waited in vain until {what}")

    async def _read_back(self) -> None:
        """Everyone reads everything, and each device says what it has."""
        history = self.recorder.history
        names: set[str] = set()
        for device in self.devices:
            if device.who.device == "phone":
                mine = await self.machine.store.directory.memberships(device.who.user, limit=1000)
                for one in mine:
                    names.add(one.conversation)
                    await device.read_all(one.conversation)
        for device in self.devices:
            holding = device.holding(sorted(names))
            if holding is not None:
                history.holdings.append(holding)
        log = await self.machine.log()
        history.modes += modes_in(log)
        history.log += [_seen(one) for one in log if not one.conversation.startswith(SYSTEM)]
        for user in USERS:
            history.inboxes.append(await self.machine.inbox(user))

    def judge(self) -> list[Violation]:
        """What was wrong."""
        faults = [*self.loop.faults, *self.machine.faults]
        faults += [fault for device in self.devices for fault in device.faults]
        found = [Violation(18, fault) for fault in faults]
        return [*self.violations, *found, *check(self.recorder.history)]


def _seen(stored: Stored) -> Message:
    """A message as clients see it."""
    head = message_head(stored.conversation)
    return decode_message(message_json(head, stored.seq, stored.time, stored.payload, 0))


class _Complaints(logging.Handler):
    """What is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


def simulate(seed: int) -> Outcome:
    """Run a seed, and check what came of it."""
    worlds: list[World] = []
    stuck: list[Violation] = []

    async def live(loop: SimulatedLoop) -> None:
        worlds.append(World(loop, seed))
        try:
            await worlds[0].live()
        except Stuck as reason:
            stuck.append(Violation(18, str(reason)))

    state = random.getstate()
    random.seed(seed)
    complaints, logger = _Complaints(), logging.getLogger("timewire")
    logger.addHandler(complaints)
    collects = gc.isenabled()
    gc.disable()  # when it runs is up to the machine, and it ends generators
    try:
        with structlog.testing.capture_logs() as logged, small_bounds(Random(seed)):
            run(live)
    finally:
        random.setstate(state)
        logger.removeHandler(complaints)
        if collects:
            gc.enable()
    world = worlds[0]
    complaints.found += [str(one) for one in logged if one["log_level"] in ("error", "critical")]
    found = [*stuck, *(Violation(18, one) for one in complaints.found)]
    history = world.recorder.history
    return Outcome(seed, world.faults, world.loop.steps, history, [*found, *world.judge()])
