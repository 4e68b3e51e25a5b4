"""What goes wrong in a simulation, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

from timewire.testing.history import History, Restart
from timewire.testing.simulation.device import Device
from timewire.testing.simulation.disk import Disk
from timewire.testing.simulation.loop import SimulatedLoop
from timewire.testing.simulation.machine import LIFE_S, Machine
from timewire.testing.simulation.network import Network

FAULTS: Final = (
    "cut",
    "half open",
    "stall",
    "server killed",
    "power lost",
    "server restarted",
    "device killed",
    "device away",
    "clock jumps",
    "disk slow",
    "disk fails",
    "disk full",
    "inboxes expire",
)
"""Each can be left out or chosen; what a run suffers from is some of them."""

MAX_STEPS_AHEAD: Final = 400


class Chaos:
    """Does harm, of the kinds that it is given."""

    def __init__(
        self,
        loop: SimulatedLoop,
        chance: Random,
        faults: Sequence[str],
        *,
        network: Network,
        machine: Machine,
        disk: Disk,
        devices: Sequence[Device],
        history: History,
    ) -> None:
        self.over = False
        self._loop = loop
        self._chance = chance
        self._faults = faults
        self._network = network
        self._machine = machine
        self._disk = disk
        self._devices = devices
        self._history = history
        self._restarting: asyncio.Task[None] | None = None

    async def run(self, pause_s: float) -> None:
        """One fault after the other."""
        while self._faults:
            await asyncio.sleep(self._chance.expovariate(1 / pause_s))
            await self._harm(self._chance.choice(self._faults))

    async def heal(self) -> None:
        """Let everything be well, and stay so."""
        self.over = True
        self._disk.slow, self._disk.full, self._disk.failing = False, False, 0.0
        if self._restarting is not None:
            await self._restarting
        self._machine.start()
        for device in self._devices:
            device.switch_on()

    async def _harm(self, fault: str) -> None:
        chance = self._chance
        match fault:
            case "server killed" | "power lost":
                self._at_some_step(lambda: self._kill_server(power=fault == "power lost"))
            case "server restarted":
                if self._restarting is None or self._restarting.done():
                    self._restarting = asyncio.create_task(self._machine.restart())
            case "device killed":
                device = chance.choice(self._devices)
                self._at_some_step(lambda: self._kill(device, chance.random()))
            case "device away":
                self._kill(chance.choice(self._devices), LIFE_S * chance.uniform(0.5, 3))
            case "clock jumps":
                self._machine.clock.ahead_ms += chance.choice([-3_600_000, -900, 900, 3_600_000])
            case "disk slow":
                self._disk.slow = True
                self._later(chance.uniform(0.1, 5), lambda: setattr(self._disk, "slow", False))
            case "disk fails":
                self._disk.failing = chance.uniform(0.05, 0.9)
                self._later(chance.uniform(0.01, 3), lambda: setattr(self._disk, "failing", 0.0))
            case "disk full":
                self._disk.full = True
                self._later(chance.uniform(0.1, 3), lambda: setattr(self._disk, "full", False))
            case "inboxes expire":
                await asyncio.sleep(LIFE_S * chance.uniform(0.3, 1.5))
            case _:
                self._harm_a_connection(fault)

    def _harm_a_connection(self, fault: str) -> None:
        chance = self._chance
        alive = self._network.alive()
        if not alive:
            return
        one = chance.choice(alive)
        if fault == "stall":
            chance.choice([one.up, one.down]).hold(chance.choice([0.1, 1.0, 30.0, 90.0]))
        elif fault == "half open":
            client, server = chance.choice([(None, 0.5), (0.5, None), (None, None)])
            self._at_some_step(lambda: one.cut(client, server))
        else:
            client, server = chance.random() * 0.1, chance.random() * 0.1
            self._at_some_step(lambda: one.cut(client, server))

    def _kill_server(self, *, power: bool) -> None:
        if self._machine.is_on:
            self._machine.kill(power=power)
            self._history.restarts.append(Restart(self._loop.steps))
            self._later(self._chance.choice([0.0, 0.2, 3.0]), self._machine.start)

    def _kill(self, device: Device, away_s: float) -> None:
        device.kill()
        self._later(away_s, device.switch_on)

    def _at_some_step(self, call: object) -> None:
        """Between any two steps of what comes next."""
        step = self._loop.steps + 1 + self._chance.randrange(MAX_STEPS_AHEAD)
        self._loop.at_step(step, lambda: None if self.over else call())  # pyright: ignore

    def _later(self, seconds: float, call: object) -> None:
        self._loop.call_later(seconds, call)  # pyright: ignore
